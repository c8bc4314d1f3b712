"""Posteriors of linear models: Gaussian processes whose covariance is F F^T.

With random coefficients a ~ N(0, I) a process is f = F a, with a row of features F for
each point. With G = F_o / noise_std and u = y / noise_std at the observed points and
B = I + G^T G:

    mean     F B^-1 G^T u
    variance diag(F B^-1 F^T)
    evidence log N(y; 0, F_o F_o^T + noise_std^2 I)
             = -1/2 [u^T u - u^T G B^-1 G^T u + log|B| + n log 2 pi] - log|noise_std|

(Rasmussen and Williams 2006, equations 2.8 and 2.11, and Woodbury's identity.) This is
`dipgp.gp.matrix` in fewer operations where features are fewer than observed points.
"""

import functools

import jax
import jax.numpy as jnp

from dipgp import numerics
from dipgp.gp.matrix import MatrixPosterior, check_observed, condition_matrix

Array = jax.Array

# Accelerators round the factors of products to fewer digits unless told otherwise.
_dot = functools.partial(jnp.matmul, precision="highest")


def condition_features(
    features: jax.typing.ArrayLike,
    values: jax.typing.ArrayLike,
    observed: jax.typing.ArrayLike,
    noise_std: jax.typing.ArrayLike,
) -> MatrixPosterior:
    """The exact posterior, by matrices of the features or of the observed points.

    Whichever are fewer. Under `jax.jit`, `jax.grad` and `jax.vmap` as any function of
    arrays.

    Args:
      features: (N, F), at every point.
      values: (n,) or (n, C), what was seen; columns are independent.
      observed: (n,) whole numbers, the points where it was seen.
      noise_std: of the noise, a positive number or one for each observed point.

    Returns:
      The posterior at all N points.

    Raises:
      ValueError: on shapes that do not fit together, a point that is not there, or
        noise that is not positive, or so weak that its inverse's square is no number.
    """
    given = {"features": features, "values": values, "observed": observed}
    for name, array in {**given, "noise_std": noise_std}.items():
        numerics.check_real(name, array)
    features, values = jnp.asarray(features), jnp.asarray(values)
    if features.ndim != 2 or not jnp.issubdtype(features.dtype, jnp.floating):
        raise ValueError(
            "features: expected floating-point numbers of shape (points, features), "
            f"got {features.dtype} of shape {features.shape}"
        )
    numerics.check_finite("features", features)
    numerics.check_positive("noise_std", noise_std)
    # Before JAX, which may not hold them.
    numerics.check_indices("observed", observed, len(features))
    observed, noise_std = jnp.asarray(observed), jnp.asarray(noise_std)
    check_observed(values, observed, noise_std)
    features = numerics.at_least_single(features)
    values = values.astype(features.dtype)
    noise = jnp.broadcast_to(noise_std, observed.shape).astype(features.dtype)[:, None]
    seen, whitened = features[observed] / noise, values.reshape(len(values), -1) / noise
    volume = whitened.shape[1] * jnp.sum(jnp.log(noise))
    evidence = _log_density(seen, whitened) - volume
    if not numerics.is_traced(evidence) and not jnp.isfinite(evidence):
        raise ValueError(
            "noise_std: expected more of it beside features and values of this size, "
            f"got {numerics.brief(noise_std)}"
        )
    if features.shape[1] >= observed.size:
        covariance = _dot(features, features.T)
        posterior = condition_matrix(covariance, values, observed, noise_std)
        return posterior._replace(log_evidence=evidence)
    root = _root(seen.T)
    told = _dot(seen.T, whitened)
    coefficients = jax.scipy.linalg.solve_triangular(root, told, lower=True)
    gains = jax.scipy.linalg.solve_triangular(root, features.T, lower=True)
    mean = _dot(gains.T, coefficients)
    shape = (len(features), *values.shape[1:])
    variance = jnp.sum(jnp.square(gains), axis=0)
    return MatrixPosterior(mean.reshape(shape), variance, evidence)


def _root(rows: Array) -> Array:
    """Cholesky's factor of I + R R^T."""
    square = _dot(rows, rows.T)
    return jnp.linalg.cholesky(square + jnp.eye(len(rows), dtype=rows.dtype))


@jax.custom_jvp
def _log_density(seen: Array, values: Array) -> Array:
    """Sum over columns of log N(u; 0, I + G G^T), values (n, C), features (n, F)."""
    return _density_and_slopes(seen, values)[0]


@_log_density.defjvp
def _log_density_jvp(
    primals: tuple[Array, Array], tangents: tuple[Array, Array]
) -> tuple[Array, Array]:
    """By its own formula: through the factor it takes several times as long on a CPU.

    With A = I + G G^T and a = A^-1 u the derivatives are a a^T G - A^-1 G by G, and -a
    by u, summed over columns.
    """
    value, by_features, by_values = _density_and_slopes(*primals)
    slope = jnp.sum(by_features * tangents[0]) + jnp.sum(by_values * tangents[1])
    return value, slope


def _density_and_slopes(seen: Array, values: Array) -> tuple[Array, Array, Array]:
    points, columns = values.shape
    inner = seen.shape[1] < points
    root = _root(seen.T if inner else seen)
    if inner:
        told = _dot(seen.T, values)
        inside = jax.scipy.linalg.cho_solve((root, True), told)
        weights = values - _dot(seen, inside)
        # A^-1 G = G B^-1
        spread = jax.scipy.linalg.cho_solve((root, True), seen.T).T
    else:
        weights, spread = (
            jax.scipy.linalg.cho_solve((root, True), right) for right in (values, seen)
        )
    volume = 2 * jnp.sum(jnp.log(jnp.diagonal(root))) + points * jnp.log(2 * jnp.pi)
    pulled = _dot(weights.T, seen)
    return (
        -(jnp.sum(values * weights) + columns * volume) / 2,
        _dot(weights, pulled) - columns * spread,
        -weights,
    )
