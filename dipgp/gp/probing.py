"""The diagonal of a posterior's covariance matrix, by products with random signs.

With P that matrix and z random signs on every s-th row and column, z (P z) there is
P(t, t) plus random-signed covariances with pixels s and more away; s^2 solves see every
pixel once (Bekas, Kokiopoulou and Saad, An estimator for the diagonal of a matrix,
Appl. Numer. Math. 2007). Its error falls as fast as the posterior's covariance does
with distance.

Channels that are independent are probed in the same solve. Colours that a linear map
couples covary most at one pixel, and are probed one by one: C s^2 solves.
"""

import math
from collections.abc import Callable
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from dipgp.gp import conditional_draws
from dipgp.gp.conjugate_gradients import MeanSolution
from dipgp.gp.system import SolveInfo, System

Array = jax.Array

# Each pattern of signs is drawn twice, and the two tell the error.
REPEATS = 2
# Relative residual of the solves, which then weigh less than the estimator's own error.
TOLERANCE = 1e-3


def estimate(
    system: System,
    key: Array,
    solves: int,
    batch: int,
    report: Callable[[str], None],
) -> tuple[Array, Array, SolveInfo]:
    """The variances along `System.directions`.

    Args:
      system: what the posterior was conditioned on.
      key: of the signs.
      solves: of an image's equations; at most so many where that is enough for spacing
        1, otherwise `least_solves`.
      batch: how many are solved together.
      report: is told how far the work is.

    Returns:
      Variances (C, H, W), their standard errors, and how the solves went.
    """
    tolerance = max(system.tolerance, TOLERANCE)
    system = replace(system, form="field", tolerance=tolerance)
    height, width = system.grid
    parts = _parts(system)
    spacing = max(math.isqrt(solves // (REPEATS * len(parts))), 1)
    down, right = min(spacing, height), min(spacing, width)
    offsets = np.indices((len(parts), down, right)).reshape(3, -1).T
    keys = jax.random.split(key, REPEATS)
    runs, solutions = [], []
    for repeat, key_signs in enumerate(keys):
        value = jnp.zeros((len(system.covariances), height, width))
        for first, last in conditional_draws.batches(len(offsets), batch):
            done = repeat * len(offsets) + first
            report(f"posterior variance: {done} of {len(offsets) * REPEATS} solves")
            some = offsets[first:last]
            part, solution = _probe(
                system,
                key_signs,
                jnp.asarray(parts[some[:, 0]]),
                jnp.asarray(some[:, 1:]),
                (down, right),
            )
            value = value + part
            solutions.append(solution)
        runs.append(value)
    both = jnp.stack(runs)
    half = jnp.square((both[0] - both[1]) / 2)
    error = jnp.zeros_like(half)
    told = _told(system)
    for pixels in (told, 1 - told):
        count = jnp.maximum(jnp.sum(pixels, axis=(1, 2), keepdims=True), 1)
        square = jnp.sum(pixels * half, axis=(1, 2), keepdims=True) / count
        error = error + pixels * jnp.sqrt(square)
    info = conditional_draws.worst(system, solutions)
    return jnp.mean(both, axis=0), error, info


def least_solves(system: System) -> int:
    """Fewer than these do not see every pixel and channel twice."""
    return REPEATS * len(_parts(system))


def _parts(system: System) -> np.ndarray:
    """(parts, C): the channels probed together, 1 where one is among them."""
    count = len(system.covariances)
    return np.eye(count) if system.couples_channels else np.ones((1, count))


def _told(system: System) -> Array:
    """(C, H, W): 1 where a pixel is seen, or weighs most in what is seen, otherwise 0.

    Estimates of such pixels are alike, and share a standard error.
    """
    mask, shape = system.observation.mask, system.image_shape
    if system.through is None or shape is None:
        return jnp.broadcast_to(mask, (len(system.covariances), *mask.shape))
    seen = jnp.broadcast_to(mask[:, :, None], system.observation.values.shape)
    weight = jnp.abs(system.through.adjoint(seen, shape))
    told = weight > jnp.max(weight) / 2
    return jnp.moveaxis(told, -1, 0).astype(mask.dtype)


@jax.jit
def _probe(
    system: System,
    key: Array,
    channels: Array,
    offsets: Array,
    spacing: tuple[int, int],
) -> tuple[Array, MeanSolution]:
    """The diagonal (C, H, W) at the pixels of N patterns, zero elsewhere.

    Args:
      system: whose posterior it is of.
      key: of the signs; patterns of one key are parts of the same.
      channels: (N, C), 1 where a channel is probed.
      offsets: (N, 2), first row and column.
      spacing: between rows and columns.
    """
    height, width = system.grid
    dtype = system.observation.mask.dtype
    shape = (channels.shape[1], height, width)
    signs = jax.random.rademacher(key, shape, dtype)
    rows = jnp.arange(height)[None, :] % spacing[0] == offsets[:, :1]
    columns = jnp.arange(width)[None, :] % spacing[1] == offsets[:, 1:]
    chosen = (rows[:, :, None] & columns[:, None, :])[:, None].astype(dtype)
    chosen = channels.astype(dtype)[:, :, None, None] * chosen
    probes = chosen * signs[None]
    solution = system.apply_posterior_covariance(probes.reshape(-1, height, width))
    products = probes * solution.mean.reshape(probes.shape)
    return jnp.sum(products, axis=0), solution
