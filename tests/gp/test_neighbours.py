import jax.numpy as jnp
import numpy as np
import pytest
from stationary_fields import covariance_matrix, mask_with_hole, random_mask

from dipgp import kernels
from dipgp.gp import neighbours, toeplitz

SHAPE = (7, 6)
COVARIANCES = (kernels.gaussian(1.0), kernels.stretch(kernels.matern(1.5, 2.0), 0.7, 2))
WEIGHTS = 0.5 + np.random.default_rng(0).random((2, *SHAPE))
NOISE = 0.01 + 0.1 * np.random.default_rng(1).random(SHAPE)


def dense_inverse(mask):
    """A^-1 for A = sum_m a_m K_m a_m + D between the observed pixels."""
    matrix = np.diag(NOISE.ravel())
    for covariance, weight in zip(COVARIANCES, WEIGHTS, strict=True):
        local = weight.ravel()
        matrix += local[:, None] * covariance_matrix(covariance, SHAPE) * local[None]
    seen = np.flatnonzero(mask)
    return np.linalg.inv(matrix[np.ix_(seen, seen)])


def approximate_inverse(mask, count):
    near = neighbours.find(mask, count)
    tori = toeplitz.embed(COVARIANCES, SHAPE, 40, np.float64)
    root = neighbours.inverse_root(tori, jnp.asarray(WEIGHTS), jnp.asarray(NOISE), near)
    return neighbours.apply_inverse(root, near, jnp.eye(int(mask.sum())))


@pytest.mark.parametrize("count", [4, 100])
@pytest.mark.parametrize("where", [random_mask, mask_with_hole])
def test_neighbours_are_the_nearest_observed_pixels_before(where, count):
    mask = where(SHAPE, 0.5) if where is random_mask else where(SHAPE)
    near = neighbours.find(mask, count)
    pixels = np.argwhere(mask)
    for index, each in enumerate(np.asarray(near.each)):
        assert each[-1] == index
        found = each[:-1][each[:-1] < len(pixels)]
        assert len(set(found)) == len(found) == min(index, count)
        away = np.sum((pixels[:index] - pixels[index]) ** 2, axis=1)
        np.testing.assert_array_equal(np.sort(away[found]), np.sort(away)[: len(found)])


@pytest.mark.parametrize(
    "where", [random_mask, pytest.param(mask_with_hole, marks=pytest.mark.slow)]
)
def test_with_all_pixels_before_the_inverse_is_exact(x64, where):
    mask = where(SHAPE, 0.5) if where is random_mask else where(SHAPE)
    found = approximate_inverse(mask, 100)
    np.testing.assert_allclose(found, dense_inverse(mask), rtol=1e-8, atol=1e-7)


@pytest.mark.slow
def test_more_neighbours_come_nearer_to_the_inverse(x64):
    mask = np.ones(SHAPE, bool)
    root = np.linalg.cholesky(np.linalg.inv(dense_inverse(mask)))
    sizes = [
        np.linalg.cond(root.T @ np.asarray(approximate_inverse(mask, count)) @ root)
        for count in (1, 10)
    ]
    assert sizes[0] > 3 * sizes[1]
    assert sizes[1] < 4
