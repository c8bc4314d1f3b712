"""The covariance of a stationary process on a pixel grid as an operator through FFTs.

Between all pairs of pixels of a grid the covariance is a block-Toeplitz matrix. On a
torus it would be diagonal in Fourier space, so the grid is laid into a torus with a
margin wide enough that wrapping around does not show: beyond its reach the covariance
has levelled off, and a lag around the torus then has the same value as the true one.

Only differences between pixels matter for a posterior with unknown constant mean
(see `dipgp.gp.posterior`), so the operator is K - K(inf), computed from the variogram.
"""

import functools
import operator
from collections.abc import Sequence
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
import scipy.fft

from dipgp import numerics
from dipgp.kernels.stationary import Covariance, Moments, as_covariance, lag_grid

Array = jax.Array

# Where a covariance has come this near to its limit, relative to its sill, it counts as
# having reached it. Eight-bit images resolve differences of 4e-3.
REACH_TOLERANCE = 1e-6

# The reach is sought up to this many times the image's longer side, and cut there: the
# torus is then wide enough for every lag of the image, at most 4 images a side. Small
# images can afford a longer one.
LONGEST_REACH = 2
LONGEST_REACH_OF_SMALL_IMAGES = 64
# What is given may be longer, as far as memory goes.
LONGEST_GIVEN_REACH = 4096


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Torus:
    """K - K(inf) on a grid of pixels, as a circular convolution on a torus around it.

    Attributes:
      spectrum: (P1, P2 // 2 + 1) eigenvalues, not negative; a leading axis holds those
        of several covariances.
      error: a bound on how much K differs between any two pixels of the grid because of
        the torus, relative to the sill; one number a covariance.
      size: (P1, P2), the torus in pixels.
    """

    spectrum: Array
    error: Array
    size: tuple[int, int] = field(metadata={"static": True})

    def filter(self, images: Array, response: Array) -> Array:
        """Multiplies images (..., H, W) by a response like the spectrum.

        The images are padded by zeros to the torus before, and cropped after.
        """
        height, width = images.shape[-2:]
        transform = jnp.fft.rfft2(images, s=self.size)
        axes = (1,) * (images.ndim - response.ndim) + response.shape
        filtered = jnp.fft.irfft2(transform * response.reshape(axes), s=self.size)
        return filtered[..., :height, :width]

    def apply(self, images: Array) -> Array:
        """The covariance matrix times images (..., H, W)."""
        return self.filter(images, self.spectrum)


def embed(
    covariances: Sequence[Covariance],
    grid: tuple[int, int],
    reach: int | tuple[int, int] | None = None,
    dtype: np.typing.DTypeLike = np.float32,
) -> Torus:
    """Lays a grid into a torus around it that leaves its covariances as they are.

    A lag longer than half the torus meets the value of the way around, where K must
    have levelled off already; so the torus needs the grid plus the reach of K.

    Args:
      covariances: each a K; they share the torus of the one that reaches furthest.
      grid: (H, W) in pixels.
      reach: distance in pixels, or one along each axis as `find_reach` returns them,
        from which on K counts as constant. Found from K by default, which takes
        hyperparameters whose values are known, not traced by JAX.
      dtype: of the computation.

    Returns:
      The operators, stacked, and positive semi-definite: negative eigenvalues, which
      rounding and very long reaches leave behind, are set to 0 and counted in `error`.

    Raises:
      ValueError: where the reach is to be found from traced hyperparameters, or is
        not a positive integer.
    """
    if reach is not None:
        reaches = _two_reaches(reach)
    elif numerics.is_traced(covariances):
        raise ValueError(
            "reach: expected a number of pixels where JAX traces the covariance's "
            "hyperparameters, or the colours that its scales are estimated from, got "
            "None; try gp.find_reach outside"
        )
    else:
        each = [find_reach(covariance, grid, dtype) for covariance in covariances]
        reaches = (max(down for down, _ in each), max(right for _, right in each))
    height, width = (
        scipy.fft.next_fast_len(max(pixels + reach, 2 * reach + 1), real=True)
        for pixels, reach in zip(grid, reaches, strict=True)
    )
    size = (height, width)
    # K(-r) = K(r): half of the lags tell all.
    lags = lag_grid(size, dtype)[:, : width // 2 + 1]
    moments = [covariance.moments(lags) for covariance in covariances]
    tori = [_diagonalise(each, size, grid) for each in moments]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *tori)


