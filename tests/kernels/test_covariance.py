import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from example_kernels import bell, smooth

from dipgp import architecture, kernels
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

LAGS = kernels.lag_grid((7, 6), np.float64)


def read(*layers, input=None, input_channels=32):
    net = Architecture(Serial(layers), input_channels)
    return kernels.covariance(net, smooth() if input is None else input)


def assert_same(found, expected):
    np.testing.assert_allclose(found(LAGS), expected(LAGS), rtol=0, atol=1e-14)


def test_a_convolution_scales_and_lifts_whatever_its_taps(x64):
    expected = kernels.bias(kernels.scale(smooth(), 2.0), 0.3)
    for size, padding in [(1, "reflect"), (3, "zeros"), (5, "circular")]:
        layer = Convolution(9, size, 1, 2.0, 0.3, padding)
        assert_same(read(layer), expected)


def test_a_stride_is_a_dilation(x64):
    assert_same(read(Convolution(9, stride=3)), lambda lags: smooth()(3 * lags))


@pytest.mark.parametrize(
    ("layer", "rule"),
    [
        (ReLU(), kernels.relu),
        (LeakyReLU(0.3), lambda k: kernels.leaky_relu(k, 0.3)),
        (Erf(2.0), lambda k: kernels.erf(k, 2.0)),
        (Erf(math.inf), kernels.erf),
        (Linear(), lambda k: k),
        (BatchNorm(0.1), lambda k: kernels.batch_norm(k, 0.1)),
        (BatchNorm(affine=False), lambda k: kernels.batch_norm(k, 1e-5)),
        (Downsample(3, "average"), lambda k: kernels.downsample(k, 3, "average")),
        (Upsample(2, "nearest"), lambda k: kernels.upsample(k, 2, "nearest")),
        (Upsample(2), lambda k: kernels.upsample(k, 2)),
        (Serial(), lambda k: k),
        (Serial([ReLU(), Convolution(2)]), kernels.relu),
        (Sum([Convolution(3), Convolution(3)]), lambda k: kernels.add(k, k)),
        (Sum([ReLU()]), kernels.relu),
    ],
    ids=lambda value: "rule" if callable(value) else repr(value),
)
def test_each_layer_is_read_as_its_rule(x64, layer, rule):
    assert_same(read(layer), rule(smooth()))


def test_a_conv_net_is_its_rules_one_after_another(x64):
    net = architecture.conv_net(3, weight_variance=1.5, bias_variance=0.2)
    expected = smooth()
    for _ in range(3):
        expected = kernels.relu(kernels.bias(kernels.scale(expected, 1.5), 0.2))
    expected = kernels.bias(kernels.scale(expected, 1.5), 0.2)
    assert_same(kernels.covariance(net, smooth()), expected)


def test_the_papers_network_without_layers_is_its_input(x64):
    assert_same(kernels.covariance(architecture.conv_net(0), smooth()), smooth())


def test_an_ideal_autoencoder_is_the_papers_composition(x64):
    net = architecture.autoencoder(2, downsample="ideal", upsample="ideal")
    expected = smooth()
    for _ in range(2):
        expected = kernels.relu(kernels.downsample(expected, 2))
    for _ in range(2):
        expected = kernels.relu(kernels.upsample(expected, 2))
    assert_same(kernels.covariance(net, smooth()), expected)


def test_the_input_is_white_noise_unless_said_otherwise():
    net = architecture.conv_net(2)
    expected = kernels.covariance(net, kernels.white())(LAGS)
    np.testing.assert_array_equal(kernels.covariance(net)(LAGS), expected)


def test_the_input_may_be_a_plain_function(x64):
    net = architecture.conv_net(2, activation=Erf())
    assert_same(kernels.covariance(net, bell), kernels.covariance(net, smooth()))


def test_concatenated_channels_are_averaged_by_the_next_convolution(x64):
    branches = [Convolution(4, 1), Serial([Convolution(12), ReLU()]), Serial()]
    expected = kernels.concat(
        [smooth(), kernels.relu(smooth()), smooth()], channels=[4, 12, 8]
    )
    found = read(Concat(branches), Convolution(5), input_channels=8)
    assert_same(found, expected)


