"""Whether a posterior errs as often, and where, as it says.

Judged by values that it has not seen: residuals, and the standard deviations predicted
for them. Where such a value has noise, so has the prediction: its variance is the
posterior's and the noise's together.

Errors. Residuals of neighbouring pixels and of the channels of one pixel depend on each
other, so that binomial errors, which count them as independent, are too small, often by
several times. Beside them stands the spread over blocks of the image: with s_b the sum
over block b of a quantity less its mean, B blocks and n residuals,

    sqrt(B / (B - 1) sum_b s_b^2) / n

(the error of a ratio of sums over clusters; Cochran, Sampling Techniques, 1977, section
6.3). It takes blocks for independent, which they are where dependence reaches much less
far than a block does; and what differs from one image to another is in neither.
"""

from typing import NamedTuple

import numpy as np
import scipy  # loads scipy.stats, which is slow, where it is first read

from dipgp import numerics
from dipgp.summaries.recalibration import Law, Normal

_RIGHT = Normal()


class Residuals(NamedTuple):
    """What predictions of some values left over.

    Attributes:
      error: (n,) value less mean.
      std: (n,) standard deviation predicted for it, positive.
      block: (n,) number of the block of the image that it lies in.
    """

    error: np.ndarray
    std: np.ndarray
    block: np.ndarray

    @property
    def standardised(self) -> np.ndarray:
        """(n,) errors in predicted standard deviations."""
        return self.error / self.std


class Estimate(NamedTuple):
    """A mean over residuals, or several.

    Attributes:
      value: () or (L,).
      standard_error: the same shape, as if residuals were independent: a lower bound.
      block_error: the same shape, by the spread over blocks; NaN for a single block.
    """

    value: np.ndarray
    standard_error: np.ndarray
    block_error: np.ndarray


class Bins(NamedTuple):
    """Residuals in order of their predicted standard deviation, in equal numbers.

    Attributes:
      std: (bins,) root mean square of what was predicted.
      error: (bins,) root mean square of what came.
      standard_error: (bins,) of the latter, as if residuals were independent.
    """

    std: np.ndarray
    error: np.ndarray
    standard_error: np.ndarray


