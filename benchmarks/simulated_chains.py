"""Simulated truths among the draws of Markov chains; see `rank_statistics`."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import rank_statistics
from benchmarks.linear_model import LinearModel
from benchmarks.sampler_cases import Sampler
from dipgp.inference.method import State

Array = jax.Array


def chain_ranks(
    model: LinearModel, sampler: Sampler, key: Array, simulations: int, draws: int
) -> dict[str, np.ndarray]:
    """Ranks of functions of the truth among the ends of independent chains.

    Draws of one chain depend on each other, and their ranks are not uniform even where
    each has the right law. So each draw is the end of a chain of its own, that started
    at a draw of the prior.

    Args:
      model: truths and data are drawn from it.
      sampler: of its posterior.
      key: of everything.
      simulations: N, numbers of truths.
      draws: L, numbers of chains for each.

    Returns:
      (N,) ranks by the name of the function: the first parameter, the last, the sum of
      all, and the misfit to the data, by which Modrak and others (Simulation-based
      calibration checking for Bayesian computation: the choice of test quantities,
      2023) find samplers that ignore data.
    """
    keys = jax.random.split(key, 4)
    truth = model.draw_parameters(keys[0], (simulations,))[:, None]
    data = model.draw_data(keys[1], truth)
    start = model.draw_parameters(keys[2], (simulations, draws))
    samples = _run(model, sampler, start, data, keys[3])
    functions = _functions(model)
    return {
        name: rank_statistics.ranks(
            np.asarray(function(truth, data))[:, 0],
            np.asarray(function(samples, data)),
        )
        for name, function in functions.items()
    }


def _functions(model: LinearModel) -> dict[str, Callable[[Array, Array], Array]]:
    """Of parameters (N, L, d) and data (N, 1, n)."""
    return {
        "first": lambda parameters, data: parameters[..., 0],
        "last": lambda parameters, data: parameters[..., -1],
        "sum": lambda parameters, data: jnp.sum(parameters, axis=-1),
        "misfit": model.misfit,
    }


@functools.partial(jax.jit, static_argnums=(0, 1))
def _run(
    model: LinearModel, sampler: Sampler, start: Array, data: Array, key: Array
) -> Array:
    """Where the chains end."""

    def log_density(parameters: Array, key: Array) -> tuple[Array, Array]:
        del key
        return model.log_density(parameters, data), jnp.zeros(())

    method = sampler.make(log_density)

    def body(number: Array, state: State) -> State:
        return method.step(jax.random.fold_in(key, number), state)[0]

    end = jax.lax.fori_loop(0, sampler.steps, body, method.init(start))
    return end.parameters