def test_batch_norm_after_a_concatenation_treats_each_channel_by_itself(x64):
    loud = Convolution(4, weight_variance=100.0)
    quiet = Serial([Convolution(12), Downsample(2), ReLU(), Convolution(12)])
    found = read(Concat([loud, quiet]), BatchNorm(0.0), Convolution(5))
    branches = [smooth(), kernels.relu(kernels.downsample(smooth(), 2))]
    expected = kernels.concat([kernels.batch_norm(k) for k in branches], [4, 12])
    assert_same(found, expected)
    merged = kernels.concat([kernels.scale(branches[0], 100.0), branches[1]], [4, 12])
    gap = expected(LAGS) - kernels.batch_norm(merged)(LAGS)
    assert np.abs(gap).max() > 0.1


def test_a_non_linearity_after_a_concatenation_acts_on_each_branch(x64):
    loud = Convolution(1, weight_variance=9.0)
    found = read(Concat([loud, Convolution(1)]), Erf(1.0), Convolution(2))
    branches = [kernels.scale(smooth(), 9.0), smooth()]
    expected = kernels.concat([kernels.erf(k, 1.0) for k in branches], [1, 1])
    assert_same(found, expected)


def test_nested_concatenations_count_all_their_channels(x64):
    inner = Concat([Convolution(2, weight_variance=2.0), Convolution(6)])
    found = read(Concat([inner, Convolution(8, weight_variance=5.0)]), Convolution(1))
    assert_same(found, kernels.scale(smooth(), (2 * 2 + 6 * 1 + 8 * 5) / 16))


def test_a_residual_branch_adds_to_what_it_skips(x64):
    block = Sum([Serial(), Serial([Convolution(8), ReLU(), Convolution(8)])])
    expected = kernels.add(smooth(), kernels.relu(smooth()))
    assert_same(read(Convolution(8), block), expected)
    # What is added is Gaussian, so a further block may follow.
    twice = kernels.add(expected, kernels.relu(expected))
    assert_same(read(Convolution(8), block, block), twice)


def test_a_sum_with_a_concatenation_adds_to_each_of_its_channels(x64):
    pair = Concat([Convolution(2, weight_variance=3.0), Convolution(2)])
    found = read(Sum([pair, Convolution(4)]), ReLU(), Convolution(1))
    branches = [kernels.scale(smooth(), 4.0), kernels.scale(smooth(), 2.0)]
    assert_same(found, kernels.concat([kernels.relu(k) for k in branches], [2, 2]))


def test_the_hourglass_of_one_scale_written_as_rules(x64):
    net = architecture.skip_net(
        1,
        channels_down=24,
        channels_up=24,
        channels_skip=8,
        bias_variance=0.0,
        output=Linear(),
    )

    def after(k):  # convolution, batch norm, activation
        normal = kernels.batch_norm(kernels.scale(k, 1 / 3), 1e-5)
        return kernels.leaky_relu(normal, 0.2)

    halved = kernels.downsample(kernels.white(), 2, "stride")
    deeper = kernels.upsample(after(after(halved)), 2, "bilinear")
    branches = [after(kernels.white()), deeper]
    joined = kernels.concat([kernels.batch_norm(k, 1e-5) for k in branches], [8, 24])
    expected = kernels.scale(after(after(joined)), 1 / 3)
    assert_same(kernels.covariance(net), expected)


def test_the_reference_hourglass_has_a_smooth_positive_covariance():
    net = architecture.skip_net(output=Linear())
    kernel = kernels.covariance(net, kernels.uniform())
    values = np.asarray(jax.jit(lambda k: k(kernels.lag_grid((64, 64))))(kernel))
    assert np.isfinite(values).all()
    assert np.all(np.diff(values[0, :8]) < 0)
    assert values[0, 1] / values[0, 0] > 0.6


# -- what cannot be read -------------------------------------------------------------


def test_a_layer_without_a_closed_form_is_named():
    with pytest.raises(
        ValueError, match=r"net: Sigmoid\(\) has no closed-form .*Linear"
    ):
        kernels.covariance(architecture.skip_net())


