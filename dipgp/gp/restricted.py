"""The density of what no level changes, by a matrix, with a derivative of its own.

For values y ~ N(L b, A) with unknown levels b of flat prior density, Patterson and
Thompson's restricted likelihood (1971), as Harville wrote it (1974), is

    -1/2 [ y^T P y + log|A| + log|L^T A^-1 L| ],
    P = A^-1 - A^-1 L (L^T A^-1 L)^-1 L^T A^-1,

up to a constant. With a = P y its derivatives are (a a^T - P) / 2 by A and -a by y.
"""

import functools

import jax
import jax.numpy as jnp

Array = jax.Array

# Accelerators round the factors of products to fewer digits unless told otherwise.
_dot = functools.partial(jnp.matmul, precision="highest")


@jax.custom_jvp
def log_density(matrix: Array, values: Array, levels: Array) -> Array:
    """The formula above, by Cholesky's factor.

    XLA's derivative through the factor takes several times as long on a CPU as this
    one, by the inverse; nothing is inverted where none is asked for.

    Args:
      matrix: A, (n, n).
      values: y, (n,).
      levels: L, (n, c); a constant, by which nothing is differentiated.

    Returns:
      A scalar; NaN where A is not positive definite.
    """
    root = jnp.linalg.cholesky(matrix)
    both = jnp.concatenate([values[:, None], levels], axis=1)
    whitened = jax.scipy.linalg.solve_triangular(root, both, lower=True)
    data, known = whitened[:, 0], whitened[:, 1:]
    told = _dot(known.T, data)
    between = _dot(known.T, known)
    quadratic = _dot(data, data) - _dot(told, jnp.linalg.solve(between, told))
    _, volume = jnp.linalg.slogdet(between)
    return -(quadratic + volume) / 2 - jnp.sum(jnp.log(jnp.diagonal(root)))


@log_density.defjvp
def _log_density_jvp(
    primals: tuple[Array, Array, Array], tangents: tuple[Array, Array, Array]
) -> tuple[Array, Array]:
    matrix, values, levels = primals
    root = jnp.linalg.cholesky(matrix)
    inverse = jax.scipy.linalg.cho_solve(
        (root, True), jnp.eye(len(matrix), dtype=matrix.dtype)
    )
    known = _dot(inverse, levels)
    between = _dot(levels.T, known)
    projection = inverse - _dot(known, jnp.linalg.solve(between, known.T))
    weights = _dot(projection, values)
    by_matrix = (jnp.outer(weights, weights) - projection) / 2
    slope = jnp.sum(by_matrix * tangents[0]) - weights @ tangents[1]
    return log_density(matrix, values, levels), slope
