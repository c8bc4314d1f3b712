"""Restoration by the Gaussian process that the evidence finds most probable."""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.fft

from dipgp import gp, kernels
from dipgp.command import memory
from dipgp.command.options import GREY_LEVELS
from dipgp.command.problems import Problem
from dipgp.gp.posterior import TOLERANCES, choose_form
from dipgp.observations import Observation
from dipgp.progress import Report

# Of the covariances that the noise is estimated by: it hardly depends on them.
DEPTHS, SIGMAS = (1, 4, 16), (0.5, 1.0, 2.0, 4.0)
# Root mean squares of misfits that do not show: beside the noise, and in the picture,
# where white is 1.
PART_OF_NOISE, INVISIBLE = 0.2, 0.02 / GREY_LEVELS
_REMEDY = "try a smaller picture, or a part of it"


class Restoration(NamedTuple):
    """What a method makes of a problem.

    Attributes:
      mean: (H, W, C) of the problem's shape.
      std: likewise, standard deviations, or None.
      converged: whether they are what the method promises.
      advice: what to do where they are not.
    """

    mean: np.ndarray
    std: np.ndarray | None
    converged: bool
    advice: str


def announce(problem: Problem, std: bool) -> float:
    """Bytes of memory that a restoration will take, as far as is known before.

    Args:
      problem: the picture's.
      std: whether standard deviations are asked for.

    Raises:
      ValueError: where that is more than there is.
    """
    height, width, _ = problem.shape
    pixels = memory.MARGIN * height * width
    total = _needed(problem, pixels, std)
    memory.check(total, f"a picture of {width}x{height} pixels", _REMEDY, problem.jobs)
    return total


def estimate_noise(problem: Problem, report: Report) -> float:
    """Standard deviation of the noise in a picture, where white is 1, by its evidence.

    Args:
      problem: the picture's; noise that was told is given back as it is.
      report: is told how far the search is.

    Returns:
      No less than the problem's least.

    Raises:
      ValueError: where the picture is too small to tell.
    """
    observation = problem.observation
    if problem.noise_known:
        return float(jnp.max(observation.noise_std * observation.mask))
    candidates = [
        kernels.plain_network(*pair) for pair in itertools.product(DEPTHS, SIGMAS)
    ]
    found = gp.select(
        candidates, brightness(observation), True, report, through=problem.through
    )
    return max(found.noise_std, problem.least_noise_std)


def brightness(observation: Observation) -> Observation:
    """What is seen along the direction in which colours vary most.

    White noise is as strong along it as in each colour, and cameras' and JPEG's
    smoothing of colours, which hides noise from its estimate there, spares it.
    """
    channels = gp.estimate_channels(observation)
    direction = channels.rotation[:, jnp.argmax(channels.variances)]
    values = jnp.matmul(observation.values, direction, precision="highest")
    return observation._replace(values=values[:, :, None])


def restore(
    problem: Problem, noise_std: float, std: bool, key: jax.Array, report: Report
) -> Restoration:
    """The posterior's mean, and standard deviations where these are asked for.

    Args:
      problem: the picture's.
      noise_std: told or estimated.
      std: whether to estimate standard deviations.
      key: of the random signs that this takes.
      report: is told how far the work is.

    Raises:
      ValueError: where the covariances reach so far that memory would not do.
    """
    observation = problem.observation
    observation = observation._replace(
        noise_std=jnp.full_like(observation.noise_std, noise_std)
    )
    candidates = list(kernels.plain_networks().values())
    selection = gp.select(
        candidates, observation, report=report, through=problem.through
    )
    _check_reach(problem, selection, std)
    report("solving for the posterior mean")
    posterior = gp.condition(
        selection.covariances,
        observation=observation,
        through=problem.through,
        image_shape=None if problem.through is None else problem.shape,
        channels=selection.channels,
        tolerance=tolerance(problem, noise_std),
    )
    mean, info, deviations = np.asarray(posterior.mean), posterior.info, None
    if std:
        variance = posterior.variance(key, report=report)
        deviations = np.sqrt(np.asarray(variance.value))
        info = variance.info if info.converged else info
    return Restoration(mean, deviations, info.converged, _advice(info))


def tolerance(problem: Problem, noise_std: float) -> float | None:
    """Relative residual at which to stop; None for the solver's own.

    The weights' residual is a misfit to what is seen, and no smaller than that of the
    picture where it is seen as it is. For little noise 32 bits reach no other than a
    part of it.

    Args:
      problem: the picture's.
      noise_std: told or estimated.
    """
    values, mask, _ = problem.observation
    if choose_form(mask, problem.through) != "weights":
        return None
    spread = float(np.std(np.asarray(values)[np.asarray(mask) != 0]))
    misfit = min(PART_OF_NOISE * noise_std, INVISIBLE)
    return max(misfit / max(spread, noise_std), TOLERANCES["weights"])


def _advice(info: gp.SolveInfo) -> str:
    """What can be done about a solver in the command's own terms."""
    if info.converged:
        return info.advice
    residual = float(np.max(np.asarray(info.residual)))
    return (
        f"the solver stopped at a relative residual of {residual:.1e}; compare it with "
        "a larger --noise, which is easier to solve for"
    )


def _needed(problem: Problem, pixels: float, std: bool) -> float:
    """Bytes for a torus of so many pixels."""
    through = problem.through is not None
    # Where everything is seen as it is, variances have a closed form.
    probes = through or not bool(np.asarray(problem.observation.mask).all())
    return memory.needed(pixels, problem.shape[2], through, std and probes)


def _check_reach(problem: Problem, selection: gp.Selection, std: bool) -> None:
    """Raises ValueError where the torus of covariances that reach far is too large."""
    height, width, _ = problem.shape
    grid = (height, width)
    reaches = [gp.find_reach(k, grid) for k in selection.covariances]
    pixels = 1.0
    for axis, side in enumerate(grid):
        reach = max(reach[axis] for reach in reaches)
        pixels *= scipy.fft.next_fast_len(max(side + reach, 2 * reach + 1), real=True)
    total = _needed(problem, pixels, std)
    what = f"a picture of {width}x{height} pixels and such wide structure"
    memory.check(total, what, _REMEDY, problem.jobs)
