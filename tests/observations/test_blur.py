import math

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import scipy.signal

from dipgp.observations import Blur, gaussian_blur, motion_blur

# Odd and even sizes, on odd, even and narrow images.
KERNELS = [(3, 3), (5, 2), (4, 4), (1, 6)]
SHAPES = [(9, 12, 1), (8, 7, 3)]


def draw(seed, shape):
    return np.random.default_rng(seed).normal(size=shape)


def by_channel(convolve, image):
    channels = [convolve(channel) for channel in np.moveaxis(image, 2, 0)]
    return np.stack(channels, axis=2)


@pytest.mark.parametrize("size", KERNELS)
@pytest.mark.parametrize("shape", SHAPES)
class TestAgainstSums:
    def test_a_circular_blur_goes_on_at_the_opposite_side(self, x64, size, shape):
        image, kernel = draw(0, shape), draw(1, size)
        expected = by_channel(
            lambda channel: scipy.signal.convolve2d(
                channel, kernel, mode="same", boundary="wrap"
            ),
            image,
        )
        found = Blur(kernel)(jnp.asarray(image))
        np.testing.assert_allclose(found, expected, atol=1e-12)

    def test_a_valid_blur_sees_only_what_needs_no_border(self, x64, size, shape):
        image, kernel = draw(2, shape), draw(3, size)
        expected = by_channel(
            lambda channel: scipy.signal.convolve2d(channel, kernel, mode="valid"),
            image,
        )
        found = Blur(kernel, "valid")(jnp.asarray(image))
        np.testing.assert_allclose(found, expected, atol=1e-12)


