"""Batch norm together with what reads it, so that gradients keep its input alone.

    y = a(gamma (x - mean) / sqrt(variance + epsilon) + beta)

for each channel, with the mean and variance of the channel's pixels and a function a of
each number, and then f(y), such as a convolution. The gradient of f needs y, that of a
and of the norm need what came before: kept from the forward pass to the backward one,
these are three images where one tells the others. Here x is kept, and y computed again.

A compiler that finds one expression twice computes it once and keeps it. XLA's CPU
backend takes `lax.optimization_barrier`, and with it what `jax.checkpoint` does, away
before it looks for such expressions; so the backward pass goes by a mean that is the
same number, which the compiler cannot know.
"""

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from dipgp import numerics

Array = jax.Array
# From a signal and further arrays to another signal.
Function = Callable[..., Array]
# Mean and factor of each channel, (1, 1, C) or (1, C) each: what is subtracted, and
# 1 / sqrt(variance + epsilon).
Statistics = tuple[Array, Array]


@dataclass(frozen=True)
class Normalised:
    """A signal that is yet to be computed.

    Attributes:
      x: (H, W, C) or (L, C), what it is computed from.
      gamma: (C,), in 32 bits at least, like beta.
      beta: (C,).
      epsilon: is added to the variance.
      activations: functions of each number by itself that follow.
      forward_differentiable: leaves all derivatives to JAX.
    """

    x: Array
    gamma: Array
    beta: Array
    epsilon: float
    activations: tuple[Function, ...]
    forward_differentiable: bool

    def then(self, activation: Function) -> "Normalised":
        """The same with one more function of each number."""
        return dataclasses.replace(self, activations=(*self.activations, activation))

    def read(self, function: Function, *arguments: Array) -> Array:
        """The value of function(y, *arguments) for the signal y that is meant.

        Args:
          function: of nothing but its arguments.
          *arguments: arrays.
        """
        evaluate = _evaluate_plainly if self.forward_differentiable else _evaluate
        scaling = (self.gamma, self.beta)
        return evaluate(
            function, self.activations, self.epsilon, self.x, scaling, arguments
        )


def value(signal: Array | Normalised) -> Array:
    """The signal itself, computed where it is not yet."""
    return signal.read(lambda y: y) if isinstance(signal, Normalised) else signal


def per_channel(values: Array, x: Array) -> Array:
    """Values (C,) with as many axes as x."""
    return values.reshape((1,) * (x.ndim - 1) + values.shape)


def _moments(x: Array) -> tuple[Array, Array]:
    """Mean and variance of each channel."""
    x = numerics.at_least_single(x)
    pixels = tuple(range(x.ndim - 1))
    mean = x.mean(pixels, keepdims=True)
    return mean, jnp.square(x - mean).mean(pixels, keepdims=True)


def _factor(epsilon: float, variance: Array) -> Array:
    """1 / sqrt(variance + epsilon); 0 where that is infinite."""
    std = numerics.safe_sqrt(variance + epsilon)
    return numerics.safe_divide(jnp.ones_like(std), std)


def _activate(activations: tuple[Function, ...], dtype: jnp.dtype, y: Array) -> Array:
    y = y.astype(dtype)
    for activation in activations:
        y = activation(y)
    return y


def _normalise(
    activations: tuple[Function, ...],
    x: Array,
    statistics: Statistics,
    scaling: tuple[Array, Array],
) -> Array:
    """The signal that is meant, where the statistics are known."""
    mean, factor = statistics
    gamma, beta = (per_channel(values, x) for values in scaling)
    y = (numerics.at_least_single(x) - mean) * (factor * gamma) + beta
    return _activate(activations, x.dtype, y)


def _evaluate_plainly(
    function: Function,
    activations: tuple[Function, ...],
    epsilon: float,
    x: Array,
    scaling: tuple[Array, Array],
    arguments: tuple[Array, ...],
) -> Array:
    return _forward(function, activations, epsilon, x, scaling, arguments)[0]


_evaluate = jax.custom_vjp(_evaluate_plainly, nondiff_argnums=(0, 1, 2))


def _forward(
    function: Function,
    activations: tuple[Function, ...],
    epsilon: float,
    x: Array,
    scaling: tuple[Array, Array],
    arguments: tuple[Array, ...],
) -> tuple[Array, Any]:
    mean, variance = _moments(x)
    statistics = (mean, _factor(epsilon, variance))
    y = _normalise(activations, x, statistics, scaling)
    return function(y, *arguments), (x, statistics, variance, scaling, arguments)


def _backward(
    function: Function,
    activations: tuple[Function, ...],
    epsilon: float,
    saved: Any,
    slope: Array,
) -> tuple[Array, tuple[Array, Array], tuple[Array, ...]]:
    x, statistics, variance, scaling, arguments = saved
    gamma, beta = (per_channel(values, x) for values in scaling)
    activate = functools.partial(_activate, activations, x.dtype)

    # Each of three parts computes anew what it needs, from x: none is kept in between.
    statistics = _same_after(slope, statistics)
    y = _normalise(activations, x, statistics, scaling)
    of_y, *of_arguments = jax.vjp(function, y, *arguments)[1](slope)

    def before_activations(statistics: Statistics) -> tuple[Array, Array]:
        """What x is beside its mean, and the slope of gamma's and beta's output."""
        mean, factor = statistics
        centred = numerics.at_least_single(x) - mean
        scaled = centred * (factor * gamma) + beta
        return centred, jax.vjp(activate, scaled)[1](of_y)[0]

    statistics = _same_after(of_y, statistics)
    centred, of_scaled = before_activations(statistics)
    pixels = tuple(range(x.ndim - 1))
    of_beta = of_scaled.sum(pixels, keepdims=True)
    of_product = (of_scaled * centred).sum(pixels, keepdims=True)
    pull_back = jax.vjp(functools.partial(_factor, epsilon), variance)[1]
    (of_variance,) = pull_back(gamma * of_product)
    factor = statistics[1]

    centred, of_scaled = before_activations(_same_after(of_variance, statistics))
    # The slope of the variance by the mean is a sum of differences from it: zero.
    common = 2 * of_variance * centred - factor * gamma * of_beta
    of_x = factor * gamma * of_scaled + common / (x.size // x.shape[-1])
    of_scaling = ((factor * of_product).ravel(), of_beta.ravel())
    return of_x.astype(x.dtype), of_scaling, tuple(of_arguments)


_evaluate.defvjp(_forward, _backward)


def _same_after(slope: Array, statistics: Statistics) -> Statistics:
    """The statistics, on CPUs in a form that nobody knows, and not before the slope."""

    def disguise(slope: Array, statistics: Statistics) -> Statistics:
        first = slope[(0,) * slope.ndim]
        # NaN is NaN, but compilers look at the form.
        other = jax.tree.map(
            lambda one: jnp.where(jnp.isnan(one), jnp.nan, one), statistics
        )
        return jax.tree.map(functools.partial(jnp.where, first > 0), statistics, other)

    return lax.platform_dependent(
        slope, statistics, cpu=disguise, default=lambda _, statistics: statistics
    )
