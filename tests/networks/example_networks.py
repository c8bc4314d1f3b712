"""Descriptions of small networks of all kinds, and inputs for them."""

import jax
import jax.numpy as jnp

from dipgp.architecture import (
    Architecture,
    BatchNorm,
    Concat,
    Convolution,
    Downsample,
    Erf,
    Linear,
    ReLU,
    Serial,
    Sum,
    Upsample,
    autoencoder,
    conv_net,
    skip_net,
)

KEY = jax.random.key(0)


def small_hourglass(scales=2, **settings):
    narrow = {"channels_down": 6, "channels_up": 5, "channels_skip": 3}
    return skip_net(scales, input_channels=4, **(narrow | settings))


RESIDUAL = Architecture(
    Serial(
        [
            Convolution(6, bias_variance=0.1),
            Sum([Serial(), Serial([ReLU(), Convolution(6, 2)]), Convolution(6, 1)]),
            BatchNorm(affine=False),
            Downsample(3, "average"),
            Concat([Erf(2.0), Linear(), Serial([Convolution(2), BatchNorm()])]),
            Upsample(3, "ideal"),
            Convolution(1, 4, padding="circular"),
        ]
    ),
    input_channels=4,
)

NETS = {
    "the reference": skip_net(),
    "hourglass": small_hourglass(),
    "without skips": small_hourglass(channels_skip=0, batch_norm=False),
    "in one dimension": small_hourglass(dimensions=1, upsample="nearest"),
    "average": small_hourglass(downsample="average", upsample="ideal"),
    "plain": conv_net(3, channels=7, input_channels=4, bias_variance=0.2),
    "linear": conv_net(0, input_channels=4, output_channels=3),
    "autoencoder": autoencoder(2, channels=5, input_channels=4, kernel_size=4),
    "residual": RESIDUAL,
    "one layer": Architecture(Convolution(2, bias_variance=1.0), input_channels=4),
    "no parameters": Architecture(Serial([ReLU(), Upsample(2, "nearest")]), 4),
}


def noise(grid, channels=4, dtype=jnp.float32):
    return jax.random.normal(KEY, (*grid, channels), dtype)


def input_of(net, size=16):
    return noise((size,) * net.dimensions, net.input_channels)
