"""Fixed inputs: shapes, ranges, and covariances estimated over many channels."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dipgp import kernels
from dipgp.networks import gaussian_input, meshgrid_input, uniform_input

KEY = jax.random.key(0)


def covariance_with_error(x, lag):
    """Mean product of pixels a lag apart over pixels and channels, and its error.

    Channels are independent, so that their spread gives the standard error.
    """
    first = x[tuple(slice(0, n - r) for n, r in zip(x.shape, lag, strict=False))]
    second = x[tuple(slice(r, None) for r in lag)]
    products = np.asarray(first * second, np.float64)
    each = products.mean(axis=tuple(range(len(lag))))
    return each.mean(), each.std(ddof=1) / np.sqrt(each.size)


@functools.cache
def smoothed(grid, channels, sigma):
    """Smoothed noise, for NumPy, which compiles nothing for each lag."""
    return np.asarray(gaussian_input(KEY, grid, channels, sigma))


@pytest.mark.parametrize("sigma", [0.0, 0.4, 1.0, 2.5])
@pytest.mark.parametrize("lag", [(0, 0), (1, 0), (0, 2), (2, 3), (6, 0), (12, 12)])
def test_smoothed_noise_has_the_gaussian_covariance(sigma, lag):
    x = smoothed((40, 30), 64, sigma)
    expected = kernels.gaussian(sigma)(np.array([lag], np.float32))[0]
    found, error = covariance_with_error(x, lag)
    assert error < 0.03
    assert abs(found - expected) < 4 * error


def test_the_covariance_of_smoothed_signals_is_that_of_the_kernel():
    x = smoothed((400,), 200, 3.0)
    for lag in (0, 2, 5, 20):
        found, error = covariance_with_error(x, (lag,))
        assert abs(found - np.exp(-(lag**2) / 36)) < 4 * error


def test_each_axis_may_have_its_own_width():
    x = smoothed((40, 40), 64, (0.0, 2.0))
    for lag, expected in (((1, 0), 0.0), ((0, 1), np.exp(-1 / 16))):
        found, error = covariance_with_error(x, lag)
        assert abs(found - expected) < 4 * error


def test_opposite_borders_of_smoothed_noise_know_nothing_of_each_other():
    x = np.asarray(gaussian_input(KEY, (40,), 2000, 2.0))
    products = x[0] * x[-1]
    assert abs(products.mean()) < 4 * products.std() / np.sqrt(2000)


def test_smoothed_noise_is_normal():
    x = np.asarray(gaussian_input(KEY, (3,), 40_000, 1.5))
    fourth = x**4
    error = fourth.mean(axis=0).std() / np.sqrt(40_000)
    assert abs(fourth.mean() - 3) < 4 * error


def test_uniform_noise_fills_its_range_evenly():
    x = np.asarray(uniform_input(KEY, (50, 40)))
    assert x.shape == (50, 40, 32)
    assert x.min() >= 0
    assert x.max() < 0.1
    shares = np.histogram(x, 10, (0, 0.1))[0] / x.size
    np.testing.assert_allclose(shares, 0.1, atol=4 * np.sqrt(0.09 / x.size))


def test_the_scale_of_uniform_noise_is_its_upper_end():
    x = uniform_input(KEY, (50,), channels=3, scale=2.0)
    assert x.shape == (50, 3)
    np.testing.assert_array_equal(x, 2 * uniform_input(KEY, (50,), 3, 1.0))


def test_coordinates_run_from_0_to_1_across_the_image():
    x = meshgrid_input((3, 5))
    rows, columns = np.indices((3, 5))
    np.testing.assert_allclose(x, np.stack([columns / 4, rows / 2], axis=-1))


def test_coordinates_of_a_signal_and_of_a_single_pixel():
    np.testing.assert_allclose(meshgrid_input((3,)), [[0], [0.5], [1]])
    np.testing.assert_array_equal(meshgrid_input((1, 1)), np.zeros((1, 1, 2)))


def test_a_key_gives_the_same_input_again_and_another_key_another():
    for draw in (uniform_input, lambda *a: gaussian_input(*a, 4, 1.5)):
        first, again = draw(KEY, (8, 8)), draw(KEY, (8, 8))
        np.testing.assert_array_equal(first, again)
        assert np.all(first != draw(jax.random.key(1), (8, 8)))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_precision_is_that_asked_for(x64, dtype):
    assert uniform_input(KEY, (4, 4), dtype=dtype).dtype == dtype
    assert gaussian_input(KEY, (4, 4), 2, 1.5, dtype=dtype).dtype == dtype
    assert meshgrid_input((4, 4), dtype=dtype).dtype == dtype


@pytest.mark.parametrize(
    ("named", "make"),
    [
        ("grid", lambda: uniform_input(KEY, (0, 4))),
        ("grid", lambda: uniform_input(KEY, (4, 4, 4))),
        ("grid", lambda: meshgrid_input((2.5,))),
        ("channels", lambda: uniform_input(KEY, (4, 4), channels=0)),
        ("scale", lambda: uniform_input(KEY, (4, 4), scale=0.0)),
        ("sigma", lambda: gaussian_input(KEY, (4, 4), 2, -1.0)),
        ("sigma", lambda: gaussian_input(KEY, (4, 4), 2, np.nan)),
        ("sigma", lambda: gaussian_input(KEY, (4, 4), 2, (1.0, 2.0, 3.0))),
    ],
)
def test_errors_name_the_argument(named, make):
    with pytest.raises(ValueError, match=f"^{named}: expected"):
        make()
