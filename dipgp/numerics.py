"""Square roots, quotients and lengths whose gradients stay finite at the edges.

Covariance functions meet these edges at every evaluation: at zero lag the correlation
is 1, where arccos and sqrt(1 - rho^2) have infinite slopes that automatic
differentiation turns into NaN even when they are multiplied by zero.
"""

import math
import numbers
import reprlib
from collections.abc import Collection
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array

# What no computation here has the memory for.
MOST_PIXELS = 2**28
# Hyperparameters are squared in 32 bits, which hold 1e-38 to 1e38.
SMALLEST, LARGEST = 1e-30, 1e15
_REAL = (jnp.bool_, jnp.integer, jnp.floating)


def is_traced(value: Any) -> bool:
    """Whether any array in a pytree is known only by its shape, inside a JAX trace."""
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(value))


def check_positive(name: str, value: Any, *, scalar: bool = False) -> None:
    """Raises ValueError, naming the argument, unless all of a value is positive.

    Says nothing about values that are being traced.
    """
    _check_range(name, value, scalar, SMALLEST, "finite positive numbers")


def check_not_negative(name: str, value: Any, *, scalar: bool = False) -> None:
    """Raises ValueError, naming the argument, unless all of a value is at least 0.

    Says nothing about values that are being traced.
    """
    _check_range(name, value, scalar, 0, "finite numbers >= 0")


def check_finite(name: str, value: Any, *, scalar: bool = False) -> None:
    """Raises ValueError, naming the argument, unless all of a value is finite.

    Says nothing about values that are being traced.
    """
    _check_range(name, value, scalar, -LARGEST, "finite numbers")


def check_between(name: str, value: Any, low: float, high: float) -> None:
    """Raises ValueError, naming the argument, unless low < value < high.

    Says nothing about values that are being traced.
    """
    expected = f"a number between {low:g} and {high:g}"
    least, most = np.nextafter(low, high), np.nextafter(high, low)
    _check_range(name, value, True, least, expected, most)


def check_fraction(name: str, value: Any) -> None:
    """Raises ValueError, naming the argument, unless 0 <= value < 1.

    Says nothing about values that are being traced.
    """
    most = np.nextafter(1, 0)
    _check_range(name, value, True, 0, "a number in [0, 1)", most)


def check_whole_number(
    name: str, value: Any, least: int, most: int = 2**31 - 1
) -> None:
    """Raises ValueError, naming the argument, unless a value is an integer in a range.

    By default it may not need more than the 32 bits that JAX counts with.
    """
    if not isinstance(value, numbers.Integral) or not least <= int(value) <= most:
        up_to = f" and at most {most}" if most < 2**31 - 1 else ""
        raise ValueError(
            f"{name}: expected a whole number of at least {least}{up_to}, got "
            f"{brief(value)}"
        )


def check_indices(name: str, value: Any, count: int) -> None:
    """Raises ValueError, naming the argument, unless all of a value are in [0, count).

    JAX takes the nearest element for one that is not there. Says nothing about values
    that are being traced.

    Args:
      name: of the argument.
      value: whole numbers.
      count: of what they are the places of.
    """
    if is_traced(value):
        return
    found = np.asarray(value)
    wrong = found[(found < 0) | (found >= count)]
    if wrong.size:
        raise ValueError(
            f"{name}: expected whole numbers from 0 to {count - 1}, got {wrong[0]}"
        )


def check_grid(name: str, shape: object, axes: Collection[int] = (1, 2)) -> None:
    """Raises ValueError, naming the argument, unless a value is a shape in pixels.

    Args:
      name: of the argument.
      shape: the value.
      axes: how many there may be.
    """
    words = {1: "(L,)", 2: "(H, W)", 3: "(H, W, C)"}
    expected = " or ".join(words[count] for count in axes)
    if not isinstance(shape, tuple | list) or len(shape) not in axes:
        raise ValueError(f"{name}: expected {expected}, got {brief(shape)}")
    if not all(isinstance(size, numbers.Integral) and int(size) > 0 for size in shape):
        raise ValueError(f"{name}: expected {expected} in pixels, got {brief(shape)}")
    check_sizes(name, shape)