@pytest.mark.parametrize(
    "layers",
    [
        (ReLU(), Erf(1.0)),
        (ReLU(), BatchNorm(), Erf(1.0)),
        (ReLU(), Upsample(2, "nearest"), Erf(1.0)),
        (Concat([Convolution(1), ReLU()]), Erf(1.0)),
        (Sum([ReLU(), Convolution(32)]), Erf(1.0)),
    ],
    ids=repr,
)
def test_a_non_linearity_behind_another_is_refused(layers):
    with pytest.raises(
        ValueError, match=r"Erf\(scale=1.0\) follows another non-linear"
    ):
        read(*layers)


def test_a_convolution_makes_it_gaussian_again():
    read(ReLU(), Convolution(1), Erf(1.0))
    read(Convolution(4), BatchNorm(), Downsample(2), Linear(), Upsample(2), ReLU())


@pytest.mark.parametrize(
    "branches",
    [
        [Serial(), Serial()],
        [Serial([Convolution(32), ReLU()]), Serial([Convolution(32), ReLU()])],
        [Serial(), Convolution(32), BatchNorm()],
        [Concat([Convolution(16), Convolution(16)]), Upsample(2), Downsample(2)],
    ],
    ids=repr,
)
def test_branches_of_a_sum_that_share_their_weights_are_refused(branches):
    with pytest.raises(ValueError, match="2 branches of a Sum do not end in a convol"):
        read(Sum(branches))


def test_branches_that_end_in_their_own_weights_may_be_resampled_and_normalised(x64):
    branch = Serial([Convolution(32), BatchNorm(0.0), Downsample(2)])
    expected = kernels.add(smooth(), kernels.downsample(smooth(), 2))
    assert_same(read(Sum([Serial(), branch])), expected)


def test_a_sum_of_concatenations_is_refused():
    pair = Concat([Convolution(16), Convolution(16)])
    with pytest.raises(
        ValueError, match="several branches of a Sum are concatenations"
    ):
        read(Sum([pair, pair]))


def test_an_input_that_is_no_covariance_is_refused():
    with pytest.raises(TypeError, match="expected a function of lags, got 2"):
        kernels.covariance(architecture.conv_net(1), 2)


# -- depth ---------------------------------------------------------------------------


def deep(depth, **options):
    return architecture.conv_net(depth, kernel_size=1, dimensions=1, **options)


@pytest.mark.parametrize(("depth", "level"), [(1, 0.318), (2, 0.494), (5, 0.736)])
def test_far_pixels_grow_alike_with_depth(depth, level):
    kernel = kernels.normalize(kernels.covariance(deep(depth)))
    assert float(kernel([9.0])) == pytest.approx(level, abs=6e-4)


@pytest.mark.parametrize("depth", [1, 7, 40])
def test_each_relu_layer_halves_the_variance_exactly(depth):
    kernel = kernels.covariance(deep(depth), kernels.scale(smooth(), 3.0))
    assert kernels.variance(kernel, 1) == 3 * 0.5**depth


def test_biases_hold_the_variance_at_a_fixed_point(x64):
    net = deep(80, weight_variance=1.5, bias_variance=0.3)
    variance = kernels.variance(kernels.covariance(net), 1)
    assert float(variance) == pytest.approx(0.3 / (1 - 0.75), rel=1e-9)


@pytest.mark.parametrize(
    ("activation", "variances", "limit"),
    [
        (Erf(math.inf), (1.0, 0.3), 0.47085),
        (Erf(3.0), (1.0, 0.1), 0.37373),
    ],
    ids=["sign", "erf"],
)
def test_saturating_networks_settle_at_a_correlation(x64, activation, variances, limit):
    weight_variance, bias_variance = variances
    net = deep(
        80,
        activation=activation,
        weight_variance=weight_variance,
        bias_variance=bias_variance,
    )
    for start in (kernels.white(), kernels.gaussian(1.5)):
        kernel = kernels.normalize(kernels.covariance(net, start))
        assert float(kernel([1.0])) == pytest.approx(limit, abs=2e-5)


def test_far_correlations_of_very_deep_networks_approach_one_as_an_inverse_square(x64):
    kernel = kernels.normalize(kernels.covariance(deep(300)))
    expected = 9 * math.pi**2 / (2 * 300**2)
    assert 1 - float(kernel([9.0])) == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("activation", [ReLU(), LeakyReLU(0.2), Erf(1.0)], ids=repr)
