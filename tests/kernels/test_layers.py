import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from example_kernels import smooth

from dipgp import kernels

LAGS = kernels.lag_grid((6, 5), np.float64)
NARROW = kernels.gaussian(sigma=0.8)


def test_weights_scale_and_biases_lift(x64):
    found = kernels.bias(kernels.scale(smooth(), 2.0), variance=0.1)(LAGS)
    np.testing.assert_allclose(found, 2 * smooth()(LAGS) + 0.1, rtol=1e-15)


def test_a_bias_leaves_differences_between_pixels_alone():
    moments = smooth().moments(LAGS.astype(np.float32))
    lifted = kernels.bias(smooth(), 1e6).moments(LAGS.astype(np.float32))
    np.testing.assert_array_equal(lifted.variogram, moments.variogram)
    assert lifted.sill == moments.sill


def test_weights_without_variance_leave_nothing():
    np.testing.assert_array_equal(kernels.scale(smooth(), 0.0)(LAGS), np.zeros((6, 5)))


@pytest.mark.parametrize("rule", [kernels.add, kernels.skip])
def test_sums_of_independent_fields_add_their_covariances(x64, rule):
    found = rule(
        smooth(), kernels.relu(smooth()), lambda lags: jnp.ones(lags.shape[:-1])
    )
    expected = smooth()(LAGS) + kernels.relu(smooth())(LAGS) + 1
    np.testing.assert_allclose(found(LAGS), expected, rtol=1e-14)


def test_concatenated_channels_are_averaged_by_their_number(x64):
    found = kernels.concat([kernels.white(), smooth()], channels=[4, 128])(LAGS)
    expected = (4 * kernels.white()(LAGS) + 128 * smooth()(LAGS)) / 132
    np.testing.assert_allclose(found, expected, rtol=1e-14)


def test_shares_of_channels_may_be_hyperparameters(x64):
    def at_one_lag(first, second):
        branches = [kernels.white(), smooth()]
        return kernels.concat(branches, channels=[first, second])(np.array([1.0, 0.0]))

    level = float(smooth()(np.array([1.0, 0.0])))
    slopes = jax.jit(jax.grad(at_one_lag, argnums=(0, 1)))(1.0, 3.0)
    np.testing.assert_allclose(slopes, [-3 / 16 * level, 1 / 16 * level], rtol=1e-12)


def test_normalised_covariances_are_correlations(x64):
    kernel = kernels.bias(kernels.scale(smooth(), 3.0), 2.0)
    found = kernels.normalize(kernel)(LAGS)
    np.testing.assert_allclose(found, kernel(LAGS) / 5, rtol=1e-14)
    assert kernels.variance(kernels.normalize(kernel)) == 1


def test_batch_norm_removes_mean_and_scale(x64):
    kernel = kernels.relu(smooth())
    changed = kernels.bias(kernels.scale(kernel, 7.0), 3.0)
    expected = kernels.batch_norm(kernel)(LAGS)
    np.testing.assert_allclose(kernels.batch_norm(changed)(LAGS), expected, rtol=1e-13)
    assert kernels.variance(kernels.batch_norm(changed)) == 1


def test_batch_norm_as_its_formula_says(x64):
    kernel = kernels.relu(kernels.scale(smooth(), 2.0))
    level = 1 / math.pi  # a ReLU's squared mean, K(0) / (2 pi), K(0) being 2
    expected = (kernel(LAGS) - level) / (1 - level)
    found = kernels.batch_norm(kernel)(LAGS)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)
    expected = (kernel(LAGS) - level) / (1 - level + 0.25)
    found = kernels.batch_norm(kernel, epsilon=0.25)(LAGS)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)


def test_batch_norm_leaves_white_noise_as_it_is():
    np.testing.assert_array_equal(
        kernels.batch_norm(kernels.white())(LAGS), kernels.white()(LAGS)
    )


def test_batch_norm_on_a_large_torus_is_centring_and_scaling(x64):
    size = 4096
    values = np.asarray(kernels.relu(NARROW)(kernels.lag_grid((size,))))
    centred = values - values.mean()
    found = kernels.batch_norm(kernels.relu(NARROW))(kernels.lag_grid((size,)))
    np.testing.assert_allclose(found, centred / centred[0], rtol=0, atol=3 / size)


@pytest.mark.parametrize(
    ("rule", "at_zero", "at_one"),
    [
        (kernels.relu, 0.7335, 1.467),
        (lambda k: kernels.leaky_relu(k, 0.2), 0.861, 1.244),
        (lambda k: kernels.erf(k, scale=1.0), 0.914, 1.226),
    ],
    ids=["relu", "leaky relu", "erf"],
)
def test_batch_norm_shortens_correlations(x64, rule, at_zero, at_one):
    def correlation(before):
        # Two lags: at the first the correlation is as asked for, far away it is 0.
        kernel = lambda lags: jnp.where(  # noqa: E731
            lags[..., 0] == 0, 1.0, jnp.where(lags[..., 0] < 2, before, 0.0)
        )
        return float(kernels.batch_norm(rule(kernel))([1.0]))

    step = 1e-5
    assert correlation(step) / step == pytest.approx(at_zero, rel=2e-3)
    assert (1 - correlation(1 - step)) / step == pytest.approx(at_one, rel=1e-2)


@pytest.mark.parametrize("rule", [kernels.normalize, kernels.batch_norm])
def test_fields_without_variance_stay_so_with_finite_gradients(rule):
    def values(variance):
        return rule(kernels.scale(smooth(), variance))(np.zeros((2, 2)))

    np.testing.assert_array_equal(values(0.0), [0, 0])
    for mode in (jax.jacrev, jax.jacfwd):
        assert np.isfinite(mode(values)(0.0)).all()


def test_a_constant_does_not_survive_batch_norm():
    found = kernels.batch_norm(kernels.constant(2.0), epsilon=1e-5)(LAGS)
    np.testing.assert_array_equal(found, np.zeros((6, 5)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: kernels.scale(smooth(), -1.0), r"factor: .*>= 0, got -1\.0"),
        (lambda: kernels.scale(smooth(), math.nan), "factor: .* nan"),
        (lambda: kernels.bias(smooth(), -0.1), r"variance: .*>= 0, got -0\.1"),
        (lambda: kernels.batch_norm(smooth(), -1e-5), "epsilon: .*>= 0"),
        (lambda: kernels.add(), "covariances: expected at least one, got none"),
        (lambda: kernels.skip(), "covariances: expected at least one, got none"),
        (lambda: kernels.concat([], []), "channels: .* got 0 for 0 branches"),
        (lambda: kernels.concat([smooth()], [1, 2]), "channels: .* 2 for 1 branches"),
        (
            lambda: kernels.concat([smooth()] * 2, [1, 0]),
            "channels: .*positive.* got 0",
        ),
    ],
)
def test_what_no_layer_does_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("rule", [kernels.normalize, kernels.relu, kernels.batch_norm])
def test_rules_refuse_what_is_no_covariance(rule):
    with pytest.raises(TypeError, match="expected a function of lags"):
        rule(1.0)
