"""Approximate inverses of covariances on a grid, by transforms of the grid's own size.

On a torus around a grid a stationary covariance is diagonal in Fourier space, but its
inverse on the grid alone is not what is cut out of the torus's: to that, a field that
ends at the grid's border has a jump there, and jumps are what smooth covariances hold
impossible. So the grid is its own surroundings:

circular    opposite sides are neighbours: Fourier series. Right for what a circular
            blur has made of a field, which has no jump there.
reflecting  the field goes on as its mirror image: cosine series, without jumps for
            whatever field. They see the absolute value of a frequency along each axis;
            where the spectrum differs between the two diagonals they take the
            geometric mean, which is wrong by the same factor for both.

References:
  Chan and Ng, "Conjugate gradient methods for Toeplitz systems", SIAM Review 1996.
  Ng, Chan and Tang, "A fast algorithm for deblurring models with Neumann boundary
  conditions", SIAM Journal on Scientific Computing 1999.
"""

import jax
import jax.numpy as jnp
import numpy as np

from dipgp.gp.conjugate_gradients import Operator
from dipgp.gp.toeplitz import Torus
from dipgp.observations.stationary_filter import StationaryFilter

Array = jax.Array


def covariances_seen(tori: Torus, seen: StationaryFilter) -> Array:
    """Covariances of what a filter sees of fields, away from borders.

    Args:
      tori: N covariances K.
      seen: filter h and stride s.

    Returns:
      (N, 2 a + 1, 2 b + 1) covariances at lags of -a to a and -b to b samples, as long
      as the tori hold.
    """
    power = jnp.asarray(seen.power(tori.size), tori.spectrum.dtype)
    by_pixel = jnp.fft.irfft2(tori.spectrum * power[None], s=tori.size)
    down, right = (seen.stride * _lags((p - 1) // 2 // seen.stride) for p in tori.size)
    return by_pixel[:, down[:, None], right[None, :]]


def inverse(
    covariances: Array, noise: Array, grid: tuple[int, int], circular: bool
) -> Operator:
    """Nearly (K + v)^-1 between the samples of a grid, symmetric positive definite.

    Args:
      covariances: N K as `covariances_seen` returns them.
      noise: (N, 1, 1) or (1, 1, 1) variances v, positive.
      grid: (h, w) samples.
      circular: whether opposite sides are neighbours; else they reflect.

    Returns:
      A function of N images (N, h, w).
    """
    height, width = grid
    if circular:
        expected = _spectra(covariances, grid)[:, :, : width // 2 + 1] + noise

        def by_waves(images: Array) -> Array:
            return jnp.fft.irfft2(jnp.fft.rfft2(images) / expected, s=grid)

        return by_waves
    whole = _spectra(covariances, (2 * height, 2 * width)) + noise
    mirrored = whole[:, -np.arange(height), :width]
    root = jnp.sqrt(whole[:, :height, :width]) * jnp.sqrt(mirrored)

    def by_cosines(images: Array) -> Array:
        waves = jax.scipy.fft.dctn(images, axes=(1, 2), norm="ortho") / root
        return jax.scipy.fft.idctn(waves, axes=(1, 2), norm="ortho")

    return by_cosines


def _spectra(covariances: Array, size: tuple[int, int]) -> Array:
    """(N, p, q // 2 + 1), not negative: on a torus, around which long lags go."""
    down, right = (
        _lags(n // 2) % p for n, p in zip(covariances.shape[1:], size, strict=True)
    )
    torus = jnp.zeros((len(covariances), *size), covariances.dtype)
    torus = torus.at[:, down[:, None], right[None, :]].add(covariances)
    return jnp.maximum(jnp.fft.rfft2(torus).real, 0)


def _lags(longest: int) -> np.ndarray:
    return np.arange(-longest, longest + 1)