def test_sixty_four_layers_in_single_precision_keep_variance_and_variogram(
    x64, activation
):
    net = deep(64, activation=activation, weight_variance=1.9, bias_variance=0.02)
    moments = {}
    for dtype in (np.float32, np.float64):
        lags = np.array([[0.0], [0.01], [0.3], [1], [4], [30]], dtype)
        kernel = kernels.covariance(net, kernels.gaussian(dtype(3.0)))
        moments[dtype] = kernel.moments(lags)
    single, double = moments[np.float32], moments[np.float64]
    assert single.variogram.dtype == np.float32
    np.testing.assert_allclose(single.variance, double.variance, rtol=3e-6)
    np.testing.assert_allclose(single.variogram, double.variogram, rtol=3e-5)
    np.testing.assert_allclose(single.sill, double.sill, rtol=3e-5)


class Counted:
    """A plain covariance that counts how often it is evaluated."""

    def __init__(self):
        self.calls = 0

    def __call__(self, lags):
        self.calls += 1
        return bell(lags)


def calls_of(*layers):
    counted = Counted()
    read(*layers, input=counted)(np.zeros((3, 2)))
    return counted.calls


def test_the_input_is_evaluated_once_however_deep_the_network():
    hidden = [Convolution(8), ReLU()]
    assert calls_of(*hidden * 12) == calls_of(*hidden)


def test_residual_blocks_do_not_double_the_work():
    block = Sum([Serial(), Serial([Convolution(8), ReLU(), Convolution(8)])])
    shallow, deeper = (
        calls_of(Convolution(8), block),
        calls_of(Convolution(8), *[block] * 6),
    )
    assert deeper <= 6 * shallow


# -- use -----------------------------------------------------------------------------


@pytest.mark.parametrize("activation", [ReLU(), Erf(1.0), Erf(math.inf)], ids=repr)
def test_networks_can_be_read_inside_a_compiled_function(x64, activation):
    net = architecture.autoencoder(1, activation=activation)

    def far(sigma):
        kernel = kernels.covariance(net, kernels.gaussian(sigma))
        return kernel(np.array([3.0, 1.0]))

    slope = jax.jit(jax.grad(far))(1.5)
    difference = (far(1.5 + 1e-5) - far(1.5 - 1e-5)) / 2e-5
    assert float(slope) == pytest.approx(float(difference), rel=1e-6)


@pytest.mark.parametrize("bits", [32, 64])
def test_the_lines_of_the_documentation_run_as_written(bits):
    with jax.enable_x64(bits == 64):
        k = kernels.gaussian(sigma=2.0)
        k = kernels.relu(k)
        k = kernels.bias(kernels.scale(k, 2.0), variance=0.1)
        k = kernels.skip(kernels.upsample(kernels.downsample(k, 2), 2), k)
        k2 = kernels.concat([kernels.white(), k], channels=[4, 128])
        k2 = kernels.upsample(
            kernels.downsample(k2, 2, method="stride"), 2, method="bilinear"
        )
        values = k(kernels.lag_grid((64, 64)))
        assert values.shape == (64, 64)
        assert values.dtype == f"float{bits}"
        assert float(kernels.variance(k)) == pytest.approx(2.2, rel=1e-6)
        assert float(values[0, 0]) == pytest.approx(2.2, rel=1e-6)
        other = k2(kernels.lag_grid((64, 64)))
        assert other.dtype == f"float{bits}"
        for steps in (kernels.erf(k), kernels.erf(k, scale=1.0)):
            assert np.isfinite(steps(kernels.lag_grid((4, 4)))).all()
        assert np.isfinite(kernels.leaky_relu(k, slope=0.2)([0.0, 0.0]))
        net = architecture.conv_net(depth=4)
        k4 = kernels.covariance(net, input=kernels.gaussian(sigma=2.0))
        assert float(kernels.variance(k4)) == 1 / 16
        assert jnp.asarray(k4(kernels.lag_grid((8, 8)))).dtype == f"float{bits}"
