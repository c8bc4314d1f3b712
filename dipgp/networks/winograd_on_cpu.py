"""Convolutions of many channels in fewer products, for XLA's CPU backend.

Winograd's minimal filtering: along an axis, m outputs of a kernel of r taps take
n = m + r - 1 products instead of m r, since both are polynomials whose product is told
by its values at n points. In two dimensions,

    y = A' [(G g G') * (B' d B)] A

for a window d of n x n pixels and m x m outputs y; "*" stands for products at each
point by themselves, which for many channels are products of matrices. The matrices
A, B and G are those of Toom and Cook for `_POINTS` and infinity, in exact arithmetic
the convolution. In single precision errors are about four times those of the direct
sum, 1.5e-6 of the result in Euclidean norm.

The image goes by strips of rows, of which all windows stay in the cache.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from dipgp import numerics

Array = jax.Array

# Outputs that one window makes along an axis.
_OUTPUTS = 4
# The first ones that are needed. Small fractions and numbers of both signs: growing
# powers are what rounding suffers from.
_POINTS = (0.0, 1.0, -1.0, 0.5, -2.0)
_TAPS = (2, 3)
# Below these, transforming the images takes more than the products save.
_FEWEST_CHANNELS, _FEWEST_WINDOWS = 64, 256
# Numbers in the windows of a strip: eight megabytes in single precision.
_STRIP = 2**21


class _Transforms(NamedTuple):
    """From windows, kernels and to outputs, of both axes at once.

    Attributes:
      windows: (n^2, n^2) from pixels to points.
      kernel: (n^2, r^2) from taps to points.
      outputs: (m^2, n^2) from points to outputs.
    """

    windows: np.ndarray
    kernel: np.ndarray
    outputs: np.ndarray


def is_faster(kernel_shape: tuple[int, ...], height: int, width: int) -> bool:
    """Whether a convolution of stride 1 is better computed here.

    Args:
      kernel_shape: (k, l, C, O).
      height: of what comes out.
      width: likewise.
    """
    rows, columns, *channels = kernel_shape
    return (
        rows == columns
        and rows in _TAPS
        and min(channels) >= _FEWEST_CHANNELS
        and height * width >= _FEWEST_WINDOWS * _OUTPUTS**2
    )


def correlate(x: Array, kernel: Array, border: int = 0) -> Array:
    """The convolution of an image, with so many zeros at each side, and a kernel.

    Args:
      x: (h, w, C).
      kernel: (r, r, C, O).
      border: zeros before the first and behind the last pixel of each axis.

    Returns:
      (h + 2 border - r + 1, w + 2 border - r + 1, O).
    """
    dtype, taps, (channels, filters) = x.dtype, len(kernel), kernel.shape[2:]
    height, width = (size + 2 * border - taps + 1 for size in x.shape[:2])
    by = _transforms(taps)
    tiling = _tiling(height, width, taps, max(channels, filters))
    x = numerics.at_least_single(x)
    # All of it is overwritten. Constants would be made before the loop over a run's
    # steps, and be there throughout; so would the border.
    outputs = tiling.rows * tiling.columns * filters
    blank = jnp.full((tiling.strips, _OUTPUTS**2, outputs), x[0, 0, 0])
    x = _fill(x, border, tiling)
    kernel = numerics.at_least_single(kernel)
    points = _apply(by.kernel, kernel.reshape(taps**2, -1))
    points = points.reshape(-1, channels, filters)

    def fill(y: Array, start: Array) -> tuple[Array, None]:
        windows = _apply(by.windows, _windows(x, start, tiling, tiling.window))
        windows = windows.reshape(len(points), -1, channels)
        products = lax.dot_general(windows, points, (((2,), (1,)), ((0,), (0,))))
        strip = _apply(by.outputs, products.reshape(len(points), -1))
        return lax.dynamic_update_index_in_dim(y, strip, start, 0), None

    y, _ = lax.scan(fill, blank, jnp.arange(tiling.strips))
    # Here and not in each strip, where it would be work of one thread.
    y = y.reshape(-1, _OUTPUTS, _OUTPUTS, tiling.rows, tiling.columns, filters)
    y = jnp.transpose(y, (0, 3, 1, 4, 2, 5))
    y = y.reshape(-1, _OUTPUTS * tiling.columns, filters)
    return y[:height, :width].astype(dtype)


def gradient_of_kernel(x: Array, slope: Array) -> Array:
    """What `correlate`, without a border, gives the kernel for a slope of its output.

    Args:
      x: (h, w, C).
      slope: (H, W, O).

    Returns:
      (r, r, C, O).
    """
    dtype, (height, width, filters) = x.dtype, slope.shape
    taps, channels = x.shape[0] - height + 1, x.shape[-1]
    by = _transforms(taps)
    tiling = _tiling(height, width, taps, max(channels, filters))
    x = _fill(numerics.at_least_single(x), 0, tiling)
    slope = _fill(numerics.at_least_single(slope), 0, tiling._replace(window=_OUTPUTS))

    def add(total: Array, start: Array) -> tuple[Array, None]:
        windows = _apply(by.windows, _windows(x, start, tiling, tiling.window))
        slopes = _apply(by.outputs.T, _windows(slope, start, tiling, _OUTPUTS))
        windows = windows.reshape(len(total), -1, channels)
        slopes = slopes.reshape(len(total), -1, filters)
        # As one batch of products of transposed matrices it takes half as long again.
        of_points = lax.map(lambda pair: pair[0].T @ pair[1], (windows, slopes))
        return total + of_points, None

    none = jnp.zeros((tiling.window**2, channels, filters), x.dtype)
    total, _ = lax.scan(add, none, jnp.arange(tiling.strips))
    of_kernel = _apply(by.kernel.T, total.reshape(len(total), -1))
    return of_kernel.reshape(taps, taps, channels, filters).astype(dtype)


class _Tiling(NamedTuple):
    """How windows lie on an image.

    Attributes:
      strips: how many.
      rows: of windows in each.
      columns: of windows.
      window: pixels of a window along an axis.
    """

    strips: int
    rows: int
    columns: int
    window: int


def _tiling(height: int, width: int, taps: int, channels: int) -> _Tiling:
    """Strips of which the windows stay in the cache, and little is beyond the image."""
    window = _OUTPUTS + taps - 1
    rows, columns = (-(-size // _OUTPUTS) for size in (height, width))
    most = min(max(_STRIP // (columns * window**2 * channels), 1), rows)
    some = range(most, most // 2, -1)
    best = min(some, key=lambda count: -(-rows // count) * count)
    return _Tiling(-(-rows // best), best, columns, window)


def _fill(x: Array, border: int, tiling: _Tiling) -> Array:
    """An image with its border, continued by zeros until windows cover it."""
    covered = (tiling.strips * tiling.rows, tiling.columns)
    missing = [
        (border, _OUTPUTS * windows + tiling.window - _OUTPUTS - border - size, 0)
        for windows, size in zip(covered, x.shape, strict=False)
    ]
    return lax.pad(x, jnp.zeros((), x.dtype), [*missing, (0, 0, 0)])


def _windows(x: Array, start: Array, tiling: _Tiling, window: int) -> Array:
    """The windows of a strip: (window^2, rows * columns * C), pixel by pixel."""
    height = _OUTPUTS * tiling.rows
    strip = lax.dynamic_slice_in_dim(x, start * height, height + window - _OUTPUTS)
    last = [_OUTPUTS * (count - 1) + 1 for count in (tiling.rows, tiling.columns)]
    return jnp.stack(
        [
            strip[i : i + last[0] : _OUTPUTS, j : j + last[1] : _OUTPUTS].ravel()
            for i in range(window)
            for j in range(window)
        ]
    )


def _apply(transform: np.ndarray, numbers: Array) -> Array:
    return jnp.asarray(transform, numbers.dtype) @ numbers


@functools.cache
def _transforms(taps: int) -> _Transforms:
    """The matrices of Toom and Cook, for the first points and infinity."""
    points = np.array(_POINTS[: _OUTPUTS + taps - 2])
    others = [np.delete(points, i) for i in range(len(points))]
    # Of Lagrange's polynomials, told by their roots, from the constant on.
    lagrange = [[*np.poly(roots)[::-1], 0.0] for roots in others]
    windows = np.array([*lagrange, np.poly(points)[::-1]])
    distances = points[:, None] - np.array(others)
    scale = distances.prod(axis=1, keepdims=True)
    kernel = np.vander(points, taps, increasing=True) / scale
    outputs = np.vander(points, _OUTPUTS, increasing=True).T
    kernel = np.vstack([kernel, np.eye(taps)[-1]])
    outputs = np.hstack([outputs, np.eye(_OUTPUTS)[:, -1:]])
    return _Transforms(*(np.kron(one, one) for one in (windows, kernel, outputs)))