def test_a_bright_pixel_is_seen_as_the_kernel_with_its_centre_on_it(x64):
    for kernel in (draw(4, (3, 5)), draw(4, (4, 2))):
        rows, columns = kernel.shape
        image = np.zeros((9, 9, 1))
        image[4, 5] = 1
        top, left = 4 - (rows - 1) // 2, 5 - (columns - 1) // 2
        expected = np.zeros((9, 9))
        expected[top : top + rows, left : left + columns] = kernel
        found = Blur(kernel)(jnp.asarray(image))[:, :, 0]
        np.testing.assert_allclose(found, expected, atol=1e-14)
        valid = Blur(kernel, "valid")(jnp.asarray(image))[:, :, 0]
        inner = expected[rows // 2 :, columns // 2 :]
        np.testing.assert_allclose(
            valid, inner[: valid.shape[0], : valid.shape[1]], atol=1e-14
        )


def test_a_kernel_larger_than_a_circular_image_goes_around_it_repeatedly(x64):
    image, kernel = draw(5, (1, 4, 1)), draw(6, (5, 11))
    tiled = np.pad(image[:, :, 0], [(2, 2), (5, 5)], mode="wrap")
    expected = scipy.signal.convolve2d(tiled, kernel, mode="valid")
    found = Blur(kernel)(jnp.asarray(image))[:, :, 0]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_a_kernel_is_used_as_it_is_and_kept_as_numbers():
    blur = Blur(np.asarray([[1, 2]], np.float32))
    assert blur.kernel == ((1.0, 2.0),)
    assert blur == Blur([[1.0, 2.0]])
    np.testing.assert_allclose(blur(jnp.ones((2, 3, 1))), 3, rtol=1e-6)


@pytest.mark.parametrize("boundary", ["circular", "valid"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_constant_images_stay_constant(x64, boundary, dtype):
    for blur in (gaussian_blur(0.7, boundary), motion_blur(5.3, 25, boundary)):
        seen = blur(jnp.full((8, 11, 2), 0.7, dtype))
        np.testing.assert_allclose(seen, 0.7, rtol=20 * float(jnp.finfo(dtype).eps))


class TestGaussian:
    def test_it_is_the_usual_gaussian_filter(self, x64):
        image = draw(7, (17, 20, 1))
        expected = scipy.ndimage.gaussian_filter(
            image, (1.3, 1.3, 0), mode="wrap", radius=(6, 6, 0)
        )
        found = gaussian_blur(1.3)(jnp.asarray(image))
        np.testing.assert_allclose(found, expected, atol=1e-12)

    def test_the_kernel_ends_where_it_is_told(self):
        assert np.shape(gaussian_blur(2.0).kernel) == (17, 17)
        assert np.shape(gaussian_blur(0.1).kernel) == (3, 3)
        assert np.shape(gaussian_blur(2.0, radius=3).kernel) == (7, 7)

    @pytest.mark.parametrize("std", [0, -1.0, math.nan, math.inf])
    def test_widths_that_are_none_are_refused(self, std):
        with pytest.raises(ValueError, match="std: expected finite positive"):
            gaussian_blur(std)

    @pytest.mark.parametrize("radius", [0, -2, 2.5])
    def test_radii_that_are_none_are_refused(self, radius):
        with pytest.raises(ValueError, match="radius: expected a whole number of at l"):
            gaussian_blur(1.0, radius=radius)


class TestMotion:
    @staticmethod
    def moments(length, angle):
        """Sum, means and second moments of the kernel, right and up from its centre."""
        kernel = np.asarray(motion_blur(length, angle).kernel)
        assert kernel.shape[0] % 2 == kernel.shape[1] % 2 == 1
        down, right = np.indices(kernel.shape)
        up = kernel.shape[0] // 2 - down
        right = right - kernel.shape[1] // 2
        total, of_right, of_up = (np.sum(kernel * x) for x in (1, right, up))
        squares = [np.sum(kernel * x) for x in (right**2, up**2, right * up)]
        return total, of_right, of_up, *squares

    @pytest.mark.parametrize("angle", [0, 17.0, 45, 90, 120.5, 180, -30, 1e6])
    @pytest.mark.parametrize("length", [0.4, 1, 6, 9.3])
    def test_it_is_a_line_of_its_length_and_angle_about_the_centre(self, length, angle):
        total, of_right, of_up, right, up, product = self.moments(length, angle)
        assert total == pytest.approx(1, abs=1e-13)
        assert (of_right, of_up) == pytest.approx((0, 0), abs=1e-12)
        # Sharing out leaves means and products of a line's points as they are, and
        # adds at most 1/4 to the square along each axis.
        turn = np.radians(angle % 360)
        spread = length**2 / 12
        along = [spread * np.cos(turn) ** 2, spread * np.sin(turn) ** 2]
        assert product == pytest.approx(spread * np.sin(2 * turn) / 2, abs=1e-9)
        assert along[0] - 1e-12 <= right <= along[0] + 0.25 + 1e-12
        assert along[1] - 1e-12 <= up <= along[1] + 0.25 + 1e-12

    def test_a_horizontal_line_of_two_pixels_is_shared_out_by_hand(self):
        # Of a line from -1 to 1, a share 1 - |x| of each point x goes to the middle.
        np.testing.assert_allclose(motion_blur(2, 0).kernel, [[0.25, 0.5, 0.25]])
        np.testing.assert_allclose(motion_blur(2, 90).kernel, [[0.25], [0.5], [0.25]])

    def test_it_is_the_mean_over_many_points_of_the_line(self):
        length, turn, count = 5.0, np.radians(33), 20_000
        points = length * ((np.arange(count) + 0.5) / count - 0.5)
        expected = np.zeros((5, 7))
        for row, column in np.ndindex(5, 7):
            down = np.abs(-points * np.sin(turn) - (row - 2))
            right = np.abs(points * np.cos(turn) - (column - 3))
            shares = np.maximum(1 - down, 0) * np.maximum(1 - right, 0)
            expected[row, column] = shares.mean()
        np.testing.assert_allclose(motion_blur(5, 33).kernel, expected, atol=1e-7)

    @pytest.mark.parametrize("length", [0, -3.0, math.nan, math.inf])
    def test_lengths_that_are_none_are_refused(self, length):
        with pytest.raises(ValueError, match="length: expected finite positive"):
            motion_blur(length, 0)

    @pytest.mark.parametrize("angle", [math.nan, math.inf])
    def test_angles_that_are_none_are_refused(self, angle):
        with pytest.raises(ValueError, match="angle: expected finite numbers"):
            motion_blur(3, angle)


class TestBadInput:
    @pytest.mark.parametrize(
        ("kernel", "sentence"),
        [
            pytest.param([1.0, 2.0], r"rows and columns.*shape \(2,\)", id="a-row"),
            pytest.param([[]], r"rows and columns.*shape \(1, 0\)", id="empty"),
            pytest.param([[1, 2], [3]], "numbers", id="ragged"),
            pytest.param([[1.0, math.nan]], "finite numbers", id="nan"),
            pytest.param([[math.inf]], "finite numbers", id="infinity"),
            pytest.param([[1j]], r"real numbers, got \[\[1j\]\]", id="complex"),
            pytest.param([["a"]], "real numbers, got .*a", id="text"),
            pytest.param([[0.1, 0.2, -0.3]], "a sum other than 0", id="no-sum"),
            pytest.param(np.zeros((3, 3)), "a sum other than 0", id="zeros"),
        ],
    )
    def test_kernels_that_are_none_are_refused(self, kernel, sentence):
        with pytest.raises(ValueError, match=f"kernel: expected {sentence}"):
            Blur(kernel)

    @pytest.mark.parametrize("boundary", ["wrap", None])
    def test_other_boundaries_are_refused(self, boundary):
        with pytest.raises(
            ValueError, match="boundary: expected one of circular, valid"
        ):
            Blur([[1.0]], boundary)

    @pytest.mark.parametrize("shape", [(2, 9, 1), (9, 3, 1)])
    def test_images_smaller_than_a_valid_kernel_are_refused(self, shape):
        sentence = 'no smaller than the kernel, 3x4 pixels.*boundary="circular"'
        with pytest.raises(ValueError, match=sentence):
            Blur(np.ones((3, 4)), "valid")(jnp.zeros(shape))
