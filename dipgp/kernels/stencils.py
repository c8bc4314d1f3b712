"""Sums over neighbouring lags, K'(r) = sum_j w_j(r) K(p_j(r)), the work of resampling.

Weights and points are products over axes, as those of separable filters are. For lags
whose values are known, each distinct one is evaluated once, and sums are products with
a small matrix an axis.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dipgp import numerics
from dipgp.kernels.stationary import Covariance, Evaluation, Lags, Moments

Array = jax.Array

# Traced lags cannot be sorted out; a nest of resampling rules then multiplies them.
LARGEST_TRACED_EVALUATION = 2**24

# From one axis' lags (n,) to points (n, J) and weights (n, J).
Stencil = Callable[[Any], tuple[Any, Any]]
Term = Sequence[Stencil]


def filtered_moments(
    at: Evaluation,
    inner: Covariance,
    lags: Lags,
    terms: Sequence[Term],
    total: float = 1.0,
) -> Moments:
    """Moments of sum_j w_j(r) K(p_j(r)), w and p a sum of products over axes.

    Args:
      at: the evaluation that this is part of.
      inner: K.
      lags: (..., D).
      terms: the products that are summed, each a stencil for each axis.
      total: sum_j w_j(r), the same for all r.
    """
    if isinstance(lags, np.ndarray):
        parts = [_filtered_grid(at, inner, lags, term) for term in terms]
    else:
        parts = [_filtered_each(at, inner, lags, term) for term in terms]
    variance, sill, smooth, at_zero = parts[0]
    for _, _, more_smooth, more_at_zero in parts[1:]:
        smooth, at_zero = smooth + more_smooth, at_zero + more_at_zero
    # K' = total K(0) - smooth: the variance falls by the value of smooth at lag 0.
    return Moments(
        total * variance - at_zero,
        total * sill - at_zero,
        numerics.not_negative(smooth - at_zero),
    )


def _filtered_grid(
    at: Evaluation, inner: Covariance, lags: np.ndarray, term: Term
) -> tuple[Array, Array, Array, Array]:
    """By matrix products on the grid of distinct lags; each is evaluated only once."""
    axes, points, weights = [], [], []
    for axis, stencil in enumerate(term):
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
    at: Evaluation, inner: Covariance, lags: Array, term: Term
) -> tuple[Array, Array, Array, Array]:
    """Lag by lag, for lags whose values are not known while JAX traces."""
    dimensions = lags.shape[-1]
    rows = jnp.concatenate(
        [lags.reshape(-1, dimensions), jnp.zeros_like(lags, shape=(1, dimensions))]
    )
    each = [stencil(rows[:, axis]) for axis, stencil in enumerate(term)]
    choices = list(itertools.product(*(range(near.shape[-1]) for near, _ in each)))
    if len(rows) * len(choices) > LARGEST_TRACED_EVALUATION:
        raise ValueError(
            f"lags: resampling {len(rows) - 1} traced lags would evaluate the "
            f"covariance {len(rows) * len(choices)} times; pass them as a NumPy "
            "array, as from kernels.lag_grid, so that equal lags are shared"
        )
    chosen = list(zip(each, np.array(choices).T, strict=True))
    points = jnp.stack([near[:, taps] for (near, _), taps in chosen], axis=-1)
    weights = jnp.stack([jnp.asarray(weight)[:, taps] for (_, weight), taps in chosen])
    variance, sill, variogram = at(inner, points)
    smooth = jnp.sum(jnp.prod(weights, axis=0) * variogram, axis=-1)
    return variance, sill, smooth[:-1].reshape(lags.shape[:-1]), smooth[-1]


def last_axis(values: np.ndarray, x: Any) -> np.ndarray:
    """Values as a new last axis behind those of x, in its dtype."""
    return values.astype(x.dtype).reshape((1,) * x.ndim + values.shape)
