"""Fixed inputs of a network: noise, smoothed noise, coordinates.

The covariances of `uniform_input` and `gaussian_input` are those of `kernels.uniform`
and `kernels.gaussian`.
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from dipgp import numerics
from dipgp.architecture.layers import check_positive_integer

# Pixels, of a filter as wide as a photograph.
_WIDEST = 1024

Array = jax.Array
Grid = tuple[int, ...]

# Taps below this share of the largest are left out of the filter.
SMALLEST_TAP = 1e-6


def uniform_input(
    key: Array,
    grid: Grid,
    channels: int = 32,
    scale: float = 0.1,
    dtype: jax.typing.DTypeLike = float,
) -> Array:
    """Independent noise from U(0, scale), the deep image prior's usual input.

    Args:
      key: of the draw.
      grid: (H, W) or (L,).
      channels: of the network's input.
      scale: upper end.
      dtype: float32 unless JAX runs in 64 bits.

    Returns:
      (*grid, channels).

    Raises:
      ValueError: on a size or number of channels below 1, or a scale that is not
        positive.
    """
    numerics.check_key("key", key)
    _check(grid, channels)
    numerics.check_positive("scale", scale, scalar=True)
    return jax.random.uniform(key, (*grid, channels), dtype, 0, scale)


def gaussian_input(
    key: Array,
    grid: Grid,
    channels: int,
    sigma: float | Sequence[float],
    dtype: jax.typing.DTypeLike = float,
) -> Array:
    """Normal noise of variance 1 and covariance exp(-|r|^2 / (4 sigma^2)) at lag r.

    Channels are independent. White noise on a wider grid is filtered along each axis
    with the symmetric filter that has this covariance at whole lags, for a wide one
    exp(-t^2 / (2 sigma^2)), and the part that the border does not reach is kept.

    Args:
      key: of the draw.
      grid: (H, W) or (L,).
      channels: of the network's input.
      sigma: standard deviation of the filter in pixels, a number or one an axis; 0 is
        white noise.
      dtype: float32 unless JAX runs in 64 bits.

    Returns:
      (*grid, channels).

    Raises:
      ValueError: on a size or number of channels below 1, or a sigma that is negative,
        not finite, or neither one number nor one an axis.
    """
    numerics.check_key("key", key)
    _check(grid, channels)
    numerics.check_not_negative("sigma", sigma)
    widths = np.asarray(sigma, np.float64)
    if np.any(widths > _WIDEST):
        raise ValueError(f"sigma: expected at most {_WIDEST} pixels, got {sigma}")
    if widths.shape not in ((), (len(grid),)):
        raise ValueError(
            f"sigma: expected one number or one for each of {len(grid)} axes, got "
            f"{sigma}"
        )
    filters = [_filter(float(s)) for s in np.broadcast_to(widths, (len(grid),))]
    wide = tuple(n + f.size - 1 for n, f in zip(grid, filters, strict=True))
    x = jax.random.normal(key, (*wide, channels), dtype)
    for axis, (size, taps) in enumerate(zip(grid, filters, strict=True)):
        x = _apply(x, taps, axis, size)
    return x


def meshgrid_input(grid: Grid, dtype: jax.typing.DTypeLike = float) -> Array:
    """The pixels' coordinates, from 0 at the first to 1 at the last, one channel each.

    Args:
      grid: (H, W) or (L,).
      dtype: float32 unless JAX runs in 64 bits.

    Returns:
      (H, W, 2), with the coordinate along W in the first channel, as in the deep image
      prior's code; or (L, 1). Along an axis of one pixel the coordinate is 0.

    Raises:
      ValueError: on a size below 1.
    """
    numerics.check_grid("grid", grid)
    axes = [jnp.linspace(0, 1, size, dtype=dtype) for size in grid]
    return jnp.stack(jnp.meshgrid(*axes, indexing="ij")[::-1], axis=-1)


def _check(grid: Grid, channels: int) -> None:
    numerics.check_grid("grid", grid)
    check_positive_integer("channels", channels)
    numerics.check_sizes("channels", (*grid, channels))


def _filter(sigma: float) -> np.ndarray:
    """Taps h with sum_t h(t) h(t + r) = exp(-r^2 / (4 sigma^2)) at whole lags r.

    h is the root of the covariance in Fourier space, which exists because the
    covariance is positive definite on any grid.
    """
    if sigma == 0:
        return np.ones(1)
    period = 2 * math.ceil(16 * sigma + 16)
    lags = np.fft.fftfreq(period, 1 / period)
    spectrum = np.fft.fft(np.exp(-np.square(lags) / (4 * sigma**2))).real
    # What is left of high frequencies is rounding noise.
    spectrum = np.where(spectrum > 1e-13 * spectrum[0], spectrum, 0)
    taps = np.fft.ifft(np.sqrt(spectrum)).real
    reach = int(np.max(np.abs(lags[np.abs(taps) > SMALLEST_TAP * taps[0]])))
    taps = np.fft.fftshift(taps)[period // 2 - reach : period // 2 + reach + 1]
    return taps / np.linalg.norm(taps)


def _apply(x: Array, taps: np.ndarray, axis: int, size: int) -> Array:
    """The filtered signal along an axis, where no border reaches: `size` pixels."""
    if taps.size == 1:
        return x
    wide = x.shape[axis]
    shape = [1] * x.ndim
    shape[axis] = -1
    transfer = np.fft.rfft(taps, wide).reshape(shape)
    spectrum = jnp.fft.rfft(x, axis=axis)
    smooth = jnp.fft.irfft(spectrum * transfer.astype(spectrum.dtype), wide, axis)
    # The first taps.size - 1 pixels saw the other end.
    return jax.lax.slice_in_dim(smooth, wide - size, None, axis=axis)
