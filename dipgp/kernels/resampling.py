"""Covariance rules of down- and up-sampling.

Averaging before decimation, and interpolation after, mix the lags around the one asked
for: K'(r) = sum_j w_j(r) K(p_j(r)), with weights that sum to one and are products over
axes. Up-sampled fields repeat their statistics only every `factor` pixels; the rule is
the mean over these phases, which networks follow to about 1e-3.

The weights come from the filters: with taps h(n), sum_n h(n) = factor, and
a(d) = sum_n h(n) h(n + d), down-sampling by a mean filter gives
K'(m) = sum_d a(d) / factor^2 K(factor m + d), and up-sampling the phase mean
K'(r) = 1/factor sum_k K(k) a(r - factor k). Lags between pixels read a(.) linearly
interpolated, which keeps the result positive semi-definite.
"""

from dataclasses import dataclass, field
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np

from dipgp import numerics
from dipgp.architecture.layers import DownsampleMethod, UpsampleMethod
from dipgp.kernels.stationary import (
    Covariance,
    CovarianceLike,
    Evaluation,
    Lags,
    Moments,
    as_covariance,
)
from dipgp.kernels.stencils import filtered_moments, last_axis


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Dilated(Covariance):
    """K(factor * r)."""

    inner: Covariance
    factor: float = field(metadata={"static": True})

    def evaluate(self, lags: Lags, at: Evaluation) -> Moments:
        """The same field on a coarser or finer ruler."""
        return at(self.inner, lags * lags.dtype.type(self.factor))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Averaged(Covariance):
    """A field whose factor-wide blocks are replaced by their means."""

    inner: Covariance
    factor: int = field(metadata={"static": True})

    def evaluate(self, lags: Lags, at: Evaluation) -> Moments:
        """Triangular weights around the dilated lag."""
        offsets = np.arange(1 - self.factor, self.factor)
        taps = np.ones(self.factor)
        weights = np.convolve(taps, taps) / self.factor**2

        def stencil(x: Any) -> tuple[Any, Any]:
            points = self.factor * x[..., None] + last_axis(offsets, x)
            return points, np.broadcast_to(weights.astype(x.dtype), points.shape)

        return filtered_moments(at, self.inner, lags, [(stencil,) * lags.shape[-1]])


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Interpolated(Covariance):
    """A field with factor - 1 interpolated pixels after each of its own."""

    inner: Covariance
    taps: tuple[float, ...] = field(metadata={"static": True})
    factor: int = field(metadata={"static": True})

    def evaluate(self, lags: Lags, at: Evaluation) -> Moments:
        """Phase mean over whole coarse lags near r / factor."""
        taps = np.asarray(self.taps)
        autocorrelation = np.convolve(taps, taps[::-1])
        reach = len(taps)
        distances = np.arange(-reach, reach + 1)
        heights = np.concatenate([[0.0], autocorrelation, [0.0]]) / self.factor
        neighbours = np.arange(1 - reach // self.factor, reach // self.factor + 1)

        def stencil(x: Any) -> tuple[Any, Any]:
            module = np if isinstance(x, np.ndarray) else jnp
            points = module.floor(x / self.factor)[..., None]
            points = points + last_axis(neighbours, x)
            weights = module.interp(
                x[..., None] - self.factor * points, distances, heights
            )
            return points, weights.astype(x.dtype)

        return filtered_moments(at, self.inner, lags, [(stencil,) * lags.shape[-1]])


# A filter has as many taps along each axis, which are written down.
_LARGEST = 1024


def downsample(
    covariance: CovarianceLike, factor: int, method: DownsampleMethod = "ideal"
) -> Covariance:
    """The covariance of every factor-th pixel, in units of the new pixels.

    Args:
      covariance: before down-sampling.
      factor: along each axis.
      method: "ideal", the paper's K(factor * r), which is exact for a plain "stride";
        "average" for means of blocks, factor pixels wide.

    Raises:
      ValueError: on a factor that is no integer from 1 to 1,024, or an unknown method.
    """
    numerics.check_whole_number("factor", factor, least=1, most=_LARGEST)
    covariance = as_covariance(covariance)
    match method:
        case "ideal" | "stride":
            return Dilated(covariance, float(factor))
        case "average":
            return Averaged(covariance, factor)
    raise ValueError(
        f"method: expected one of {', '.join(get_args(DownsampleMethod))}, "
        f"got {method!r}"
    )


def upsample(
    covariance: CovarianceLike, factor: int, method: UpsampleMethod = "ideal"
) -> Covariance:
    """The covariance after factor - 1 pixels are put in after each one.

    Args:
      covariance: before up-sampling, in its own pixels.
      factor: along each axis.
      method: "ideal", the paper's K(r / factor), read between the old pixels as the
        formula stands: right for fields that are smooth on the old pixels, while white
        noise stays white. "nearest" and "bilinear" (half-pixel centres) interpolate
        samples as networks do, averaged over the factor phases.

    Raises:
      ValueError: on a factor that is no integer from 1 to 1,024, or an unknown method.
    """
    numerics.check_whole_number("factor", factor, least=1, most=_LARGEST)
    covariance = as_covariance(covariance)
    match method:
        case "ideal":
            return Dilated(covariance, 1 / factor)
        case "nearest":
            return Interpolated(covariance, (1.0,) * factor, factor)
        case "bilinear":
            first = -(factor // 2)
            centres = np.arange(first, first + 2 * factor) + 0.5
            positions = centres / factor - 0.5
            taps = tuple((1 - np.abs(positions)).tolist())
            return Interpolated(covariance, taps, factor)
    raise ValueError(
        f"method: expected one of {', '.join(get_args(UpsampleMethod))}, got {method!r}"
    )
