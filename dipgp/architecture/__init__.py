"""A convolutional network as data: what it is made of, before any weight exists.

One frozen, hashable description serves both readings of a network. `dipgp.kernels`
reads it as the covariance of an infinitely wide network; a network builder reads it as
a function of weights. That the two describe the same thing is then a property of the
description.

    net = conv_net(depth=4)
    net = Architecture(Serial([Convolution(64), ReLU(), Convolution(1, kernel_size=1)]))
"""

from dipgp.architecture.builders import autoencoder, conv_net, skip_net
from dipgp.architecture.layers import (
    Activation,
    Architecture,
    BatchNorm,
    Concat,
    Convolution,
    Downsample,
    Erf,
    Layer,
    LeakyReLU,
    Linear,
    ReLU,
    Serial,
    Sigmoid,
    Sum,
    Upsample,
    layer_channels,
    parameter_count,
)

__all__ = [
    "Activation",
    "Architecture",
    "BatchNorm",
    "Concat",
    "Convolution",
    "Downsample",
    "Erf",
    "Layer",
    "LeakyReLU",
    "Linear",
    "ReLU",
    "Serial",
    "Sigmoid",
    "Sum",
    "Upsample",
    "autoencoder",
    "conv_net",
    "layer_channels",
    "parameter_count",
    "skip_net",
]
