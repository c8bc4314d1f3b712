import numpy as np
import pytest
import scipy.optimize

from experiments import total_variation

RANDOM = np.random.default_rng(3)
IMAGE = RANDOM.uniform(size=(7, 8, 2))
MASK = RANDOM.uniform(size=(7, 8)) > 0.4


def variation(image, rounding=0.0):
    """TV of an image (H, W, C); lengths are at least `rounding`, which smooths it."""
    right = np.diff(image, axis=1, append=image[:, -1:])
    below = np.diff(image, axis=0, append=image[-1:])
    return np.sqrt((right**2 + below**2).sum(axis=2) + rounding**2).sum()


@pytest.fixture(scope="module")
def least():
    """TV that none is below, and one that is reached, by another minimiser.

    Rounding off adds at most itself a pixel.
    """
    rounding = 1e-5

    def filled(missing):
        image = IMAGE.copy()
        image[~MASK] = missing.reshape(-1, 2)
        return image

    start = np.full(2 * (~MASK).sum(), 0.5)
    for width in (0.1, 1e-2, 1e-3, 1e-4, rounding):
        start = scipy.optimize.minimize(
            lambda missing, width=width: variation(filled(missing), width),
            start,
            method="L-BFGS-B",
            options={"maxiter": 2000, "maxfun": 10**6},
        ).x
    found = variation(filled(start))
    return found - MASK.size * rounding, found


def test_it_finds_the_least_total_variation(least):
    found = total_variation.inpaint(IMAGE, MASK, tolerance=1e-5)
    assert found.converged
    # Either minimiser is as far from the minimum as it says, L-BFGS by rounding.
    lowest, reached = least
    allowed = found.gap * 2 * (~MASK).sum()
    assert lowest - 1e-3 < variation(found.image) < reached + allowed


@pytest.mark.parametrize("iterations", [1, 4, 16, 64])
def test_the_gap_bounds_what_is_left_to_gain(least, iterations):
    found = total_variation.inpaint(IMAGE, MASK, 0.0, max_iterations=iterations)
    assert not found.converged
    assert found.iterations == iterations
    missing = 2 * (~MASK).sum()
    assert variation(found.image) - least[1] < found.gap * missing
    assert found.gap * missing < variation(found.image)


def test_observed_pixels_are_kept_and_missing_ones_not_read():
    hidden = np.where(MASK[:, :, None], IMAGE, np.nan)
    found = total_variation.inpaint(hidden, MASK).image
    np.testing.assert_array_equal(found[MASK], IMAGE[MASK])
    seen = IMAGE[MASK]
    assert (found <= seen.max(axis=0)).all()
    assert (found >= seen.min(axis=0)).all()


def test_an_edge_is_continued_through_a_hole():
    """Where a smooth surface would round it off."""
    image = np.broadcast_to((np.arange(9) > 3)[None, :, None], (8, 9, 1)) * 1.0
    mask = np.ones((8, 9), bool)
    mask[3:5] = False
    found = total_variation.inpaint(image, mask, tolerance=1e-6).image
    np.testing.assert_allclose(found, image, atol=0.01)


def test_nothing_missing_is_left_as_it_is():
    found = total_variation.inpaint(IMAGE, np.ones_like(MASK))
    np.testing.assert_array_equal(found.image, IMAGE)
    assert found.converged


def test_nothing_observed_is_refused():
    with pytest.raises(ValueError, match="mask: expected an observed pixel, got none"):
        total_variation.inpaint(IMAGE, np.zeros_like(MASK))
