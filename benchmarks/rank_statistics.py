"""Whether the ranks of true values among posterior draws are uniform.

Where a truth is drawn from the prior and data from the likelihood, the truth and exact
posterior draws given these data are exchangeable, so that the rank of any function of
the truth among those of L draws is uniform on 0 ... L (Talts, Betancourt, Simpson,
Vehtari and Gelman, Validating Bayesian inference algorithms with simulation-based
calibration, 2018). Draws that spread too little pile ranks up at both ends, draws that
spread too much in the middle, and a shifted mean at one end.
"""

import numpy as np
import scipy.stats


def ranks(truth: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """How many draws lie below the truth.

    Args:
      truth: (N,) one number a simulation.
      draws: (N, L) of the same function of posterior draws.

    Returns:
      (N,) integers from 0 to L.

    Raises:
      ValueError: on other shapes, or on numbers that are not finite.
    """
    truth, draws = np.asarray(truth), np.asarray(draws)
    if draws.ndim != 2 or truth.shape != draws.shape[:1]:
        raise ValueError(
            "truth, draws: expected shapes (N,) and (N, L), got "
            f"{truth.shape} and {draws.shape}"
        )
    if not (np.isfinite(truth).all() and np.isfinite(draws).all()):
        raise ValueError("truth, draws: expected finite numbers, got others")
    return np.sum(draws < truth[:, None], axis=1)


def histogram(found: np.ndarray, draws: int, bins: int) -> np.ndarray:
    """(bins,) numbers of ranks, bins of equally many of the `draws` + 1 ranks.

    Raises:
      ValueError: where bins would be unequal.
    """
    if bins < 2 or (draws + 1) % bins:
        raise ValueError(
            f"bins: expected at least 2, in equal parts of {draws + 1} ranks, got "
            f"{bins}"
        )
    return np.bincount(np.asarray(found) * bins // (draws + 1), minlength=bins)


def p_value(found: np.ndarray, draws: int, bins: int) -> float:
    """Of the chi-square test that ranks are uniform.

    Args:
      found: (N,) ranks from 0 to `draws`.
      draws: L.
      bins: that divide L + 1; with 5 ranks or more expected in each the law of the
        statistic is near its limit.
    """
    return float(scipy.stats.chisquare(histogram(found, draws, bins)).pvalue)


def band(count: int, bins: int, level: float) -> tuple[float, float]:
    """Between which one bin of uniform ranks lies with a probability of `level`."""
    tail = (1 - level) / 2
    law = scipy.stats.binom(count, 1 / bins)
    return float(law.ppf(tail)), float(law.ppf(1 - tail))
