"""Covariances on a torus of pixels, where they are diagonal in Fourier space."""

import jax
import jax.numpy as jnp
import numpy as np

from dipgp.kernels.stationary import CovarianceLike, Moments, as_covariance, lag_grid

Array = jax.Array


def torus_eigenvalues(
    covariance: CovarianceLike,
    shape: tuple[int, ...],
    dtype: np.typing.DTypeLike | None = None,
) -> Array:
    """Eigenvalues of a covariance matrix on a torus, one a frequency.

    The covariance is read at the lags of the shorter way around. What comes out
    negative, because it does not fade within the torus, is set to 0.

    Args:
      covariance: K, which should have levelled off within half the torus.
      shape: (L,) or (H, W).
      dtype: of the lags; JAX's default by default.

    Returns:
      The shape, in the order of the fast Fourier transform.

    Raises:
      ValueError: on a shape that is not one or two positive integers.
    """
    return _spectrum(as_covariance(covariance).moments(lag_grid(shape, dtype)))


@jax.jit
def _spectrum(moments: Moments) -> Array:
    """Eigenvalues on a torus from all its lags; what is below 0 is cut off."""
    variance, sill, variogram = moments
    # Without the constant part, which would drown high frequencies in its rounding.
    spectrum = jnp.fft.fftn(sill - variogram).real
    constant = variogram.size * (variance - sill)
    spectrum = spectrum.at[(0,) * variogram.ndim].add(constant)
    return jnp.maximum(spectrum, 0)
