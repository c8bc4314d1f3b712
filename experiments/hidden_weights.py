"""The posterior of a network whose linear read-out is integrated out.

Given its hidden weights v, a network f = sqrt(w / C) Phi(v) a with C hidden features
Phi at each pixel and read-out weights a ~ N(0, I) is itself a Gaussian process, of
covariance (w / C) Phi Phi^T. So the read-out never needs sampling:

    p(v | y)  ~  N(y; 0, (w / C) Phi Phi^T + noise_std^2 I)  N(v; 0, I)
    E[f | y] = E_v [posterior mean of that process]
    var[f | y] = E_v [its posterior variance] + var_v [its posterior mean]

Both samplers, blackjax's, leave the law of v as it is:

    slice  elliptical slice sampling (Murray, Adams, MacKay 2010): moves along ellipses
           through draws of the prior; no step to choose, no gradient. As the network
           grows wide the covariance tends to a constant and the posterior of v to its
           prior, so that it mixes the better, the wider the network (Hron et al. 2022
           reach the same end by another change of variables). Narrow ones it hardly
           moves.
    nuts   the no-U-turn sampler (Hoffman and Gelman 2014), its step adapted during
           burn-in: several gradients a draw, for every width.
"""

import functools
from typing import Any, Literal, NamedTuple

import blackjax
import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
from blackjax.adaptation.step_size import dual_averaging_adaptation

from dipgp import gp
from dipgp.inference.chains import how_for_small_networks, map_chains
from dipgp.progress import Report
from experiments.plain_model import Model

Array = jax.Array
Sampler = Literal["slice", "nuts"]

# A run is cut into so many pieces; each ends with a sign of life.
_PIECES = 20
# Of the no-U-turn sampler: wanted acceptance, first step, longest doubling of a path.
# ReLU's kinks make energies err in proportion to the step, smooth stretches to its
# square: against kinks small steps buy little, so that fewer are to be accepted.
_ACCEPTANCE, _FIRST_STEP, _DOUBLINGS = 0.65, 0.1, 5


class Data(NamedTuple):
    """What the posterior is of.

    Attributes:
      z: the network's input, as `Model.draw_input` returns it.
      values: (n,) what was seen.
      observed: (n,) the numbers of the points where it was seen.
      noise_std: of the noise.
    """

    z: Array
    values: Array
    observed: Array
    noise_std: Array


class Draws(NamedTuple):
    """What the draws of the hidden weights say of the outputs.

    Attributes:
      means: (chains, draws, points) posterior means given the hidden weights.
      variances: (chains, draws, points) posterior variances given them.
      work: mean number of networks, or of gradients, that a draw computed.
    """

    means: np.ndarray
    variances: np.ndarray
    work: float


class _Chain(NamedTuple):
    """Where a chain is: blackjax's state, and that of the step's adaptation."""

    state: Any
    adaptation: Any


