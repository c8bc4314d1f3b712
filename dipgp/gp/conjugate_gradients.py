"""Conjugate gradients for several right-hand sides, with an account of each.

JAX's own solver does not say how many steps it took or whether it arrived.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array
Operator = Callable[[Array], Array]


class Limits(NamedTuple):
    """How far an iteration goes.

    Attributes:
      tolerance: at which it stops, in terms of whoever solves.
      max_iterations: at most so many steps.
    """

    tolerance: float
    max_iterations: int


class Solution(NamedTuple):
    """Solutions of A x = b for a batch of right-hand sides.

    Attributes:
      value: x, of b's shape (N, ...).
      iterations: (N,) products with A that each system took.
      residual: (N,) |b - A x| over its unit, computed from x at the end, not carried
        along.
    """

    value: Array
    iterations: Array
    residual: Array


class MeanSolution(NamedTuple):
    """Posterior means of channels, and how their systems were solved.

    Attributes:
      mean: (C, H, W).
      level: (C,) generalised-least-squares constants.
      iterations: (C,).
      residual: (C,) what `tolerance` bounds, computed afresh from the solution.
    """

    mean: Array
    level: Array
    iterations: Array
    residual: Array


class _State(NamedTuple):
    value: Array
    residual: Array
    direction: Array
    alignment: Array
    running: Array
    iterations: Array
    step: Array


def solve(
    operator: Operator,
    right_hand_sides: Array,
    preconditioner: Operator,
    tolerance: float,
    max_iterations: int,
    metric: Operator | None = None,
    unit: jax.typing.ArrayLike = np.inf,
) -> Solution:
    """Preconditioned conjugate gradients (Golub and Van Loan 2013, section 11.5).

    Systems that have arrived, or whose search direction has broken down, stand still
    while the others go on. The result has reverse-mode derivatives with respect to the
    right-hand sides and to what the operator closes over.

    Args:
      operator: x -> A x on arrays (N, ...), symmetric positive definite on the space
        that the right-hand sides and the preconditioner's results lie in.
      right_hand_sides: b, (N, ...).
      preconditioner: symmetric positive definite approximation of A's inverse there.
      tolerance: stops at |b - A x| <= tolerance * unit, by the recursive residual.
      max_iterations: at most so many.
      metric: M of the length sqrt(r^T M r) of residuals r; by default M = 1.
      unit: of that length, (N,); b's own, sqrt(b^T b), where that is less.
    """

    def length(residuals: Array) -> Array:
        return _length(residuals, metric)

    def one_solve(matvec: Operator, b: Array, target: Array) -> tuple[Array, Array]:
        return iterate(
            matvec, jnp.zeros_like(b), b, preconditioner, target, max_iterations, length
        )

    return accounted(operator, right_hand_sides, one_solve, tolerance, length, unit)


def accounted(
    operator: Operator,
    right_hand_sides: Array,
    one_solve: Callable[[Operator, Array, Array], tuple[Array, Array]],
    tolerance: float,
    length: Operator,
    unit: jax.typing.ArrayLike = np.inf,
) -> Solution:
    """What an iteration makes of A x = b, with derivatives and the residual left.

    Args:
      operator: x -> A x on arrays (N, ...), symmetric.
      right_hand_sides: b, (N, ...).
      one_solve: finds x and its steps (N,), given the operator, b or what takes its
        place in derivatives, and the lengths (N,) that residuals are to fall below.
      tolerance: those lengths, in units.
      length: of residuals, (N,).
      unit: of them, (N,); b's own, sqrt(b^T b), where that is less.
    """

    def within(matvec: Operator, b: Array) -> tuple[Array, Array]:
        # Derivatives have right-hand sides, and so units, of their own.
        return one_solve(matvec, b, tolerance * jnp.minimum(unit, _length(b)))

    value, iterations = jax.lax.custom_linear_solve(
        operator, right_hand_sides, within, symmetric=True, has_aux=True
    )
    units = jnp.minimum(unit, _length(right_hand_sides))
    error = length(right_hand_sides - operator(value))
    return Solution(value, iterations, error / jnp.where(units == 0, 1, units))


def iterate(
    operator: Operator,
    start: Array,
    rest: Array,
    preconditioner: Operator,
    target: Array,
    max_iterations: int,
    length: Operator,
    every: int = 1,
) -> tuple[Array, Array]:
    """Conjugate gradients from a start, without derivatives.

    Args:
      operator: as in `solve`.
      start: x to start from, (N, ...).
      rest: its residual, b - A x.
      preconditioner: as in `solve`; residuals are read through it alone.
      target: (N,) lengths of residuals to stop at.
      max_iterations: at most so many steps.
      length: of residuals, (N,).
      every: steps from one look at that length to the next.

    Returns:
      x and the steps (N,) of each system.
    """

    def proceed(state: _State) -> Array:
        return (state.step < max_iterations) & jnp.any(state.running)

    def step_on(_: Array, state: _State) -> _State:
        preconditioned = preconditioner(state.residual)
        alignment = _dot(state.residual, preconditioned)
        active = state.running & (alignment > 0)
        turn = _where(active & (state.alignment > 0), alignment, state.alignment)
        direction = preconditioned + _spread(turn, rest) * state.direction
        product = operator(direction)
        curvature = _dot(direction, product)
        active &= curvature > 0
        step = _where(active, alignment, curvature)
        return _State(
            state.value + _spread(step, rest) * direction,
            state.residual - _spread(step, rest) * product,
            direction,
            alignment,
            active,
            state.iterations + active,
            state.step + 1,
        )

    def advance(state: _State) -> _State:
        if every == 1:
            state = step_on(state.step, state)
        else:
            steps = jnp.minimum(every, max_iterations - state.step)
            state = jax.lax.fori_loop(0, steps, step_on, state)
        left = length(state.residual) > target
        return state._replace(running=state.running & left)

    still, count = jnp.zeros_like(rest), jnp.zeros(rest.shape[0], int)
    running = length(rest) > target
    none = jnp.zeros_like(target)
    state = _State(start, rest, still, none, running, count, count[0])
    found = jax.lax.while_loop(proceed, advance, state)
    return found.value, found.iterations


def _where(active: Array, numerator: Array, denominator: Array) -> Array:
    return jnp.where(active, numerator / jnp.where(active, denominator, 1), 0)


def _dot(a: Array, b: Array) -> Array:
    return jnp.sum(a * b, axis=tuple(range(1, a.ndim)))


def _length(a: Array, metric: Operator | None = None) -> Array:
    return jnp.sqrt(_dot(a, a if metric is None else metric(a)))


def _spread(scalars: Array, like: Array) -> Array:
    return scalars.reshape(scalars.shape + (1,) * (like.ndim - 1))
