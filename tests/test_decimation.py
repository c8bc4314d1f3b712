import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dipgp.decimation import LanczosDecimation

# Multiples of the factor, odd, prime, and smaller than the filter.
SHAPES = [(16, 24, 3), (15, 21, 1), (13, 17, 3), (5, 3, 2), (1, 1, 1)]


def draw(seed, shape):
    return np.random.default_rng(seed).normal(size=shape)


def pixel_by_pixel(image, factor):
    """The two-dimensional sum, on an image whose borders are replicated first."""

    def tap(offset):
        t = np.pi * abs(offset) / factor
        inside = abs(offset) < 2 * factor
        return inside * (1.0 if t == 0 else 2 * np.sin(t) * np.sin(t / 2) / t**2)

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
                    weight = tap(i - middle) * tap(j - middle)
                    pixel = padded[
                        margin + factor * row + i, margin + factor * column + j
                    ]
                    small[row, column] += weight * pixel
                    total += weight
            small[row, column] /= total
    return small


@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("shape", [(8, 12, 2), (7, 5, 1), (2, 11, 1)])
def test_it_is_the_filters_sum_over_replicated_borders(x64, shape, factor):
    image = draw(0, shape)
    np.testing.assert_allclose(
        LanczosDecimation(factor)(jnp.asarray(image)),
        pixel_by_pixel(image, factor),
        atol=1e-12,
    )


@pytest.mark.parametrize("factor", [3, 4])
@pytest.mark.parametrize("shape", SHAPES)
class TestAdjoint:
    def test_inner_products_agree(self, x64, shape, factor):
        decimate = LanczosDecimation(factor)
        image = jnp.asarray(draw(1, shape))
        values = jnp.asarray(draw(2, decimate.output_shape(shape)))
        there = jnp.vdot(decimate(image), values)
        back = jnp.vdot(image, decimate.adjoint(values, shape))
        np.testing.assert_allclose(there, back, rtol=1e-12, atol=1e-12)

    def test_it_is_what_jax_derives(self, x64, shape, factor):
        decimate = LanczosDecimation(factor)
        values = jnp.asarray(draw(3, decimate.output_shape(shape)))
        transpose = jax.linear_transpose(decimate, jnp.zeros(shape))
        (derived,) = transpose(values)
        np.testing.assert_allclose(decimate.adjoint(values, shape), derived, atol=1e-13)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("factor", "lobes"), [(4, 2), (3, 1), (8, 3)])
@pytest.mark.parametrize("shape", SHAPES)
def test_constant_images_stay_constant(x64, shape, factor, lobes, dtype):
    decimate = LanczosDecimation(factor, lobes)
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
        decimate = LanczosDecimation(4)
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


def test_samples_lie_in_the_middle_of_their_blocks(x64):
    ramp = jnp.broadcast_to(jnp.arange(40.0)[:, None, None], (40, 8, 1))
    for factor in (2, 3, 4):
        small = np.asarray(LanczosDecimation(factor)(ramp))
        middle = np.arange(40 // factor) * factor + (factor - 1) / 2
        # Clear of the borders, where a ramp is replicated into a step.
        np.testing.assert_allclose(small[2:-4, 0, 0], middle[2 : len(small) - 4])


def test_a_compiled_program_takes_it_as_a_static_argument():
    @functools.partial(jax.jit, static_argnums=0)
    def see(forward, image):
        return forward(image)

    image = jnp.asarray(draw(4, (9, 10, 3)), jnp.float32)
    for factor in (2, 2, 3):
        decimate = LanczosDecimation(factor)
        np.testing.assert_allclose(see(decimate, image), decimate(image), atol=1e-6)
    assert see._cache_size() == 2  # equal ones are the same to the compiler


class TestBadInput:
    @pytest.mark.parametrize("factor", [1, 0, -4, 2.5])
    def test_factors_that_are_none_are_refused(self, factor):
        with pytest.raises(ValueError, match=f"factor: expected .*got {factor}"):
            LanczosDecimation(factor)

    @pytest.mark.parametrize("lobes", [0, 1.5])
    def test_filters_without_lobes_are_refused(self, lobes):
        with pytest.raises(ValueError, match=f"lobes: expected .*got {lobes}"):
            LanczosDecimation(2, lobes)

    @pytest.mark.parametrize("shape", [(4, 4), (1, 4, 4, 3), (0, 4, 1)])
    def test_what_is_no_image_is_refused(self, shape):
        with pytest.raises(ValueError, match=r"expected \(H, W, C\)"):
            LanczosDecimation(2)(jnp.zeros(shape))

    def test_values_of_another_image_are_refused(self):
        with pytest.raises(ValueError, match=r"values: expected shape \(3, 2, 1\)"):
            LanczosDecimation(4).adjoint(jnp.zeros((2, 2, 1)), (9, 8, 1))
