import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage, special

from dipgp import kernels

LAGS = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, -2.0], [3.0, 4.0], [0.25, 1.5]])


def filtered_noise(sigma, lag):
    """Correlation of white noise behind a Gaussian filter with taps on the pixels."""
    pulse = np.zeros(801)
    pulse[400] = 1
    taps = ndimage.gaussian_filter1d(pulse, sigma, truncate=12.0)
    return np.sum(taps * np.roll(taps, lag)) / np.sum(taps**2)


def test_white_noise_is_uncorrelated_between_pixels():
    np.testing.assert_array_equal(kernels.white()(LAGS), [1, 0, 0, 0, 0])
    np.testing.assert_array_equal(kernels.white()(LAGS[:, :1]), [1, 0, 1, 0, 0])


def test_gaussian_is_the_formula_of_its_docstring(x64):
    expected = np.exp(-np.sum(LAGS**2, axis=-1) / (4 * 2.5**2))
    np.testing.assert_allclose(kernels.gaussian(sigma=2.5)(LAGS), expected, rtol=1e-15)


def test_gaussian_may_have_a_width_for_each_axis(x64):
    expected = np.exp(-(LAGS[:, 0] ** 2) / (4 * 9) - LAGS[:, 1] ** 2 / (4 * 0.25))
    for sigma in ([3.0, 0.5], (3, 0.5), np.array([3.0, 0.5])):
        found = kernels.gaussian(np.asarray(sigma))(LAGS)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize(("sigma", "error"), [(1.0, 2.5e-4), (1.5, 1e-8), (4.0, 1e-12)])
def test_gaussian_is_the_correlation_of_filtered_noise_from_sigma_one_on(
    x64, sigma, error
):
    kernel = kernels.gaussian(sigma)
    for lag in range(8):
        expected = filtered_noise(sigma, lag)
        assert float(kernel([lag * 1.0, 0.0])) == pytest.approx(expected, abs=error)


def test_taps_on_pixels_miss_odd_lags_of_narrow_filters(x64):
    kernel = kernels.gaussian(0.5)
    for lag, excess in [(1, 0.29), (2, 0.0)]:
        found = filtered_noise(0.5, lag) / kernel([float(lag)]) - 1
        assert found == pytest.approx(-excess, abs=5e-3)


def test_gaussian_without_a_width_is_white_noise():
    for zero in (0, 0.0, np.zeros(2)):
        np.testing.assert_array_equal(kernels.gaussian(zero)(LAGS), [1, 0, 0, 0, 0])


def test_gaussian_keeps_the_digits_of_short_lags():
    variogram = kernels.gaussian(sigma=1e3).moments(np.array([[1e-2]], np.float32))[2]
    np.testing.assert_allclose(variogram, 2.5e-11, rtol=1e-6)


def test_rbf_is_gaussian_by_another_width(x64):
    expected = np.exp(-np.sum(LAGS**2, axis=-1) / (2 * 1.7**2))
    np.testing.assert_allclose(kernels.rbf(lengthscale=1.7)(LAGS), expected, rtol=1e-14)
    same = kernels.gaussian(1.7 / math.sqrt(2))
    np.testing.assert_allclose(same(LAGS), expected, rtol=1e-14)


@pytest.mark.parametrize("nu", [0.5, 1.5, 2.5])
def test_matern_is_the_bessel_function_of_its_definition(x64, nu):
    distance = np.linalg.norm(LAGS[1:] / 1.3, axis=-1) * math.sqrt(2 * nu)
    factor = 2 ** (1 - nu) / special.gamma(nu)
    expected = factor * distance**nu * special.kv(nu, distance)
    found = kernels.matern(nu, 1.3)(LAGS)
    np.testing.assert_allclose(found[1:], expected, rtol=1e-13)
    assert found[0] == 1


@pytest.mark.parametrize("nu", [0.5, 1.5, 2.5])
def test_matern_stretches_with_its_axes(x64, nu):
    found = kernels.matern(nu, np.array([2.0, 0.5]))(LAGS)
    expected = kernels.matern(nu, 1.0)(LAGS / np.array([2.0, 0.5]))
    np.testing.assert_allclose(found, expected, rtol=1e-14)


