"""Random networks of great width have the dense second moments, borders included.

The mean over many networks departs from the limit by its standard error, and by a bias
of order 1 / width that these numbers of networks do not resolve.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dipgp import kernels, networks
from dipgp.architecture import (
    Architecture,
    Concat,
    Convolution,
    Downsample,
    Erf,
    Linear,
    ReLU,
    Serial,
    Sum,
    Upsample,
    skip_net,
)

WIDTH = 128
OUTPUTS = 64


def excess(net, shape, *, count, key, dense=None):
    """How far networks are from the limit, beyond four standard errors.

    Args:
      net: its outputs, alike and many, are averaged in each network.
      shape: of the input's grid.
      count: networks that are drawn.
      key: of all draws.
      dense: the limit, by default that of the network.

    Returns:
      The largest excess over pairs of pixels, in units of the largest variance; at most
      0 where all are within four standard errors.
    """
    key_z, key = jax.random.split(jax.random.key(key))
    # A mean that does not vanish tells zeros beyond the border from other paddings.
    z = 0.5 + jax.random.normal(key_z, (*shape, net.input_channels))
    network = networks.build(net, initialisation="gaussian_process")

    def products(key):
        image = network.apply(network.init(key, z), z)
        pixels = image.reshape(-1, net.output_channels)
        return pixels @ pixels.T / net.output_channels

    keys = jax.random.split(key, count)
    drawn = np.asarray(jax.jit(lambda k: jax.lax.map(products, k))(keys), np.float64)
    error = drawn.std(axis=0, ddof=1) / np.sqrt(count)
    expected = np.asarray(kernels.dense(net, z) if dense is None else dense(z))
    expected = expected.reshape(drawn.shape[1:])
    # The comparison would be worth little if chance could hide ten per cent.
    assert np.all(error < 0.025 * expected.max())
    gap = np.abs(drawn.mean(axis=0) - expected)
    return np.max(gap - 4 * error) / expected.max()


def network(*layers, dimensions=1):
    body = Serial([*layers, Convolution(OUTPUTS, 1)])
    return Architecture(body, input_channels=3, dimensions=dimensions)


def plain(padding, kernel_size=3):
    return [
        Convolution(WIDTH, kernel_size, 1, 1.5, 0.2, padding),
        ReLU(),
        Convolution(WIDTH, kernel_size, 1, 1.5, 0.1, padding),
        Erf(1.0),
    ]


@pytest.mark.parametrize(
    ("padding", "kernel_size"),
    [
        ("reflect", 4),
        pytest.param("zeros", 3, marks=pytest.mark.slow),
        pytest.param("circular", 2, marks=pytest.mark.slow),
    ],
)
def test_plain_networks_with_each_padding(padding, kernel_size):
    net = network(*plain(padding, kernel_size))
    assert excess(net, (9,), count=300, key=1) <= 0


@pytest.mark.slow
@pytest.mark.parametrize("padding", ["reflect", "zeros", "circular"])
def test_images(padding):
    net = network(*plain(padding), dimensions=2)
    assert excess(net, (4, 5), count=300, key=2) <= 0


@pytest.mark.slow
def test_another_padding_or_variance_would_be_seen():
    net = network(*plain("reflect"))
    for other in (
        network(*plain("zeros")),
        network(*plain("circular")),
        network(Convolution(WIDTH, 3, 1, 1.7, 0.2), *plain("reflect")[1:]),
    ):
        wrong = excess(
            net, (9,), count=300, key=1, dense=lambda z, o=other: kernels.dense(o, z)
        )
        assert wrong > 0.01


@pytest.mark.slow
@pytest.mark.parametrize("up", ["nearest", "bilinear", "ideal"])
@pytest.mark.parametrize("down", ["stride", "average"])
@pytest.mark.parametrize("shape", [(12,), (9,), (3, 4)], ids=str)
def test_resolutions_lowered_and_raised(shape, down, up):
    net = network(
        Convolution(WIDTH, bias_variance=0.1),
        Downsample(2, down),
        ReLU(),
        Convolution(WIDTH, 2),
        Upsample(2, up),
        ReLU(),
        dimensions=len(shape),
    )
    assert excess(net, shape, count=300, key=3) <= 0


@pytest.mark.slow
def test_concatenations_and_sums():
    loud = Serial([Convolution(48, weight_variance=4.0), ReLU()])
    coarse = Serial(
        [Convolution(96, stride=2, padding="zeros"), Erf(2.0), Upsample(2, "nearest")]
    )
    block = Sum([Serial(), Serial([ReLU(), Convolution(WIDTH, bias_variance=0.1)])])
    net = network(Concat([loud, coarse, Serial()]), Convolution(WIDTH), block, ReLU())
    # One pixel more is put in, and cut off again.
    assert excess(net, (11,), count=300, key=4) <= 0


@pytest.mark.slow
@pytest.mark.parametrize("padding", ["reflect", "zeros"])
def test_the_hourglass_with_skips(padding):
    net = skip_net(
        2,
        channels_down=128,
        channels_up=128,
        channels_skip=64,
        batch_norm=False,
        output=Linear(),
        bias_variance=0.05,
        padding=padding,
        input_channels=4,
        output_channels=OUTPUTS,
        dimensions=1,
    )
    assert excess(net, (14,), count=400, key=5) <= 0


@pytest.mark.slow
def test_batch_norm_is_the_limit_of_many_pixels():
    z = jnp.asarray(np.random.default_rng(0).standard_normal((256, 64)), jnp.float32)
    net = skip_net(
        1,
        channels_down=96,
        channels_up=96,
        channels_skip=48,
        output=Linear(),
        input_channels=64,
        output_channels=OUTPUTS,
        dimensions=1,
    )
    built = networks.build(net, initialisation="gaussian_process")

    def products(key):
        image = built.apply(built.init(key, z), z)
        return image @ image.T / OUTPUTS

    keys = jax.random.split(jax.random.key(6), 100)
    drawn = np.asarray(jax.jit(lambda k: jax.lax.map(products, k))(keys), np.float64)
    error = drawn.std(axis=0, ddof=1) / 10
    expected = np.asarray(kernels.dense(net, z))
    gap = np.abs(drawn.mean(axis=0) - expected) - 5 * error
    # The statistics of the coarse scale are those of half the pixels.
    assert gap.max() <= 4 / 128 * expected.max()