def _two_reaches(reach: int | tuple[int, int]) -> tuple[int, int]:
    try:
        both = tuple(map(operator.index, np.broadcast_to(reach, 2)))
    except (TypeError, ValueError):
        both = (0, 0)
    if not 1 <= min(both) <= max(both) <= LONGEST_GIVEN_REACH:
        raise ValueError(
            "reach: expected a positive integer or one for each axis, up to "
            f"{LONGEST_GIVEN_REACH}, got {numerics.brief(reach)}"
        )
    return both[0], both[1]


def half_spectrum_counts(size: tuple[int, int]) -> np.ndarray:
    """Frequencies of the whole transform that each entry of rfft2's half stands for.

    (P1, P2 // 2 + 1), 1 or 2.
    """
    counts = np.full((size[0], size[1] // 2 + 1), 2.0)
    counts[:, 0] = 1
    if size[1] % 2 == 0:
        counts[:, -1] = 1
    return counts


def find_reach(
    covariance: Covariance,
    grid: tuple[int, int],
    dtype: np.typing.DTypeLike = np.float32,
) -> tuple[int, int]:
    """Distance in pixels along each axis from which on K has levelled off.

    That is, from which on it is within 1e-6 of its limit, relative to its sill.

    Args:
      covariance: K, of known hyperparameters.
      grid: (H, W) of the image in pixels.
      dtype: of the lags.

    Returns:
      The distances down and to the right, as `condition` takes them for `reach`. At
      most `LONGEST_REACH` times the longer side of the grid, or
      `LONGEST_REACH_OF_SMALL_IMAGES` where that is more.

    Raises:
      ValueError: on a grid that is not two positive integers.
    """
    numerics.check_grid("grid", grid, axes=(2,))
    covariance = as_covariance(covariance)
    longest = max(LONGEST_REACH * max(grid), LONGEST_REACH_OF_SMALL_IMAGES)
    steps = np.arange(longest + 1, dtype=dtype)
    zeros = np.zeros_like(steps)
    lags = [np.stack([steps, zeros], -1), np.stack([zeros, steps], -1)]
    with jax.ensure_compile_time_eval():  # inside jax.jit as well
        profiles = covariance.moments(np.stack(lags))
    sill = np.asarray(profiles.sill)
    away = np.abs(np.asarray(profiles.variogram) - sill) > REACH_TOLERANCE * sill
    down, right = (int(np.max(np.flatnonzero(axis), initial=0)) + 1 for axis in away)
    return min(down, longest), min(right, longest)


@functools.partial(jax.jit, static_argnames=("size", "grid"))
def _diagonalise(
    moments: Moments, size: tuple[int, int], grid: tuple[int, int]
) -> Torus:
    """The torus from the covariance's moments on the first half of its `lag_grid`."""
    half = moments.sill - moments.variogram
    other = jnp.roll(half[::-1, 1 : (size[1] + 1) // 2][:, ::-1], 1, axis=0)
    values = jnp.concatenate([half, other], axis=1)
    lags = lag_grid(size)
    spectrum = jnp.fft.rfft2(values).real
    # Clipping adds a field with the spectrum max(-s, 0), whose covariance at no lag
    # exceeds its variance, the mean of that spectrum over all frequencies.
    clipped = jnp.fft.irfft2(jnp.maximum(-spectrum, 0), s=size)[0, 0]
    # Where the torus is narrower than all lags of the grid, long lags go around it.
    around = np.any(np.asarray(size) - np.abs(lags) < np.asarray(grid), axis=-1)
    not_level = jnp.max(jnp.where(around, jnp.abs(values), 0))
    return Torus(
        spectrum=jnp.maximum(spectrum, 0),
        error=numerics.safe_divide(clipped + not_level, moments.sill),
        size=size,
    )
