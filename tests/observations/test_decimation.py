import jax.numpy as jnp
import numpy as np
import pytest

from dipgp.observations import Bilinear, Box, Decimation, Lanczos

FILTERS = {"lanczos": Lanczos(), "box": Box(), "bilinear": Bilinear()}


def draw(seed, shape):
    return np.random.default_rng(seed).normal(size=shape)


def tap(name, offset, factor):
    """How much a pixel counts that lies so many pixels from the sample."""
    distance = abs(offset) / factor
    if name == "box":
        return float(distance < 0.5)
    if name == "bilinear":
        return max(1 - distance, 0)
    t = np.pi * distance
    inside = distance < 2
    return inside * (1.0 if t == 0 else 2 * np.sin(t) * np.sin(t / 2) / t**2)


def pixel_by_pixel(image, name, factor):
    """The two-dimensional sum, on an image whose borders are replicated first."""
    margin = 3 * factor
    padded = np.pad(image, [(margin, margin + factor)] * 2 + [(0, 0)], mode="edge")
    height, width, channels = image.shape
    small = np.zeros((-(-height // factor), -(-width // factor), channels))
    for row in range(small.shape[0]):
        for column in range(small.shape[1]):
            total = 0.0
            for i in range(-margin, margin + factor):
                for j in range(-margin, margin + factor):
                    middle = (factor - 1) / 2
                    weight = tap(name, i - middle, factor)
                    weight *= tap(name, j - middle, factor)
                    pixel = padded[
                        margin + factor * row + i, margin + factor * column + j
                    ]
                    small[row, column] += weight * pixel
                    total += weight
            small[row, column] /= total
    return small


@pytest.mark.parametrize("factor", [2, 3])
@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("shape", [(7, 5, 2), (1, 8, 1)])
def test_it_is_the_filters_sum_over_replicated_borders(x64, shape, name, factor):
    image = draw(0, shape)
    found = Decimation(factor, FILTERS[name])(jnp.asarray(image))
    np.testing.assert_allclose(found, pixel_by_pixel(image, name, factor), atol=1e-12)


def test_a_box_takes_the_mean_of_each_block(x64):
    image = draw(1, (14, 21, 1))
    blocks = image.reshape(2, 7, 3, 7, 1).mean(axis=(1, 3))
    small = Decimation(7, Box())(jnp.asarray(image))
    np.testing.assert_allclose(small, blocks, atol=1e-14)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "decimate",
    [
        Decimation(4),
        Decimation(3, Lanczos(1)),
        Decimation(8, Lanczos(3)),
        Decimation(3, Box()),
        Decimation(4, Bilinear()),
    ],
    ids=repr,
)
def test_constant_images_stay_constant(x64, decimate, dtype):
    for shape in ((13, 17, 3), (1, 3, 1)):  # prime, and smaller than the filter
        small = decimate(jnp.full(shape, 0.7, dtype))
        assert small.dtype == dtype
        assert small.shape == decimate.output_shape(shape)
        error = 100 * jnp.finfo(dtype).eps
        np.testing.assert_allclose(small, 0.7, rtol=float(error))


class TestFrequencies:
    """Waves of so many periods a pixel; samples have no room for more than 1 / 8."""

    @staticmethod
    def gain(frequency, axis):
        position = np.arange(256) + 0.5
        wave = np.exp(2j * np.pi * frequency * position)
        image = np.broadcast_to(np.expand_dims(wave, 1 - axis), (256, 256))
        decimate = Decimation(4)
        parts = [
            decimate(jnp.asarray(part[:, :, None])) for part in (image.real, image.imag)
        ]
        inner = np.asarray(parts)[:, 8:-8, 8:-8]  # clear of the borders
        return np.sqrt(np.mean(inner[0] ** 2 + inner[1] ** 2))

    @pytest.mark.parametrize("axis", [0, 1])
    @pytest.mark.parametrize("frequency", [0.2, 0.25, 0.3, 0.4, 0.5])
    def test_those_that_samples_cannot_hold_are_taken_out(self, x64, frequency, axis):
        assert self.gain(frequency, axis) < 0.1

    @pytest.mark.parametrize("axis", [0, 1])
    def test_half_of_the_amplitude_is_left_at_the_samples_limit(self, x64, axis):
        assert self.gain(1 / 8, axis) == pytest.approx(0.5, abs=0.02)

    @pytest.mark.parametrize("axis", [0, 1])
    @pytest.mark.parametrize("frequency", [0.01, 0.03])
    def test_slow_ones_pass(self, x64, frequency, axis):
        assert self.gain(frequency, axis) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("name", FILTERS)
def test_samples_lie_in_the_middle_of_their_blocks(x64, name):
    ramp = jnp.broadcast_to(jnp.arange(40.0)[:, None, None], (40, 8, 1))
    for factor in (2, 3, 4):
        small = np.asarray(Decimation(factor, FILTERS[name])(ramp))
        middle = np.arange(40 // factor) * factor + (factor - 1) / 2
        # Clear of the borders, where a ramp is replicated into a step.
        np.testing.assert_allclose(small[2:-4, 0, 0], middle[2 : len(small) - 4])


class TestBadInput:
    @pytest.mark.parametrize("factor", [1, 0, -4, 2.5, 4.0, 10**6])
    def test_factors_that_are_none_are_refused(self, factor):
        with pytest.raises(ValueError, match=f"factor: expected .*got {factor}"):
            Decimation(factor)

    @pytest.mark.parametrize("lobes", [0, 1.5, 10**6])
    def test_filters_without_lobes_are_refused(self, lobes):
        with pytest.raises(ValueError, match=f"lobes: expected .*got {lobes}"):
            Lanczos(lobes)

    @pytest.mark.parametrize("stray", ["box", Box, None, 3])
    def test_filters_that_are_none_are_refused(self, stray):
        with pytest.raises(ValueError, match="filter: expected Lanczos"):
            Decimation(2, stray)
