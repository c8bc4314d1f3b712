"""Plain networks of finite width on a signal or image: descended, and sampled.

All runs of a case share one random input and start from weights drawn from the prior.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dipgp.inference import chains, descent, guard, langevin, loop
from dipgp.inference.method import Method
from dipgp.networks.build import Variables
from dipgp.observations import Observation, log_likelihood, observe
from dipgp.progress import Report
from dipgp.summaries import diagnostics, moments
from experiments import network_run
from experiments.plain_model import Model
from experiments.plain_process import Curve

Array = jax.Array
Facts = dict[str, float | int | None]

# A run is cut into so many pieces; each ends with a draw and a sign of life.
_PIECES = 200


class Runs(NamedTuple):
    """What several runs of a network gave.

    Attributes:
      curve: mean and standard deviation over all runs and the outputs that count.
      means: (runs, points) means of each run.
      facts: what they went through.
    """

    curve: Curve
    means: np.ndarray
    facts: Facts


def observation(
    model: Model, values: np.ndarray, mask: np.ndarray, noise_std: float
) -> Observation:
    """A signal or image behind a mask, both (points,), as the model's outputs are."""
    dtype = jnp.zeros(()).dtype  # 64 bits where JAX is told so
    image = values.astype(dtype).reshape(*model.grid, 1)
    return observe(image, mask.reshape(model.grid), noise_std=noise_std)


def descend(
    model: Model,
    seen: Observation,
    z: Array,
    key: Array,
    *,
    learning_rate: float,
    iterations: int,
    restarts: int,
    report: Report,
) -> Runs:
    """Adam on the sum of squares at the observed points, from several starts.

    Descent has no posterior of its own: the mean and the standard deviation are those
    of where the restarts end.

    Args:
      model: the prior.
      seen: as `observation` returns it.
      z: the input, as `Model.draw_input` returns it.
      key: of the starts.
      learning_rate: of Adam.
      iterations: of each restart.
      restarts: how many, at least 2.
      report: is told how far they are.
    """

    def loss(variables: Variables, _: Array) -> tuple[Array, Array]:
        output = model.image(variables, z)
        error = seen.mask[:, :, None] * (seen.values - output)
        return jnp.sum(jnp.square(error)), output

    method = descent.descend(loss, descent.adam(learning_rate))
    # Each restart counts once, by its last output.
    plan = _plan(seen, burn_in=iterations - 1)
    runs, _ = _run(model, method, plan, z, key, iterations, restarts, report)
    return runs


def sample(
    model: Model,
    seen: Observation,
    z: Array,
    key: Array,
    *,
    step_size: float,
    momentum: float,
    iterations: int,
    burn_in: int,
    chain_count: int,
    report: Report,
) -> Runs:
    """Langevin dynamics at temperature 1: the posterior of the weights.

    Args:
      model: the prior.
      seen: as `observation` returns it.
      z: the input, as `Model.draw_input` returns it.
      key: of the starts and the noise.
      step_size: eps.
      momentum: see `dipgp.inference.langevin`.
      iterations: of each chain.
      burn_in: iterations whose outputs do not count; every later one does.
      chain_count: how many chains.
      report: is told how far they are.
    """

    def log_density(variables: Variables, _: Array) -> tuple[Array, Array]:
        output = model.image(variables, z)
        likelihood = log_likelihood(seen, output)
        return likelihood + model.network.log_prior(variables), output

    method = langevin.sgld(log_density, step_size, momentum=momentum)
    plan = _plan(seen, burn_in)
    runs, draws = _run(model, method, plan, z, key, iterations, chain_count, report)
    if draws.shape[1] >= diagnostics.FEWEST_DRAWS:
        mixing = diagnostics.diagnose(draws)
        # A point at which no ReLU is active never moves, and has none of these.
        runs.facts.update(
            rhat_median=float(np.nanmedian(mixing.rhat)),
            rhat_largest=float(np.nanmax(mixing.rhat)),
            effective_samples_median=float(np.nanmedian(mixing.bulk)),
        )
    return runs


def _plan(seen: Observation, burn_in: int) -> loop.Plan:
    """Counts every output after burn-in; puts back only what is no number any more."""
    return loop.Plan(
        fit=lambda output: guard.fit_in_decibels(seen, output),
        tolerance_db=np.inf,
        burn_in=burn_in,
    )


def _run(
    model: Model,
    method: Method,
    plan: loop.Plan,
    z: Array,
    key: Array,
    iterations: int,
    count: int,
    report: Report,
) -> tuple[Runs, np.ndarray]:
    """Several runs, and thinned draws (count, draws, points)."""
    like = jax.ShapeDtypeStruct((*model.grid, 1), z.dtype)

    def begin(key: Array) -> loop.Progress:
        key_weights, key_run = jax.random.split(key)
        weights = model.network.init(key_weights, z)
        return loop.begin(method, weights, key_run, like)

    progress = jax.jit(jax.vmap(begin))(jax.random.split(key, count))
    longest = max(iterations // _PIECES, 1)
    advances, how = {}, chains.how_for_small_networks()
    draws, taken = [], 0
    while taken < iterations:
        length = min(longest, iterations - taken)
        # One function a length, so that each is compiled once.
        if length not in advances:
            advances[length] = loop.scan_steps(method, plan, length)
        progress, _ = chains.run_chains(advances[length], progress, how=how)
        taken += length
        report(f"{taken} of {iterations} iterations", taken / iterations)
        if taken > plan.burn_in:
            draws.append(np.asarray(progress.output).reshape(count, -1))
    samples = progress.collected.samples
    pooled = network_run.pool(samples)
    curve = Curve(
        np.asarray(pooled.mean).ravel(),
        np.sqrt(np.asarray(moments.variance(pooled))).ravel(),
    )
    facts: Facts = {"roll_backs": int(np.sum(np.asarray(progress.guard.returns)))}
    means = np.asarray(samples.mean).reshape(count, -1)
    return Runs(curve, means, facts), np.stack(draws, axis=1)
