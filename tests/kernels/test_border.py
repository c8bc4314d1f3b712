"""How far the stationary closed form is from the truth with a border."""

import jax.numpy as jnp
import numpy as np
import pytest

from dipgp import architecture, kernels
from dipgp.architecture import Architecture, Convolution, ReLU, Serial, Upsample


def test_without_a_border_there_is_no_gap(x64):
    def periodic(lags):
        return jnp.exp(jnp.sum(jnp.cos(2 * jnp.pi * lags / 8) - 1, axis=-1))

    net = architecture.conv_net(2, padding="circular", dimensions=1)
    gap = kernels.stationarity_gap(net, periodic, (8,))
    assert gap.shape == (8,)
    assert np.max(gap) < 1e-14


def test_zeros_beyond_the_border_take_a_third_of_the_outermost_variance(x64):
    net = Architecture(Serial([Convolution(1, padding="zeros")]), dimensions=1)
    gap = kernels.stationarity_gap(net, None, (7,))
    # White noise stays white; two of three taps see pixels at the ends.
    np.testing.assert_allclose(gap, [1 / 3, 0, 0, 0, 0, 0, 1 / 3], atol=1e-15)


def test_one_reflected_pixel_brings_correlation_to_the_border(x64):
    net = Architecture(Serial([Convolution(1)]), dimensions=1)
    gap = kernels.stationarity_gap(net, kernels.constant(2.0), (5,))
    np.testing.assert_allclose(gap, 0, atol=1e-15)
    # Taps of pixel 0 read 1, 0, 1 and those of pixel 2 read 1, 2, 3: the first agree.
    gap = kernels.stationarity_gap(net, kernels.white(), (5,))
    np.testing.assert_allclose(gap, [1 / 3, 0, 1 / 3, 0, 1 / 3], atol=1e-15)


@pytest.mark.parametrize("depth", [1, 2])
def test_conv_nets_are_stationary_as_far_as_their_pixels_see_no_border(x64, depth):
    # With a given padding a pixel depends on the border within depth pixels of it, and
    # so do the pairs that it makes with pixels there.
    net = architecture.conv_net(depth, dimensions=1)
    dense = np.asarray(kernels.dense(net, kernels.gaussian(1.0), (16,)))
    lags = np.arange(16.0)[None, :, None] - np.arange(16.0)[:, None, None]
    error = np.abs(dense - kernels.covariance(net, kernels.gaussian(1.0))(lags))
    inside = slice(depth, -depth)
    np.testing.assert_allclose(error[inside, inside], 0, atol=1e-14)
    gap = np.asarray(kernels.stationarity_gap(net, kernels.gaussian(1.0), (16,)))
    np.testing.assert_allclose(gap, error.max(axis=1) * 2**depth, rtol=1e-12)
    assert gap[0] == gap.max() > 0.01


def test_an_image_has_a_map_of_gaps_with_its_symmetries(x64):
    net = architecture.conv_net(1)
    gap = np.asarray(kernels.stationarity_gap(net, kernels.gaussian(1.0), (7, 7)))
    assert gap.shape == (7, 7)
    for turned in (gap.T, gap[::-1], gap[:, ::-1]):
        np.testing.assert_allclose(gap, turned, rtol=1e-12)
    assert gap[0, 0] == gap.max()


def test_the_output_may_have_another_resolution(x64):
    layers = [Convolution(4, padding="circular"), ReLU(), Upsample(2, "nearest")]
    net = Architecture(Serial(layers), dimensions=1)
    gap = kernels.stationarity_gap(net, kernels.gaussian(1.0), (8,))
    assert gap.shape == (16,)
    # The mean over phases is not any one of them, also inside.
    assert np.min(gap) > 0.01


def test_too_many_pixels_are_refused():
    with pytest.raises(ValueError, match=r"largest: expected at most 4096 pixels"):
        kernels.stationarity_gap(architecture.conv_net(1), None, (128, 128))
