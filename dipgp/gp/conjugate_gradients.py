"""Conjugate gradients for several right-hand sides, with an account of each.

JAX's own solver does not say how many steps it took or whether it arrived.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

Array = jax.Array
Operator = Callable[[Array], Array]


class Solution(NamedTuple):
    """Solutions of A x = b for a batch of right-hand sides.

    Attributes:
      value: x, of b's shape (N, ...).
      iterations: (N,) products with A that each system took.
      residual: (N,) |b - A x| / |b|, computed from x at the end, not carried along.
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
      residual: (C,) relative, computed afresh from the solution.
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
    iterations: Array
    step: Array


def solve(
    operator: Operator,
    right_hand_sides: Array,
    preconditioner: Operator,
    tolerance: float,
    max_iterations: int,
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
      tolerance: stops at |b - A x| <= tolerance |b|, by the recursive residual.
      max_iterations: at most so many.
    """

    def one_solve(matvec: Operator, b: Array) -> tuple[Array, Array]:
        state = _iterate(matvec, b, preconditioner, tolerance, max_iterations)
        return state.value, state.iterations

    value, iterations = jax.lax.custom_linear_solve(
        operator, right_hand_sides, one_solve, symmetric=True, has_aux=True
    )
    size = _norm(right_hand_sides)
    error = _norm(right_hand_sides - operator(value))
    return Solution(value, iterations, error / jnp.where(size == 0, 1, size))


def _iterate(
    operator: Operator,
    b: Array,
    preconditioner: Operator,
    tolerance: float,
    max_iterations: int,
) -> _State:
    target = tolerance * _norm(b)

    def running(state: _State) -> Array:
        return (_norm(state.residual) > target) & (state.alignment > 0)

    def proceed(state: _State) -> Array:
        return (state.step < max_iterations) & jnp.any(running(state))

    def advance(state: _State) -> _State:
        active = running(state)
        product = operator(state.direction)
        curvature = _dot(state.direction, product)
        active &= curvature > 0
        step = _where(active, state.alignment, curvature)
        value = state.value + _spread(step, b) * state.direction
        residual = state.residual - _spread(step, b) * product
        preconditioned = preconditioner(residual)
        alignment = jnp.where(active, _dot(residual, preconditioned), 0)
        turn = _where(active, alignment, state.alignment)
        return _State(
            value,
            residual,
            preconditioned + _spread(turn, b) * state.direction,
            alignment,
            state.iterations + active,
            state.step + 1,
        )

    start = preconditioner(b)
    zeros = jnp.zeros(b.shape[0], int)
    state = _State(jnp.zeros_like(b), b, start, _dot(b, start), zeros, zeros[0])
    return jax.lax.while_loop(proceed, advance, state)


def _where(active: Array, numerator: Array, denominator: Array) -> Array:
    return jnp.where(active, numerator / jnp.where(active, denominator, 1), 0)


def _dot(a: Array, b: Array) -> Array:
    return jnp.sum(a * b, axis=tuple(range(1, a.ndim)))


def _norm(a: Array) -> Array:
    return jnp.sqrt(_dot(a, a))


def _spread(scalars: Array, like: Array) -> Array:
    return scalars.reshape(scalars.shape + (1,) * (like.ndim - 1))
