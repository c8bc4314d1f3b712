"""Whether chains have mixed, pixel by pixel, and how many samples they are worth.

Split, rank-normalised R-hat and bulk and tail effective sample sizes, from samples that
were kept.

References:
  Vehtari et al., "Rank-normalization, folding, and localization: an improved R-hat for
  assessing convergence of MCMC", Bayesian Analysis, 2021.
"""

from typing import NamedTuple

import numpy as np
import scipy  # loads scipy.stats, which is slow, where it is first read
import scipy.special

from dipgp import numerics

FEWEST_DRAWS = 4

# Pixels whose ranks are computed at once; bounds the memory for temporary arrays.
_BLOCK = 4096


class Mixing(NamedTuple):
    """How well each pixel of an image was sampled.

    All are NaN where a pixel has a sample that is not finite, or only equal ones.

    Attributes:
      rhat: (H, W[, C]) about 1 where chains agree; above 1.01 they have not mixed.
      bulk: (H, W[, C]) independent samples that would give as exact a centre.
      tail: (H, W[, C]) the same for the 5 % and 95 % quantiles, the worse of the two.
    """

    rhat: np.ndarray
    bulk: np.ndarray
    tail: np.ndarray


def diagnose(samples: np.ndarray) -> Mixing:
    """R-hat and effective sample sizes of every pixel.

    Split, rank-normalised R-hat, the larger of that of the values and that of their
    distances from the median, and bulk and tail effective sample sizes.

    One chain is enough: each is split into halves, which are compared. Samples are
    taken as equally weighted. The effective sample sizes take one or two milliseconds a
    pixel; every eighth pixel of each axis tells as much about a large image.

    Args:
      samples: (chains, draws, H, W[, C]) or any other shape after the first two axes.

    Returns:
      The diagnostics, in the shape of one sample, float64.

    Raises:
      ValueError: on fewer than two axes, on no chain, or on fewer than 4 draws.
      ImportError: where arviz-stats, which does the sums, is not installed.

    References:
      Vehtari et al., "Rank-normalization, folding, and localization: an improved R-hat
      for assessing convergence of MCMC", Bayesian Analysis, 2021.
    """
    try:
        from arviz_stats.base import array_stats
    except ImportError as error:
        raise ImportError(
            "effective sample sizes need arviz-stats; "
            'try pip install "dipgp[diagnostics]"'
        ) from error
    samples = _checked(samples)
    shape = samples.shape[2:]
    pixels = samples.reshape(*samples.shape[:2], -1)
    mixing = Mixing(*(np.full(pixels.shape[2], np.nan) for _ in Mixing._fields))
    for start in range(0, pixels.shape[2], _BLOCK):
        block = slice(start, start + _BLOCK)
        drawn = pixels[:, :, block].astype(np.float64)
        sound = np.isfinite(drawn).all((0, 1))
        sound &= (drawn != drawn[:1, :1]).any((0, 1))
        if not sound.any():
            continue
        drawn = drawn[:, :, sound]
        mixing.rhat[block][sound] = _rank_rhat(drawn)
        mixing.bulk[block][sound] = array_stats.ess(drawn, 0, 1, method="bulk")
        mixing.tail[block][sound] = array_stats.ess(
            drawn, 0, 1, method="tail", prob=(0.05, 0.95)
        )
    return Mixing(*(field.reshape(shape) for field in mixing))


def _checked(samples: np.ndarray) -> np.ndarray:
    numerics.check_real("samples", samples)
    samples = np.asarray(samples, np.float64)
    if samples.ndim < 2 or samples.shape[0] < 1:
        raise ValueError(
            "samples: expected shape (chains, draws, ...) with at least one chain, got "
            f"{samples.shape}"
        )
    if samples.shape[1] < FEWEST_DRAWS:
        raise ValueError(
            f"samples: expected at least {FEWEST_DRAWS} draws of each chain, got "
            f"{samples.shape[1]}"
        )
    return samples


def _rank_rhat(samples: np.ndarray) -> np.ndarray:
    """The larger R-hat of ranks and of ranks of distances from the median.

    Args:
      samples: (chains, draws, pixels).

    Returns:
      (pixels,).
    """
    half = samples.shape[1] // 2
    halves = np.concatenate([samples[:, :half], samples[:, -half:]])
    distances = np.abs(halves - np.median(halves, axis=(0, 1)))
    return np.fmax(_rhat(_rank_normal(halves)), _rhat(_rank_normal(distances)))


def _rank_normal(samples: np.ndarray) -> np.ndarray:
    """Standard normal quantiles of the ranks among all draws of all chains."""
    flat = samples.reshape(-1, samples.shape[2])
    ranks = scipy.stats.rankdata(flat, axis=0)
    # Blom's offset, 3/8.
    quantiles = (ranks - 0.375) / (len(flat) + 0.25)
    return scipy.special.ndtri(quantiles).reshape(samples.shape)


def _rhat(samples: np.ndarray) -> np.ndarray:
    """sqrt of the pooled variance's estimate over the variance within chains."""
    draws = samples.shape[1]
    within = samples.var(axis=1, ddof=1).mean(axis=0)
    between = samples.mean(axis=1).var(axis=0, ddof=1)
    # Chains that each stand still give infinity where they differ, NaN elsewhere.
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.sqrt(between / within + (draws - 1) / draws)
