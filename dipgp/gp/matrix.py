"""Posteriors of Gaussian processes that are given as covariance matrices.

For covariances that are not functions of lag: those of networks with borders, of a
given input, or of one draw of the hidden weights. The process has mean zero, and there
is no unknown level. With o for the observed points and A = K_oo + noise_std^2 I:

    mean     K_:o A^-1 y
    variance diag(K - K_:o A^-1 K_o:)
    evidence log N(y; 0, A)

(Rasmussen and Williams 2006, equations 2.23 to 2.30.)
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dipgp import numerics

Array = jax.Array


class MatrixPosterior(NamedTuple):
    """What the observed points say of all points.

    Attributes:
      mean: (N,) or (N, C).
      variance: (N,) of the process itself, without the noise; the same for all columns
        of the values.
      log_evidence: log density of the observed values, summed over columns.
    """

    mean: Array
    variance: Array
    log_evidence: Array


def condition_matrix(
    covariance: jax.typing.ArrayLike,
    values: jax.typing.ArrayLike,
    observed: jax.typing.ArrayLike,
    noise_std: jax.typing.ArrayLike,
) -> MatrixPosterior:
    """The exact posterior by Cholesky's factor, in the covariance's precision.

    That is 32 bits at least.

    Under `jax.jit`, `jax.grad` and `jax.vmap` as any function of arrays; only the
    number of observed points is fixed. There a covariance that is not positive definite
    with the noise added gives NaN.

    Args:
      covariance: (N, N), symmetric.
      values: (n,) or (n, C), what was seen; columns are independent.
      observed: (n,) whole numbers, the points where it was seen.
      noise_std: of the noise, a number or one for each observed point; 0 is allowed.

    Returns:
      The posterior at all N points.

    Raises:
      ValueError: on shapes that do not fit together, a point that is not there, or a
        covariance that is not positive definite with the noise added.
    """
    given = {"covariance": covariance, "values": values, "observed": observed}
    for name, array in {**given, "noise_std": noise_std}.items():
        numerics.check_real(name, array)
    covariance, values = jnp.asarray(covariance), jnp.asarray(values)
    _check_covariance(covariance)
    # Before JAX, which may not hold them.
    numerics.check_indices("observed", observed, len(covariance))
    observed, noise_std = jnp.asarray(observed), jnp.asarray(noise_std)
    check_observed(values, observed, noise_std)
    covariance = numerics.at_least_single(covariance)
    values = values.astype(covariance.dtype)
    columns = values.reshape(len(values), -1)
    cross = covariance[observed]
    variances = jnp.broadcast_to(jnp.square(noise_std), observed.shape)
    noisy = cross[:, observed] + jnp.diag(variances.astype(covariance.dtype))
    root = jnp.linalg.cholesky(noisy)
    if not numerics.is_traced(root) and not jnp.isfinite(root).all():
        raise ValueError(
            "covariance: expected a matrix that is positive definite where observed, "
            "with the noise added; try a larger noise_std"
        )
    # Half a solve serves mean, variance and evidence.
    whitened = jax.scipy.linalg.solve_triangular(root, columns, lower=True)
    gains = jax.scipy.linalg.solve_triangular(root, cross, lower=True)
    mean = gains.T @ whitened
    volume = (
        jnp.sum(jnp.log(jnp.diagonal(root))) + len(values) * jnp.log(2 * jnp.pi) / 2
    )
    evidence = -jnp.sum(jnp.square(whitened)) / 2 - columns.shape[1] * volume
    spread = jnp.diagonal(covariance) - jnp.sum(jnp.square(gains), axis=0)
    shape = (covariance.shape[0], *values.shape[1:])
    return MatrixPosterior(mean.reshape(shape), jnp.maximum(spread, 0), evidence)


def _check_covariance(covariance: Array) -> None:
    if covariance.ndim != 2 or covariance.shape[0] != covariance.shape[1]:
        raise ValueError(
            f"covariance: expected a square matrix, got shape {covariance.shape}"
        )
    if not jnp.issubdtype(covariance.dtype, jnp.floating):
        raise ValueError(
            f"covariance: expected floating-point numbers, got {covariance.dtype}"
        )
    numerics.check_finite("covariance", covariance)


def check_observed(values: Array, observed: Array, noise_std: Array) -> None:
    """Raises ValueError where these are not of one set of observed points."""
    numerics.check_finite("values", values)
    numerics.check_not_negative("noise_std", noise_std)
    if observed.ndim != 1 or not jnp.issubdtype(observed.dtype, jnp.integer):
        raise ValueError(
            "observed: expected the numbers of the observed points, one axis of whole "
            f"numbers, got shape {observed.shape} of {observed.dtype}; try "
            "numpy.flatnonzero(mask)"
        )
    if values.ndim not in (1, 2) or len(values) != len(observed):
        raise ValueError(
            f"values: expected one for each of the {len(observed)} observed points, "
            f"shape ({len(observed)},) or ({len(observed)}, C), got {values.shape}"
        )
    if noise_std.shape not in ((), observed.shape):
        raise ValueError(
            f"noise_std: expected one number or {len(observed)}, got shape "
            f"{noise_std.shape}"
        )
