"""Padding, stride and resampling as linear maps of the pixels along one axis.

A dense second moment has two axes for each axis of the image, the first pixel's and the
second pixel's. A linear map A of the pixels acts on both, C -> A C A^T. The taps of a
convolution have independent weights, so that their maps S_j act one by one,
C -> mean_j S_j C S_j^T, each on both pixels jointly. Maps are products over the axes
of the image, and are applied one axis after the other.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from dipgp.architecture.layers import DownsampleMethod, Padding, UpsampleMethod

Array = jax.Array


def continued(size: int, kernel_size: int, padding: Padding) -> np.ndarray:
    """Which pixels stand in a row that is long enough for every tap of a convolution.

    Args:
      size: pixels of the row.
      kernel_size: taps; (kernel_size - 1) // 2 pixels are put before the first,
        kernel_size // 2 behind the last.
      padding: "reflect" mirrors pixels at the centre of the outermost one, "circular"
        goes on at the other end; for "zeros" the number is `size`, a pixel that does
        not exist.

    Returns:
      (size + kernel_size - 1,) integers.
    """
    positions = np.arange(size + kernel_size - 1) - (kernel_size - 1) // 2
    match padding:
        case "zeros":
            inside = (positions >= 0) & (positions < size)
            return np.where(inside, positions, size)
        case "circular":
            return positions % size
        case "reflect":
            period = max(2 * (size - 1), 1)
            return np.minimum(positions % period, -positions % period)


def mean_over_taps(
    moments: Array, axis: int, kernel_size: int, stride: int, padding: Padding
) -> Array:
    """mean_j S_j C S_j^T along one axis of the image.

    Args:
      moments: (*shape, *shape).
      axis: of the image.
      kernel_size: taps along the axis.
      stride: keeps every stride-th pixel, the first one included.
      padding: see `continued`.
    """
    size = moments.shape[axis]
    both = (axis, axis + moments.ndim // 2)
    # Slices of one array compile to half the time and a third of the memory of taps
    # that each gather their own.
    wide = gather(moments, axis, continued(size, kernel_size, padding))
    total = jnp.zeros((), moments.dtype)
    for tap in range(kernel_size):
        taken = wide
        for each in both:
            taken = lax.slice_in_dim(taken, tap, tap + size, stride, each)
        total = total + taken
    return total / kernel_size


def gather(moments: Array, axis: int, sources: np.ndarray) -> Array:
    """S C S^T, where S puts pixel sources[i] at i, or zero if there is no such one."""
    for each in (axis, axis + moments.ndim // 2):
        moments = jnp.take(moments, sources, each, mode="fill", fill_value=0)
    return moments


def apply(moments: Array, axis: int, matrix: np.ndarray) -> Array:
    """A C A^T along one axis of the image, for a matrix A (pixels after, before)."""
    for each in (axis, axis + moments.ndim // 2):
        product = jnp.tensordot(
            matrix.astype(moments.dtype), moments, (1, each), precision="highest"
        )
        moments = jnp.moveaxis(product, 0, each)
    return moments


def downsampling(size: int, factor: int, method: DownsampleMethod) -> np.ndarray:
    """The map of `architecture.Downsample`: (ceil(size / factor), size).

    Args:
      size: pixels before; for "average" a multiple of the factor.
      factor: of reduction.
      method: "stride" and "ideal" keep every factor-th pixel, the first one included;
        "average" takes the mean of each block.
    """
    if method == "average":
        return np.repeat(np.eye(size // factor), factor, axis=1) / factor
    return np.eye(size)[::factor]


def upsampling(size: int, factor: int, method: UpsampleMethod) -> np.ndarray:
    """The map of `architecture.Upsample`: (factor * size, size).

    Args:
      size: pixels before.
      factor: of enlargement.
      method: "nearest" repeats pixels. "bilinear" interpolates between the centres of
        pixels and goes on level beyond the outermost. "ideal" is the trigonometric
        interpolation of a periodic signal, which passes through the pixels.
    """
    after = np.arange(factor * size)
    match method:
        case "nearest":
            return np.eye(size)[after // factor]
        case "bilinear":
            positions = np.clip((after + 0.5) / factor - 0.5, 0, size - 1)
            return np.maximum(1 - np.abs(positions[:, None] - np.arange(size)), 0)
        case "ideal":
            return _periodic_sinc(after[:, None] / factor - np.arange(size), size)


def _periodic_sinc(distance: np.ndarray, size: int) -> np.ndarray:
    """1 at distance 0 and 0 at other whole ones, with no frequency above size / 2.

    sin(pi x) / (size tan(pi x / size)) for an even size, whose highest frequency stands
    for itself and its mirror image, and sin(pi x) / (size sin(pi x / size)) for an odd
    one; as the sums of cosines that these are, which no distance divides by zero.
    """
    turns = 2 * np.pi * distance[..., None] / size
    frequencies = np.arange(1, size // 2 + 1)
    # Each frequency and its mirror image; of an even size's highest, half for each.
    weights = np.where(2 * frequencies == size, 1.0, 2.0)
    return (1 + np.cos(turns * frequencies) @ weights) / size
