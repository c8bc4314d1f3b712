"""The covariance of what is seen of a field through a filter that takes samples.

y(m) = sum_n h(n) x(s m + n) is stationary where x is, with

    K_y(r) = sum_d a(d) K(s r + d),      a(d) = sum_n h(n) h(n + d).

A blur has s = 1; means of blocks are `downsample(..., method="average")`. In two
dimensions the table of a is a short sum of products over axes (its singular value
decomposition; one product for a Gaussian), as `dipgp.kernels.stencils` wants them.
"""

from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
import scipy  # loads scipy.signal, which is slow, where it is first read

from dipgp import numerics
from dipgp.kernels.stationary import (
    Covariance,
    CovarianceLike,
    Evaluation,
    Lags,
    Moments,
    as_covariance,
)
from dipgp.kernels.stencils import Stencil, filtered_moments, last_axis

# Relative to the largest product; smaller ones are rounding.
SMALLEST_PRODUCT = 1e-12
# Taps, of which so many by so many products take a tenth of a second.
MOST_DIRECT = 2**12


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Filtered(Covariance):
    """Every stride-th sample of a filtered field.

    Attributes:
      inner: K.
      taps: h, row by row.
      shape: of h, (L,) or (K, L).
      stride: s.
    """

    inner: Covariance
    taps: tuple[float, ...] = field(metadata={"static": True})
    shape: tuple[int, ...] = field(metadata={"static": True})
    stride: int = field(metadata={"static": True})

    def evaluate(self, lags: Lags, at: Evaluation) -> Moments:
        """K at the lags between the taps of two samples, and their sum."""
        if lags.shape[-1] != len(self.shape):
            raise ValueError(
                f"lags: expected shape (..., {len(self.shape)}), as many axes as the "
                f"filter's taps have, got {lags.shape}"
            )
        taps = np.reshape(self.taps, self.shape)
        # Direct sums are exact to the last digit, and take hours for wide blurs.
        method = "direct" if taps.size <= MOST_DIRECT else "fft"
        autocorrelation = scipy.signal.correlate(taps, taps, method=method)
        terms = [
            [self._stencil(weights) for weights in product]
            for product in _products(autocorrelation)
        ]
        total = float(np.sum(taps)) ** 2
        return filtered_moments(at, self.inner, lags, terms, total)

    def _stencil(self, weights: np.ndarray) -> Stencil:
        """Weights around the lag in the field's own pixels."""
        reach = len(weights) // 2

        def stencil(x: Any) -> tuple[Any, Any]:
            offsets = last_axis(np.arange(-reach, reach + 1), x)
            points = self.stride * x[..., None] + offsets
            return points, np.broadcast_to(weights.astype(x.dtype), points.shape)

        return stencil


def _products(table: np.ndarray) -> list[tuple[np.ndarray, ...]]:
    """Vectors, one an axis, whose outer products sum up to a table."""
    if table.ndim == 1:
        return [(table,)]
    left, sizes, right = np.linalg.svd(table)
    kept = np.flatnonzero(sizes > SMALLEST_PRODUCT * sizes[0])
    return [(sizes[i] * left[:, i], right[i]) for i in kept]


def filtered(
    covariance: CovarianceLike, taps: np.typing.ArrayLike, stride: int = 1
) -> Covariance:
    """The covariance of every stride-th sample of a filtered field.

    In units of the samples, and exact for filters that see no border.

    Args:
      covariance: K of the field.
      taps: (L,) for signals or (K, L) for images, finite; how much each pixel counts
        for a sample. Where their sum is not 1, constants change by it.
      stride: distance in pixels between samples along each axis.

    Raises:
      ValueError: on taps that are no such numbers, or all 0, or on a stride that is no
        positive integer.
    """
    numerics.check_whole_number("stride", stride, least=1)
    numerics.check_finite("taps", taps)
    table = np.asarray(taps, np.float64)
    if table.ndim not in (1, 2) or table.size == 0:
        raise ValueError(f"taps: expected shape (L,) or (K, L), got {table.shape}")
    if not table.any():
        raise ValueError("taps: expected finite numbers, not all of them 0")
    inner = as_covariance(covariance)
    return Filtered(inner, tuple(table.ravel().tolist()), table.shape, stride)
