import jax.numpy as jnp
import numpy as np
import pytest

from dipgp.observations import BayerMosaic

# Of the pixel (i, j): red 10 i + j, green 100 more, blue 200 more.
PIXELS = 10.0 * np.arange(2)[:, None] + np.arange(2)
IMAGE = np.stack([PIXELS, PIXELS + 100, PIXELS + 200], axis=2)

SEEN = {
    "RGGB": [[0, 101], [110, 211]],
    "BGGR": [[200, 101], [110, 11]],
    "GRBG": [[100, 1], [210, 111]],
    "GBRG": [[100, 201], [10, 111]],
}


@pytest.mark.parametrize("pattern", SEEN)
def test_each_pixel_sees_the_colour_of_its_filter(pattern):
    seen = BayerMosaic(pattern)(jnp.asarray(IMAGE))
    np.testing.assert_array_equal(seen, np.asarray(SEEN[pattern])[:, :, None])


def test_the_pattern_repeats_and_odd_sizes_end_within_it():
    image = jnp.broadcast_to(jnp.asarray([1.0, 2.0, 3.0]), (3, 5, 3))
    seen = BayerMosaic()(image)[:, :, 0]
    expected = [[1, 2, 1, 2, 1], [2, 3, 2, 3, 2], [1, 2, 1, 2, 1]]
    np.testing.assert_array_equal(seen, expected)


def test_colours_that_are_not_seen_may_be_anything():
    image = np.full((2, 2, 3), np.nan)
    image[0, 0, 0] = image[0, 1, 1] = image[1, 0, 1] = image[1, 1, 2] = 0.5
    np.testing.assert_array_equal(BayerMosaic()(jnp.asarray(image)), 0.5)


def test_values_go_back_to_the_colours_that_they_are_of():
    values = jnp.asarray([[[1.0], [2.0]], [[3.0], [4.0]]])
    back = BayerMosaic("GRBG").adjoint(values, (2, 2, 3))
    red, green, blue = np.moveaxis(np.asarray(back), 2, 0)
    np.testing.assert_array_equal(red, [[0, 2], [0, 0]])
    np.testing.assert_array_equal(green, [[1, 0], [0, 4]])
    np.testing.assert_array_equal(blue, [[0, 0], [3, 0]])


@pytest.mark.parametrize("pattern", ["RGB", "rggb", "RGGG", "", None, ["R"]])
def test_other_patterns_are_refused(pattern):
    with pytest.raises(ValueError, match="pattern: expected one of RGGB, BGGR, GRBG"):
        BayerMosaic(pattern)


@pytest.mark.parametrize("channels", [1, 4])
def test_images_without_three_colours_are_refused(channels):
    with pytest.raises(ValueError, match=f"three channels.*got {channels} in"):
        BayerMosaic()(jnp.zeros((4, 4, channels)))