def sample(
    model: Model,
    data: Data,
    key: Array,
    *,
    sampler: Sampler,
    chains: int,
    burn_in: int,
    draws: int,
    report: Report,
) -> Draws:
    """Runs the chains.

    Args:
      model: the prior.
      data: what was seen.
      key: of the starts, which are draws of the prior, and of the chains.
      sampler: "slice" or "nuts".
      chains: how many.
      burn_in: first draws of each chain that do not count.
      draws: of each chain that do.
      report: is told how far they are.
    """
    keys = jax.random.split(key, chains)
    progress = _begin(model, sampler, keys, data)
    means, variances, work = [], [], 0.0
    for adapting, number in ((True, burn_in), (False, draws)):
        taken = 0
        while taken < number:
            length = min(max(number // _PIECES, 1), number - taken)
            first = taken if adapting else burn_in + taken
            progress, told, worked = _advance(
                model, sampler, length, adapting, keys, first, progress, data
            )
            if not adapting:
                means.append(np.asarray(told[0]))
                variances.append(np.asarray(told[1]))
                work += float(worked) * length / draws
            taken += length
            done = first + length
            report(f"{done} of {burn_in + draws} draws", done / (burn_in + draws))
    return Draws(np.concatenate(means, 1), np.concatenate(variances, 1), work)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _begin(model: Model, sampler: Sampler, keys: Array, data: Data) -> _Chain:
    begin_adaptation, _, _ = dual_averaging_adaptation(_ACCEPTANCE)

    def begin(key: Array) -> _Chain:
        weights = model.hidden.init(jax.random.fold_in(key, 0), data.z)
        flat, _ = jax.flatten_util.ravel_pytree(weights)
        adaptation = begin_adaptation(_FIRST_STEP)
        if sampler == "slice":
            density = functools.partial(_log_likelihood, model, data)
            return _Chain(blackjax.elliptical_slice.init(flat, density), adaptation)
        density = functools.partial(_log_posterior, model, data)
        return _Chain(blackjax.nuts.init(flat, density), adaptation)

    return map_chains(begin, keys, how_for_small_networks())


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _advance(
    model: Model,
    sampler: Sampler,
    length: int,
    adapting: bool,
    keys: Array,
    first: Array,
    progress: _Chain,
    data: Data,
) -> tuple[_Chain, tuple[Array, Array], Array]:
    """`length` draws of each chain: (means, variances) of them, and the mean work."""
    step = _step_by_slices if sampler == "slice" else _step_without_u_turn
    _, adapt, finish = dual_averaging_adaptation(_ACCEPTANCE)

    def draw(
        key: Array, chain: _Chain, number: Array
    ) -> tuple[_Chain, tuple[tuple[Array, Array], Array]]:
        # Folded, so that the pieces of a run do not matter.
        key = jax.random.fold_in(key, 1 + number)
        size = (
            jnp.exp(chain.adaptation.log_step_size)
            if adapting
            else finish(chain.adaptation)
        )
        state, acceptance, work = step(model, data, key, chain.state, size)
        adaptation = chain.adaptation
        if adapting:
            adaptation = adapt(adaptation, acceptance)
        told = _condition(model, data, state.position)
        return _Chain(state, adaptation), ((told.mean, told.variance), work)

    def run(arguments: tuple[Array, _Chain]) -> Any:
        key, chain = arguments
        numbers = first + jnp.arange(length)
        return jax.lax.scan(functools.partial(draw, key), chain, numbers)

    progress, (told, work) = map_chains(run, (keys, progress), how_for_small_networks())
    return progress, told, jnp.mean(work)


def _step_by_slices(
    model: Model, data: Data, key: Array, state: Any, _: Array
) -> tuple[Any, Array, Array]:
    density = functools.partial(_log_likelihood, model, data)
    # Standard normal weights; one number stands for all.
    unit = jnp.ones((1,), data.z.dtype)
    kernel = blackjax.elliptical_slice(density, mean=0 * unit, cov=unit)
    state, info = kernel.step(key, state)
    return state, jnp.ones(()), info.subiter


def _step_without_u_turn(
    model: Model, data: Data, key: Array, state: Any, size: Array
) -> tuple[Any, Array, Array]:
    density = functools.partial(_log_posterior, model, data)
    kernel = blackjax.nuts(
        density, size, jnp.ones_like(state.position), max_num_doublings=_DOUBLINGS
    )
    state, info = kernel.step(key, state)
    return state, info.acceptance_rate, info.num_integration_steps


def _condition(model: Model, data: Data, flat: Array) -> gp.MatrixPosterior:
    """The posterior of the process that the hidden weights make of the outputs."""
    features = model.features(_weights(model, data, flat), data.z)
    return gp.condition_features(features, data.values, data.observed, data.noise_std)


def _log_likelihood(model: Model, data: Data, flat: Array) -> Array:
    return _condition(model, data, flat).log_evidence


def _log_posterior(model: Model, data: Data, flat: Array) -> Array:
    return _log_likelihood(model, data, flat) - jnp.sum(jnp.square(flat)) / 2


def _weights(model: Model, data: Data, flat: Array) -> Any:
    """The weights by layers, from one row of them all."""
    like = jax.eval_shape(model.hidden.init, jax.random.key(0), data.z)
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), like)
    _, restore = jax.flatten_util.ravel_pytree(zeros)
    return restore(flat)
