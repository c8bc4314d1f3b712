"""Draws from a Gaussian process on an image, by circulant embedding.

White noise on a torus around the image, filtered by the root of the covariance's
eigenvalues there, has the covariance that they are of, and the image is cut out of it:
one forward and one inverse FFT a draw, of any size (Dietrich and Newsam, Fast and exact
simulation of stationary Gaussian processes, SIAM J. Sci. Comput. 1997).
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from dipgp import numerics
from dipgp.gp.toeplitz import Torus, embed
from dipgp.kernels.stationary import CovarianceLike, as_covariance

Array = jax.Array


def draw_prior(
    key: Array,
    covariance: CovarianceLike,
    grid: tuple[int, int],
    count: int = 1,
    *,
    reach: int | tuple[int, int] | None = None,
    dtype: np.typing.DTypeLike = np.float32,
) -> Array:
    """Independent draws from a Gaussian process of mean zero.

    Exact up to the embedding's error, as `gp.toeplitz.embed` bounds it: below 1e-6 of
    the variance for covariances that level off within four images.

    Args:
      key: of the draws.
      covariance: K, of second moments E[x(t) x(t + r)]; a constant part in it is a
        level of its own in each draw.
      grid: (H, W) in pixels.
      count: number of draws.
      reach: distance in pixels from which on K counts as constant; found from K by
        default, which takes hyperparameters whose values are known.
      dtype: of the draws.

    Returns:
      (count, H, W).

    Raises:
      ValueError: on a grid or count below 1, or as `embed` does.
    """
    numerics.check_key("key", key)
    numerics.check_grid("grid", grid, axes=(2,))
    numerics.check_whole_number("count", count, least=1)
    numerics.check_sizes("count", (count, *grid))
    process = as_covariance(covariance)
    torus = embed([process], grid, reach, dtype)
    ends = process.moments(np.zeros((2,), dtype))
    return _draw(key, torus, jnp.maximum(ends.variance - ends.sill, 0), grid, count)


def draw_fields(key: Array, tori: Torus, grid: tuple[int, int]) -> Array:
    """One draw of each process K - K(inf) that was laid into a torus.

    Args:
      key: of the draws.
      tori: stacked operators of C covariances.
      grid: (H, W) in pixels, that the tori were made for.

    Returns:
      (C, H, W), independent.
    """
    spectrum = tori.spectrum
    noise = jax.random.normal(key, (len(spectrum), *tori.size), spectrum.dtype)
    fields = jnp.fft.irfft2(jnp.fft.rfft2(noise) * jnp.sqrt(spectrum), s=tori.size)
    return fields[:, : grid[0], : grid[1]]


@functools.partial(jax.jit, static_argnames=("grid", "count"))
def _draw(
    key: Array, torus: Torus, constant: Array, grid: tuple[int, int], count: int
) -> Array:
    dtype = torus.spectrum.dtype

    def draw(key: Array) -> Array:
        key_level, key_field = jax.random.split(key)
        level = jnp.sqrt(constant) * jax.random.normal(key_level, dtype=dtype)
        return level + draw_fields(key_field, torus, grid)[0]

    # One after the other, so that memory is that of one torus.
    return jax.lax.map(draw, jax.random.split(key, count))
