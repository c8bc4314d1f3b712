"""Up- and down-sampling of one signal by integer factors.

All act on the axes but the last of x (H, W, C) or (L, C), one axis after the other.
"""

import jax
import jax.numpy as jnp
from jax import lax

from dipgp import numerics
from dipgp.architecture.layers import DownsampleMethod, UpsampleMethod

Array = jax.Array


def upsample(x: Array, factor: int, method: UpsampleMethod) -> Array:
    """Puts factor pixels in the place of each, along every axis.

    Args:
      x: (H, W, C) or (L, C).
      factor: of enlargement.
      method: "nearest" repeats pixels. "bilinear" interpolates between the centres of
        pixels and goes on level beyond the outermost (PyTorch's align_corners=False).
        "ideal" is the trigonometric interpolation of a periodic signal, which passes
        through the pixels; the first stays the first.

    Returns:
      (factor * H, factor * W, C) or (factor * L, C).
    """
    for axis in range(x.ndim - 1):
        match method:
            case "nearest":
                x = jnp.repeat(x, factor, axis)
            case "bilinear":
                x = _interpolate(x, factor, axis)
            case "ideal":
                x = _interpolate_periodic(x, factor, axis)
    return x


def downsample(x: Array, factor: int, method: DownsampleMethod) -> Array:
    """One pixel for every factor of them, along every axis.

    Args:
      x: (H, W, C) or (L, C); for "average" each size a multiple of the factor.
      factor: of reduction.
      method: "stride" and "ideal" keep every factor-th pixel, the first one included;
        "average" takes the mean of each block.

    Returns:
      (H / factor, W / factor, C) or (L / factor, C), rounded up.
    """
    for axis in range(x.ndim - 1):
        if method == "average":
            x = _blocks(x, factor, axis).mean(axis + 1)
        else:
            x = lax.slice_in_dim(x, 0, None, factor, axis)
    return x


def _blocks(x: Array, factor: int, axis: int) -> Array:
    shape = (*x.shape[:axis], -1, factor, *x.shape[axis + 1 :])
    return x.reshape(shape)


def _interpolate(x: Array, factor: int, axis: int) -> Array:
    """Linear interpolation at (i + 1/2) / factor - 1/2, phase by phase."""
    first = lax.slice_in_dim(x, 0, 1, axis=axis)
    last = lax.slice_in_dim(x, -1, None, axis=axis)
    before = jnp.concatenate([first, lax.slice_in_dim(x, 0, -1, axis=axis)], axis)
    after = jnp.concatenate([lax.slice_in_dim(x, 1, None, axis=axis), last], axis)
    phases = []
    for phase in range(factor):
        offset = (phase + 0.5) / factor - 0.5
        neighbour = before if offset < 0 else after
        phases.append((1 - abs(offset)) * x + abs(offset) * neighbour)
    shape = (*x.shape[:axis], -1, *x.shape[axis + 1 :])
    return jnp.stack(phases, axis + 1).reshape(shape)


def _interpolate_periodic(x: Array, factor: int, axis: int) -> Array:
    """The same Fourier coefficients on a finer grid."""
    if factor == 1:
        return x
    size, dtype = x.shape[axis], x.dtype
    coefficients = jnp.fft.rfft(numerics.at_least_single(x), axis=axis)
    if size % 2 == 0:
        # The highest frequency stands for itself and its mirror image, which are apart
        # on the finer grid: half for each.
        at = (slice(None),) * axis + (size // 2,)
        coefficients = coefficients.at[at].multiply(0.5)
    return (factor * jnp.fft.irfft(coefficients, factor * size, axis)).astype(dtype)
