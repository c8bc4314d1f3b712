"""The neural tangent kernel against neural-tangents, and its own numerics."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from example_kernels import bell, smooth
from gaussian_expectations import ErrorFunction, LeakyRectifier, expectation

from benchmarks import neural_tangents_oracle as oracle
from dipgp import architecture, gp, kernels
from dipgp.architecture import (
    Architecture,
    BatchNorm,
    Concat,
    Convolution,
    Downsample,
    Erf,
    LeakyReLU,
    Linear,
    ReLU,
    Serial,
    Sum,
    Upsample,
)
from dipgp.kernels import slopes

ACTIVATIONS = [ReLU(), LeakyReLU(0.2), Erf(1.5)]


def conv_net(depth, activation=ReLU(), **options):
    options = {"weight_variance": 1.3, "dimensions": 1} | options
    return architecture.conv_net(depth, activation=activation, **options)


def network(*layers, dimensions=1):
    return Architecture(Serial(layers), dimensions=dimensions)


# -- against neural-tangents ---------------------------------------------------------


@pytest.fixture
def neural_tangents(x64):
    try:
        return oracle.load()
    except ImportError as error:
        pytest.skip(str(error))


def periodic(period):
    """A smooth covariance with the period of a torus on each axis."""

    def covariance(lags):
        turns = jnp.cos(2 * jnp.pi * lags / period) - 1
        return 1.7 * jnp.exp(2.0 * jnp.sum(turns, axis=-1))

    return kernels.as_covariance(covariance)


def compare(net, shape):
    """Every pair of pixels, to twelve digits of Theta at lag 0."""
    input = periodic(shape[0])
    dense = oracle.dense_tangent(net, input, shape)
    size = round(len(dense) ** (1 / len(shape)))
    pixels = np.stack(np.indices((size,) * len(shape)), axis=-1).reshape(len(dense), -1)
    lags = (pixels[None] - pixels[:, None]).astype(float)
    found = np.asarray(kernels.ntk(net, input)(lags))
    np.testing.assert_allclose(found, dense, rtol=0, atol=1e-12 * dense.max())


@pytest.mark.oracle
@pytest.mark.parametrize("bias_variance", [0.0, 0.2], ids=["", "biases"])
@pytest.mark.parametrize("activation", ACTIVATIONS, ids=repr)
@pytest.mark.parametrize("depth", [1, 2, 3, 4, 10])
def test_conv_nets_on_a_circle(neural_tangents, depth, activation, bias_variance):
    compare(conv_net(depth, activation, bias_variance=bias_variance), (12,))


@pytest.mark.oracle
def test_conv_nets_on_a_torus(neural_tangents):
    compare(conv_net(3, LeakyReLU(-0.5), bias_variance=0.1, dimensions=2), (6, 6))


@pytest.mark.oracle
@pytest.mark.parametrize("shape", [(24,), (8, 8)], ids=str)
def test_nets_that_lower_the_resolution(neural_tangents, shape):
    layers = [
        Convolution(4, stride=2, weight_variance=2.0, bias_variance=0.2),
        ReLU(),
        Convolution(4),
        Downsample(2, "average"),
        Erf(1.0),
        Convolution(1, 1),
    ]
    compare(network(*layers, dimensions=len(shape)), shape)


@pytest.mark.oracle
@pytest.mark.parametrize("blocks", [1, 3])
def test_residual_nets(neural_tangents, blocks):
    branch = [Convolution(4, bias_variance=0.1), ReLU(), Convolution(4)]
    block = Sum([Serial(), Serial(branch)])
    layers = [Convolution(4), *[block] * blocks, Erf(1.0), Convolution(1, 1)]
    compare(network(*layers), (12,))


@pytest.mark.oracle
def test_sums_of_branches_with_different_layers(neural_tangents):
    branches = [
        Serial([ReLU(), Convolution(4), Downsample(2, "average")]),
        Serial([Convolution(4, 1), LeakyReLU(0.1), Convolution(4, 3, 2)]),
        Convolution(4, 3, 2, bias_variance=0.3),
    ]
    layers = [Convolution(4), Sum(branches), Linear(), ReLU(), Convolution(1)]
    compare(network(*layers), (16,))


@pytest.mark.oracle
def test_concatenated_branches_weigh_by_their_channels(neural_tangents):
    branches = [
        Serial([Convolution(2, weight_variance=3.0), ReLU()]),
        Serial([Convolution(6, 1), Erf(1.0), Convolution(6), LeakyReLU(0.2)]),
    ]
    layers = [Concat(branches), Convolution(4, weight_variance=1.5), ReLU()]
    compare(network(*layers, Convolution(1, bias_variance=0.2)), (12,))


@pytest.mark.oracle
@pytest.mark.parametrize("method", ["nearest", "bilinear"])
def test_up_sampling_is_the_mean_over_phases(neural_tangents, method):
    before = network(Convolution(4, bias_variance=0.1), ReLU(), Convolution(4))
    input, size, factor = periodic(8), 8, 2
    dense = oracle.dense_tangent(before, input, (size,))
    covariance = oracle.dense_covariance(before, input, (size,))
    operator = np.zeros((factor * size, size))
    for pixel in range(factor * size):
        coarse, phase = divmod(pixel, factor)
        side = (coarse + (1 if phase else -1)) % size
        share = 0.0 if method == "nearest" else 0.25
        operator[pixel, coarse] += 1 - share
        operator[pixel, side] += share
    # A read-out behind it: Theta' = K' + sigma_w^2 Theta.
    expected = 1.5 * operator @ (covariance + dense) @ operator.T
    pixels = np.arange(factor * size)
    by_lag = expected[pixels[:, None], (pixels[:, None] + pixels) % (factor * size)]
    layers = [*before.body.layers, Upsample(factor, method)]
    net = network(*layers, Convolution(1, 1, weight_variance=1.5))
    found = kernels.ntk(net, input)(pixels[:, None])
    np.testing.assert_allclose(found, by_lag.mean(axis=0), rtol=1e-12)


# -- what non-linearities pass on ----------------------------------------------------


ANGLES = np.array([0, 1e-4, 0.3, 1.2, math.pi / 2, 2.5, 3.0])
RULES = {
    "relu": (LeakyRectifier(0.0), 0.0, "Rectifier"),
    "leaky relu": (LeakyRectifier(0.2), 0.2, "Rectifier"),
    "steep leaky relu": (LeakyRectifier(-1.6), -1.6, "Rectifier"),
    "erf": (ErrorFunction(1.3), 0.5 / 1.3**2, "ErrorFunction"),
}


def at_angle(angle, variance):
    """A covariance with that angle between pixels one apart, smooth in between."""
    return kernels.scale(Cosine(angle), variance)


class Cosine(kernels.Covariance):
    """cos(angle r), by its variogram."""

    def __init__(self, angle):
        self.angle = angle

    def evaluate(self, lags, at):
        one = jnp.ones(())
        drop = 2 * jnp.square(jnp.sin(self.angle * lags[..., 0] / 2))
        return kernels.stationary.Moments(one, one, drop)


def rule(name, kind, *covariances):
    _, parameter, family = RULES[name]
    return getattr(slopes, family + kind)(*covariances, parameter)(np.ones((1,)))


@pytest.mark.parametrize("name", RULES)
def test_changes_of_single_weights_meet_the_slopes(x64, name):
    activation = RULES[name][0]

    def slope_product(u, v):
        return activation.derivative(u) * activation.derivative(v)

    for angle in ANGLES:
        found = rule(name, "Slope", at_angle(angle, 1.7))
        expected = expectation(slope_product, 1.7, angle)
        assert float(found) == pytest.approx(expected, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("name", RULES)
def test_changes_of_a_scale_stay_in_proportion_to_the_channel(x64, name):
    activation = RULES[name][0]

    def changes(u, v):
        return u * activation.derivative(u) * v * activation.derivative(v)

    def cross(u, v):
        first = u * activation.derivative(u) * activation.value(v)
        return (first + v * activation.derivative(v) * activation.value(u)) / 2

    for angle in ANGLES:
        field = at_angle(angle, 1.7)
        found = rule(name, "Scale", field, field)
        expected = expectation(changes, 1.7, angle)
        assert float(found) == pytest.approx(expected, rel=1e-11, abs=1e-12)
        found = rule(name, "ScaleCross", field, field)
        assert float(found) == pytest.approx(expectation(cross, 1.7, angle), abs=1e-12)


@pytest.mark.parametrize("name", RULES)
def test_a_scale_may_belong_to_a_part_of_the_channel(x64, name):
    # u = x + y: given u and v, x is linear in them, plus an independent rest.
    activation, variance, share = RULES[name][0], 1.7, 0.3
    for angle, part_angle in [(0.8, 0.5), (1.2, 2.0), (2.5, 2.0)]:
        q = np.array([[1, np.cos(angle)], [np.cos(angle), 1]]) * variance
        a = np.array([[1, np.cos(part_angle)], [np.cos(part_angle), 1]]) * share
        gain = a @ np.linalg.inv(q)
        rest = a - gain @ a

        def changes(u, v, gain=gain, rest=rest):
            both = activation.derivative(u) * activation.derivative(v)
            x, other = gain[0, 0] * u + gain[0, 1] * v, gain[1, 0] * u + gain[1, 1] * v
            return both * (x * other + rest[0, 1])

        def cross(u, v, gain=gain):
            x = gain[0, 0] * u + gain[0, 1] * v
            return activation.derivative(u) * x * activation.value(v)

        field, part = at_angle(angle, variance), at_angle(part_angle, share)
        found = rule(name, "Scale", field, part)
        assert float(found) == pytest.approx(expectation(changes, variance, angle))
        found = rule(name, "ScaleCross", field, part)
        assert float(found) == pytest.approx(expectation(cross, variance, angle))


@pytest.mark.parametrize("name", ["relu", "leaky relu", "steep leaky relu"])
def test_changes_that_are_the_same_everywhere_come_out_correlated(x64, name):
    activation = RULES[name][0]
    for angle in ANGLES:
        found = rule(name, "ShiftCross", at_angle(angle, 1.7))
        expected = expectation(
            lambda u, v: activation.derivative(u) * activation.value(v), 1.7, angle
        )
        assert float(found) == pytest.approx(abs(expected), rel=1e-11, abs=1e-12)


# -- batch norm ----------------------------------------------------------------------


def batch_norm_net(*, affine, activation=LeakyReLU(0.2), epsilon=0.0):
    layers = [Convolution(4), BatchNorm(epsilon, affine), activation]
    return network(*layers, Convolution(1, 1, weight_variance=1.5))


def test_batch_norm_centres_and_scales_the_tangents(x64):
    lags = kernels.lag_grid((9,))
    input = kernels.uniform(0.0, 1.0)
    layers = [Convolution(4, bias_variance=0.3), BatchNorm(0.1, affine=False)]
    found = kernels.ntk(network(*layers, Convolution(1)), input)(lags)
    # Both K and Theta behind a convolution of an untrained input are K(input) + 0.3.
    white = kernels.white()(lags)
    expected = 2 * white * (1 / 12) / (1 / 12 + 0.1)
    np.testing.assert_allclose(found, expected, atol=1e-14)


def test_shifts_add_one_and_scales_the_channels_covariance(x64):
    lags = kernels.lag_grid((9,))
    layers = [Convolution(4), BatchNorm(0.1), Convolution(1)]
    correlation = smooth()(lags) / 1.1
    expected = correlation + (correlation + correlation + 1)
    found = kernels.ntk(network(*layers), smooth())(lags)
    np.testing.assert_allclose(found, expected, rtol=1e-13)


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=repr)
def test_parameters_of_batch_norm_pass_through_the_non_linearity(x64, activation):
    lags = kernels.lag_grid((9,))
    trained, fixed = (
        np.asarray(
            kernels.ntk(batch_norm_net(affine=a, activation=activation), smooth())(lags)
        )
        for a in (True, False)
    )
    angles = np.arccos(np.minimum(np.asarray(smooth()(lags)), 1))
    if isinstance(activation, Erf):
        rule = ErrorFunction(activation.scale)
    else:
        rule = LeakyRectifier(getattr(activation, "slope", 0.0))

    def change(u, v):  # of the shift, and of the scale
        return rule.derivative(u) * rule.derivative(v) * (1 + u * v)

    expected = [1.5 * expectation(change, 1.0, angle) for angle in angles]
    np.testing.assert_allclose(trained - fixed, expected, rtol=1e-9)


def test_a_second_batch_norm_undoes_the_scale_of_the_first(x64):
    lags = kernels.lag_grid((9,))
    for between in ([], [LeakyReLU(0.2)], [LeakyReLU(1.0)]):
        last = [*between, BatchNorm(0.0, affine=False), Convolution(1)]
        both = network(Convolution(4), BatchNorm(0.0), *last)
        plain = network(Convolution(4), BatchNorm(0.0, affine=False), *last)
        gap = kernels.ntk(both, smooth())(lags) - kernels.ntk(plain, smooth())(lags)
        if between and between[0].slope != 1:
            assert np.all(gap[:3] > 1e-3)  # what a shift does to the shape
            assert abs(float(gap[4])) < 0.05
        else:
            np.testing.assert_allclose(gap, 0, atol=1e-14)


# -- numerics ------------------------------------------------------------------------


@functools.cache
def near_correlation_one(dtype):
    """Theta of ten ReLU layers where 1 - rho is about 1e-6."""
    with jax.enable_x64(dtype == np.float64):
        net = conv_net(10, weight_variance=2.0)
        lags = np.array([[0.0], [1e-3], [2e-3], [4e-3], [1.0]], dtype)
        moments = kernels.ntk(net, kernels.gaussian(sigma=dtype(0.5))).moments(lags)
        values = moments.variance - moments.variogram
        return np.asarray(values, np.float64), np.asarray(moments.variogram, np.float64)


def carrying_covariances(correlation, depth):
    """The same in single precision, from K itself, as a plain recursion has it."""
    k = np.float32(correlation)
    theta = k
    for _ in range(depth):
        angle = np.arctan2(np.sqrt((1 - k) * (1 + k)), k)
        slope = 1 - angle / np.float32(np.pi)
        k = (np.sqrt((1 - k) * (1 + k)) + (np.float32(np.pi) - angle) * k) / np.float32(
            np.pi
        )
        theta = k + slope * theta
    return np.float64(theta)


def test_single_precision_holds_next_to_correlation_one():
    single, variogram = near_correlation_one(np.float32)
    double, exact = near_correlation_one(np.float64)
    np.testing.assert_allclose(single, double, rtol=1e-6)
    np.testing.assert_allclose(variogram[1:], exact[1:], rtol=3e-6)


def test_carrying_covariances_would_lose_two_digits():
    _, exact = near_correlation_one(np.float64)
    double = near_correlation_one(np.float64)[0]
    lags = np.array([1e-3, 2e-3, 4e-3])
    # Weights of variance 2 all through: Theta is twice that of the plain recursion.
    plain = [2 * carrying_covariances(np.exp(-(lag**2)), 10) for lag in lags]
    error = np.abs(np.array(plain) / double[1:4] - 1)
    assert error.max() > 2e-5


NETS = {
    "relu": conv_net(3, bias_variance=0.1),
    "leaky relu": conv_net(3, LeakyReLU(0.2)),
    "erf": conv_net(2, Erf(1.5), bias_variance=0.1),
    "hourglass": architecture.skip_net(
        2, channels_down=8, channels_up=8, output=Linear(), dimensions=1
    ),
    "erf with batch norm": network(
        Convolution(4), BatchNorm(), Erf(1.5), BatchNorm(), Convolution(1)
    ),
    "residual": network(
        Convolution(4),
        Sum([Serial(), Serial([Convolution(4), BatchNorm()])]),
        ReLU(),
        Downsample(2, "average"),
        BatchNorm(),
        Convolution(1),
    ),
}


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("spacing", [1.0, 0.5])
def test_tangent_kernels_are_positive_semidefinite(x64, name, spacing):
    points = spacing * np.arange(40.0)
    matrix = kernels.ntk(NETS[name], smooth())(
        (points[None] - points[:, None])[..., None]
    )
    np.testing.assert_allclose(matrix, matrix.T, rtol=0, atol=1e-14 * matrix[0, 0])
    assert np.linalg.eigvalsh(matrix)[0] >= -1e-13 * np.trace(matrix)


@pytest.mark.parametrize("name", NETS)
def test_tangent_kernels_level_off_at_their_sill(x64, name):
    kernel = kernels.ntk(NETS[name], smooth())
    moments = kernel.moments(np.array([[3e4], [4e4]]))
    np.testing.assert_allclose(moments.variogram, moments.sill, rtol=1e-12)
    at_zero = kernel.moments(np.zeros((1, 1)))
    assert float(at_zero.variogram[0]) == 0
    assert float(kernels.variance(kernel, 1)) == pytest.approx(
        float(kernel(np.zeros(1))), rel=1e-15
    )


@pytest.mark.parametrize("name", NETS)
def test_single_precision_agrees_with_double(name):
    def at(dtype):
        with jax.enable_x64(dtype == np.float64):
            kernel = kernels.ntk(NETS[name], kernels.gaussian(dtype(1.5)))
            return np.asarray(kernel(kernels.lag_grid((16,), dtype)), np.float64)

    single, double = at(np.float32), at(np.float64)
    np.testing.assert_allclose(single, double, rtol=0, atol=2e-6 * double[0])


@pytest.mark.parametrize("name", NETS)
def test_gradients_are_finite_at_lag_zero_and_right_elsewhere(x64, name):
    lags = np.array([[0.0], [1.0], [3.0], [1e5]])

    def values(sigma):
        return kernels.ntk(NETS[name], kernels.gaussian(sigma))(lags)

    slopes_ = jax.jit(jax.jacrev(values))(1.5)
    assert np.isfinite(slopes_).all()
    step = 1e-5
    difference = (values(1.5 + step) - values(1.5 - step)) / (2 * step)
    scale = float(np.abs(difference).max())
    np.testing.assert_allclose(slopes_, difference, rtol=1e-6, atol=1e-8 * scale)
    assert np.isfinite(jax.jacfwd(values)(1.5)).all()


@pytest.mark.parametrize("name", NETS)
def test_tangent_kernels_go_through_jit_as_arguments(x64, name):
    kernel = kernels.ntk(NETS[name], smooth())
    lags = kernels.lag_grid((6,))
    found = jax.jit(lambda k: k(lags))(kernel)
    np.testing.assert_allclose(found, kernel(lags), rtol=1e-12)


def test_tangent_kernels_of_several_inputs_at_once(x64):
    lags = kernels.lag_grid((6,))
    sigmas = jnp.array([0.7, 1.5, 4.0])

    def values(sigma):
        return kernels.ntk(NETS["hourglass"], kernels.gaussian(sigma))(lags)

    expected = np.stack([values(sigma) for sigma in sigmas])
    np.testing.assert_allclose(jax.vmap(values)(sigmas), expected, rtol=1e-12)


def test_each_hyperparameter_is_one_leaf_however_deep_the_residual_net():
    block = Sum([Serial(), Serial([Convolution(4), ReLU(), Convolution(4)])])
    counts = []
    for blocks in (8, 9, 10):
        kernel = kernels.ntk(network(Convolution(4), *[block] * blocks), smooth())
        counts.append(len(jax.tree.leaves(kernel)))
    assert counts[2] - counts[1] == counts[1] - counts[0] < 20


def test_a_tangent_kernel_conditions_on_an_image_like_any_covariance():
    random = np.random.default_rng(0)
    image = random.normal(size=(12, 10)).astype(np.float32)
    kernel = kernels.ntk(conv_net(2, dimensions=2), smooth())
    posterior = gp.condition(kernel, values=image, noise_std=0.1)
    assert posterior.mean.shape == image.shape
    assert np.isfinite(posterior.mean).all()


def test_depth_scales_the_tangents_of_a_linear_network(x64):
    # With weights of variance 1, each of the layers adds K once.
    lags = kernels.lag_grid((7, 6))
    layers = [Convolution(4), Linear()] * 4
    net = network(*layers, Convolution(1), dimensions=2)
    np.testing.assert_allclose(
        kernels.ntk(net, bell)(lags), 5 * smooth()(lags), rtol=1e-13
    )


def test_the_input_is_white_noise_unless_said_otherwise():
    lags = kernels.lag_grid((5,))
    found = kernels.ntk(conv_net(2))(lags)
    expected = kernels.ntk(conv_net(2), kernels.white())(lags)
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
