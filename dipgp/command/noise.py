"""How strong the noise in a picture is, by its evidence."""

import itertools

import jax.numpy as jnp

from dipgp import gp, kernels
from dipgp.command.problems import Problem
from dipgp.observations import Observation
from dipgp.progress import Report

# Of the covariances that the noise is estimated by: it hardly depends on them.
DEPTHS, SIGMAS = (1, 4, 16), (0.5, 1.0, 2.0, 4.0)


def estimate(problem: Problem, report: Report) -> float:
    """Standard deviation of the noise in a picture, where white is 1.

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
