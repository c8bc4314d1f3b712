"""Mean covariances by lag over independent draws, and their standard errors.

Draws come in batches and are not kept (Chan, Golub and LeVeque, 1979). The ratio to
lag 0 has its standard error by the delta method: at first order, with q = a / b,

    Var(a / b) = (Var a - 2 q Cov(a, b) + q^2 Var b) / b^2.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

Array = jax.Array


class Sums(NamedTuple):
    """What is known of the draws so far, by lag; the first lag is 0.

    Attributes:
      weight: () how many there were.
      mean: (n,) of the covariances.
      squares: (n,) sum of squared deviations from it.
      products: (n,) sum of deviations times that at lag 0.
    """

    weight: Array
    mean: Array
    squares: Array
    products: Array


class Summary(NamedTuple):
    """Estimates and standard errors, (n,) each.

    Attributes:
      covariance: mean of the draws.
      standard_error: of it.
      correlation: the means' ratio to that at lag 0.
      correlation_error: of the ratio.
    """

    covariance: Array
    standard_error: Array
    correlation: Array
    correlation_error: Array


def empty(lags: int, dtype: jax.typing.DTypeLike) -> Sums:
    """Of no draw at all."""
    zeros = jnp.zeros(lags, dtype)
    return Sums(jnp.zeros((), dtype), zeros, zeros, zeros)


def add(sums: Sums, values: Array, counted: Array) -> Sums:
    """Takes a batch of draws in.

    Args:
      sums: of the draws before.
      values: (batch, n) covariances by lag.
      counted: (batch,) whether a draw is one of those asked for; the first is.
    """
    weights = counted.astype(values.dtype)[:, None]
    weight = weights.sum()
    mean = (weights * values).sum(0) / weight
    deviations = weights * (values - mean[None])
    total = sums.weight + weight
    delta = mean - sums.mean
    share = sums.weight * weight / total
    products = (deviations * deviations[:, :1]).sum(0)
    return Sums(
        total,
        sums.mean + weight / total * delta,
        sums.squares + jnp.square(deviations).sum(0) + share * jnp.square(delta),
        sums.products + products + share * delta[0] * delta,
    )


def summarise(sums: Sums) -> Summary:
    """Estimates and standard errors of at least two draws."""
    freedom = sums.weight * (sums.weight - 1)
    mean, variance = sums.mean, sums.squares / freedom
    ratio = mean / mean[0]
    spread = variance + jnp.square(ratio) * variance[0]
    spread -= 2 * ratio * sums.products / freedom
    # Rounding leaves lag 0, whose ratio is 1 for certain, on either side of 0.
    ratio_error = jnp.sqrt(jnp.maximum(spread, 0)) / mean[0]
    return Summary(mean, jnp.sqrt(variance), ratio, ratio_error)
