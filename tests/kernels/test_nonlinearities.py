import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from example_kernels import Ramp, smooth
from gaussian_expectations import ErrorFunction, LeakyRectifier, Sign, expectation

from dipgp import kernels
from dipgp.kernels import nonlinearities

# Correlations 1, 1 - 1e-12, ..., 0, ..., -1 + 1e-12, -1.
NEAR = 2 * math.asin(math.sqrt(0.5e-12))
ANGLES = np.array(
    [0, NEAR, 1e-3, 0.3, 0.5, 1.2, math.pi / 2, 2.5, math.pi - NEAR, math.pi]
)
VARIANCES = [0.02, 1.7, 4.0]
RULES = {
    "relu": (kernels.leaky_relu, LeakyRectifier(0.0)),
    "leaky relu 0.2": (kernels.leaky_relu, LeakyRectifier(0.2)),
    "leaky relu -0.7": (kernels.leaky_relu, LeakyRectifier(-0.7)),
    "absolute value": (kernels.leaky_relu, LeakyRectifier(-1.0)),
    "identity": (kernels.leaky_relu, LeakyRectifier(1.0)),
    "erf 0.1": (kernels.erf, ErrorFunction(0.1)),
    "erf 1": (kernels.erf, ErrorFunction(1.0)),
    "erf 2": (kernels.erf, ErrorFunction(2.0)),
}


def variogram_at(angle, variance):
    """K(0) - K(r), without cancellation next to correlation 1."""
    return 2 * variance * np.square(np.sin(angle / 2))


def angle_at(variogram, variance):
    """arccos of the correlation, next to correlation -1 as exactly as next to 1."""
    g, rest = np.float64(variogram), 2 * np.float64(variance) - variogram
    near = 2 * np.arcsin(np.sqrt(np.minimum(g, variance) / (2 * variance)))
    far = 2 * np.arcsin(np.sqrt(np.minimum(rest, variance) / (2 * variance)))
    return np.where(g < variance, near, np.pi - far)


def sign(covariance, _):
    return kernels.erf(covariance)


@functools.partial(jax.jit, static_argnums=0)
def evaluate(rule, parameter, variance, variogram):
    """K' where K(0) and K(0) - K(r) are given."""
    lags = jnp.reshape(variogram, (-1, 1))
    after = rule(Ramp(variance), parameter)(lags)
    return jnp.reshape(after, jnp.shape(variogram))


def gradients(rule, parameter, variance, variogram):
    """Slopes of K' by the rule's parameter, K(0), and K(0) - K(r), in either mode."""
    return [
        jax.vmap(mode(evaluate, argnums=(1, 2, 3)), in_axes=(None, None, None, 0))(
            rule, parameter, variance, variogram
        )
        for mode in (jax.jacrev, jax.jacfwd)
    ]


def product(activation):
    return lambda u, v: activation.value(u) * activation.value(v)


@pytest.mark.parametrize("variance", VARIANCES)
@pytest.mark.parametrize("name", RULES)
def test_each_rule_is_the_gaussian_expectation(x64, name, variance):
    rule, activation = RULES[name]
    g = variogram_at(ANGLES, variance)
    found = evaluate(rule, activation.parameter, variance, g)
    expected = [expectation(product(activation), variance, a) for a in ANGLES]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * expected[0])


@pytest.mark.parametrize("variance", VARIANCES)
@pytest.mark.parametrize("name", RULES)
def test_each_rule_in_single_precision_is_right_to_its_rounding(name, variance):
    rule, activation = RULES[name]
    q = np.float32(variance)
    g = variogram_at(ANGLES, np.float64(q)).astype(np.float32)
    found = evaluate(rule, np.float32(activation.parameter), q, g)
    assert found.dtype == np.float32
    angles = angle_at(g, np.float64(q))
    expected = [expectation(product(activation), np.float64(q), a) for a in angles]
    np.testing.assert_allclose(found, expected, rtol=0, atol=4e-7 * expected[0])


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(np.float64, 1e-9), (np.float32, 2e-6)]
)
@pytest.mark.parametrize("name", RULES)
def test_each_rule_keeps_the_digits_of_the_variogram(x64, name, dtype, tolerance):
    rule, activation = RULES[name]
    g = variogram_at(ANGLES[1:-2], 1.5).astype(dtype)
    inner = Ramp(jnp.asarray(1.5, dtype))
    parameter = jnp.asarray(activation.parameter, dtype)
    found = rule(inner, parameter).moments(g[:, None]).variogram
    assert found.dtype == dtype

    def half_square(u, v):
        return np.square(activation.value(u) - activation.value(v)) / 2

    expected = [expectation(half_square, 1.5, angle) for angle in angle_at(g, 1.5)]
    np.testing.assert_allclose(found, expected, rtol=tolerance)


