"""An hourglass as kernel, as prior, as Gaussian process and as descended network.

All four are read off one description (`network_recipe.hourglass`); only descent puts a
sigmoid behind it.
"""

import dataclasses
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from dipgp import architecture, gp, kernels, networks
from dipgp.images import add_noise
from dipgp.observations import Observation, observe
from dipgp.progress import Report
from dipgp.summaries import psnr
from experiments import common, network_method, small_examples
from experiments.architectures_fall import fall
from experiments.architectures_options import ArchitecturesConfig, Case
from experiments.cells import Cell
from experiments.images_as_text import to_text
from experiments.network_recipe import hourglass
from experiments.network_settings import NetworkSettings
from experiments.priors import scaled
from experiments.restoration import Request

# What keys are for; each is folded from the seed's by its number.
_PROCESS, _INPUT, _WEIGHTS = range(3)
# A smooth process in noise is solved slowly; a step takes milliseconds.
_SOLVER_STEPS = 5000


class Problem(NamedTuple):
    """A picture and what is seen of it.

    Attributes:
      truth: (side, side, 1) intensities.
      noisy: the same in noise, clipped.
      noise_std: of the noise.
    """

    truth: np.ndarray
    noisy: np.ndarray
    noise_std: float

    def observation(self, dtype: np.typing.DTypeLike) -> Observation:
        """What methods may see."""
        return observe(self.noisy.astype(dtype), None, noise_std=self.noise_std)


def make_problem(config: ArchitecturesConfig) -> Problem:
    """The picture, and what is seen of it.

    Raises:
      UserError: on a picture that cannot be read or is smaller than the square.
    """
    path = None if config.image is None else Path(config.image)
    image = common.open_image(path)
    size = min(image.shape[:2])
    expected = f"at most the {size} pixels of the picture's shorter side"
    common.require(config.side <= size, "side", config.side, expected)
    truth = small_examples.grey_square(image, config.side)
    noisy = add_noise(jax.random.key(config.seed), truth, config.noise_std)
    return Problem(truth, noisy, config.noise_std)


def covariance(settings: NetworkSettings) -> kernels.Covariance:
    """Of the hourglass, on white noise as its input is."""
    net = hourglass(settings, 1, architecture.Linear())
    return kernels.covariance(net, kernels.white())


def plain_covariance(halvings: int) -> kernels.Covariance:
    """Of the paper's autoencoder: convolutions, ReLU, stride 2, bilinear doubling."""
    return kernels.covariance(architecture.autoencoder(halvings), kernels.white())


def closed_form(
    config: ArchitecturesConfig, problem: Problem, case: Case, report: Report
) -> Cell:
    """The process: how its covariance falls, a draw beside a network's, a restoration.

    Args:
      config: what the run is told.
      problem: what to restore.
      case: the hourglass.
      report: is told how far it is.
    """
    settings, grid = config.settings(case), problem.truth.shape[:2]
    process, key = covariance(settings), jax.random.key(config.seed)
    report("covariance")
    found = fall(process, max(config.halvings))
    report("a draw of the network")
    network_draw = _draw_network(config, case, grid)
    # In 64 bits, since float32 does not solve the smoothest ones.
    with jax.enable_x64(True):
        report("a draw of the process")
        key_draw = jax.random.fold_in(key, _PROCESS)
        drawn = np.asarray(gp.draw_prior(key_draw, process, grid, dtype=np.float64))[0]
        report("posterior of the process")
        begun = time.monotonic()
        observation = problem.observation(np.float64)
        chosen = gp.select([process], observation)
        posterior = gp.condition(
            chosen.covariances,
            observation=observation,
            channels=chosen.channels,
            max_iterations=_SOLVER_STEPS,
        )
        mean = np.clip(np.asarray(posterior.mean), 0, 1)
    return {
        "lags": found.lags,
        "cosine": found.cosine,
        "shape": found.shape,
        "far": found.far,
        "half_lag": found.half,
        "range": found.range,
        "process_draw": to_text(scaled(drawn)),
        "network_draw": to_text(scaled(network_draw)),
        "amplitude": chosen.amplitudes[0],
        "evidence": float(chosen.evidence[0, 0]),
        "psnr": psnr(mean, problem.truth),
        "restored": to_text(mean[:, :, 0]),
        "converged": posterior.info.converged,
        "solver": posterior.info.advice,
        "iterations": int(posterior.info.iterations[0]),
        "seconds": time.monotonic() - begun,
    }


def _draw_network(
    config: ArchitecturesConfig, case: Case, grid: tuple[int, int]
) -> np.ndarray:
    """One random network of the process's shares of channels, (H, W)."""
    settings, times = config.settings(case), config.prior_widening
    wide = dataclasses.replace(
        settings,
        channels=tuple(times * channels for channels in settings.channels),
        skip_channels=times * settings.skip_channels,
    )
    network = networks.build(
        hourglass(wide, 1, architecture.Linear()), initialisation="gaussian_process"
    )
    key = jax.random.key(config.seed)
    key_input, key_weights = (
        jax.random.fold_in(key, use) for use in (_INPUT, _WEIGHTS)
    )
    z = networks.uniform_input(key_input, grid, config.input_channels)
    return np.asarray(network.apply(network.init(key_weights, z), z))[:, :, 0]


def descend(
    config: ArchitecturesConfig,
    problem: Problem,
    case: Case,
    folder: Path,
    report: Report,
) -> Cell:
    """The network's weights fitted to what is seen, by Adam.

    Args:
      config: what the run is told.
      problem: what to restore.
      case: the hourglass.
      folder: for checkpoints.
      report: is told how far it is.
    """
    request = Request(
        observation=problem.observation(np.float32),
        shape=(config.side, config.side, 1),
        noise_known=True,
        truth=problem.truth,
        seed=config.seed,
        folder=folder / str(case),
        report=report,
    )
    ((_, found),) = network_method.restore(
        ["sgd"], config.settings(case), config.running, request
    )
    by_iteration = found.trace["psnr"]
    stopping: Any = found.facts["stopping"]
    stopped = stopping["discrepancy"]["stopped_at"]
    return {
        "psnr": psnr(np.clip(found.mean, 0, 1), problem.truth),
        "peak": found.facts.get("trace_psnr_peak"),
        "peak_iteration": found.facts.get("trace_psnr_peak_iteration"),
        "stopped_at": stopped,
        "stopped_psnr": None if stopped is None else by_iteration[stopped - 1],
        "trace": by_iteration,
        "restored": to_text(found.mean[:, :, 0]),
        "converged": found.converged,
        "message": found.message,
        "seconds": found.seconds,
    }
