"""The closed forms against random networks of finite width.

A network of n channels misses its limit by about 3.6 / sqrt(n), most of it one random
amplitude; the mean over many networks is off by that over sqrt(networks), the standard
error, and by a bias of order 1 / n, which these numbers of networks do not resolve.
"""

import jax
import numpy as np
import pytest
from finite_networks import exact_input, moments

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

REACH = 8


def largest_excess(net, input, *, pixels, networks, key, covariance=None):
    """How far the networks are from the closed form, beyond four standard errors.

    Returns:
      The largest excess over lags, in units of the variance; at most 0 where all is
      within four standard errors.
    """
    mean, error = moments(
        net,
        input,
        pixels=pixels,
        networks=networks,
        reach=REACH,
        key=jax.random.key(key),
    )
    covariance = kernels.covariance(net, input) if covariance is None else covariance
    expected = np.asarray(covariance(np.arange(REACH + 1.0)[:, None]))
    # The comparison would be worth little if chance could hide ten per cent.
    assert np.all(error < 0.025 * mean[0])
    return np.max(np.abs(mean - expected) - 4 * error) / expected[0]


def test_the_input_of_these_tests_has_the_covariance_asked_for():
    x = exact_input(kernels.gaussian(1.5), 32)
    lags = np.arange(9)
    found = [(x * np.roll(x, -lag, axis=0)).mean() for lag in lags]
    np.testing.assert_allclose(found, np.exp(-(lags**2) / 9), atol=1e-5)


@pytest.mark.parametrize(
    ("activation", "bias_variance"),
    [(ReLU(), 0.0), (ReLU(), 0.2), (Erf(1.0), 0.1), (Erf(np.inf), 0.0)],
    ids=repr,
)
@pytest.mark.parametrize("depth", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_conv_nets(depth, activation, bias_variance):
    net = architecture.conv_net(
        depth,
        channels=192,
        activation=activation,
        weight_variance=1.5,
        bias_variance=bias_variance,
        padding="circular",
        dimensions=1,
    )
    input = kernels.gaussian(1.2)
    excess = largest_excess(net, input, pixels=32, networks=300, key=depth)
    assert excess <= 0


def test_a_wrong_variance_of_the_weights_would_be_seen():
    net = architecture.conv_net(1, channels=192, dimensions=1)
    other = architecture.conv_net(1, channels=192, dimensions=1, weight_variance=1.1)
    input = kernels.gaussian(1.2)
    wrong = kernels.covariance(other, input)
    excess = largest_excess(
        net, input, pixels=32, networks=300, key=1, covariance=wrong
    )
    assert excess > 0.05


@pytest.mark.parametrize("upsample", ["bilinear", "nearest"])
@pytest.mark.parametrize("downsample", ["stride", "average"])
@pytest.mark.slow
def test_autoencoders_follow_the_mean_over_phases(downsample, upsample):
    net = architecture.autoencoder(
        1,
        channels=192,
        downsample=downsample,
        upsample=upsample,
        padding="circular",
        dimensions=1,
    )
    input = kernels.gaussian(1.2)
    excess = largest_excess(net, input, pixels=48, networks=400, key=7)
    assert excess <= 1e-3  # of the phase mean behind a non-linearity


@pytest.mark.slow
def test_autoencoders_do_not_follow_the_ideal_rule_on_rough_inputs():
    def net(upsample):
        return architecture.autoencoder(
            1, channels=192, upsample=upsample, padding="circular", dimensions=1
        )

    ideal = kernels.covariance(net("ideal"), kernels.white())
    excess = largest_excess(
        net("bilinear"),
        kernels.white(),
        pixels=48,
        networks=400,
        key=7,
        covariance=ideal,
    )
    assert excess > 0.05


@pytest.mark.slow
def test_residual_nets():
    block = Sum([Serial(), Serial([Convolution(192), ReLU(), Convolution(192)])])
    layers = [Convolution(192), block, ReLU(), Convolution(1, 1)]
    net = Architecture(Serial(layers), dimensions=1)
    input = kernels.gaussian(1.2)
    assert largest_excess(net, input, pixels=32, networks=300, key=3) <= 0


@pytest.mark.slow
def test_concatenated_channels_weigh_by_their_number():
    loud = Serial([Convolution(64, weight_variance=4.0), ReLU()])
    rough = Serial([Convolution(192, stride=2), Erf(2.0), Upsample(2, "nearest")])
    layers = [
        Concat([loud, rough]),
        Convolution(192),
        LeakyReLU(0.2),
        Convolution(1, 1),
    ]
    net = Architecture(Serial(layers), dimensions=1)
    input = kernels.gaussian(1.2)
    assert largest_excess(net, input, pixels=48, networks=300, key=4) <= 1e-3


@pytest.mark.slow
def test_batch_norm_treats_each_concatenated_channel_by_itself():
    loud = Convolution(64, weight_variance=9.0)
    quiet = Serial([Convolution(64), ReLU(), Convolution(64), Downsample(2, "average")])
    halved = Serial([loud, Downsample(2, "average")])
    layers = [Concat([halved, quiet]), BatchNorm(0.0), Convolution(96), ReLU()]
    net = Architecture(Serial([*layers, Convolution(1, 1)]), dimensions=1)
    input = kernels.gaussian(1.2)
    pixels = 512
    excess = largest_excess(net, input, pixels=pixels, networks=100, key=5)
    assert excess <= 4 / pixels


@pytest.mark.slow
def test_the_hourglass_with_batch_norm_and_skips():
    net = architecture.skip_net(
        2,
        channels_down=96,
        channels_up=96,
        channels_skip=48,
        output=Linear(),
        padding="circular",
        dimensions=1,
    )
    # Without the output layer the body ends in the read-out.
    net = Architecture(Serial(net.body.layers[:-1]), dimensions=1)
    pixels = 512
    excess = largest_excess(net, kernels.white(), pixels=pixels, networks=60, key=6)
    # The statistics of the coarsest scale are those of a quarter of the pixels.
    assert excess <= 2 / (pixels / 4) + 1e-3
