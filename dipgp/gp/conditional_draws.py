"""Draws from a posterior, by correcting draws from the prior.

With g a draw from the prior, e one of the noise, and f(y) the posterior mean of data y,
which is linear in y,

    f(y) + d,    d = g - f(g + e)

is an exact draw from the posterior given y (Matheron's rule; Wilson et al., Pathwise
conditioning of Gaussian processes, JMLR 2021). One linear solve a draw, like that of
the mean. The unknown level needs nothing of its own: a mean that takes it out of the
data takes it out of g and e alike.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dipgp import devices, numerics
from dipgp.devices import Mesh
from dipgp.gp import dense, sampling
from dipgp.gp.conjugate_gradients import MeanSolution
from dipgp.gp.system import SolveInfo, System

Array = jax.Array

# Several share the overhead of a step, and memory grows with them.
BATCH = 4


class Samples(NamedTuple):
    """Draws from a posterior.

    Attributes:
      values: (count, H, W) or (count, H, W, C).
      info: how the solves went, the worst of each channel.
    """

    values: Array
    info: SolveInfo


def deviations(
    system: System,
    key: Array,
    count: int,
    batch: int = BATCH,
    report: Callable[[str], None] = lambda message: None,
    mesh: Mesh | None = None,
) -> Samples:
    """Draws of what the posterior leaves open, around its mean.

    Args:
      system: what the posterior was conditioned on.
      key: of the draws.
      count: how many.
      batch: how many are solved for together, on each device.
      report: is told how far the work is.
      mesh: devices that share the draws, which divide them evenly.

    Returns:
      (count, C, H, W) in decorrelated channels; spread where a mesh is given.

    Raises:
      ValueError: on a count or batch below 1, on a count that is no multiple of the
        devices, or on more than there is memory for.
    """
    numerics.check_key("key", key)
    numerics.check_whole_number("count", count, least=1)
    numerics.check_sizes("count", (count, len(system.covariances), *system.grid))
    keys = jax.random.split(key, count)
    if mesh is None:
        parts = list(in_batches(system, keys, batch, report))
        values, solutions = zip(*parts, strict=True)
        return Samples(jnp.concatenate(values), worst(system, solutions))
    parts = list(in_shared_batches(system, keys, batch, report, mesh))
    values, solutions = zip(*parts, strict=True)
    # Joined within each device, whose draws follow one another.
    drawn = jnp.concatenate(values, axis=1)
    drawn = drawn.reshape(count, *drawn.shape[2:])
    return Samples(drawn, worst(system, devices.gather(solutions)))


def in_batches(
    system: System, keys: Array, batch: int, report: Callable[[str], None]
) -> Iterator[tuple[Array, MeanSolution]]:
    """The deviations (at most `batch`, C, H, W) of one key each, and their solves."""
    if system.tori is None:
        drawn = _draw_dense(system, keys)
        yield drawn, factorised(system, drawn)
        return
    for first, last in batches(len(keys), batch):
        report(f"posterior samples: {first} of {len(keys)}")
        yield _correct(system, keys[first:last])


def in_shared_batches(
    system: System,
    keys: Array,
    batch: int,
    report: Callable[[str], None],
    mesh: Mesh,
) -> Iterator[tuple[Array, MeanSolution]]:
    """The same of all devices of a mesh, (devices, at most `batch`, C, H, W).

    Each device has as many keys, in order. Of the solves' means only the largest value
    is told.
    """
    devices.check_multiple("count", len(keys), mesh)
    keys = keys.reshape(mesh.size, -1)
    if system.tori is None:
        # One factorisation, by each process for itself, makes all draws.
        drawn = _draw_dense(system, keys.reshape(-1))
        shares = drawn.reshape(*keys.shape, *drawn.shape[1:])
        yield devices.place(shares, mesh), factorised(system, drawn)
        return
    everywhere = devices.replicate(system, mesh)
    for first, last in batches(keys.shape[1], batch):
        report(f"posterior samples: {first * mesh.size} of {keys.size}")
        some = devices.place(keys[:, first:last], mesh)
        yield devices.map_shares(draw_share, some, everywhere, mesh)


def draw_share(keys: Array, system: System) -> tuple[Array, MeanSolution]:
    """A device's deviations (1, N, C, H, W) of keys (1, N), for `map_shares`."""
    drawn, solution = _correct(system, keys[0])
    return drawn[None], largest_mean(solution)


def largest_mean(solution: MeanSolution) -> MeanSolution:
    """An account to be gathered: (1,) instead of the means, which others need not."""
    return solution._replace(mean=jnp.max(jnp.abs(solution.mean))[None])


def batches(count: int, batch: int) -> Iterator[tuple[int, int]]:
    """Consecutive ranges of at most `batch` that make up `count`."""
    numerics.check_whole_number("batch", batch, least=1)
    for first in range(0, count, batch):
        yield first, min(first + batch, count)


def worst(system: System, solutions: Sequence[MeanSolution]) -> SolveInfo:
    """One account of many solves: each channel's most iterations, largest residual."""
    channels = len(system.covariances)

    def gather(part: str, reduce: Callable[..., Array]) -> Array:
        numbers = [getattr(solution, part) for solution in solutions]
        return reduce(jnp.concatenate(numbers).reshape(-1, channels), axis=0)

    return system.info(
        MeanSolution(
            mean=jnp.stack([jnp.max(jnp.abs(s.mean)) for s in solutions]),
            level=gather("level", jnp.max),
            iterations=gather("iterations", jnp.max),
            residual=gather("residual", jnp.max),
        )
    )


def factorised(system: System, found: Array) -> MeanSolution:
    """The account of what took no iteration."""
    zeros = jnp.zeros(len(system.covariances), found.dtype)
    return MeanSolution(found, zeros, zeros.astype(int), zeros)


@jax.jit
def _correct(system: System, keys: Array) -> tuple[Array, MeanSolution]:
    """Matheron's rule for one batch."""
    tori = system.tori
    assert tori is not None
    mask, noise_std = system.observation.mask, system.observation.noise_std

    def prior(key: Array) -> tuple[Array, Array]:
        key_field, key_noise = jax.random.split(key)
        field = sampling.draw_fields(key_field, tori, system.grid)
        seen = system.see(field)
        noise = jax.random.normal(key_noise, seen.shape, seen.dtype)
        return field, mask[None] * (seen + noise_std[None] * noise)

    fields, data = jax.lax.map(prior, keys)
    solution = system.stacked(len(keys)).solve(data.reshape(-1, *mask.shape))
    return fields - solution.mean.reshape(fields.shape), solution


def _draw_dense(system: System, keys: Array) -> Array:
    """Draws by the root of the posterior's covariance matrix."""
    matrices = dense.posterior_covariance(system.covariances, system.observation)
    sizes, axes = jnp.linalg.eigh(matrices)
    root = axes * jnp.sqrt(jnp.maximum(sizes, 0))[:, None, :]

    def draw(key: Array) -> Array:
        white = jax.random.normal(key, root.shape[:2], root.dtype)
        return jnp.einsum("cij,cj->ci", root, white, precision="highest")

    return jax.vmap(draw)(keys).reshape(len(keys), len(root), *system.grid)
