"""The cells of the comparison: one posterior of a network beside its process's.

What a cell is computed from, and what it gives, so that cells can be kept and taken up.
"""

import dataclasses
import functools
import time

import jax
import jax.numpy as jnp
import numpy as np

from dipgp import kernels
from dipgp.progress import Report
from dipgp.summaries import diagnostics
from experiments import (
    equivalence_scores,
    hidden_weights,
    plain_process,
    plain_runs,
    small_examples,
)
from experiments.cells import Cell
from experiments.equivalence_options import WIDE, EquivalenceConfig
from experiments.plain_model import Model
from experiments.plain_process import Curve

Array = jax.Array

# What keys are for; each is folded from the seed's by its number.
_NOISE, _POINTS, _INPUT, _CHAINS, _LANGEVIN = range(5)


@dataclasses.dataclass(frozen=True)
class Problem:
    """What is to be restored, by networks and by their process.

    Attributes:
      model: the prior; its width is any.
      truth: (points,) of mean zero.
      values: (points,) the truth in noise.
      mask: (points,) true where observed.
      noise_std: of the noise.
      seed: of all draws.
    """

    model: Model
    truth: np.ndarray
    values: np.ndarray
    mask: np.ndarray
    noise_std: float
    seed: int

    def key(self, use: int, *numbers: int) -> Array:
        """A key for a use and whatever it is of."""
        key = jax.random.fold_in(jax.random.key(self.seed), use)
        return functools.reduce(jax.random.fold_in, numbers, key)

    def input(self, number: int) -> Array:
        """One of the random inputs."""
        return self.model.draw_input(self.key(_INPUT, number))

    def condition(self, covariance: np.ndarray) -> Curve:
        """The posterior of a process."""
        return plain_process.condition(
            covariance, self.values, self.mask, self.noise_std
        )

    def process(self, z: Array) -> Curve:
        """The posterior of the process that a network of endless width is, given z."""
        return self.condition(process_covariance(self.model, z))

    @functools.cached_property
    def stationary(self) -> Curve:
        """The posterior of the process of endlessly many input channels."""
        return self.condition(self.model.covariance())


def process_covariance(model: Model, z: Array) -> np.ndarray:
    """Of outputs of networks of endless width, given z: (points, points), 64 bits."""
    with jax.enable_x64(True):
        wide = kernels.dense(model.description, np.asarray(z, np.float64))
        return np.asarray(model.crop_pairs(wide))


def make_problem(config: EquivalenceConfig, task: str) -> Problem:
    """The data of a task, and a prior of the amplitude that they make most likely."""
    model = Model(
        shape=config.grid,
        sigma=config.smoothing,
        depth=config.relu_layers,
        input_channels=config.input_channels,
    )
    truth = small_examples.example(config.grid).ravel()
    key = jax.random.key(config.seed)
    noise = jax.random.normal(jax.random.fold_in(key, _NOISE), truth.shape)
    values = truth + config.noise_level * np.asarray(noise, np.float64)
    share = config.seen if task == "inpaint" else 1.0
    mask = small_examples.choose_points(
        jax.random.fold_in(key, _POINTS), truth.size, share
    )
    amplitude = plain_process.choose_amplitude(
        model.covariance(), values, mask, config.noise_level
    )
    model = dataclasses.replace(model, amplitude=amplitude)
    return Problem(model, truth, values, mask, config.noise_level, config.seed)


def posterior(
    config: EquivalenceConfig,
    problem: Problem,
    width: int,
    number: int,
    report: Report,
) -> Cell:
    """A network's posterior, beside those of its own and of the stationary process.

    Args:
      config: what the run is told.
      problem: the data.
      width: of the network.
      number: of its input.
      report: is told how far it is.
    """
    model = dataclasses.replace(problem.model, width=width)
    z = problem.input(number)
    observed = np.flatnonzero(problem.mask)
    data = hidden_weights.Data(
        z,
        jnp.asarray(problem.values[observed], z.dtype),
        jnp.asarray(observed),
        jnp.asarray(problem.noise_std, z.dtype),
    )
    sampler: hidden_weights.Sampler = "slice" if width >= WIDE else "nuts"
    if config.sampler != "auto":
        sampler = "slice" if config.sampler == "slice" else "nuts"
    begun = time.monotonic()
    draws = hidden_weights.sample(
        model,
        data,
        problem.key(_CHAINS, width, number),
        sampler=sampler,
        chains=config.posterior_chains,
        burn_in=config.draws_before,
        draws=config.posterior_draws,
        report=report,
    )
    seconds = time.monotonic() - begun
    begun = time.monotonic()
    exact = problem.process(z)
    process_seconds = time.monotonic() - begun
    means = draws.means.mean(axis=1, dtype=np.float64)
    spread = draws.means.var(axis=1, dtype=np.float64)
    variances = draws.variances.mean(axis=1, dtype=np.float64) + spread
    mixing = diagnostics.diagnose(draws.means)
    score = equivalence_scores.squared_distance
    exact_variance, average = np.square(exact.std), problem.stationary
    return {
        "sampler": sampler,
        "mean_squared": score(means, exact.mean),
        "mean_size": float(np.mean(np.square(exact.mean))),
        "mean_noise": equivalence_scores.noise_variance(means),
        "variance_squared": score(variances, exact_variance),
        "variance_size": float(np.mean(np.square(exact_variance))),
        "stationary_squared": score(means, average.mean),
        "stationary_size": float(np.mean(np.square(average.mean))),
        "effective_samples": float(np.nanmedian(mixing.bulk)),
        "rhat": float(np.nanmax(mixing.rhat)),
        "work": draws.work,
        "seconds": seconds,
        "process_seconds": process_seconds,
        "mean": means.mean(axis=0),
        "std": np.sqrt(variances.mean(axis=0)),
        "mean_error": np.sqrt(means.var(axis=0, ddof=1) / len(means)),
    }


def langevin(
    config: EquivalenceConfig, problem: Problem, width: int, report: Report
) -> Cell:
    """All weights of the first input's network, sampled by Langevin dynamics."""
    model = dataclasses.replace(problem.model, width=width)
    # A quarter, since narrow networks are stiffer than the limit, one by one.
    step_size = 0.25 * plain_process.choose_step_size(
        model.covariance(), problem.mask, model.depth, problem.noise_std
    )
    begun = time.monotonic()
    run = plain_runs.sample(
        model,
        plain_runs.observation(model, problem.values, problem.mask, problem.noise_std),
        problem.input(0),
        problem.key(_LANGEVIN, width),
        step_size=step_size,
        momentum=0.9,
        iterations=config.langevin_iterations,
        burn_in=config.langevin_iterations // 4,
        chain_count=config.posterior_chains,
        report=report,
    )
    return {
        "mean": run.curve.mean,
        "std": run.curve.std,
        "mean_error": np.sqrt(run.means.var(axis=0, ddof=1) / len(run.means)),
        "step_size": step_size,
        "seconds": time.monotonic() - begun,
        **run.facts,
    }


def input_channels(problem: Problem, channels: int, number: int) -> Cell:
    """An input of so many channels: its process beside the stationary one.

    Of networks of endless width, so that nothing is sampled but the input.
    """
    few = dataclasses.replace(
        problem, model=dataclasses.replace(problem.model, input_channels=channels)
    )
    exact, average = few.process(few.input(number)), problem.stationary
    return {
        "mean_squared": float(np.mean(np.square(exact.mean - average.mean))),
        "mean_size": float(np.mean(np.square(average.mean))),
    }
