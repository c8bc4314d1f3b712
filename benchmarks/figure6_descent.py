"""Figure 6 by the deep image prior: descent of a network's weights, read as it goes."""

import functools
import time

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.figure6_problem import Problem
from dipgp import architecture, networks
from dipgp.inference import descent, guard, loop
from dipgp.networks.build import Variables
from dipgp.observations import Observation, mean_squared_error, observe
from dipgp.progress import Report
from experiments.cells import Cell

Array = jax.Array

LEARNING_RATE = 0.01
# A run is cut into so many pieces; each ends with a sign of life.
_PIECES = 20


def hourglass(channels: int) -> networks.Network:
    """The network: 2 scales, 4 skip channels, batch norm, leaky ReLU, sigmoid."""
    net = architecture.skip_net(
        2,
        channels_down=channels,
        channels_up=channels,
        channels_skip=4,
        output_channels=1,
    )
    return networks.build(net)


def train(
    problem: Problem, channels: int, iterations: int, key: Array, report: Report
) -> Cell:
    """Adam on the mean squared misfit at the known pixels.

    Args:
      problem: the data.
      channels: of the hourglass, down and up.
      iterations: how many.
      key: of input and weights.
      report: is told how far it is.

    Returns:
      PSNRs in dB with known pixels kept: "last", of the last iteration's output, and
      "peak", the largest of all, which takes the truth to find, at iteration "peak_at";
      "roll_backs" and "seconds", compilation included.
    """
    begun = time.monotonic()
    network = hourglass(channels)
    key_input, key_weights, key_run = jax.random.split(key, 3)
    z = networks.uniform_input(key_input, problem.image.shape)
    seen = observe(problem.image, problem.mask, noise_std=1.0)  # which Adam ignores
    truth = jnp.asarray(problem.image)[:, :, None]
    weights = network.init(key_weights, z)
    progress = loop.begin(_method(network, z, seen), weights, key_run, truth)
    taken, scores = 0, []
    while taken < iterations:
        length = min(max(iterations // _PIECES, 1), iterations - taken)
        progress, piece = _advance(network, length, progress, z, seen, truth)
        scores.append(np.asarray(piece))
        taken += length
        report(f"{taken} of {iterations} iterations", taken / iterations)
    psnr = np.concatenate(scores)
    return {
        "last": float(psnr[-1]),
        "peak": float(np.nanmax(psnr)),
        "peak_at": int(np.nanargmax(psnr)) + 1,
        "roll_backs": int(progress.guard.returns),
        "seconds": time.monotonic() - begun,
    }


def _method(network: networks.Network, z: Array, seen: Observation) -> loop.Method:
    def loss(weights: Variables, _: Array) -> tuple[Array, Array]:
        output = network.apply(weights, z)
        return mean_squared_error(seen, output), output

    return descent.descend(loss, descent.adam(LEARNING_RATE))


@functools.partial(jax.jit, static_argnums=(0, 1), donate_argnums=2)
def _advance(
    network: networks.Network,
    length: int,
    progress: loop.Progress,
    z: Array,
    seen: Observation,
    truth: Array,
) -> tuple[loop.Progress, Array]:
    """The run `length` iterations later, and the PSNR at each of them."""

    def psnr(output: Array) -> Array:
        missing = 1 - seen.mask[:, :, None]
        error = missing * (jnp.clip(output, 0, 1) - truth)
        return -10 * jnp.log10(jnp.mean(jnp.square(error)))

    plan = loop.Plan(
        fit=lambda output: guard.fit_in_decibels(seen, output),
        burn_in=np.iinfo(np.int32).max,  # a descent has no samples
        scores={"psnr": psnr},
    )
    advance = loop.scan_steps(_method(network, z, seen), plan, length)
    progress, trace = advance(progress)
    return progress, trace["psnr"]