def residuals(
    values: np.ndarray,
    mean: np.ndarray,
    std: np.ndarray,
    mask: np.ndarray,
    block_size: int,
) -> Residuals:
    """Collects the residuals of the pixels that count.

    Args:
      values: (H, W) or (H, W, C); channels count as values of their own.
      mean: the same shape.
      std: the same shape; what is predicted for the values, noise included.
      mask: (H, W), true or non-zero on pixels that the posterior has not seen.
      block_size: of the square blocks, in pixels.

    Raises:
      ValueError: where shapes differ, where no pixel counts, where numbers are not
        finite or a standard deviation not positive, or on a block size below 1.
    """
    named = {"values": values, "mean": mean, "std": std, "mask": mask}
    for name, array in named.items():
        numerics.check_real(name, array)
    numerics.check_whole_number("block_size", block_size, least=1)
    arrays = [np.asarray(array, np.float64) for array in (values, mean, std)]
    mask = np.asarray(mask) != 0
    shapes = [array.shape for array in arrays]
    grid = shapes[0][:2]
    if len(set(shapes)) > 1 or len(shapes[0]) not in (2, 3) or mask.shape != grid:
        raise ValueError(
            "expected values, mean and std of one shape, (H, W) or (H, W, C), and a "
            f"mask (H, W), got {', '.join(map(str, (*shapes, mask.shape)))}"
        )
    if not mask.any():
        raise ValueError("mask: expected at least one pixel that counts, got none")
    rows, columns = np.nonzero(mask)
    across = -(-grid[1] // block_size)
    block = rows // block_size * across + columns // block_size
    counted = [array[mask].reshape(len(rows), -1) for array in arrays]
    block = np.repeat(block, counted[0].shape[1])
    value, centre, spread = (array.ravel() for array in counted)
    if not np.isfinite(counted).all() or not (spread > 0).all():
        raise ValueError(
            "values, mean, std: expected finite numbers, positive ones in std, got "
            f"{np.sum(~np.isfinite(counted))} that are not finite and "
            f"{np.sum(spread <= 0)} standard deviations of at most 0"
        )
    return Residuals(value - centre, spread, block)


def coverage(
    found: Residuals, levels: np.ndarray | tuple[float, ...], law: Law = _RIGHT
) -> Estimate:
    """Which share of the values lies within the central intervals of given levels.

    Args:
      found: of values that the posterior has not seen.
      levels: (L,) nominal shares, inside (0, 1).
      law: of standardised residuals; the standard normal one by default.

    Returns:
      (L,) shares. The standard error is binomial, sqrt(q (1 - q) / n), with k hits
      q = (k + 1) / (n + 2), lest it vanish where all or none are covered.

    Raises:
      ValueError: on a level outside (0, 1).
    """
    numerics.check_instance("found", found, Residuals)
    numerics.check_real("levels", levels)
    levels = np.asarray(levels, np.float64)
    if levels.ndim != 1 or not levels.size or not ((levels > 0) & (levels < 1)).all():
        raise ValueError(f"levels: expected numbers inside (0, 1), got {levels}")
    sizes = np.abs(found.standardised)
    hits = (sizes <= law.half_widths(levels)[:, None]).astype(np.float64)
    share = (hits.sum(axis=1) + 1) / (sizes.size + 2)
    error = np.sqrt(share * (1 - share) / sizes.size)
    return Estimate(hits.mean(axis=1), error, _block_error(hits, found.block))


def negative_log_density(found: Residuals, law: Law = _RIGHT) -> Estimate | None:
    """The mean of -log p(value), in nats a value: the smaller the better.

    -log p = log std - log p_z(error / std), with p_z the law's density.

    Args:
      found: of values that the posterior has not seen.
      law: of standardised residuals; the standard normal one by default.

    Returns:
      () or None for a law that has no density.
    """
    numerics.check_instance("found", found, Residuals)
    density = law.log_density(found.standardised)
    if density is None:
        return None
    cost = np.log(found.std) - density
    error = cost.std() / np.sqrt(cost.size)
    return Estimate(cost.mean(), error, _block_error(cost[None], found.block)[0])


def error_by_std(found: Residuals, bins: int = 10) -> Bins:
    """The root mean square error of values alike in predicted standard deviation.

    Args:
      found: of values that the posterior has not seen.
      bins: how many, of equally many values.

    Raises:
      ValueError: on fewer bins than 1, or fewer than two values a bin.
    """
    numerics.check_instance("found", found, Residuals)
    numerics.check_whole_number("bins", bins, least=0)
    if not 1 <= bins <= found.error.size // 2:
        raise ValueError(
            f"bins: expected from 1 to half of the {found.error.size} values, got "
            f"{bins}"
        )
    parts = np.array_split(np.argsort(found.std, kind="stable"), bins)
    predicted = [np.sqrt(np.mean(found.std[part] ** 2)) for part in parts]
    squares = [found.error[part] ** 2 for part in parts]
    error = np.sqrt([square.mean() for square in squares])
    # By the derivative of the root; zero errors have none.
    spread = np.array([square.std(ddof=1) / square.size**0.5 for square in squares])
    standard_error = spread / np.maximum(2 * error, np.finfo(np.float64).tiny)
    return Bins(np.array(predicted), error, standard_error)


def rank_correlation(error: np.ndarray, std: np.ndarray) -> float:
    """Spearman's correlation of sizes of errors and predicted standard deviations.

    Args:
      error: any shape.
      std: the same shape.

    Returns:
      From -1 to 1; NaN where all standard deviations are the same.
    """
    numerics.check_finite("error", error)
    numerics.check_finite("std", std)
    if np.shape(error) != np.shape(std):
        raise ValueError(
            f"error, std: expected one shape, got {np.shape(error)} and {np.shape(std)}"
        )
    if np.ptp(std) == 0:
        return float("nan")  # scipy would warn
    found = scipy.stats.spearmanr(np.ravel(std), np.abs(np.ravel(error)))
    return float(found.statistic)


def _block_error(quantity: np.ndarray, block: np.ndarray) -> np.ndarray:
    """(L,) errors of the means of (L, n), by the spread of sums over blocks."""
    names, number = np.unique(block, return_inverse=True)
    if len(names) < 2:
        return np.full(len(quantity), np.nan)
    rest = quantity - quantity.mean(axis=1, keepdims=True)
    sums = np.stack([np.bincount(number, row, len(names)) for row in rest])
    inflated = len(names) / (len(names) - 1) * np.sum(sums**2, axis=1)
    return np.sqrt(inflated) / block.size
