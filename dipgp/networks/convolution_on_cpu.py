"""Convolutions and their gradients in the forms that XLA's CPU backend computes fast.

XLA's own gradient of a convolution is 15 to 38 times slower on CPUs inside a compiled
loop than outside (github.com/jax-ml/jax/issues/12868), because its transposed layouts
miss the fast path there. Here all convolutions are written in the layout of the fast
path, as forward ones with explicit padding and without strides. That path copies
windows and multiplies matrices, which is fast as long as what one matrix is multiplied
by stays in the cache: the gradient of the kernel, where this is a whole image, goes by
strips of it. Convolutions of many channels and pixels are left to `winograd_on_cpu`.

All arrays are those of one image: x (h, w, C) that has its border already, kernel
(k, l, C, O), and the slope of what comes out, (H, W, O).
"""

import functools
import math

import jax
import jax.numpy as jnp
from jax import lax

from dipgp import numerics
from dipgp.networks import winograd_on_cpu

Array = jax.Array
Strides = tuple[int, int]

LAYOUT = ("NHWC", "HWIO", "NHWC")

# Numbers in a strip of an image: half a megabyte in single precision.
_STRIP = 2**17


def correlate(x: Array, kernel: Array, strides: Strides) -> Array:
    """The convolution: (H, W, O)."""
    x, kernel = _remove_strides(x, kernel, strides)
    if kernel.shape[:2] == (1, 1):
        return (x.reshape(-1, x.shape[-1]) @ kernel[0, 0]).reshape(*x.shape[:2], -1)
    if winograd_on_cpu.is_faster(kernel.shape, *_output_size(x, kernel, (1, 1))):
        return winograd_on_cpu.correlate(x, kernel)
    # With a border XLA takes its fast path; what the border adds is cut off.
    border = [(0, int(taps > 1)) for taps in kernel.shape[:2]]
    y = lax.conv_general_dilated(
        x[None], kernel, (1, 1), border, dimension_numbers=LAYOUT
    )[0]
    height, width = _output_size(x, kernel, (1, 1))
    return y[:height, :width]


def gradient(
    x: Array, kernel: Array, slope: Array, strides: Strides
) -> tuple[Array, Array]:
    """The products of slope with the derivatives by x and by the kernel."""
    (x, kernel), pull_back = jax.vjp(
        functools.partial(_remove_strides, strides=strides), x, kernel
    )
    return pull_back(_gradient_without_strides(x, kernel, slope))


def _gradient_without_strides(
    x: Array, kernel: Array, slope: Array
) -> tuple[Array, Array]:
    """Both gradients as convolutions in the layout of the fast path."""
    rows, columns, channels, filters = kernel.shape
    if (rows, columns) == (1, 1):
        pixels, slopes = x.reshape(-1, channels), slope.reshape(-1, filters)
        of_x = (slopes @ kernel[0, 0].T).reshape(x.shape)
        return of_x, (pixels.T @ slopes).reshape(kernel.shape)
    adjoint = jnp.transpose(kernel[::-1, ::-1], (0, 1, 3, 2))
    if winograd_on_cpu.is_faster(kernel.shape, *slope.shape[:2]):
        of_x = winograd_on_cpu.correlate(slope, adjoint, border=rows - 1)
        return of_x, winograd_on_cpu.gradient_of_kernel(x, slope)
    of_x = lax.conv_general_dilated(
        slope[None],
        adjoint,
        (1, 1),
        [(rows - 1, rows - 1), (columns - 1, columns - 1)],
        dimension_numbers=LAYOUT,
    )[0]
    return of_x, _gradient_of_kernel(x, slope)


def _gradient_of_kernel(x: Array, slope: Array) -> Array:
    """The sum over strips of rows, each of them small enough for the cache."""
    height, width, filters = slope.shape
    border = x.shape[0] - height
    rows = _rows_of_strip(height, width * max(filters, x.shape[-1]))

    def add(total: Array, start: Array) -> tuple[Array, None]:
        of_strip = _gradient_of_kernel_at_once(
            lax.dynamic_slice_in_dim(x, start, rows + border),
            lax.dynamic_slice_in_dim(slope, start, rows),
        )
        return total + of_strip, None

    if rows == height:
        return _gradient_of_kernel_at_once(x, slope)
    columns = x.shape[1] - width + 1
    none = jnp.zeros((border + 1, columns, x.shape[-1], filters), x.dtype)
    none = numerics.at_least_single(none)
    total, _ = lax.scan(add, none, rows * jnp.arange(height // rows))
    return total.astype(x.dtype)


def _gradient_of_kernel_at_once(x: Array, slope: Array) -> Array:
    """A convolution where each channel of x is an image, and the slope the filter."""
    of_kernel = lax.conv_general_dilated(
        jnp.transpose(x, (2, 0, 1))[..., None],
        slope[:, :, None, :],
        (1, 1),
        "VALID",
        dimension_numbers=LAYOUT,
    )
    return jnp.transpose(of_kernel, (1, 2, 0, 3))


def _rows_of_strip(height: int, numbers: int) -> int:
    """Rows in each of several strips alike, of which one row holds so many numbers."""
    fewest = min(math.ceil(height * numbers / _STRIP), height)
    return next(height // n for n in range(fewest, height + 1) if height % n == 0)


def _remove_strides(x: Array, kernel: Array, strides: Strides) -> tuple[Array, Array]:
    """Image and kernel whose convolution of stride 1 is the strided one of those given.

    Pixels that are met by the same taps, one in stride along each axis, become channels
    of one pixel, and so do the taps. This takes some products with zeros, but few and
    large operations.
    """
    size = _output_size(x, kernel, strides)
    for axis, stride in enumerate(strides):
        if stride == 1:
            continue
        taps = kernel.shape[axis]
        groups = -(-taps // stride)
        x = _split(x, axis, size[axis] + groups - 1, stride)
        kernel = _split(kernel, axis, groups, stride)
        # Where the stride passes over pixels, no tap meets them.
        x = lax.slice_in_dim(x, 0, min(taps, stride), axis=axis + 1)
        kernel = lax.slice_in_dim(kernel, 0, min(taps, stride), axis=axis + 1)
        x, kernel = jnp.moveaxis(x, axis + 1, 2), jnp.moveaxis(kernel, axis + 1, 2)
        x = x.reshape(*x.shape[:2], -1)
        kernel = kernel.reshape(*kernel.shape[:2], -1, kernel.shape[-1])
    return x, kernel


def _split(x: Array, axis: int, groups: int, width: int) -> Array:
    """An axis as two, (groups, width), cut off or continued by zeros at its end."""
    length = groups * width
    x = lax.slice_in_dim(x, 0, min(length, x.shape[axis]), axis=axis)
    missing = [(0, 0, 0)] * x.ndim
    missing[axis] = (0, length - x.shape[axis], 0)
    x = lax.pad(x, jnp.zeros((), x.dtype), missing)
    return x.reshape(*x.shape[:axis], groups, width, *x.shape[axis + 1 :])


def _output_size(x: Array, kernel: Array, strides: Strides) -> tuple[int, int]:
    height, width = (
        (size - taps) // stride + 1
        for size, taps, stride in zip(x.shape, kernel.shape, strides, strict=False)
    )
    return height, width
