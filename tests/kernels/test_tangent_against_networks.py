"""The tangent kernel against gradients of random networks of finite width.

Theta(t, .) of one network takes a gradient by all its parameters at the pixel t and the
change of the output along it. The mean over many networks and pixels has a standard
error, and a bias of order 1 / channels that these numbers of networks do not resolve.
Batch norm divides by the variance over the pixels at hand, which adds a bias of order
1 / pixels.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from finite_networks import exact_input

from dipgp import architecture, kernels, networks
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
)

CHANNELS = 64
REACH = 8
CENTRES = 8
INPUT = kernels.gaussian(1.2)


def convolution(kernel_size=3, bias_variance=0.0, channels=CHANNELS):
    return Convolution(channels, kernel_size, 1, 1.5, bias_variance, "circular")


def network(layers, pixels):
    body = Serial([*layers, convolution(1, channels=1)])
    return Architecture(body, input_channels=pixels, dimensions=1)


def empirical(net, pixels, draws, key):
    """Mean Theta by lag, (REACH + 1,), and its standard error."""
    built = networks.build(
        net, initialisation="gaussian_process", forward_differentiable=True
    )
    x = jnp.asarray(exact_input(INPUT, pixels))
    last = f"convolution_{len(net.body.layers) - 1}"

    @jax.jit
    def by_lag(key):
        start = built.init(key, x)
        # Signs have the read-out's variance and keep its random amplitude out.
        weights = start["params"][last]["weights"]
        start["params"][last]["weights"] = jnp.sign(weights)

        def output(variables):
            return built.apply(variables, x)[:, 0]

        value, pull_back = jax.vjp(output, start)
        size = len(value)

        def row(centre):
            (gradient,) = pull_back(jnp.zeros(size).at[centre].set(1.0))
            _, change = jax.jvp(output, (start,), (gradient,))
            around = jnp.roll(change, REACH - centre)[: 2 * REACH + 1]
            return (around + around[::-1])[REACH:] / 2

        return jax.vmap(row)(jnp.arange(CENTRES) * (size // CENTRES)).mean(axis=0)

    drawn = np.asarray([by_lag(k) for k in jax.random.split(key, draws)], np.float64)
    return drawn.mean(axis=0), drawn.std(axis=0, ddof=1) / np.sqrt(draws)


def largest_excess(layers, *, pixels, draws=24, key=0, theta=None):
    """How far networks are from the closed form, beyond four standard errors.

    Returns:
      The largest excess over lags, in units of Theta(0).
    """
    net = network(layers, pixels)
    theta = kernels.ntk(net, INPUT) if theta is None else theta
    mean, error = empirical(net, pixels, draws, jax.random.key(key))
    expected = np.asarray(theta(np.arange(REACH + 1.0)[:, None]))
    # Chance could hide no more than this.
    assert np.all(error < 0.04 * expected[0])
    return np.max(np.abs(mean - expected) - 4 * error) / expected[0]


@pytest.mark.parametrize("activation", [ReLU(), Erf(1.0)], ids=repr)
@pytest.mark.slow
def test_conv_nets_with_biases(activation):
    layers = [convolution(bias_variance=0.2), activation] * 2
    assert largest_excess(layers, pixels=64) <= 0


@pytest.mark.slow
def test_concatenated_residual_and_averaged_branches():
    block = Sum([Serial(), Serial([convolution(), ReLU(), convolution()])])
    other = Serial([convolution(1), LeakyReLU(0.2)])
    layers = [convolution(), Concat([Serial([block, ReLU()]), other])]
    layers = [*layers, convolution(), Downsample(2, "average"), ReLU()]
    assert largest_excess(layers, pixels=128) <= 0


BATCH_NORM = [convolution(), BatchNorm(), LeakyReLU(0.2)]
BEHIND = [*BATCH_NORM, BatchNorm()]


@pytest.mark.parametrize("layers", [BATCH_NORM, BEHIND], ids=["before", "behind"])
def test_batch_norm_and_its_parameters(layers):
    assert largest_excess(layers, pixels=256) <= 4 / 256


@pytest.mark.slow
def test_a_scale_taken_for_any_other_change_would_be_seen():
    pixels = 512
    fixed = [convolution(), BatchNorm(affine=False), LeakyReLU(0.2)]
    correlation = kernels.batch_norm(INPUT, 1e-5)
    frozen = kernels.ntk(network(fixed, pixels), INPUT)

    def wrong(lags):  # E[h' h'] times the covariance of both changes
        angle = np.arccos(np.minimum(np.asarray(correlation(lags)), 1))
        slopes = 1.2**2 / 4 + 0.8**2 / (2 * np.pi) * (np.pi / 2 - angle)
        return frozen(lags) + 1.5 * slopes * (1 + np.cos(angle))

    excess = largest_excess(BATCH_NORM, pixels=pixels, draws=60, theta=wrong)
    assert excess > 4 / pixels


TWICE = Sum([convolution(1), Serial([convolution(), BatchNorm()])])
SLOW = {
    "erf": [convolution(), BatchNorm(), Erf(1.5)],
    "behind erf": [convolution(), BatchNorm(), Erf(1.5), BatchNorm()],
    "part of a sum": [convolution(), ReLU(), TWICE, ReLU()],
    "part of a sum, erf": [convolution(), TWICE, Erf(1.5)],
    "behind a sum": [convolution(), TWICE, LeakyReLU(0.2), BatchNorm(0.3)],
    "behind a sum, erf": [convolution(), TWICE, Erf(1.5), BatchNorm(0.3)],
    "behind relu": [convolution(), ReLU(), BatchNorm()] * 2,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_batch_norm_in_all_places(name):
    pixels = 512
    assert largest_excess(SLOW[name], pixels=pixels, draws=20) <= 4 / pixels


@pytest.mark.slow
def test_the_hourglass_with_batch_norm_and_skips():
    pixels = 512
    hourglass = architecture.skip_net(
        2,
        channels_down=CHANNELS,
        channels_up=CHANNELS,
        channels_skip=CHANNELS // 2,
        output=Linear(),
        upsample="nearest",
        padding="circular",
        dimensions=1,
    )
    # Without the read-out and the output layer; `network` has its own read-out.
    layers = hourglass.body.layers[:-2]
    excess = largest_excess(layers, pixels=pixels, draws=60)
    # The coarsest scale has a quarter of the pixels.
    assert excess <= 4 / (pixels / 4)