@pytest.mark.parametrize(("nu", "rise"), [(0.5, 1.0), (1.5, 1.5), (2.5, 5 / 6)])
def test_matern_leaves_zero_lag_as_its_smoothness_says(x64, nu, rise):
    power = 1 if nu == 0.5 else 2
    variogram = kernels.matern(nu, 1.0).moments(np.array([[1e-3]])).variogram
    assert float(variogram[0]) == pytest.approx(rise * 1e-3**power, rel=3e-3)


def test_a_constant_is_the_same_at_every_lag():
    np.testing.assert_array_equal(kernels.constant(0.75)(LAGS), np.full(5, 0.75))
    np.testing.assert_array_equal(kernels.constant(0.0)(LAGS), np.zeros(5))


def test_uniform_noise_has_a_third_and_a_quarter(x64):
    found = kernels.uniform(0.0, 1.0)(LAGS)
    np.testing.assert_allclose(found, [1 / 3, 1 / 4, 1 / 4, 1 / 4, 1 / 4], rtol=1e-15)
    correlation = kernels.normalize(kernels.uniform())(LAGS)
    np.testing.assert_allclose(correlation[1:], 0.75, rtol=1e-14)


def test_uniform_noise_has_the_second_moments_of_its_draws():
    count = 200_000
    draws = np.random.default_rng(0).uniform(-0.5, 2.0, (2, count))
    for lag, other in [(0.0, 0), (1.0, 1)]:
        products = draws[0] * draws[other]
        error = products.std() / math.sqrt(count)
        expected = float(kernels.uniform(-0.5, 2.0)([lag]))
        assert products.mean() == pytest.approx(expected, abs=4 * error)


def test_uniform_noise_loses_its_mean_in_batch_norm():
    found = kernels.batch_norm(kernels.uniform())(LAGS)
    np.testing.assert_allclose(found, [1, 0, 0, 0, 0], atol=1e-6)


@pytest.mark.parametrize("kernel", [kernels.gaussian, kernels.rbf])
def test_widths_have_gradients_also_when_they_are_traced(x64, kernel):
    value = lambda width: kernel(width)(np.array([2.0, 1.0]))  # noqa: E731
    step = 1e-6
    difference = (value(1.5 + step) - value(1.5 - step)) / (2 * step)
    for mode in (jax.grad, jax.jacfwd):
        assert jax.jit(mode(value))(1.5) == pytest.approx(float(difference), rel=1e-8)


def test_matern_lengthscales_have_gradients_also_at_zero_lag(x64):
    value = lambda width, lag: kernels.matern(0.5, width)(jnp.stack([lag]))  # noqa: E731
    slope = jax.jit(jax.grad(value, argnums=(0, 1)))
    assert slope(2.0, 0.0) == (0, 0)
    assert slope(2.0, 1.0)[0] == pytest.approx(math.exp(-0.5) / 4, rel=1e-12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: kernels.gaussian(-1.0), "sigma: expected finite numbers >= 0, got -1"),
        (lambda: kernels.gaussian(math.nan), "sigma: .* got nan"),
        (lambda: kernels.gaussian(np.array([1.0, 0.0])), "sigma: .*positive"),
        (lambda: kernels.rbf(0.0), r"lengthscale: .*positive numbers, got 0\.0"),
        (
            lambda: kernels.matern(1.0, 2.0),
            r"nu: expected 0\.5, 1\.5 or 2\.5, got 1\.0",
        ),
        (lambda: kernels.matern(0.5, -2.0), "lengthscale: .*positive"),
        (lambda: kernels.constant(-0.1), r"variance: .*>= 0, got -0\.1"),
        (lambda: kernels.uniform(0.1, 0.1), "low, high: expected low < high"),
        (
            lambda: kernels.uniform(0.0, math.inf),
            "high: expected finite numbers, got inf",
        ),
        (lambda: kernels.uniform(0.0, 1e9), "low, high: expected squares .* 0.0, 10"),
        (lambda: kernels.uniform(0.0, 1e-300), "low, high: expected squares .* 1e-300"),
    ],
)
def test_parameters_out_of_range_are_refused_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "make", [kernels.gaussian, kernels.rbf, lambda width: kernels.matern(0.5, width)]
)
def test_widths_that_do_not_match_the_axes_are_refused(make):
    kernel = make(np.array([1.0, 2.0, 3.0]))
    with pytest.raises(ValueError, match=r"one number for each of 2 axes, got .*3"):
        kernel(LAGS)
