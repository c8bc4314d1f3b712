"""The tangent kernel against a library that knows all pairs of pixels of a torus."""

import numpy as np
import pytest
from torus_pixels import all_lags, periodic

from benchmarks import neural_tangents_oracle as oracle
from dipgp import architecture, kernels
from dipgp.architecture import (
    Architecture,
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

ACTIVATIONS = [ReLU(), LeakyReLU(0.2), Erf(1.5)]


def conv_net(depth, activation, **options):
    options = {"weight_variance": 1.3, "dimensions": 1} | options
    return architecture.conv_net(depth, activation=activation, **options)


def network(*layers, dimensions=1):
    return Architecture(Serial(layers), dimensions=dimensions)


pytestmark = [pytest.mark.oracle, pytest.mark.usefixtures("x64", "neural_tangents")]


def compare(net, shape):
    """Every pair of pixels, to twelve digits of Theta at lag 0."""
    input = periodic(shape[0])
    dense = oracle.dense_tangent(net, input, shape)
    found = np.asarray(kernels.ntk(net, input)(all_lags(len(dense), len(shape))))
    np.testing.assert_allclose(found, dense, rtol=0, atol=1e-12 * dense.max())


@pytest.mark.parametrize("bias_variance", [0.0, 0.2], ids=["", "biases"])
@pytest.mark.parametrize("activation", ACTIVATIONS, ids=repr)
@pytest.mark.parametrize(
    "depth",
    [3, *(pytest.param(depth, marks=pytest.mark.slow) for depth in (1, 2, 4, 10))],
)
def test_conv_nets_on_a_circle(depth, activation, bias_variance):
    compare(conv_net(depth, activation, bias_variance=bias_variance), (12,))


@pytest.mark.slow
def test_conv_nets_on_a_torus():
    compare(conv_net(3, LeakyReLU(-0.5), bias_variance=0.1, dimensions=2), (6, 6))


@pytest.mark.parametrize(
    "shape", [(24,), pytest.param((8, 8), marks=pytest.mark.slow)], ids=str
)
def test_nets_that_lower_the_resolution(shape):
    layers = [
        Convolution(4, stride=2, weight_variance=2.0, bias_variance=0.2),
        ReLU(),
        Convolution(4),
        Downsample(2, "average"),
        Erf(1.0),
        Convolution(1, 1),
    ]
    compare(network(*layers, dimensions=len(shape)), shape)


@pytest.mark.parametrize("blocks", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_residual_nets(blocks):
    branch = [Convolution(4, bias_variance=0.1), ReLU(), Convolution(4)]
    block = Sum([Serial(), Serial(branch)])
    layers = [Convolution(4), *[block] * blocks, Erf(1.0), Convolution(1, 1)]
    compare(network(*layers), (12,))


@pytest.mark.slow
def test_sums_of_branches_with_different_layers():
    branches = [
        Serial([ReLU(), Convolution(4), Downsample(2, "average")]),
        Serial([Convolution(4, 1), LeakyReLU(0.1), Convolution(4, 3, 2)]),
        Convolution(4, 3, 2, bias_variance=0.3),
    ]
    layers = [Convolution(4), Sum(branches), Linear(), ReLU(), Convolution(1)]
    compare(network(*layers), (16,))


def test_concatenated_branches_weigh_by_their_channels():
    branches = [
        Serial([Convolution(2, weight_variance=3.0), ReLU()]),
        Serial([Convolution(6, 1), Erf(1.0), Convolution(6), LeakyReLU(0.2)]),
    ]
    layers = [Concat(branches), Convolution(4, weight_variance=1.5), ReLU()]
    compare(network(*layers, Convolution(1, bias_variance=0.2)), (12,))


@pytest.mark.parametrize(
    "method", ["bilinear", pytest.param("nearest", marks=pytest.mark.slow)]
)
@pytest.mark.slow
def test_up_sampling_is_the_mean_over_phases(method):
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
