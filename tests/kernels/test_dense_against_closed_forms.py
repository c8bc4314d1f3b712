"""Second moments between all pairs of pixels against another program and the torus."""

import itertools
import math

import numpy as np
import pytest
from small_grids import GRIDS, as_matrix, signal
from torus_pixels import all_lags, periodic

from benchmarks import neural_tangents_oracle as oracle
from dipgp import kernels
from dipgp.architecture import (
    Architecture,
    Convolution,
    Downsample,
    Erf,
    LeakyReLU,
    ReLU,
    Serial,
    Sum,
)


def all_pairs(kernel):
    """(pixels, pixels) from neural-tangents' (1, 1, H', H', W', W')."""
    pairs = np.asarray(kernel.nngp)[0, 0]
    if pairs.ndim == 4:
        order = (2, 0, 3, 1) if kernel.is_reversed else (0, 2, 1, 3)
        pairs = pairs.transpose(order)
    return as_matrix(pairs)


TRANSLATED = {
    "deep": [
        Convolution(4, 3, 1, 1.3, 0.2),
        ReLU(),
        Convolution(4, 3, 1, 1.5),
        LeakyReLU(-0.3),
        Convolution(4, 5, 1, 2.0, 0.1),
        Erf(1.5),
        Convolution(1),
    ],
    "average": [Convolution(4), Downsample(2, "average"), ReLU(), Convolution(4)],
    "residual": [
        Convolution(4),
        Sum([Serial(), Serial([ReLU(), Convolution(4, bias_variance=0.1)])]),
        Erf(1.0),
    ],
}


def with_padding(layer, padding):
    match layer:
        case Convolution():
            return Convolution(**{**vars(layer), "padding": padding})
        case Serial():
            return Serial([with_padding(inner, padding) for inner in layer.layers])
        case Sum():
            return Sum([with_padding(branch, padding) for branch in layer.branches])
    return layer


@pytest.mark.oracle
@pytest.mark.parametrize("shape", GRIDS, ids=str)
@pytest.mark.parametrize(
    ("name", "padding"),
    [
        ("residual", "zeros"),
        *(
            pytest.param(name, padding, marks=pytest.mark.slow)
            for name, padding in itertools.product(TRANSLATED, ["zeros", "circular"])
            if (name, padding) != ("residual", "zeros")
        ),
    ],
)
def test_a_given_input_against_neural_tangents(
    x64, neural_tangents, name, padding, shape
):
    body = with_padding(Serial(TRANSLATED[name]), padding)
    net = Architecture(body, input_channels=3, dimensions=len(shape))
    z = signal(shape)
    stax_padding = {"zeros": "SAME", "circular": "CIRCULAR"}[padding]
    function = oracle.kernel_function(net, stax_padding)
    expected = all_pairs(function(z[None], None, diagonal_spatial=False))
    found = as_matrix(kernels.dense(net, z))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13 * expected.max())


@pytest.mark.parametrize(
    "shape", [(12,), pytest.param((6, 6), marks=pytest.mark.slow)], ids=str
)
@pytest.mark.parametrize(
    "layers",
    [
        [Convolution(4, 3, 1, 1.3, 0.2), ReLU(), Convolution(4, 2), Erf(math.inf)],
        [Convolution(4, 5), LeakyReLU(0.2), Convolution(4, stride=2), Erf(1.0)],
        [Convolution(4), Downsample(2, "average"), ReLU(), Convolution(1)],
    ],
    ids=["deep", "stride", "average"],
)
def test_on_a_torus_it_is_the_stationary_closed_form(x64, layers, shape):
    body = with_padding(Serial(layers), "circular")
    net = Architecture(body, dimensions=len(shape))
    input = periodic(shape[0])
    found = kernels.dense(net, input, shape)
    lags = all_lags(math.prod(found.shape[: len(shape)]), len(shape))
    expected = np.asarray(kernels.covariance(net, input)(lags))
    # The sign function is the one whose slope is infinite at correlation 1.
    np.testing.assert_allclose(as_matrix(found), expected, rtol=0, atol=1e-7)
    unlike = expected < 0.999 * expected.max()
    np.testing.assert_allclose(as_matrix(found)[unlike], expected[unlike], rtol=1e-11)