@pytest.mark.parametrize("name", RULES)
def test_the_gradients_of_each_rule_are_gaussian_expectations(x64, name):
    rule, activation = RULES[name]
    variance = 1.7
    g = variogram_at(ANGLES, variance)

    def slope_product(u, v):
        return activation.derivative(u) * activation.derivative(v)

    def along_rays(u, v):  # d/dq at constant correlation, where u and v go as sqrt(q)
        first = u * activation.derivative(u) * activation.value(v)
        second = v * activation.derivative(v) * activation.value(u)
        return (first + second) / (2 * variance)

    def parameter_change(u, v):
        first = activation.by_parameter(u) * activation.value(v)
        return first + activation.by_parameter(v) * activation.value(u)

    changes = (parameter_change, along_rays, slope_product)
    expected = np.array(
        [[expectation(change, variance, a) for a in ANGLES] for change in changes]
    )

    for found in gradients(rule, activation.parameter, variance, g):
        by_parameter, by_variance, by_g = found
        found = np.array([by_parameter, by_variance + by_g * g / variance, -by_g])
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


def test_erf_without_a_scale_is_the_expectation_of_signs(x64):
    g = variogram_at(ANGLES, 1.7)
    found = kernels.erf(Ramp(1.7))(g[:, None])
    expected = [expectation(product(Sign()), 1.7, a) for a in angle_at(g, 1.7)]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13)


def test_the_rule_of_signs_has_a_finite_gradient_and_none_at_zero_lag(x64):
    angles = np.array([0, 1e-3, 0.3, math.pi / 2, 3.0, math.pi])
    g = variogram_at(angles, 1.7)
    inside = 2 / math.pi / (1.7 * np.sin(angles[1:-1]))
    for _, by_variance, by_g in gradients(sign, 0.0, 1.7, g):
        np.testing.assert_allclose(by_g[1:-1], -inside, rtol=1e-9)
        np.testing.assert_allclose(by_variance[1:-1], inside * g[1:-1] / 1.7, rtol=1e-9)
        assert np.isfinite(by_variance).all()
        assert np.isfinite(by_g).all()
        assert by_g[0] == by_variance[0] == 0


@pytest.mark.parametrize("name", RULES)
def test_a_field_without_variance_has_none_afterwards(name):
    rule, activation = RULES[name]
    values = evaluate(rule, activation.parameter, 0.0, np.zeros(1))
    np.testing.assert_allclose(values, 0, rtol=0, atol=1e-30)


@pytest.mark.parametrize("name", [*RULES, "sign"])
def test_a_field_without_variance_has_finite_gradients(name):
    rule, activation = RULES.get(name, (sign, Sign()))
    parameter = getattr(activation, "parameter", 0.0)
    for found in gradients(rule, parameter, 0.0, np.zeros(1)):
        assert np.isfinite(found).all()


def test_relu_as_the_paper_writes_it(x64):
    k = kernels.scale(smooth(), 1.7)
    lags = kernels.lag_grid((9, 8))
    t = np.arccos(np.minimum(k(lags) / 1.7, 1))
    expected = 1.7 / (2 * np.pi) * (np.sin(t) + (np.pi - t) * np.cos(t))
    np.testing.assert_allclose(kernels.relu(k)(lags), expected, rtol=1e-12)


def test_erf_as_the_paper_writes_it(x64):
    k = kernels.scale(smooth(), 1.7)
    lags = kernels.lag_grid((9, 8))
    expected = 2 / np.pi * np.arcsin(np.minimum(k(lags) / 1.7, 1))
    np.testing.assert_allclose(kernels.erf(k)(lags), expected, rtol=1e-12)


