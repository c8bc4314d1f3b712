"""Convolutions by Winograd's windows against XLA's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from dipgp.networks import convolution_on_cpu, winograd_on_cpu


def example(height, width, taps, channels=3, filters=4, dtype=np.float64):
    """An image, a kernel, and a slope of what comes out."""
    rng = np.random.default_rng(0)
    shapes = (
        (height, width, channels),
        (taps, taps, channels, filters),
        (height - taps + 1, width - taps + 1, filters),
    )
    return [jnp.asarray(rng.standard_normal(shape).astype(dtype)) for shape in shapes]


def convolution(x, kernel, border=0):
    """XLA's, summed in 64 bits."""
    x, kernel = x.astype(float), kernel.astype(float)
    return lax.conv_general_dilated(
        x[None],
        kernel,
        (1, 1),
        [(border, border)] * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )[0]


# Whole windows, pixels beyond the last one, and fewer pixels than a window has.
@pytest.mark.parametrize("size", [(10, 14), (12, 15), (4, 5)], ids=str)
@pytest.mark.parametrize("taps", [2, 3])
def test_it_is_the_convolution_and_its_gradient(x64, size, taps):
    x, kernel, slope = example(*size, taps)
    y, pull_back = jax.vjp(convolution, x, kernel)
    found = winograd_on_cpu.correlate(x, kernel)
    np.testing.assert_allclose(found, y, rtol=0, atol=1e-12)
    found = winograd_on_cpu.gradient_of_kernel(x, slope)
    np.testing.assert_allclose(found, pull_back(slope)[1], rtol=0, atol=1e-12)


def test_zeros_may_stand_around_the_image(x64):
    x, kernel, _ = example(9, 11, 3)
    found = winograd_on_cpu.correlate(x, kernel, border=2)
    expected = convolution(x, kernel, border=2)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("rows", [1, 3])
def test_strips_of_any_height_make_the_same_image(x64, monkeypatch, rows):
    x, kernel, slope = example(4 * 7 + 2, 4 * 2 + 2, 3)
    monkeypatch.setattr(winograd_on_cpu, "_STRIP", rows * 2 * 6**2 * 4)
    y, pull_back = jax.vjp(convolution, x, kernel)
    found = winograd_on_cpu.correlate(x, kernel)
    np.testing.assert_allclose(found, y, rtol=0, atol=1e-12)
    found = winograd_on_cpu.gradient_of_kernel(x, slope)
    np.testing.assert_allclose(found, pull_back(slope)[1], rtol=0, atol=1e-12)


def test_rounding_stays_within_a_few_times_that_of_a_sum(x64):
    x, kernel, slope = example(66, 66, 3, channels=64, filters=64, dtype=np.float32)
    y, pull_back = jax.vjp(convolution, x, kernel)
    found = winograd_on_cpu.correlate(x, kernel)
    assert found.dtype == jnp.float32
    assert np.linalg.norm(found - y) < 3e-6 * np.linalg.norm(y)
    of_kernel = pull_back(slope.astype(float))[1]
    found = winograd_on_cpu.gradient_of_kernel(x, slope)
    assert found.dtype == jnp.float32
    assert np.linalg.norm(found - of_kernel) < 4e-6 * np.linalg.norm(of_kernel)


def test_half_precision_is_rounded_once(x64):
    x, kernel, slope = (a.astype(jnp.bfloat16) for a in example(18, 18, 3))
    found = winograd_on_cpu.correlate(x, kernel)
    assert found.dtype == jnp.bfloat16
    expected = convolution(x, kernel)
    np.testing.assert_allclose(
        found.astype(float), expected, rtol=2**-8, atol=1e-4 * float(expected.max())
    )
    assert winograd_on_cpu.gradient_of_kernel(x, slope).dtype == jnp.bfloat16


@pytest.mark.parametrize(
    ("shape", "size", "expected"),
    [
        ((3, 3, 128, 128), (256, 256), True),
        ((2, 2, 128, 64), (64, 64), True),
        ((3, 3, 32, 128), (256, 256), False),  # few channels
        ((3, 3, 128, 32), (256, 256), False),
        ((3, 3, 128, 128), (32, 32), False),  # few windows
        ((1, 3, 128, 128), (1, 65536), False),  # a signal
        ((5, 5, 128, 128), (256, 256), False),  # rounding grows with taps
    ],
)
def test_it_is_left_out_where_it_does_not_pay(shape, size, expected):
    assert winograd_on_cpu.is_faster(shape, *size) == expected


def test_large_convolutions_and_their_gradients_take_it(x64):
    x, kernel, slope = example(66, 66, 3, channels=64, filters=64)
    y, pull_back = jax.vjp(convolution, x, kernel)

    @jax.jit
    def both(x, kernel, slope):
        of_both = convolution_on_cpu.gradient(x, kernel, slope, (1, 1))
        return convolution_on_cpu.correlate(x, kernel, (1, 1)), *of_both

    text = both.lower(x, kernel, slope).as_text()
    assert "stablehlo.convolution" not in text
    found, expected = both(x, kernel, slope), (y, *pull_back(slope))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-10)
