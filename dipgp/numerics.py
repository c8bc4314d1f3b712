"""Square roots, quotients and lengths whose gradients stay finite at the edges.

Covariance functions meet these edges at every evaluation: at zero lag the correlation
is 1, where arccos and sqrt(1 - rho^2) have infinite slopes that automatic
differentiation turns into NaN even when they are multiplied by zero.
"""

import numbers

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array


def is_traced(value: object) -> bool:
    """Whether any array in a pytree is known only by its shape, inside a JAX trace."""
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(value))


def check_positive(name: str, value: jax.typing.ArrayLike) -> None:
    """Raises ValueError, naming the argument, unless all of a value is positive.

    Says nothing about values that are being traced.
    """
    if not is_traced(value) and not _all(np.asarray(value) > 0, value):
        raise ValueError(f"{name}: expected finite positive numbers, got {value}")


def check_not_negative(name: str, value: jax.typing.ArrayLike) -> None:
    """Raises ValueError, naming the argument, unless all of a value is at least 0.

    Says nothing about values that are being traced.
    """
    if not is_traced(value) and not _all(np.asarray(value) >= 0, value):
        raise ValueError(f"{name}: expected finite numbers >= 0, got {value}")


def check_whole_number(name: str, value: object, least: int) -> None:
    """Raises ValueError, naming the argument, unless a value is an integer >= least."""
    if not isinstance(value, numbers.Integral) or int(value) < least:
        raise ValueError(
            f"{name}: expected a whole number of at least {least}, got {value}"
        )


def _all(condition: np.ndarray, value: jax.typing.ArrayLike) -> bool:
    return bool(np.all(condition) and np.all(np.isfinite(np.asarray(value))))


def at_least_single(x: Array) -> Array:
    """Floating-point numbers in 32 bits where they have fewer."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def not_negative(x: Array) -> Array:
    """max(x, 0) with gradient 1 at 0, where jnp.maximum has 1/2."""
    return jnp.where(x < 0, 0, x)


def safe_sqrt(x: Array) -> Array:
    """Square root of max(x, 0), with gradient 0 instead of infinity at 0."""
    positive = x > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1)), 0)


def safe_divide(numerator: Array, denominator: Array) -> Array:
    """Quotient that is 0, with gradient 0, where the denominator is 0."""
    zero = denominator == 0
    return jnp.where(zero, 0, numerator / jnp.where(zero, 1, denominator))


def length(vectors: Array) -> Array:
    """Euclidean length along the last axis, with gradient 0 at the zero vector."""
    return safe_sqrt(jnp.sum(jnp.square(vectors), axis=-1))
