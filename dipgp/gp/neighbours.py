"""An approximate inverse of a covariance between pixels, from their nearest neighbours.

Observed pixels are taken row by row. The density of all values is the product of those
of each given all before it, and little is lost by keeping the nearest of these only
(Vecchia, Estimation and model identification for continuous spatial processes, JRSS B
1988). With c those neighbours of pixel i, the prediction b = A_cc^-1 A_ci and its error
variance s = A_ii - A_ic b,

    A^-1 ~ U^T U,     row i of U:  (e_i - sum_c b_c e_c) / sqrt(s),

which is sparse, positive definite, and never asks whether A is stationary. Behind a
random mask conjugate gradients then take some ten steps instead of hundreds, since
small scales are what makes A ill-conditioned.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy  # loads scipy.spatial, which is slow, where it is first read

from dipgp.gp.toeplitz import Torus

Array = jax.Array

# Pixels whose rows are factorised together, which bounds the memory.
ROWS_AT_ONCE = 1024


class Neighbours(NamedTuple):
    """Observed pixels, and for each the nearest before it.

    Attributes:
      rows: (n,) of the pixels.
      columns: (n,).
      each: (n, count + 1) indices of the neighbours into these, the pixel itself last;
        n where there are fewer.
    """

    rows: Array
    columns: Array
    each: Array

    def gather(self, images: Array) -> Array:
        """(..., n): the values of images (..., H, W) at the pixels."""
        return images[..., self.rows, self.columns]

    def spread(self, vectors: Array, grid: tuple[int, int]) -> Array:
        """(..., H, W): images that are 0 elsewhere."""
        zeros = jnp.zeros((*vectors.shape[:-1], *grid), vectors.dtype)
        return zeros.at[..., self.rows, self.columns].set(vectors)


def find(mask: np.ndarray, count: int) -> Neighbours:
    """Up to `count` nearest observed pixels before each observed pixel (on the host).

    Args:
      mask: (H, W), true where observed.
      count: of neighbours.
    """
    pixels = np.argwhere(mask)
    size = len(pixels)
    # About half of the pixels nearby come before; at borders of holes fewer.
    asked = min(4 * count + 1, size)
    tree = scipy.spatial.cKDTree(pixels)
    near = tree.query(pixels, k=np.arange(1, asked + 1))[1]
    before = np.where(near < np.arange(size)[:, None], near, size)
    nearest_first = np.argsort(before == size, axis=1, kind="stable")[:, :count]
    each = np.take_along_axis(before, nearest_first, axis=1)
    each = np.concatenate([each, np.arange(size)[:, None]], axis=1)
    return Neighbours(*map(jnp.asarray, (pixels[:, 0], pixels[:, 1], each)))


def inverse_root(
    tori: Torus, weights: Array, noise: Array, neighbours: Neighbours
) -> Array:
    """The entries of U, (n, count + 1), for A = sum_m a_m K_m a_m + D.

    Args:
      tori: M covariances K_m.
      weights: a, (M, H, W).
      noise: (H, W), the variances D.
      neighbours: of the observed pixels.
    """
    tables = jnp.fft.irfft2(tori.spectrum, s=tori.size)
    size = len(neighbours.rows)

    def row(each: Array) -> Array:
        there = each < size
        rows = neighbours.rows[jnp.minimum(each, size - 1)]
        columns = neighbours.columns[jnp.minimum(each, size - 1)]
        down = (rows[:, None] - rows[None]) % tori.size[0]
        right = (columns[:, None] - columns[None]) % tori.size[1]
        local = weights[:, rows, columns]
        matrix = jnp.sum(
            tables[:, down, right] * local[:, :, None] * local[:, None, :], axis=0
        )
        matrix += jnp.diag(noise[rows, columns])
        both = there[:, None] & there[None, :]
        matrix = jnp.where(both, matrix, jnp.eye(len(each), dtype=matrix.dtype))
        factor = jnp.linalg.cholesky(matrix)
        last = jnp.zeros_like(matrix[0]).at[-1].set(1)
        found = jax.scipy.linalg.solve_triangular(factor, last, lower=True, trans=1)
        return jnp.where(there, found, 0)

    return jax.lax.map(row, neighbours.each, batch_size=ROWS_AT_ONCE)


def apply_inverse(root: Array, neighbours: Neighbours, vectors: Array) -> Array:
    """U^T U times vectors (N, n)."""
    count, size = vectors.shape
    # One more entry, for neighbours that there are none of.
    padded = jnp.pad(vectors, ((0, 0), (0, 1)))
    errors = jnp.sum(root[None] * padded[:, neighbours.each], axis=-1)
    shares = root[None] * errors[:, :, None]
    zeros = jnp.zeros((count, size + 1), vectors.dtype)
    return zeros.at[:, neighbours.each].add(shares)[:, :-1]
