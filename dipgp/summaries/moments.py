"""Mean and variance of a stream of arrays, on the device, without keeping them.

With weights w_i, running sums W of w_i and S of squared deviations:

    W <- W + w,   delta = x - mean,   mean <- mean + (w/W) delta,
    S <- S + w delta (x - mean)

(Welford, 1962; West, 1979, for weights; Chan, Golub and LeVeque, 1979, for merging). No
squares of the values themselves are summed, so a mean far above the standard deviation
costs no digits of the variance. Each value rounds the mean once; n of them leave it
wrong by about sqrt(n) / 6 units in its last place.

There is no standard error of the mean here: the states of a chain depend on each other,
and only their autocorrelation tells how many independent ones they are worth. See
`dipgp.summaries.diagnostics`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dipgp import numerics

Array = jax.Array


class Moments(NamedTuple):
    """What is known of the values so far.

    Attributes:
      weight: () sum of the weights.
      weight_squared: () sum of their squares.
      mean: (...) weighted mean; 0 before the first value.
      deviation: (...) weighted sum of squared deviations from the mean.
    """

    weight: Array
    weight_squared: Array
    mean: Array
    deviation: Array


def empty(shape: tuple[int, ...], dtype: jax.typing.DTypeLike = float) -> Moments:
    """The moments of nothing, for values of one shape, kept in a floating dtype."""
    numerics.check_sizes("shape", shape)
    zero = jnp.zeros((), dtype)
    return Moments(zero, zero, jnp.zeros(shape, dtype), jnp.zeros(shape, dtype))


def add(
    moments: Moments,
    value: jax.typing.ArrayLike,
    weight: jax.typing.ArrayLike = 1.0,
) -> Moments:
    """Takes one more value in.

    A weight of 0 changes nothing, whatever the value is, NaN included: a compiled loop
    leaves burn-in out, and thins, by weights of 0.

    Args:
      moments: what is known of the values before.
      value: (...) of the moments' shape.
      weight: (), not negative. For a chain with decreasing steps, the step eps_t.

    Returns:
      The moments with the value, in the moments' dtype.

    Raises:
      ValueError: on a value of another shape, or a weight that is no scalar.
    """
    numerics.check_instance("moments", moments, Moments)
    numerics.check_real("value", value)
    numerics.check_not_negative("weight", weight, scalar=True)
    dtype = moments.mean.dtype
    value, weight = jnp.asarray(value, dtype), jnp.asarray(weight, dtype)
    if value.shape != moments.mean.shape:
        raise ValueError(
            f"value: expected shape {moments.mean.shape}, got {value.shape}"
        )
    if weight.shape != ():  # of what JAX traces
        raise ValueError(f"weight: expected a scalar, got shape {weight.shape}")
    total = moments.weight + weight
    delta = value - moments.mean
    mean = moments.mean + _share(weight, total) * delta
    deviation = moments.deviation + weight * delta * (value - mean)
    # NaN times a weight of 0 would be NaN.
    counts = weight != 0
    return Moments(
        total,
        moments.weight_squared + weight**2,
        jnp.where(counts, mean, moments.mean),
        jnp.where(counts, deviation, moments.deviation),
    )


def merge(first: Moments, second: Moments) -> Moments:
    """The moments of two sets of values together, as of two chains.

    Raises:
      ValueError: where the shapes differ.
    """
    numerics.check_instance("first", first, Moments)
    numerics.check_instance("second", second, Moments)
    if first.mean.shape != second.mean.shape:
        raise ValueError(
            f"second: expected shape {first.mean.shape}, got {second.mean.shape}"
        )
    total = first.weight + second.weight
    share = _share(second.weight, total)
    delta = second.mean - first.mean
    return Moments(
        total,
        first.weight_squared + second.weight_squared,
        first.mean + share * delta,
        first.deviation + second.deviation + first.weight * share * jnp.square(delta),
    )


def variance(moments: Moments) -> Array:
    """S / (W - sum_i w_i^2 / W), in the values' shape.

    Unbiased for independent values of one variance, whatever their weights; with equal
    weights the usual division by n - 1. NaN with fewer than two values.
    """
    numerics.check_instance("moments", moments, Moments)
    freedom = moments.weight**2 - moments.weight_squared
    enough = freedom > 0
    unbiased = moments.deviation * (moments.weight / jnp.where(enough, freedom, 1))
    return jnp.where(enough, unbiased, jnp.nan)


def _share(part: Array, total: Array) -> Array:
    """part / total, and 0 of nothing."""
    return jnp.where(total > 0, part / jnp.where(total > 0, total, 1), 0)
