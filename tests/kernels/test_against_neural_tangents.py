"""The closed forms against a library that knows all pairs of pixels of a torus."""

import math

import numpy as np
import pytest
from torus_pixels import all_lags, periodic

from benchmarks import neural_tangents_oracle as oracle
from dipgp import architecture, kernels
from dipgp.architecture import (
    Architecture,
    Convolution,
    Downsample,
    Erf,
    LeakyReLU,
    Linear,
    ReLU,
    Serial,
    Sum,
)

pytestmark = [pytest.mark.oracle, pytest.mark.usefixtures("x64", "neural_tangents")]


def compare(net, shape):
    """Every pair of pixels, to ten digits of the variance."""
    input = periodic(shape[0])
    dense = oracle.dense_covariance(net, input, shape)
    lags = all_lags(len(dense), len(shape))
    found = np.asarray(kernels.covariance(net, input)(lags))
    np.testing.assert_allclose(found, dense, rtol=0, atol=1e-10 * dense.max())
    np.testing.assert_allclose(found, dense, rtol=1e-6)


@pytest.mark.parametrize("bias_variance", [0.0, 0.2], ids=["", "biases"])
@pytest.mark.parametrize(
    "activation", [ReLU(), LeakyReLU(0.2), Erf(1.5), Erf(math.inf)], ids=repr
)
@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_conv_nets_on_a_circle(depth, activation, bias_variance):
    net = architecture.conv_net(
        depth,
        activation=activation,
        weight_variance=1.3,
        bias_variance=bias_variance,
        dimensions=1,
    )
    compare(net, (12,))


def test_conv_nets_on_a_torus():
    net = architecture.conv_net(3, activation=LeakyReLU(-0.5), bias_variance=0.1)
    compare(net, (6, 6))


HALVINGS = {
    "stride": [Convolution(4, stride=2, weight_variance=2.0)],
    "average": [Convolution(4), Downsample(2, "average")],
}


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("stride", (24,)),
        ("average", (24,)),
        pytest.param("average", (8, 8), marks=pytest.mark.slow),
    ],
)
def test_nets_that_lower_the_resolution(name, shape):
    layers = [
        *HALVINGS[name],
        ReLU(),
        Convolution(4, 5, 2),
        Erf(1.0),
        Convolution(1, 1),
    ]
    compare(Architecture(Serial(layers), dimensions=len(shape)), shape)


@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_residual_nets(blocks):
    branch = [Convolution(4, bias_variance=0.1), ReLU(), Convolution(4)]
    block = Sum([Serial(), Serial(branch)])
    layers = [Convolution(4), *[block] * blocks, Erf(1.0), Convolution(1, 1)]
    compare(Architecture(Serial(layers), dimensions=1), (12,))


@pytest.mark.slow
def test_sums_of_branches_with_different_layers():
    branches = [
        Serial([ReLU(), Convolution(4), Downsample(2, "average")]),
        Serial([Convolution(4, 1), LeakyReLU(0.1), Convolution(4, 3, 2)]),
        Convolution(4, 3, 2, bias_variance=0.3),
    ]
    layers = [Convolution(4), Sum(branches), Linear(), ReLU(), Convolution(1)]
    compare(Architecture(Serial(layers), dimensions=1), (16,))
