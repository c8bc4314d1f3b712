"""How probable a covariance makes an image with missing pixels, from small blocks.

Behind a random mask Fourier coefficients say little: what is missing leaks into all
frequencies like noise. Instead some blocks of the image are taken as independent
images, and the restricted log-likelihood of each (the constant level integrated out) is
computed exactly by Cholesky factorisation. Their sum is a composite likelihood,
unbiased in its gradient whatever the mask (Stein, Chi and Welty, Approximating
likelihoods for large spatial data sets, JRSS B 2004). What it ignores is that blocks
are correlated, and lags longer than a block.

The factorisations run in float64 on the host: they are small, and nearly singular for
smooth covariances.
"""

from typing import NamedTuple

import jax
import numpy as np
import scipy.linalg

from dipgp.gp.dense import lag_table
from dipgp.kernels.stationary import Covariance

Array = jax.Array

PIXELS_PER_BLOCK = 300
BLOCKS_PER_SIDE = 4


class Block(NamedTuple):
    """Observed pixels of a block.

    Attributes:
      lags: (n, n) of each pair of pixels, as flat indices into a `lag_table`.
      values: (n, C) intensities.
    """

    lags: np.ndarray
    values: np.ndarray


class Blocks(NamedTuple):
    """Blocks on a regular lattice over an image.

    Attributes:
      blocks: those with at least two observed pixels.
      shape: of each, in pixels.
    """

    blocks: tuple[Block, ...]
    shape: tuple[int, int]


class Statistics(NamedTuple):
    """What the likelihood of all blocks needs, for the matrices K / sill + ratio I.

    Attributes:
      quadratic: (C,) sums of y^T P y, P the inverse with the level projected out.
      log_determinant: sum of log determinants, that of the level included.
      pixels: observed ones, less one level a block.
      sill: of the covariance.
    """

    quadratic: np.ndarray
    log_determinant: float
    pixels: int
    sill: float


def cut(values: Array, mask: jax.typing.ArrayLike) -> Blocks:
    """Cuts blocks with about `PIXELS_PER_BLOCK` observed pixels out of an image.

    Args:
      values: (C, H, W).
      mask: (H, W), 1 where observed.

    Raises:
      ValueError: where fewer than two observed pixels lie in any block.
    """
    seen = np.asarray(mask) != 0
    side = int(np.ceil(np.sqrt(PIXELS_PER_BLOCK / seen.mean())))
    height, width = min(side, seen.shape[0]), min(side, seen.shape[1])
    data = np.moveaxis(np.asarray(values, np.float64), 0, -1)
    blocks = []
    for top in _starts(seen.shape[0], height):
        for left in _starts(seen.shape[1], width):
            part = np.s_[top : top + height, left : left + width]
            rows, columns = np.nonzero(seen[part])
            if rows.size > 1:
                down = rows[:, None] - rows[None, :] + height - 1
                right = columns[:, None] - columns[None, :] + width - 1
                lags = down * (2 * width - 1) + right
                blocks.append(Block(lags, data[part][rows, columns]))
    if not blocks:
        raise ValueError(
            "mask: expected at least two observed pixels near each other to choose "
            f"hyperparameters by, got {int(seen.sum())} of {seen.size} pixels; give "
            "them explicitly"
        )
    return Blocks(tuple(blocks), (height, width))


def _starts(size: int, block: int) -> list[int]:
    count = min(BLOCKS_PER_SIDE, -(-size // block))
    return sorted(set(np.linspace(0, size - block, count).astype(int).tolist()))


def statistics(covariance: Covariance, data: Blocks, ratio: float) -> Statistics:
    """Factorises all blocks.

    Args:
      covariance: K.
      data: the blocks.
      ratio: noise variance over sill.

    Raises:
      ValueError: where a block's matrix is not positive definite.
    """
    table = np.asarray(lag_table(covariance, data.shape, "float32"), np.float64)
    sill = table[data.shape[0] - 1, data.shape[1] - 1]
    correlation = (table / sill).ravel()
    quadratic, log_determinant, count = 0.0, 0.0, 0
    for lags, values in data.blocks:
        matrix = correlation[lags]
        matrix[np.diag_indices_from(matrix)] += ratio
        try:
            factor = scipy.linalg.cholesky(matrix, lower=True, check_finite=False)
        except np.linalg.LinAlgError as error:
            raise ValueError(
                "covariance: expected a positive definite matrix for a block of "
                f"{len(values)} pixels with noise ratio {ratio:g}, got one that is not"
            ) from error
        sides = np.concatenate([np.ones((len(values), 1)), values], axis=1)
        white = scipy.linalg.solve_triangular(
            factor, sides, lower=True, check_finite=False
        )
        ones, signal = white[:, 0], white[:, 1:]
        level = ones @ ones
        quadratic = quadratic + np.sum(signal**2, 0) - (ones @ signal) ** 2 / level
        log_determinant += 2 * np.sum(np.log(np.diag(factor))) + np.log(level)
        count += len(values) - 1
    return Statistics(np.asarray(quadratic), log_determinant, count, float(sill))


def evidence(stats: Statistics, variance: np.ndarray) -> np.ndarray:
    """Restricted log-likelihood a pixel, (C,), up to a constant of the data.

    Args:
      stats: of a covariance and a noise ratio.
      variance: (C,), the sill in the values' squared units.
    """
    fit = stats.quadratic / variance + stats.pixels * np.log(variance)
    return -(fit + stats.log_determinant) / (2 * stats.pixels)
