"""The network of finite width on the signal: descended, and sampled.

All runs of a case share one random input and start from weights drawn from the prior.
"""

import jax
import jax.numpy as jnp
import numpy as np

from dipgp.inference import chains, descent, guard, langevin, loop
from dipgp.inference.method import Method
from dipgp.networks.build import Variables
from dipgp.observations import Observation, log_likelihood, observe
from dipgp.summaries import diagnostics, moments
from experiments import network_run
from experiments.restoration import Report
from experiments.toy_1d_model import Curve, Model

Array = jax.Array
Facts = dict[str, float | int | None]

# A run is cut into so many pieces; each ends with a draw and a sign of life.
_PIECES = 200


def observation(values: np.ndarray, mask: np.ndarray, noise_std: float) -> Observation:
    """A signal behind a mask, both (points,), as an image of one row."""
    dtype = jnp.zeros(()).dtype  # 64 bits where JAX is told so
    return observe(values[None].astype(dtype), mask[None], noise_std=noise_std)


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
) -> tuple[Curve, Facts]:
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
        output = model.output(variables, z)[None, :, None]
        error = seen.mask[:, :, None] * (seen.values - output)
        return jnp.sum(jnp.square(error)), output

    method = descent.descend(loss, descent.adam(learning_rate))
    # Each restart counts once, by its last output.
    plan = _plan(seen, burn_in=iterations - 1)
    curve, _, facts = _run(model, method, plan, z, key, iterations, restarts, report)
    return curve, facts


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
) -> tuple[Curve, Facts]:
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
        output = model.output(variables, z)[None, :, None]
        likelihood = log_likelihood(seen, output)
        return likelihood + model.network.log_prior(variables), output

    method = langevin.sgld(log_density, step_size, momentum=momentum)
    plan = _plan(seen, burn_in)
    curve, draws, facts = _run(
        model, method, plan, z, key, iterations, chain_count, report
    )
    if draws.shape[1] >= diagnostics.FEWEST_DRAWS:
        mixing = diagnostics.diagnose(draws)
        # A point at which no ReLU is active never moves, and has none of these.
        facts |= {
            "rhat_median": float(np.nanmedian(mixing.rhat)),
            "rhat_largest": float(np.nanmax(mixing.rhat)),
            "effective_samples_median": float(np.nanmedian(mixing.bulk)),
        }
    return curve, facts


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
) -> tuple[Curve, np.ndarray, Facts]:
    """Several runs: the curve, thinned draws (count, draws, points), and facts."""
    like = jax.ShapeDtypeStruct((1, model.points, 1), z.dtype)

    def begin(key: Array) -> loop.Progress:
        key_weights, key_run = jax.random.split(key)
        weights = model.network.init(key_weights, z)
        return loop.begin(method, weights, key_run, like)

    progress = jax.jit(jax.vmap(begin))(jax.random.split(key, count))
    longest = max(iterations // _PIECES, 1)
    advances = {}
    draws, taken = [], 0
    while taken < iterations:
        length = min(longest, iterations - taken)
        # One function a length, so that each is compiled once.
        if length not in advances:
            advances[length] = loop.scan_steps(method, plan, length)
        progress, _ = chains.run_chains(advances[length], progress)
        taken += length
        report(f"{taken} of {iterations} iterations", taken / iterations)
        if taken > plan.burn_in:
            draws.append(np.asarray(progress.output)[:, 0, :, 0])
    pooled = network_run.pool(progress.collected.samples)
    curve = Curve(
        np.asarray(pooled.mean)[0, :, 0],
        np.sqrt(np.asarray(moments.variance(pooled)))[0, :, 0],
    )
    facts: Facts = {"roll_backs": int(np.sum(np.asarray(progress.guard.returns)))}
    return curve, np.stack(draws, axis=1), facts
