"""The neural tangent kernel as a covariance: batch norm, numerics, JAX, errors."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from example_kernels import bell, smooth
from gaussian_expectations import ErrorFunction, LeakyRectifier, expectation

from dipgp import architecture, gp, kernels
from dipgp.architecture import (
    Architecture,
    BatchNorm,
    Convolution,
    Downsample,
    Erf,
    LeakyReLU,
    Linear,
    ReLU,
    Serial,
    Sum,
)

# The same number of lags in all tests: each rule is compiled once.
LAGS = np.arange(8.0)[:, None]
APART = np.array([[0.0], [0.5], [1.0], [3.0], [7.0], [20.0], [3e4], [1e5]])


def conv_net(depth, activation=None, **options):
    options = {"weight_variance": 1.3, "dimensions": 1} | options
    activation = ReLU() if activation is None else activation
    return architecture.conv_net(depth, activation=activation, **options)


def network(*layers, dimensions=1):
    return Architecture(Serial(layers), dimensions=dimensions)


# -- batch norm ----------------------------------------------------------------------


BEHIND = BatchNorm(0.1, affine=False)


def batch_norm_net(activation, affine, *more):
    layers = [Convolution(4), BatchNorm(0.0, affine), activation, *more]
    return network(*layers, Convolution(1, 1, weight_variance=1.5))


def nonlinearity(activation):
    if isinstance(activation, Erf):
        return ErrorFunction(activation.scale)
    return LeakyRectifier(activation.slope)


def test_batch_norm_centres_and_scales_the_tangents(x64):
    input = kernels.uniform(0.0, 1.0)
    layers = [Convolution(4, bias_variance=0.3), BatchNorm(0.1, affine=False)]
    found = kernels.ntk(network(*layers, Convolution(1)), input)(LAGS)
    # Both K and Theta behind a convolution of an untrained input are K(input) + 0.3.
    white = kernels.white()(LAGS)
    expected = 2 * white * (1 / 12) / (1 / 12 + 0.1)
    np.testing.assert_allclose(found, expected, atol=1e-14)


def test_shifts_add_one_and_scales_the_channels_covariance(x64):
    layers = [Convolution(4), BatchNorm(0.1), Convolution(1)]
    correlation = smooth()(LAGS) / 1.1
    expected = correlation + (correlation + correlation + 1)
    found = kernels.ntk(network(*layers), smooth())(LAGS)
    np.testing.assert_allclose(found, expected, rtol=1e-13)


@pytest.mark.parametrize("activation", [LeakyReLU(0.2), Erf(1.5)], ids=repr)
def test_parameters_of_batch_norm_pass_through_the_non_linearity(x64, activation):
    trained, fixed = (
        np.asarray(kernels.ntk(batch_norm_net(activation, a), smooth())(LAGS))
        for a in (True, False)
    )
    angles = np.arccos(np.minimum(np.asarray(smooth()(LAGS)), 1))
    rule = nonlinearity(activation)

    def change(u, v):  # of the shift, and of the scale
        return rule.derivative(u) * rule.derivative(v) * (1 + u * v)

    expected = [1.5 * expectation(change, 1.0, angle) for angle in angles]
    np.testing.assert_allclose(trained - fixed, expected, rtol=1e-9)


@pytest.mark.parametrize("activation", [LeakyReLU(0.2), Erf(1.5)], ids=repr)
def test_a_second_batch_norm_takes_away_what_follows_the_channel(x64, activation):
    trained, fixed = (
        np.asarray(kernels.ntk(batch_norm_net(activation, a, BEHIND), smooth())(LAGS))
        for a in (True, False)
    )
    h = nonlinearity(activation)
    changes = [h.derivative, lambda u: u * h.derivative(u)]  # of shift and scale
    correlations = np.append(np.asarray(smooth()(LAGS)), 0.0)

    def centred(first, second):
        """Cov(first(u), second(v)) by lag; far away u and v are independent."""
        both = [
            expectation(lambda u, v: first(u) * second(v), 1.0, np.arccos(min(rho, 1)))
            for rho in correlations
        ]
        return np.array(both[:-1]) - both[-1]

    channel = centred(h.value, h.value)
    total = np.zeros(len(LAGS))
    for change in changes:
        cross = centred(change, h.value)
        share = cross[0] / (channel[0] + 0.1)
        left = centred(change, change) - 2 * share * cross + share**2 * channel
        total += 1.5 * left / (channel[0] + 0.1)
    np.testing.assert_allclose(trained - fixed, total, rtol=1e-8, atol=1e-10)


def test_a_batch_norm_right_behind_another_undoes_its_parameters(x64):
    last = [BatchNorm(0.0, affine=False), Convolution(1)]
    both = network(Convolution(4), BatchNorm(0.0), *last)
    one = network(Convolution(4), *last)
    found, expected = (kernels.ntk(net, smooth())(LAGS) for net in (both, one))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)


# -- numerics ------------------------------------------------------------------------


# For 1 - rho from 2e-7 to 4e-6 at the input.
SHORT_LAGS = np.linspace(5e-4, 2e-3, 8)


@functools.cache
def near_correlation_one(dtype):
    """Theta and its variogram behind ten ReLU layers, at short lags."""
    with jax.enable_x64(dtype == np.float64):
        net = conv_net(10, weight_variance=2.0)
        lags = SHORT_LAGS[:, None].astype(dtype)
        moments = kernels.ntk(net, kernels.gaussian(sigma=dtype(0.5))).moments(lags)
        values = moments.variance - moments.variogram
        return np.asarray(values, np.float64), np.asarray(moments.variogram, np.float64)


def carrying_covariances(correlation, depth, dtype):
    """Theta from K itself, layer by layer; of half the size."""
    k = theta = dtype(correlation)
    pi = dtype(np.pi)
    for _ in range(depth):
        sine = np.sqrt((1 - k) * (1 + k))
        angle = np.arctan2(sine, k)
        k = (sine + (pi - angle) * k) / pi
        theta = k + (1 - angle / pi) * theta
    return float(theta)


def test_single_precision_holds_next_to_correlation_one():
    single, variogram = near_correlation_one(np.float32)
    double, exact = near_correlation_one(np.float64)
    np.testing.assert_allclose(single, double, rtol=1e-6)
    np.testing.assert_allclose(variogram, exact, rtol=5e-6)


def test_carrying_covariances_would_lose_two_digits():
    double, _ = near_correlation_one(np.float64)
    correlations = np.exp(-(SHORT_LAGS**2))
    exact = [2 * carrying_covariances(k, 10, np.float64) for k in correlations]
    np.testing.assert_allclose(exact, double, rtol=1e-9)
    plain = [2 * carrying_covariances(k, 10, np.float32) for k in correlations]
    assert np.abs(np.array(plain) / double - 1).max() > 2e-5


NETS = {
    "relu": conv_net(2, bias_variance=0.1),
    "hourglass": architecture.skip_net(
        1, channels_down=8, channels_up=8, output=Linear(), dimensions=1
    ),
    "erf": network(Convolution(4), BatchNorm(), Erf(1.5), BatchNorm(), Convolution(1)),
    "residual": network(
        Convolution(4),
        Sum([Serial(), Serial([Convolution(4), BatchNorm()])]),
        ReLU(),
        Downsample(2, "average"),
        BatchNorm(),
        Convolution(1),
    ),
}


every_net = pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow) if n == "hourglass" else n for n in NETS],
)


@every_net
def test_tangent_kernels_are_positive_semidefinite(x64, name):
    values = np.asarray(kernels.ntk(NETS[name], smooth())(LAGS / 2))
    matrix = scipy.linalg.toeplitz(values)
    assert np.linalg.eigvalsh(matrix)[0] >= -1e-13 * np.trace(matrix)


@every_net
def test_tangent_kernels_level_off_at_their_sill(x64, name):
    moments = kernels.ntk(NETS[name], smooth()).moments(APART)
    np.testing.assert_allclose(moments.variogram[-2:], moments.sill, rtol=1e-12)
    assert float(moments.variogram[0]) == 0


@every_net
def test_single_precision_agrees_with_double(name):
    def at(dtype):
        with jax.enable_x64(dtype == np.float64):
            kernel = kernels.ntk(NETS[name], kernels.gaussian(dtype(1.5)))
            return np.asarray(kernel(LAGS.astype(dtype)), np.float64)

    single, double = at(np.float32), at(np.float64)
    np.testing.assert_allclose(single, double, rtol=0, atol=2e-6 * double[0])


@every_net
def test_gradients_are_finite_at_lag_zero_and_right_elsewhere(x64, name):
    def values(sigma):
        return kernels.ntk(NETS[name], kernels.gaussian(sigma))(APART)

    reverse = jax.jit(jax.jacrev(values))(1.5)
    assert np.isfinite(reverse).all()
    step = 1e-5
    difference = (values(1.5 + step) - values(1.5 - step)) / (2 * step)
    scale = float(np.abs(difference).max())
    np.testing.assert_allclose(reverse, difference, rtol=1e-6, atol=1e-8 * scale)


@every_net
def test_tangent_kernels_go_through_jit_as_arguments(x64, name):
    kernel = kernels.ntk(NETS[name], smooth())
    found = jax.jit(lambda k: k(LAGS))(kernel)
    np.testing.assert_allclose(found, kernel(LAGS), rtol=1e-12)


def test_tangent_kernels_of_several_inputs_at_once(x64):
    def values(sigma):
        return kernels.ntk(NETS["relu"], kernels.gaussian(sigma))(LAGS)

    sigmas = jnp.array([0.7, 1.5])
    expected = np.stack([values(sigma) for sigma in sigmas])
    np.testing.assert_allclose(jax.vmap(values)(sigmas), expected, rtol=1e-12)


def test_each_hyperparameter_is_one_leaf_however_deep_the_residual_net():
    block = Sum([Serial(), Serial([Convolution(4), ReLU(), Convolution(4)])])
    counts = []
    for blocks in (8, 9, 10):
        kernel = kernels.ntk(network(Convolution(4), *[block] * blocks), smooth())
        counts.append(len(jax.tree.leaves(kernel)))
    assert counts[2] - counts[1] == counts[1] - counts[0] < 20


@pytest.mark.slow
def test_a_tangent_kernel_conditions_on_an_image_like_any_covariance():
    random = np.random.default_rng(0)
    image = random.normal(size=(12, 10)).astype(np.float32)
    kernel = kernels.ntk(conv_net(2, dimensions=2), smooth())
    posterior = gp.condition(kernel, values=image, noise_std=0.1)
    assert posterior.mean.shape == image.shape
    assert np.isfinite(posterior.mean).all()


def test_depth_scales_the_tangents_of_a_linear_network(x64):
    # With weights of variance 1, each of the layers adds K once.
    layers = [Convolution(4), Linear()] * 4
    net = network(*layers, Convolution(1))
    np.testing.assert_allclose(
        kernels.ntk(net, bell)(LAGS), 5 * smooth()(LAGS), rtol=1e-13
    )


def test_each_layer_adds_its_weights_and_biases_once(x64):
    layers = [
        Convolution(4, weight_variance=2.0, bias_variance=0.3),
        Convolution(1, weight_variance=1.5, bias_variance=0.2),
    ]
    hidden = 2 * np.asarray(smooth()(LAGS)) + 0.3
    # The last layer's own covariance, and what the first one's becomes by its weights.
    expected = (1.5 * hidden + 0.2) + 1.5 * hidden
    found = kernels.ntk(network(*layers), smooth())(LAGS)
    np.testing.assert_allclose(found, expected, rtol=1e-13)


def test_the_input_is_white_noise_unless_said_otherwise():
    found = kernels.ntk(conv_net(2))(LAGS)
    expected = kernels.ntk(conv_net(2), kernels.white())(LAGS)
    np.testing.assert_array_equal(found, expected)


# -- what cannot be read -------------------------------------------------------------


def test_an_erf_without_a_finite_scale_has_no_tangent_kernel():
    with pytest.raises(ValueError, match=r"net: Erf\(scale=inf\) jumps.*finite scale"):
        kernels.ntk(conv_net(1, Erf(math.inf)))


def test_a_layer_without_a_closed_form_is_named():
    with pytest.raises(ValueError, match=r"net: Sigmoid\(\) has no closed-form"):
        kernels.ntk(architecture.skip_net())


def test_two_non_linearities_in_a_row_are_refused():
    with pytest.raises(ValueError, match="follows another non-linearity"):
        kernels.ntk(network(Convolution(2), ReLU(), ReLU()))