def check_sizes(name: str, shape: object) -> None:
    """Raises ValueError, naming the argument, unless a value is an array's shape."""
    if not isinstance(shape, tuple | list):
        raise ValueError(f"{name}: expected a shape, got {brief(shape)}")
    for size in shape:
        check_whole_number(name, size, least=1)
    if math.prod(map(int, shape)) > MOST_PIXELS:
        raise ValueError(
            f"{name}: expected at most {MOST_PIXELS} numbers, got {brief(shape)}"
        )


def check_choice(name: str, value: Any, known: Collection[str]) -> None:
    """Raises ValueError, naming the argument, unless a value is one of some words."""
    if not isinstance(value, str) or value not in known:
        raise ValueError(
            f"{name}: expected one of {', '.join(known)}, got {brief(value)}"
        )


def check_instance(name: str, value: Any, kind: type, advice: str = "") -> None:
    """Raises TypeError, naming the argument, unless a value is of a type.

    Args:
      name: of the argument.
      value: what it is.
      kind: what it should be.
      advice: where one comes from.
    """
    if not isinstance(value, kind):
        more = f"; try {advice}" if advice else ""
        raise TypeError(
            f"{name}: expected {kind.__module__}.{kind.__qualname__}, got "
            f"{brief(value)}{more}"
        )


def check_key(name: str, key: object) -> None:
    """Raises TypeError, naming the argument, unless a value is one random key."""
    if isinstance(key, jax.Array):
        if jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
            accepted = key.ndim == 0
        else:
            accepted = key.dtype == np.uint32 and key.ndim == 1
        if accepted:
            return
    raise TypeError(f"{name}: expected a jax.random.key, got {brief(key)}")


def check_real(name: str, value: Any) -> None:
    """Raises ValueError, naming the argument, unless a value is an array of numbers.

    Real ones; they may be infinite or NaN. Whole numbers must fit into those of JAX,
    which has 32 bits by default. Of values that are being traced, the type.
    """
    try:
        # Arrays, on a device or traced, are not looked into.
        dtype = value.dtype if hasattr(value, "dtype") else np.asarray(value).dtype
    except (TypeError, ValueError) as error:  # no numbers, rows of several lengths
        raise ValueError(f"{name}: expected numbers, got {brief(value)}") from error
    if not any(jnp.issubdtype(dtype, kind) for kind in _REAL):
        raise ValueError(f"{name}: expected real numbers, got {brief(value)}")
    if dtype.kind in "iu" and not isinstance(value, jax.Array):
        kept = np.iinfo(jax.dtypes.canonicalize_dtype(dtype))
        whole = np.asarray(value)
        if np.any((whole < kept.min) | (whole > kept.max)):
            raise ValueError(
                f"{name}: expected whole numbers from {kept.min} to {kept.max}, got "
                f"{brief(value)}"
            )


def brief(value: Any) -> str:
    """What a value is, in few words, for messages."""
    if isinstance(value, jax.Array | np.ndarray) and value.size > 3:
        return f"an array of shape {value.shape} and {value.dtype}"
    return str(value) if isinstance(value, numbers.Number) else reprlib.repr(value)


def _check_range(
    name: str,
    value: Any,
    scalar: bool,
    least: float,
    expected: str,
    most: float = LARGEST,
) -> None:
    """Raises ValueError unless all of a value, if it is known, is in a range."""
    if is_traced(value):
        return
    check_real(name, value)
    found = np.asarray(value, np.float64)
    if scalar and found.ndim:
        raise ValueError(f"{name}: expected a number, got {brief(value)}")
    if not found.size or not np.all((found >= least) & (found <= most)):
        size = np.abs(found[np.isfinite(found) & (found != 0)])
        if most == LARGEST and np.any((size < SMALLEST) | (size > LARGEST)):
            expected += f" between {SMALLEST:g} and {LARGEST:g}"
        raise ValueError(f"{name}: expected {expected}, got {brief(value)}")


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
