"""What a call of a public function is, and what may be wrong with one."""

import functools
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

HUGE = (1e30, 1e300, -1e300, 10**18, 2**63)
NOTHING: tuple[Any, ...] = (
    *(None, "text", "", b"bytes", object, [], {}, ()),
    *(1j, np.nan, np.inf, -np.inf),
)


@functools.cache
def key() -> jax.Array:
    """Of all draws; made when it is first asked for, which starts JAX."""
    return jax.random.key(0)


class Call(NamedTuple):
    """A valid call.

    Attributes:
      name: as users write it.
      function: takes the arguments by name, and gives arrays in any pytree.
      arguments: valid ones, each of which may be broken.
      passes_on: arguments whose numbers that are not finite make a result that is not,
        as sums do.
    """

    name: str
    function: Callable[..., Any]
    arguments: Mapping[str, Any]
    passes_on: Collection[str] = ()


class BadInput(NamedTuple):
    """A call of which one argument is not what it was.

    Attributes:
      call: its name.
      argument: which.
      value: what it is now.
    """

    call: str
    argument: str
    value: Any


def bad_inputs(calls: Mapping[str, Call]) -> SearchStrategy[BadInput]:
    """Calls with one argument exchanged for something worse.

    Args:
      calls: valid ones by name; not all of what comes out is wrong.
    """
    pairs = [(call, name) for call in calls.values() for name in call.arguments]

    def broken(pair: tuple[Call, str]) -> SearchStrategy[BadInput]:
        call, argument = pair
        values = exchanged(call.arguments[argument])
        return values.map(lambda value: BadInput(call.name, argument, value))

    return st.sampled_from(pairs).flatmap(broken)


def exchanged(value: Any) -> SearchStrategy[Any]:
    """What may stand in the place of a valid value."""
    anything = st.sampled_from(NOTHING)
    if isinstance(value, bool | str) or value is None:
        return anything | st.text(max_size=3) | st.integers(-3, 3)
    if isinstance(value, int):
        return anything | st.integers(-3, 0) | _numbers() | st.sampled_from(HUGE)
    if isinstance(value, float):
        return anything | st.floats(max_value=0) | _numbers() | st.sampled_from(HUGE)
    if isinstance(value, np.ndarray):
        return anything | _numbers() | _spoilt(value)
    if isinstance(value, jax.Array):  # a key
        return anything | st.integers(-2, 2)
    if isinstance(value, tuple) and all(isinstance(each, int) for each in value):
        sizes = st.sampled_from([-1, 0, 1.5, "2", np.nan, 10**9, None])
        return anything | _numbers() | _with(value, sizes) | st.just((*value, *value))
    if isinstance(value, tuple | list):
        return anything | _numbers() | _with(value, anything)
    return anything | _numbers()


def _numbers() -> SearchStrategy[Any]:
    """Of any kind, and arrays of them."""
    shapes = st.lists(st.integers(0, 3), min_size=1, max_size=3).map(tuple)
    arrays = shapes.map(lambda shape: np.full(shape, 0.5))
    return st.floats() | st.integers(-(2**40), 2**40) | arrays


def _with(values: tuple | list, wrong: SearchStrategy[Any]) -> SearchStrategy[Any]:
    """A sequence of which one element is exchanged."""

    def put(drawn: tuple[int, Any]) -> tuple:
        place, element = drawn
        return (*values[:place], element, *values[place + 1 :])

    return st.tuples(st.integers(0, max(len(values) - 1, 0)), wrong).map(put)


def _spoilt(array: np.ndarray) -> SearchStrategy[np.ndarray]:
    """An array of another shape or dtype, or with an element that is no number."""

    def put(number: float) -> np.ndarray:
        copy = array.astype(np.result_type(array, np.float32))
        copy.flat[-1] = number
        return copy

    changes = [
        array[None],
        array[..., None],
        array[:0],
        array[..., :0],
        array[:-1],
        array[..., :-1],
        np.swapaxes(array, 0, -1)[1:],
        array.ravel(),
        -array if array.dtype != bool else array,
        array.astype(np.int8),
        array.astype(np.int64),
        array.astype(np.uint8),
        array.astype(bool),
        array.astype(np.float16),
        array.astype(np.float64),
        array.astype(np.complex64),
        array.astype(str),
        array.astype(object),
        np.zeros_like(array),
        np.full_like(array, np.inf, np.float32),
        np.full_like(array, np.nan, np.float32),
    ]
    numbers = st.sampled_from([np.nan, np.inf, -np.inf, 1e38, -1e38])
    return st.sampled_from(changes) | numbers.map(put)
