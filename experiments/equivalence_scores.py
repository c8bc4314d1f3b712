"""How far a network's posterior is from its Gaussian process's, without noise bias.

A mean over draws differs from its target also by chance, and the square of a difference
never averages out. Chains are independent, so that products of two chains' differences
have the square of the true difference as their mean.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Estimate(NamedTuple):
    """A number and its standard error.

    Attributes:
      value: the number.
      error: its standard error; NaN where there is but one replicate.
    """

    value: float
    error: float


def squared_distance(chains: np.ndarray, target: np.ndarray) -> float:
    """Mean over points of (true mean - target)^2; may be negative by chance.

    Args:
      chains: (chains, points), at least two independent estimates of a mean.
      target: (points,).
    """
    difference = np.asarray(chains, np.float64) - target
    count = len(difference)
    both = np.square(difference.sum(axis=0)) - np.square(difference).sum(axis=0)
    return float(np.mean(both) / (count * (count - 1)))


def noise_variance(chains: np.ndarray) -> float:
    """Mean over points of the variance by chance of the chains' mean."""
    spread = np.asarray(chains, np.float64).var(axis=0, ddof=1)
    return float(np.mean(spread) / len(chains))


def relative_rmse(squares: Sequence[float], sizes: Sequence[float]) -> Estimate:
    """Root of the mean squared distance over that of what it is a distance from.

    Args:
      squares: one squared distance a replicate.
      sizes: the mean square of each replicate's target.

    Returns:
      sqrt(mean squares / mean sizes) and its standard error by the delta method; 0
      where the mean is not positive, with the error that would follow from a mean of
      one standard error.
    """
    ratios = np.asarray(squares) / np.mean(sizes)
    mean = float(np.mean(ratios))
    if len(ratios) < 2:
        return Estimate(math.sqrt(max(mean, 0.0)), math.nan)
    error = float(np.std(ratios, ddof=1) / math.sqrt(len(ratios)))
    if mean <= 0:
        return Estimate(0.0, math.sqrt(error))
    return Estimate(math.sqrt(mean), error / (2 * math.sqrt(mean)))


def power_law(sizes: Sequence[float], estimates: Sequence[Estimate]) -> Estimate | None:
    """The exponent p of value ~ size^p, by weighted least squares of the logarithms.

    Args:
      sizes: such as widths.
      estimates: one a size; those at 0 or without an error are left out.

    Returns:
      The exponent, or None where fewer than two estimates are left. Its error is that
      of the estimates, or of their scatter around the line where that is larger.
    """
    kept = [
        (math.log(size), math.log(e.value), e.error / e.value)
        for size, e in zip(sizes, estimates, strict=True)
        if e.value > 0 and e.error > 0
    ]
    if len(kept) < 2:
        return None
    x, y, error = (np.array(column) for column in zip(*kept, strict=True))
    weights = 1 / error**2
    centre = np.sum(weights * x) / np.sum(weights)
    curvature = np.sum(weights * (x - centre) ** 2)
    slope = float(np.sum(weights * (x - centre) * y) / curvature)
    level = np.sum(weights * (y - slope * (x - centre))) / np.sum(weights)
    residual = y - level - slope * (x - centre)
    spread = 1.0
    if len(kept) > 2:
        spread = max(1.0, float(np.sum(weights * residual**2) / (len(kept) - 2)))
    return Estimate(slope, math.sqrt(spread / curvature))
