"""The same posterior by Cholesky factorisation of the full covariance matrix.

The yardstick of the fast solver, for small images only: time grows with the cube of the
observed pixels and memory with their square.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from dipgp import numerics
from dipgp.gp.conjugate_gradients import MeanSolution
from dipgp.kernels.stationary import Covariance
from dipgp.observations import Observation

Array = jax.Array

# The covariance, its factor, and a working copy are alive at once.
MATRICES = 3
MEMORY_LIMIT_GIB = 8.0


def memory_gib(pixels: int, dtype: np.typing.DTypeLike) -> float:
    """Memory that a dense solve with so many observed pixels takes, in GiB."""
    return MATRICES * pixels**2 * np.dtype(dtype).itemsize / 2**30


def solve(
    covariances: Sequence[Covariance], data: Array, observation: Observation
) -> MeanSolution:
    """Posterior means of independent channels with an unknown constant level each.

    Args:
      covariances: one a channel.
      data: (C, H, W), zero where nothing is observed.
      observation: mask and noise of these data.

    Raises:
      ValueError: where the matrices would take more than `MEMORY_LIMIT_GIB`, or while
        the mask is traced by JAX.
    """
    rows, columns = observed_pixels(observation)
    noise = jnp.square(observation.noise_std)[rows, columns]
    solutions = [
        _solve_channel(covariance, channel, noise, rows, columns)
        for covariance, channel in zip(covariances, data, strict=True)
    ]
    means, levels, residuals = zip(*solutions, strict=True)
    return MeanSolution(
        mean=jnp.stack(means),
        level=jnp.stack(levels),
        iterations=jnp.zeros(len(means), int),
        residual=jnp.stack(residuals),
    )


def observed_pixels(observation: Observation) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the observed pixels, if their matrices fit into memory.

    Raises:
      ValueError: where they would take more than `MEMORY_LIMIT_GIB`, or while the mask
        is traced by JAX.
    """
    check_mask_is_known(observation)
    rows, columns = np.nonzero(np.asarray(observation.mask))
    check_memory(rows.size, observation, "an iterative method")
    return rows, columns


def check_mask_is_known(observation: Observation) -> None:
    """Raises ValueError where JAX traces the mask, which matrices are made of."""
    if numerics.is_traced(observation.mask):
        raise ValueError(
            "mask: expected known values for dense matrices, got one that JAX traces; "
            "try an iterative method"
        )


def check_memory(unknowns: int, observation: Observation, instead: str) -> None:
    """Raises ValueError, telling what to do instead, on matrices that are too large."""
    needed = memory_gib(unknowns, observation.values.dtype)
    if needed > MEMORY_LIMIT_GIB:
        raise ValueError(
            f"method: dense matrices of {unknowns} unknowns would take {needed:.1f} "
            f"GiB, the limit is {MEMORY_LIMIT_GIB:g}; try {instead}"
        )


def covariance_matrix(table: Array, rows: np.ndarray, columns: np.ndarray) -> Array:
    """K - K(inf) between pixels, from the covariance's `lag_table`: (n, n)."""
    # Behind a barrier, or XLA works out all n^2 lags while it compiles.
    rows, columns = jax.lax.optimization_barrier(
        (jnp.asarray(rows), jnp.asarray(columns))
    )
    down, right = rows + table.shape[0] // 2, columns + table.shape[1] // 2
    return table[down[:, None] - rows[None, :], right[:, None] - columns[None, :]]


def posterior_covariance(
    covariances: Sequence[Covariance], observation: Observation
) -> Array:
    """Covariance, between all pixels of a grid, of what a posterior leaves open.

    With A = K + D between the observed pixels, k their covariances with all pixels and
    q = 1 - 1^T A^-1 k,

        K - k^T A^-1 k + q^T q / (1^T A^-1 1),

    the last term of which is the unknown level's (universal kriging; Cressie,
    Statistics for Spatial Data, 1993, section 3.4).

    Args:
      covariances: one a channel.
      observation: mask and noise.

    Returns:
      (C, H W, H W), pixels row by row.

    Raises:
      ValueError: where the matrices would take more than `MEMORY_LIMIT_GIB`, or while
        the mask is traced by JAX.
    """
    mask = observation.mask
    check_mask_is_known(observation)
    check_memory(mask.size, observation, 'method="probing"')
    (seen,) = np.nonzero(np.asarray(mask).ravel())
    noise = jnp.square(observation.noise_std).ravel()[seen]

    def leave_open(covariance: Covariance) -> Array:
        between = all_pairs(covariance, mask.shape, mask.dtype)
        cross = between[seen]
        root = jnp.linalg.cholesky(cross[:, seen] + jnp.diag(noise))
        ones = jnp.ones((len(seen), 1), cross.dtype)
        both = jax.scipy.linalg.solve_triangular(
            root, jnp.concatenate([cross, ones], axis=1), lower=True
        )
        gains, level = both[:, :-1], both[:, -1]
        open_level = (1 - level @ gains) / jnp.linalg.norm(level)
        return between - gains.T @ gains + jnp.outer(open_level, open_level)

    return jnp.stack([leave_open(covariance) for covariance in covariances])


def all_pairs(
    covariance: Covariance, shape: tuple[int, ...], dtype: np.typing.DTypeLike
) -> Array:
    """K - K(inf) between all pixels of a grid, row by row: (H W, H W)."""
    height, width = shape
    table = lag_table(covariance, (height, width), dtype)
    rows, columns = (axis.ravel() for axis in np.indices(shape))
    return covariance_matrix(table, rows, columns)


def lag_table(
    covariance: Covariance, shape: tuple[int, int], dtype: np.typing.DTypeLike
) -> Array:
    """K - K(inf) at all lags between pixels of a grid, (2 H - 1, 2 W - 1).

    The zero lag stands at (H - 1, W - 1).
    """
    axes = [np.arange(1 - size, size, dtype=dtype) for size in shape]
    moments = covariance.moments(np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1))
    return moments.sill - moments.variogram


def _solve_channel(
    covariance: Covariance,
    values: Array,
    noise: Array,
    rows: np.ndarray,
    columns: np.ndarray,
) -> tuple[Array, Array, Array]:
    height, width = values.shape
    table = lag_table(covariance, (height, width), values.dtype)
    matrix = covariance_matrix(table, rows, columns)
    observed = values[rows, columns]
    ones = jnp.ones_like(observed)
    factor = jax.scipy.linalg.cho_factor(matrix + jnp.diag(noise), lower=True)
    both = jax.scipy.linalg.cho_solve(factor, jnp.stack([observed, ones], axis=1))
    level = jnp.sum(both[:, 0]) / jnp.sum(both[:, 1])
    weights = both[:, 0] - level * both[:, 1]
    residual = observed - matrix @ weights - noise * weights - level
    spread = jnp.zeros_like(values).at[rows, columns].set(weights)
    field = jax.scipy.signal.convolve2d(table, spread, "valid", precision="highest")
    size = jnp.linalg.norm(observed - jnp.mean(observed))
    relative = jnp.linalg.norm(residual) / jnp.where(size == 0, 1, size)
    return field + level, level, relative
