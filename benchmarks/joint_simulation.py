"""Two simulators of parameters and data, which must agree (Geweke, 2004).

The marginal-conditional simulator draws parameters from the prior and data from the
likelihood. The successive-conditional one takes turns: data given parameters, then some
transitions of a sampler given these data. If the sampler leaves the posterior as it is,
both have the same joint law of parameters and data (Geweke, Getting it right: joint
distribution tests of posterior simulators, JASA 2004).

Many successive-conditional chains run side by side, each from a start that the other
simulator drew, so that a right one stays where it is. Chains are independent: the
standard error of a mean over all of them is the spread of the chains' own means, which
are long batches.

Langevin dynamics of a constant step is off by a bias of the step's order, which on a
linear model is known: `stationary_moments` solves for the joint law that the two
turns have, step and all.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg

from benchmarks.linear_model import LinearModel
from benchmarks.sampler_cases import FROZEN_AFTER, Sampler
from dipgp.inference import langevin
from dipgp.inference.method import Method, State

Array = jax.Array


class Comparison(NamedTuple):
    """One moment of both simulators.

    Attributes:
      exact: in closed form.
      marginal: by the marginal-conditional simulator.
      successive: by the successive-conditional one.
      error: standard error of the difference of the two.
    """

    exact: float
    marginal: float
    successive: float
    error: float

    def score(self, bias: float = 0.0) -> float:
        """How far the simulators are apart, in standard errors.

        Args:
          bias: by how much the successive-conditional moment is known to be larger.
        """
        return (self.successive - self.marginal - bias) / self.error


def compare(
    model: LinearModel,
    sampler: Sampler,
    key: Array,
    *,
    chains: int,
    cycles: int,
    transitions: int,
) -> dict[str, Comparison]:
    """Runs both simulators.

    Args:
      model: prior and likelihood.
      sampler: of the posterior; a preconditioner is frozen from the start.
      key: of everything.
      chains: successive-conditional ones, and as many draws of the other simulator a
        cycle.
      cycles: turns that count, after as many that do not.
      transitions: of the sampler in each turn.

    Returns:
      Moments by name.
    """
    key_start, key_chains, key_marginal = jax.random.split(key, 3)
    start = model.draw_parameters(key_start, (chains,))
    successive = _successive(model, sampler, start, key_chains, cycles, transitions)
    key_parameters, key_data = jax.random.split(key_marginal)
    parameters = model.draw_parameters(key_parameters, (chains, cycles))
    data = model.draw_data(key_data, parameters)
    marginal = jnp.mean(_functions(model, parameters, data), axis=1)
    means, errors = zip(*map(_mean_and_error, (successive, marginal)), strict=True)
    exact = _moments(model, _exact_covariances(model))
    return {
        name: Comparison(
            float(exact[i]),
            float(means[1][i]),
            float(means[0][i]),
            float(np.hypot(errors[0][i], errors[1][i])),
        )
        for i, name in enumerate(names(model))
    }


def names(model: LinearModel) -> list[str]:
    """Of parameters, their squares, data, products of both, and the misfit."""
    parameters, data = range(model.design.shape[1]), range(model.design.shape[0])
    return [
        *(f"theta {i}" for i in parameters),
        *(f"theta {i} squared" for i in parameters),
        *(f"y {j} squared" for j in data),
        *(f"theta {i} times (A^T y) {i}" for i in parameters),
        "misfit",
    ]


def _functions(model: LinearModel, parameters: Array, data: Array) -> Array:
    """(..., moments) of parameters (..., d) and data (..., n)."""
    pulled = data @ jnp.asarray(model.design, data.dtype)
    parts = (
        parameters,
        jnp.square(parameters),
        jnp.square(data),
        parameters * pulled,
        model.misfit(parameters, data)[..., None],
    )
    return jnp.concatenate(parts, axis=-1)


class _Covariances(NamedTuple):
    """Second moments, of mean zero: of parameters, of data, and between the two."""

    parameters: np.ndarray
    data: np.ndarray
    cross: np.ndarray


def _moments(model: LinearModel, covariances: _Covariances) -> np.ndarray:
    """(moments,) means of `_functions`."""
    parameters, data, cross = covariances
    predicted = model.design @ parameters @ model.design.T
    both = model.design @ cross
    misfit = np.trace(data - both - both.T + predicted) / model.noise_std**2
    parts = (
        np.zeros(len(parameters)),
        np.diag(parameters),
        np.diag(data),
        np.diag(cross @ model.design),
        [misfit],
    )
    return np.concatenate(parts)


def _exact_covariances(model: LinearModel) -> _Covariances:
    design = model.design
    data = design @ design.T + model.noise_std**2 * np.eye(len(design))
    return _Covariances(np.eye(design.shape[1]), data, design.T)


@functools.partial(jax.jit, static_argnums=(0, 1, 4, 5))
def _successive(
    model: LinearModel,
    sampler: Sampler,
    start: Array,
    key: Array,
    cycles: int,
    transitions: int,
) -> Array:
    """(chains, moments) means over the cycles that count."""

    def cycle(
        carry: tuple[State, Array], number: Array
    ) -> tuple[tuple[State, Array], None]:
        state, total = carry
        key_data, key_steps = jax.random.split(jax.random.fold_in(key, number))
        data = model.draw_data(key_data, state.parameters)
        method = _method(model, sampler, data)

        def body(count: Array, state: State) -> State:
            return method.step(jax.random.fold_in(key_steps, count), state)[0]

        state = jax.lax.fori_loop(0, transitions, body, state)
        found = _functions(model, state.parameters, data)
        return (state, total + jnp.where(number >= cycles, found, 0)), None

    nothing = jnp.zeros((len(start), len(model.design)), start.dtype)
    begun = _at_rest(_method(model, sampler, nothing), model, start)
    total = jnp.zeros((len(start), len(names(model))), start.dtype)
    (_, total), _ = jax.lax.scan(cycle, (begun, total), jnp.arange(2 * cycles))
    return total / cycles


def _method(model: LinearModel, sampler: Sampler, data: Array) -> Method:
    def log_density(parameters: Array, key: Array) -> tuple[Array, Array]:
        del key
        return model.log_density(parameters, data), jnp.zeros(())

    return sampler.make(log_density)


def _at_rest(method: Method, model: LinearModel, start: Array) -> State:
    """A state whose preconditioner, if there is one, is that of gradients at rest.

    The mean square of a posterior's gradient is the diagonal of H.
    """
    state = method.init(start)
    memory = state.memory
    if isinstance(memory, langevin.Memory) and jax.tree.leaves(memory.mean_square):
        square = jnp.asarray(np.diag(model.precision), start.dtype)
        square = jnp.broadcast_to(square, start.shape)
        memory = memory._replace(mean_square=square)
        frozen = jnp.full_like(state.iteration, FROZEN_AFTER)
        return state._replace(memory=memory, iteration=frozen)
    return state


def _mean_and_error(each: Array) -> tuple[np.ndarray, np.ndarray]:
    """Means over independent rows, and their standard errors."""
    rows = np.asarray(each, np.float64)
    return rows.mean(0), rows.std(0, ddof=1) / len(rows) ** 0.5


class ConstantStep(NamedTuple):
    """Settings of Langevin dynamics that stay the same.

    Attributes:
      step_size: eps.
      momentum: a.
      scale: (d,) the diagonal of G.
    """

    step_size: float
    momentum: float
    scale: np.ndarray


def stationary_moments(
    model: LinearModel, step: ConstantStep, transitions: int
) -> dict[str, float]:
    """The moments that Langevin dynamics of a constant step has in both turns.

    With parameters and velocity together as s, a step given y is
    s <- T s + B y + noise of covariance Q, by the update of `dipgp.inference.langevin`;
    the covariance of s at rest, y drawn anew each turn, solves a Lyapunov equation.

    Args:
      model: prior and likelihood.
      step: of the sampler.
      transitions: of the sampler in each turn.
    """
    design, variance = model.design, model.noise_std**2
    count = design.shape[1]
    stride = np.diag(np.sqrt(step.step_size * step.scale))
    # u <- a u - (1 + a) stride/2 g + c z and w <- w + stride u, g = H w - A^T y / v.
    kick = (1 + step.momentum) / 2 * stride
    force = kick @ model.precision
    heat = np.sqrt(1 - step.momentum**2) * np.eye(count)
    once = np.block(
        [
            [np.eye(count) - stride @ force, step.momentum * stride],
            [-force, step.momentum * np.eye(count)],
        ]
    )
    pull = np.vstack([stride @ kick, kick]) @ design.T / variance
    spread = np.vstack([stride @ heat, heat])
    turn, pulls = np.eye(2 * count), np.zeros_like(pull)
    noise = np.zeros_like(turn)
    for _ in range(transitions):
        pulls, noise = pulls + turn @ pull, noise + turn @ spread @ spread.T @ turn.T
        turn = once @ turn
    see = np.hstack([design, np.zeros_like(design)])
    whole = turn + pulls @ see
    rest = scipy.linalg.solve_discrete_lyapunov(
        whole, noise + variance * pulls @ pulls.T
    )
    data = see @ rest @ see.T + variance * np.eye(len(design))
    cross = (whole @ rest @ see.T + variance * pulls)[:count]
    moments = _moments(model, _Covariances(rest[:count, :count], data, cross))
    return dict(zip(names(model), moments.tolist(), strict=True))


def biases(
    model: LinearModel, step: ConstantStep, transitions: int
) -> dict[str, float]:
    """How much larger `stationary_moments` are than the exact ones, by name."""
    exact = _moments(model, _exact_covariances(model)).tolist()
    found = stationary_moments(model, step, transitions)
    return {
        name: found[name] - value
        for name, value in zip(names(model), exact, strict=True)
    }
