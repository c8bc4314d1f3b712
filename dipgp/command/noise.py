"""How strong the noise in a picture is.

Second differences along both axes leave next to nothing of a smooth picture, and of
white noise 6 times as much. Their median, unlike their mean, hardly sees edges and
texture, as long as these fill less than half of the picture. What they do see counts as
noise: a picture's own grain, fine texture everywhere.

JPEG of low quality rounds the finest differences to nothing, and most of the noise with
them. In its files differences of every second pixel are taken, too, and believed where
they say much more.

References:
  Immerkaer, "Fast noise variance estimation", Computer Vision and Image Understanding
  1996, for the differences.
  Donoho and Johnstone, "Ideal spatial adaptation by wavelet shrinkage", Biometrika
  1994, for the median.
"""

import itertools
import math

import jax.numpy as jnp
import numpy as np

from dipgp import gp, kernels
from dipgp.command.options import GREY_LEVELS
from dipgp.command.problems import Problem
from dipgp.observations import Observation
from dipgp.progress import Report

# Of the covariances whose evidence is asked where there are few differences.
DEPTHS, SIGMAS = (1, 4, 16), (0.5, 1.0, 2.0, 4.0)
FEWEST_DIFFERENCES = 100
# Of large pictures some rows do.
MOST_PIXELS = 2**22
# Standard deviation of the differences of unit noise, and median of the absolute value
# of a unit normal variable.
_GAIN, _MEDIAN = 6.0, 0.6745
# How many times more coarser differences must say, in files of lossy coders whose
# largest step is so many grey levels: 41 is that of JPEG of quality 83.
MUCH_MORE, LARGE_STEP = 2.0, 40.0


def estimate(problem: Problem, report: Report) -> float:
    """Standard deviation of the noise in a picture, where white is 1.

    By second differences; by the evidence where hardly any can be taken.

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
    bright = brightness(observation)
    differences = (
        by_coarser_differences
        if problem.coder_step >= LARGE_STEP / GREY_LEVELS
        else by_differences
    )
    found = differences(np.asarray(bright.values)[:, :, 0], _unclipped(observation))
    if found is None:
        pairs = itertools.product(DEPTHS, SIGMAS)
        candidates = [kernels.plain_network(*pair) for pair in pairs]
        selection = gp.select(candidates, bright, True, report, through=problem.through)
        found = selection.noise_std
    return max(found, problem.least_noise_std)


def brightness(observation: Observation) -> Observation:
    """What is seen along the direction in which colours vary most.

    White noise is as strong along it as in each colour, and cameras' and JPEG's
    smoothing of colours, which hides noise from its estimate there, spares it.
    """
    channels = gp.estimate_channels(observation)
    direction = channels.rotation[:, jnp.argmax(channels.variances)]
    values = jnp.matmul(observation.values, direction, precision="highest")
    return observation._replace(values=values[:, :, None])


def by_coarser_differences(values: np.ndarray, usable: np.ndarray) -> float | None:
    """The same, of every second pixel where these say much more.

    Args:
      values: (H, W).
      usable: (H, W), true where there is the noise's own value.
    """
    finest = by_differences(values, usable)
    coarser = by_differences(values, usable, lag=2)
    if finest is None or coarser is None:
        return finest
    return coarser if coarser > MUCH_MORE * finest else finest


def by_differences(
    values: np.ndarray, usable: np.ndarray, lag: int = 1
) -> float | None:
    """Standard deviation of the noise in a channel; None where too little is usable.

    Args:
      values: (H, W).
      usable: (H, W), true where there is the noise's own value.
      lag: from one pixel of a difference to the next.
    """
    height, width = values.shape
    if min(height, width) <= 2 * lag:
        return None
    step = math.ceil(height * width / MOST_PIXELS)
    firsts = (0, lag, 2 * lag)
    rows = [slice(first, height - 2 * lag + first, step) for first in firsts]
    upper, middle, lower = (values[row] for row in rows)
    down = upper - 2 * middle + lower
    left, right = slice(None, -2 * lag), slice(2 * lag, None)
    differences = down[:, left] - 2 * down[:, lag:-lag] + down[:, right]
    three = usable[rows[0]] & usable[rows[1]] & usable[rows[2]]
    whole = three[:, left] & three[:, lag:-lag] & three[:, right]
    if np.count_nonzero(whole) < FEWEST_DIFFERENCES:
        return None
    return float(np.median(np.abs(differences[whole]))) / (_MEDIAN * _GAIN)


def _unclipped(observation: Observation) -> np.ndarray:
    """(H, W), true where a pixel is seen and no colour is black or white."""
    values = np.asarray(observation.values)
    inside = ((values > 0) & (values < 1)).all(axis=2)
    return inside & (np.asarray(observation.mask) != 0)
