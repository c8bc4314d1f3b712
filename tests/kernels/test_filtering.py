import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dipgp import kernels

CROOKED = np.array([[0.0, 0.3, 0.1], [0.2, 0.5, -0.4]])
PRIOR = kernels.bias(kernels.matern(1.5, 2.0), 0.3)


def covariance_of_samples(covariance, taps, stride, lags):
    """Between samples of a filter so many samples apart, tap by tap."""
    where = np.argwhere(np.ones(taps.shape))
    apart = where[:, None] - where[None]
    weights = taps.ravel()[:, None] * taps.ravel()[None]
    return np.array(
        [np.sum(weights * covariance(stride * lag + apart)) for lag in lags]
    )


@pytest.mark.parametrize("stride", [1, 3])
@pytest.mark.parametrize(
    "taps",
    [CROOKED, np.ones((2, 2)) / 4, np.array([0.5, 1.0, -0.2])],
    ids=["crooked", "block", "signal"],
)
def test_it_is_the_covariance_of_sums_over_the_taps(x64, taps, stride):
    steps = np.arange(-4.0, 5.0)
    lags = np.stack(np.meshgrid(*[steps] * taps.ndim, indexing="ij"), -1)
    lags = lags.reshape(-1, taps.ndim)
    found = kernels.filtered(PRIOR, taps, stride)
    expected = covariance_of_samples(PRIOR, taps, stride, lags)
    np.testing.assert_allclose(found(lags), expected, rtol=1e-10)
    traced = jax.jit(found)(jnp.asarray(lags))
    np.testing.assert_allclose(traced, expected, rtol=1e-10)


def test_variance_sill_and_variogram_belong_together(x64):
    found = kernels.filtered(PRIOR, CROOKED, 2)
    lags = np.array([[0.0, 0.0], [1.0, 0.0], [-2.0, 1.0]])
    moments = found.moments(lags)
    np.testing.assert_allclose(moments.variance, found(lags)[0])
    np.testing.assert_allclose(
        moments.variance - moments.sill, 0.3 * CROOKED.sum() ** 2, rtol=1e-6
    )
    assert moments.variogram[0] == 0
    np.testing.assert_allclose(moments.variance - moments.variogram, found(lags))


@pytest.mark.parametrize("factor", [2, 3])
def test_means_of_blocks_are_average_pooling(x64, factor):
    taps = np.full((factor, factor), factor**-2.0)
    lags = kernels.lag_grid((6, 5))
    np.testing.assert_allclose(
        kernels.filtered(PRIOR, taps, factor)(lags),
        kernels.downsample(PRIOR, factor, "average")(lags),
        rtol=1e-12,
    )


def test_small_differences_survive_in_32_bits():
    k = kernels.bias(kernels.gaussian(20.0), 1e4)
    lags = np.array([[0.0, 1.0], [3.0, 2.0]], np.float32)
    taps = np.full((3, 3), 1 / 9)
    found = kernels.filtered(k, taps).moments(lags).variogram
    with jax.enable_x64(True):
        expected = kernels.filtered(k, taps).moments(lags.astype(np.float64)).variogram
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("taps", "stride", "message"),
    [
        (np.ones((1, 1, 1)), 1, r"taps: expected shape \(L,\) or \(K, L\)"),
        ([0.0, 0.0], 1, "taps: expected finite numbers"),
        ([1.0, np.nan], 1, "taps: expected finite numbers"),
        ([1.0], 0, "stride: expected a whole number"),
    ],
    ids=["axes", "nothing", "not a number", "stride"],
)
def test_bad_filters_are_named(taps, stride, message):
    with pytest.raises(ValueError, match=message):
        kernels.filtered(PRIOR, taps, stride)


def test_lags_have_the_axes_of_the_taps():
    with pytest.raises(ValueError, match=r"lags: expected shape \(\.\.\., 2\)"):
        kernels.filtered(PRIOR, CROOKED)(np.zeros((3, 1)))


def test_wide_filters_are_those_of_direct_sums(x64, monkeypatch):
    taps = np.ones((5, 7)) / 35
    lags = np.array([[0, 0], [3, -2], [6, 6]])
    expected = kernels.filtered(PRIOR, taps)(lags)
    monkeypatch.setattr("dipgp.kernels.filtering.MOST_DIRECT", 0)
    np.testing.assert_allclose(kernels.filtered(PRIOR, taps)(lags), expected, 1e-12)
