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

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np

from dipgp import numerics
from dipgp.architecture.layers import (
    DownsampleMethod,
    UpsampleMethod,
    check_positive_integer,
)
from dipgp.kernels.stationary import (
    Covariance,
    CovarianceLike,
    Evaluation,
    Lags,
    Moments,
    as_covariance,
)

Array = jax.Array

# Traced lags cannot be sorted out; a nest of resampling rules then multiplies them.
LARGEST_TRACED_EVALUATION = 2**24


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
            points = self.factor * x[..., None] + _last_axis(offsets, x)
            return points, np.broadcast_to(weights.astype(x.dtype), points.shape)

        return _filtered(at, self.inner, lags, stencil)


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
            points = points + _last_axis(neighbours, x)
            weights = module.interp(
                x[..., None] - self.factor * points, distances, heights
            )
            return points, weights.astype(x.dtype)

        return _filtered(at, self.inner, lags, stencil)


def _last_axis(values: np.ndarray, x: Any) -> np.ndarray:
    """Values as a new last axis behind those of x, in its dtype."""
    return values.astype(x.dtype).reshape((1,) * x.ndim + values.shape)


Stencil = Callable[[Any], tuple[Any, Any]]


def _filtered(
    at: Evaluation, inner: Covariance, lags: Lags, stencil: Stencil
) -> Moments:
    """Moments of sum_j w_j(r) K(p_j(r)), w and p separable over axes.

    Args:
      at: the evaluation that this is part of.
      inner: K.
      lags: (..., D).
      stencil: maps one axis' lags (n,) to points (n, J) and weights (n, J).
    """
    if isinstance(lags, np.ndarray):
        variance, sill, smooth, at_zero = _filtered_grid(at, inner, lags, stencil)
    else:
        variance, sill, smooth, at_zero = _filtered_each(at, inner, lags, stencil)
    # sum_j w_j = 1, so K' = K(0) - smooth: the variance falls by its value at lag 0.
    return Moments(
        variance - at_zero, sill - at_zero, numerics.not_negative(smooth - at_zero)
    )


def _filtered_grid(
    at: Evaluation, inner: Covariance, lags: np.ndarray, stencil: Stencil
) -> tuple[Array, Array, Array, Array]:
    """By matrix products on the grid of distinct lags; each is evaluated only once."""
    axes, points, weights = [], [], []
    for axis in range(lags.shape[-1]):
        axes.append(np.unique(np.append(lags[..., axis], lags.dtype.type(0))))
        near, weight = stencil(axes[-1])
        distinct, where = np.unique(near, return_inverse=True)
        matrix = np.zeros((axes[-1].size, distinct.size), lags.dtype)
        rows = np.broadcast_to(np.arange(axes[-1].size)[:, None], near.shape)
        np.add.at(matrix, (rows, where.reshape(near.shape)), weight)
        points.append(distinct)
        weights.append(matrix)
    grid = np.stack(np.meshgrid(*points, indexing="ij"), axis=-1)
    variance, sill, variogram = at(inner, grid)
    for axis, matrix in enumerate(weights):
        variogram = jnp.moveaxis(
            jnp.tensordot(matrix, variogram, (1, axis), precision="highest"), 0, axis
        )
    where_zero = tuple(int(np.searchsorted(axis, 0)) for axis in axes)
    where_lags = tuple(
        np.searchsorted(values, lags[..., axis]) for axis, values in enumerate(axes)
    )
    return variance, sill, variogram[where_lags], variogram[where_zero]


def _filtered_each(
    at: Evaluation, inner: Covariance, lags: Array, stencil: Stencil
) -> tuple[Array, Array, Array, Array]:
    """Lag by lag, for lags whose values are not known while JAX traces."""
    dimensions = lags.shape[-1]
    rows = jnp.concatenate(
        [lags.reshape(-1, dimensions), jnp.zeros_like(lags, shape=(1, dimensions))]
    )
    near, weight = stencil(rows)  # (M, D, J) each
    taps = near.shape[-1]
    if len(rows) * taps**dimensions > LARGEST_TRACED_EVALUATION:
        raise ValueError(
            f"lags: resampling {len(rows) - 1} traced lags would evaluate the "
            f"covariance {len(rows) * taps**dimensions} times; pass them as a NumPy "
            "array, as from kernels.lag_grid, so that equal lags are shared"
        )
    choices = np.array(list(itertools.product(range(taps), repeat=dimensions)))
    axes = np.arange(dimensions)[None, :]
    points = near[:, axes, choices]
    weights = jnp.prod(jnp.asarray(weight)[:, axes, choices], axis=-1)
    variance, sill, variogram = at(inner, points)
    smooth = jnp.sum(weights * variogram, axis=-1)
    return variance, sill, smooth[:-1].reshape(lags.shape[:-1]), smooth[-1]


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
      ValueError: on a factor that is no positive integer or an unknown method.
    """
    check_positive_integer("factor", factor)
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
      ValueError: on a factor that is no positive integer or an unknown method.
    """
    check_positive_integer("factor", factor)
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