def test_erf_of_a_scale_as_williams_writes_it(x64):
    k = kernels.scale(smooth(), 1.7)
    lags = kernels.lag_grid((9, 8))
    expected = 2 / np.pi * np.arcsin(2 * 9 * k(lags) / (1 + 2 * 9 * 1.7))
    np.testing.assert_allclose(kernels.erf(k, scale=3.0)(lags), expected, rtol=1e-12)


@pytest.mark.parametrize("variance", [1.0, 0.3, 1e-12, 7e9])
def test_relu_halves_the_variance_exactly(variance):
    k = kernels.scale(kernels.white(), variance)
    assert kernels.variance(kernels.relu(k)) == kernels.variance(k) / 2


def test_the_sign_has_variance_one_exactly():
    assert kernels.variance(kernels.erf(kernels.scale(smooth(), 0.3))) == 1


@pytest.mark.parametrize("slope", [-2.0, 0.0, 0.2, 1.0])
def test_a_leaky_rectifier_keeps_half_of_one_plus_slope_squared(slope):
    k = kernels.scale(smooth(), 3.0)
    found = kernels.variance(kernels.leaky_relu(k, slope))
    assert found == pytest.approx(1.5 * (1 + slope**2), rel=1e-6)


def test_leaky_relu_lies_between_relu_and_the_identity(x64):
    lags = kernels.lag_grid((8, 8))
    k = smooth()
    np.testing.assert_array_equal(
        kernels.leaky_relu(k, 0.0)(lags), kernels.relu(k)(lags)
    )
    np.testing.assert_allclose(kernels.leaky_relu(k, 1.0)(lags), k(lags), rtol=1e-15)


def test_a_steep_erf_approaches_the_sign_as_slowly_as_stated(x64):
    g = 1.7 * np.array([[0.0], [0.4]])  # correlations 1 and 0.6
    gap = kernels.erf(Ramp(1.7))(g) - kernels.erf(Ramp(1.7), scale=50.0)(g)
    np.testing.assert_allclose(gap, [9.77e-3, 5.6e-5], rtol=0.01)


def test_a_flat_erf_is_linear(x64):
    lags = kernels.lag_grid((8,))
    found = kernels.erf(smooth(), scale=1e-4)(lags)
    np.testing.assert_allclose(found, 4e-8 / np.pi * smooth()(lags), rtol=1e-7)


@pytest.mark.parametrize("scale", [1.0, 1e3, 1e6])
@pytest.mark.parametrize("variance", [1e-6, 1.0, 1e6])
def test_erf_keeps_its_digits_however_steep(x64, scale, variance):
    def at(dtype):
        lags = kernels.lag_grid((16,), dtype)
        k = kernels.scale(kernels.gaussian(np.asarray(4.0, dtype)), dtype(variance))
        return np.asarray(kernels.erf(k, dtype(scale))(lags))

    single, double = at(np.float32), at(np.float64)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, double, rtol=0, atol=1e-6 * double[0])


@pytest.mark.parametrize("scale", [0.0, -1.0, math.nan])
def test_an_erf_scale_that_is_not_positive_is_refused(scale):
    with pytest.raises(ValueError, match="scale: expected finite positive number"):
        kernels.erf(smooth(), scale)


@pytest.mark.parametrize("slope", [math.nan, math.inf, -math.inf])
def test_a_slope_that_is_not_finite_is_refused(slope):
    with pytest.raises(ValueError, match="slope"):
        kernels.leaky_relu(smooth(), slope)


def test_the_angle_and_its_excess_at_the_ends(x64):
    g = jnp.asarray([0.0, 2.0, 4.0])
    q = jnp.asarray(2.0)
    angle = nonlinearities.arc_angle(g, q)
    np.testing.assert_allclose(angle, [0, np.pi / 2, np.pi], rtol=1e-15)
    excess = nonlinearities.arc_excess(g, q)
    np.testing.assert_allclose(excess, [0, 2, 2 * np.pi], rtol=1e-15, atol=1e-15)


def test_series_and_formula_of_the_excess_meet(x64):
    angles = np.array([0.49, 0.4999999, 0.5, 0.5000001, 0.51])
    found = nonlinearities.arc_excess(variogram_at(angles, 1.0), jnp.asarray(1.0))
    expected = np.sin(angles) - angles * np.cos(angles)
    np.testing.assert_allclose(found, expected, rtol=1e-13)
