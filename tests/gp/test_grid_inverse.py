import jax.numpy as jnp
import numpy as np
import pytest
from stationary_fields import covariance_matrix, matrix_of

from dipgp import kernels
from dipgp.gp import grid_inverse, toeplitz
from dipgp.observations import (
    Composition,
    Decimation,
    Identity,
    gaussian_blur,
    motion_blur,
    stationary_filter,
)

NOISE = np.full((1, 1, 1), 0.01)
AS_IT_IS = stationary_filter(Identity())


def table(covariance, grid, seen=AS_IT_IS, reach=12):
    tori = toeplitz.embed([covariance], grid, reach, np.float64)
    return grid_inverse.covariances_seen(tori, seen)


def images_like(grid):
    return jnp.asarray(np.random.default_rng(0).standard_normal((1, *grid)))


def around(covariances, images):
    """The covariance of a torus times images that fill it, plus noise."""
    lags = np.zeros(images.shape[1:])
    down, right = (np.arange(n) - n // 2 for n in covariances.shape[1:])
    places = down[:, None] % lags.shape[0], right[None, :] % lags.shape[1]
    np.add.at(lags, places, covariances[0])
    product = np.fft.ifft2(np.fft.fft2(lags) * np.fft.fft2(images[0])).real
    return product[None] + NOISE * images


@pytest.mark.parametrize("grid", [(7, 6), (6, 9)])
def test_where_sides_are_neighbours_it_is_the_inverse(x64, grid):
    covariances = table(kernels.gaussian(1.0), grid)
    images = images_like(grid)
    divide = grid_inverse.inverse(covariances, NOISE, grid, circular=True)
    np.testing.assert_allclose(
        divide(around(covariances, images)), images, rtol=0, atol=1e-10
    )


@pytest.mark.parametrize("grid", [(7, 6), (6, 9)])
def test_where_sides_are_mirrors_it_is_the_inverse(x64, grid):
    covariances = table(kernels.gaussian(1.0), grid)
    images = images_like(grid)
    rows = jnp.concatenate([images, images[:, ::-1]], axis=1)
    mirrored = jnp.concatenate([rows, rows[:, :, ::-1]], axis=2)
    product = around(covariances, mirrored)[:, : grid[0], : grid[1]]
    divide = grid_inverse.inverse(covariances, NOISE, grid, circular=False)
    np.testing.assert_allclose(divide(product), images, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    "through",
    [
        Decimation(2),
        Decimation(3),
        motion_blur(4, 30, "valid"),
        Composition((gaussian_blur(0.5), Decimation(2))),
    ],
    ids=["half", "a third", "motion", "blurred half"],
)
def test_away_from_borders_covariances_are_those_of_what_is_seen(x64, through):
    shape, covariance = (25, 24, 1), kernels.gaussian(1.0)
    matrix = matrix_of(through, shape)
    grid = through.output_shape(shape)[:2]
    expected = matrix @ covariance_matrix(covariance, shape[:2]) @ matrix.T
    middle = grid[0] // 2, grid[1] // 2
    row = expected[np.ravel_multi_index(middle, grid)].reshape(grid)
    found = table(covariance, shape[:2], stationary_filter(through))[0]
    down, right = (n // 2 for n in found.shape)
    near = np.s_[middle[0] - 1 : middle[0] + 2, middle[1] - 1 : middle[1] + 2]
    np.testing.assert_allclose(
        found[down - 1 : down + 2, right - 1 : right + 2], row[near], rtol=0, atol=1e-6
    )


def spread_of_eigenvalues(covariance, grid, divide):
    """Largest over smallest of the inverse times the matrix it approximates."""
    signal = covariance_matrix(covariance, grid)
    count = len(signal)
    columns = jnp.eye(count).reshape(count, *grid)
    inverse = np.asarray(divide(columns)).reshape(count, count)
    np.testing.assert_allclose(inverse, inverse.T, rtol=0, atol=1e-9)
    matrix = signal + NOISE[0] * np.eye(count)
    sizes = np.linalg.eigvals(inverse @ matrix).real
    assert sizes.min() > 0
    return sizes.max() / sizes.min()


def test_mirrors_fit_smooth_fields_better_than_neighbours(x64):
    grid, covariance = (12, 10), kernels.gaussian(1.5)
    covariances = table(covariance, grid, reach=20)
    mirrors, neighbours = (
        spread_of_eigenvalues(
            covariance, grid, grid_inverse.inverse(covariances, NOISE, grid, circular)
        )
        for circular in (False, True)
    )
    assert mirrors < 30
    assert neighbours > 300
