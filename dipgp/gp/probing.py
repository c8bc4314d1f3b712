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
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dipgp import devices, numerics
from dipgp.devices import Mesh
from dipgp.gp import conditional_draws
from dipgp.gp.conjugate_gradients import MeanSolution
from dipgp.gp.forms import Form
from dipgp.gp.system import SolveInfo, System

Array = jax.Array

# Each pattern of signs is drawn twice, and the two tell the error.
REPEATS = 2
# Solves then weigh less than the estimator's own error.
TOLERANCES: Mapping[Form, float] = {"weights": 1e-3, "field": 2e-2}


class _Patterns(NamedTuple):
    """Which pixels and channels are probed together.

    Attributes:
      channels: (N, C), 1 where a channel is probed.
      offsets: (N, 2), first row and column.
      spacing: between rows and columns.
    """

    channels: np.ndarray
    offsets: np.ndarray
    spacing: tuple[int, int]


def estimate(
    system: System,
    key: Array,
    solves: int,
    batch: int,
    report: Callable[[str], None],
    mesh: Mesh | None = None,
) -> tuple[Array, Array, SolveInfo]:
    """The variances along `System.directions`.

    Args:
      system: what the posterior was conditioned on.
      key: of the signs.
      solves: of an image's equations; at most so many where that is enough for spacing
        1, otherwise `least_solves`.
      batch: how many are solved together, on each device.
      report: is told how far the work is.
      mesh: devices that share the solves.

    Returns:
      Variances (C, H, W), their standard errors, and how the solves went.
    """
    form = _form(system)
    tolerance = max(system.tolerance_of(form), TOLERANCES[form])
    system = replace(system, form=form, tolerance=tolerance)
    patterns = _patterns(system, solves)
    keys = jax.random.split(key, REPEATS)
    if mesh is None:
        both, solutions = _on_one_device(system, keys, patterns, batch, report)
    else:
        both, solutions = _on_mesh(system, keys, patterns, batch, report, mesh)
    half = jnp.square((both[0] - both[1]) / 2)
    error = jnp.zeros_like(half)
    told = _told(system)
    for pixels in (told, 1 - told):
        count = jnp.maximum(jnp.sum(pixels, axis=(1, 2), keepdims=True), 1)
        square = jnp.sum(pixels * half, axis=(1, 2), keepdims=True) / count
        error = error + pixels * jnp.sqrt(square)
    info = conditional_draws.worst(system, solutions)
    return jnp.mean(both, axis=0), error, info


def _form(system: System) -> Literal["weights", "field"]:
    """The one whose products take fewer steps: weights through a filter alone."""
    mask = system.observation.mask
    if system.through is None or system.couples_channels or numerics.is_traced(mask):
        return "field"
    return "weights" if bool((mask != 0).all()) else "field"


def _patterns(system: System, solves: int) -> _Patterns:
    """As far apart as so many solves allow."""
    height, width = system.grid
    parts = _parts(system)
    spacing = max(math.isqrt(solves // (REPEATS * len(parts))), 1)
    down, right = min(spacing, height), min(spacing, width)
    numbers = np.indices((len(parts), down, right)).reshape(3, -1).T
    return _Patterns(parts[numbers[:, 0]], numbers[:, 1:], (down, right))


def _on_one_device(
    system: System,
    keys: Array,
    patterns: _Patterns,
    batch: int,
    report: Callable[[str], None],
) -> tuple[Array, list[MeanSolution]]:
    """The diagonals (repeats, C, H, W), and accounts of the solves."""
    channels, offsets, spacing = patterns
    runs, solutions = [], []
    for repeat, key_signs in enumerate(keys):
        value = jnp.zeros((len(system.covariances), *system.grid))
        for first, last in conditional_draws.batches(len(offsets), batch):
            done = repeat * len(offsets) + first
            report(f"posterior variance: {done} of {len(offsets) * REPEATS} solves")
            some = (jnp.asarray(part[first:last]) for part in (channels, offsets))
            part, solution = _probe(system, key_signs, *some, spacing)
            value = value + part
            solutions.append(solution)
        runs.append(value)
    return jnp.stack(runs), solutions


def _on_mesh(
    system: System,
    keys: Array,
    patterns: _Patterns,
    batch: int,
    report: Callable[[str], None],
    mesh: Mesh,
) -> tuple[Array, list[MeanSolution]]:
    """The same on several devices, which share the patterns of all repeats."""
    count = len(patterns.offsets)
    each = -(-REPEATS * count // mesh.size)

    def shares(numbers: np.ndarray) -> np.ndarray:
        """(devices, each, ...), filled up with zeros: patterns that probe nothing."""
        idle = mesh.size * each - len(numbers)
        filled = np.pad(numbers, [(0, idle)] + [(0, 0)] * (numbers.ndim - 1))
        return filled.reshape(mesh.size, each, *numbers.shape[1:])

    items = (
        shares(np.repeat(np.arange(REPEATS), count)),
        shares(np.tile(patterns.channels, (REPEATS, 1))),
        shares(np.tile(patterns.offsets, (REPEATS, 1))),
    )
    whole = devices.replicate((system, keys, np.array(patterns.spacing)), mesh)
    value: Array | None = None
    solutions = []
    for first, last in conditional_draws.batches(each, batch):
        done = min(first * mesh.size, REPEATS * count)
        report(f"posterior variance: {done} of {count * REPEATS} solves")
        some = jax.tree.map(lambda part, i=first, j=last: part[:, i:j], items)
        placed = devices.place(some, mesh)
        part, solution = devices.map_shares(_probe_share, placed, whole, mesh)
        value = part if value is None else value + part
        solutions.append(solution)
    assert value is not None
    return devices.total(value, mesh), devices.gather(solutions)


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
    dtype = system.observation.mask.dtype
    signs = jax.random.rademacher(key, (channels.shape[1], *system.grid), dtype)
    products, solution = _products(system, signs[None], channels, offsets, spacing)
    return jnp.sum(products, axis=0), solution


def _probe_share(
    items: tuple[Array, Array, Array], whole: tuple[System, Array, Array]
) -> tuple[Array, MeanSolution]:
    """The diagonals (1, repeats, C, H, W) at the pixels of a device's patterns."""
    repeats, channels, offsets = (item[0] for item in items)
    system, keys, spacing = whole
    dtype = system.observation.mask.dtype
    shape = (channels.shape[1], *system.grid)
    signs = jnp.stack([jax.random.rademacher(key, shape, dtype) for key in keys])
    products, solution = _products(system, signs[repeats], channels, offsets, spacing)
    value = jnp.zeros_like(signs).at[repeats].add(products)
    return value[None], conditional_draws.largest_mean(solution)


def _products(
    system: System,
    signs: Array,
    channels: Array,
    offsets: Array,
    spacing: tuple[int, int] | Array,
) -> tuple[Array, MeanSolution]:
    """z (P z) of N patterns, (N, C, H, W), for signs (N or 1, C, H, W)."""
    height, width = system.grid
    rows = jnp.arange(height)[None, :] % spacing[0] == offsets[:, :1]
    columns = jnp.arange(width)[None, :] % spacing[1] == offsets[:, 1:]
    chosen = (rows[:, :, None] & columns[:, None, :])[:, None].astype(signs.dtype)
    chosen = channels.astype(signs.dtype)[:, :, None, None] * chosen
    probes = chosen * signs
    solution = system.apply_posterior_covariance(probes.reshape(-1, height, width))
    return probes * solution.mean.reshape(probes.shape), solution
