"""Restoration by the Gaussian process that the evidence finds most probable.

A large picture is restored tile by tile, by one choice of covariances, one strength of
noise and one level for all of it.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.fft

from dipgp import gp, kernels
from dipgp.command import memory, tiles
from dipgp.command.options import GREY_LEVELS
from dipgp.command.problems import Problem
from dipgp.command.tiles import Tile
from dipgp.gp.forms import TOLERANCES, Form
from dipgp.kernels.stationary import Covariance
from dipgp.observations import Observation
from dipgp.observations.stationary_filter import stationary_filter
from dipgp.progress import Report

# Root mean squares of misfits that do not show: beside the noise, and in the picture,
# where white is 1.
PART_OF_NOISE, INVISIBLE = 0.2, 0.02 / GREY_LEVELS
# Errors in standard deviations of the posterior that no other picture shows.
UNTOLD = 0.05
# How far covariances reach in pixels, about, before they are chosen.
USUAL_REACH = 42
_REMEDY = "try a smaller picture, or a part of it"
_HOLE_REMEDY = "try to fill in a smaller hole, or a smaller picture"


class Restoration(NamedTuple):
    """What a method makes of a problem.

    Attributes:
      mean: (H, W, C) of the problem's shown shape.
      std: likewise, standard deviations, or None.
      converged: whether they are what the method promises.
      advice: what to do where they are not.
    """

    mean: np.ndarray
    std: np.ndarray | None
    converged: bool
    advice: str


def announce(problem: Problem, std: bool) -> float:
    """Bytes of memory that a restoration will take, as far as is known before.

    Args:
      problem: the picture's.
      std: whether standard deviations are asked for.

    Raises:
      ValueError: where that is more than there is.
    """
    return _check_memory(problem, (USUAL_REACH, USUAL_REACH), std, "")


def restore(
    problem: Problem, noise_std: float, std: bool, key: jax.Array, report: Report
) -> Restoration:
    """The posterior's mean, and standard deviations where these are asked for.

    Args:
      problem: the picture's.
      noise_std: told or estimated.
      std: whether to estimate standard deviations.
      key: of the random signs that this takes.
      report: is told how far the work is.

    Raises:
      ValueError: where the covariances reach so far that memory would not do.
    """
    observation = problem.observation
    observation = observation._replace(
        noise_std=jnp.full_like(observation.noise_std, noise_std)
    )
    problem = dataclasses.replace(problem, observation=observation)
    candidates = list(kernels.plain_networks().values())
    selection = gp.select(
        candidates, observation, report=report, through=problem.through
    )
    reach = _reach(problem, selection.covariances)
    _check_memory(problem, reach, std, " and such wide structure")
    return _by_tiles(problem, selection, noise_std, std, key, report)


def margin(problem: Problem, reach: tuple[int, int]) -> int:
    """Pixels seen that a cut has an effect on.

    Beyond the reach of its covariance a pixel is independent of what is seen. Nearer
    to a cut, what it depends on may be missing: what is seen within the reach, through
    the map if there is one; around a hole, what is seen on its other side.

    Args:
      problem: the picture's.
      reach: of its covariances, in pixels of the picture.
    """
    taps = 1
    if problem.through is not None:
        taps = max(stationary_filter(problem.through).taps.shape)
    behind = 2 * math.ceil(problem.hole)
    return math.ceil((max(reach) + taps - 1 + behind) / problem.factor)


def tolerances(problem: Problem, noise_std: float) -> dict[Form, float]:
    """What to stop at, by form of solver; the solver's own where none is told.

    The weights' residual is a misfit to what is seen, and no smaller than that of the
    picture where it is seen as it is. The field's bounds errors in standard deviations
    of the posterior, which are no larger than the noise where something is seen. For
    little noise 32 bits reach no other than a part of it.

    Args:
      problem: the picture's.
      noise_std: told or estimated.
    """
    values, mask, _ = problem.observation
    spread = float(np.std(np.asarray(values)[np.asarray(mask) != 0]))
    misfit = min(PART_OF_NOISE * noise_std, INVISIBLE)
    part = misfit / max(spread, noise_std)
    return {
        "weights": max(part, TOLERANCES["weights"]),
        "field": min(max(INVISIBLE / noise_std, TOLERANCES["field"]), UNTOLD),
    }


def _by_tiles(
    problem: Problem,
    selection: gp.Selection,
    noise_std: float,
    std: bool,
    key: jax.Array,
    report: Report,
) -> Restoration:
    """Conditions on tile after tile, or on all at once where there is one."""
    cut = _cut(problem, _reach(problem, selection.covariances))
    level = _level(problem.observation)
    mean = np.zeros(problem.shown_shape, np.float32)
    deviations = np.zeros_like(mean) if std else None
    # The one with most missing first, since the solver is chosen by its mask.
    order = sorted(range(len(cut)), key=lambda index: _seen(problem, cut[index]))
    posterior: gp.Posterior | None = None
    infos: list[gp.SolveInfo] = []
    for done, index in enumerate(order):
        tile = cut[index]
        if _is_known(problem, tile) and not std:
            tile.add(mean, np.asarray(problem.observation.values)[tile.place])
            continue
        if not _seen(problem, tile):  # all transparent
            tile.add(mean, level)
            continue
        say = report if len(cut) == 1 else _within(report, done, len(cut))
        say("solving for the posterior mean")
        part = problem.part(*tile.place)
        if posterior is None:
            posterior = gp.condition(
                selection.covariances,
                observation=part.observation,
                through=problem.through,
                image_shape=None if problem.through is None else part.shape,
                channels=selection.channels,
                level=None if len(cut) == 1 else level,
                tolerance=tolerances(problem, noise_std),
            )
        else:
            posterior = posterior.given(part.observation)
        tile.add(mean, np.asarray(posterior.mean)[part.inner])
        infos.append(posterior.info)
        if deviations is not None:
            key_tile = jax.random.fold_in(key, index)
            variance = posterior.variance(key_tile, report=say)
            tile.add(deviations, np.sqrt(np.asarray(variance.value))[part.inner])
            infos.append(variance.info)
    failed = [info for info in infos if not info.converged]
    advice = _advice(failed[0] if failed else infos[0]) if infos else ""
    return Restoration(mean, deviations, not failed, advice)


def _cut(problem: Problem, reach: tuple[int, int]) -> list[Tile]:
    """Tiles of a large picture, one of another."""
    around = margin(problem, reach) if tiles.is_large(problem.shape) else None
    height, width = problem.observation.mask.shape
    return tiles.lay((height, width), problem.factor, around)


def _level(observation: Observation) -> np.ndarray:
    """(C,) means of what is seen, which maps leave as they are."""
    weights = np.asarray(observation.mask)
    sums = np.einsum("hwc,hw->c", observation.values, weights, dtype=np.float64)
    return np.asarray(sums / np.sum(weights, dtype=np.float64))


def _seen(problem: Problem, tile: Tile) -> int:
    """How much of a tile is seen."""
    return int(np.count_nonzero(np.asarray(problem.observation.mask)[tile.place]))


def _is_known(problem: Problem, tile: Tile) -> bool:
    """Whether a tile adds nothing to a picture whose known pixels are kept."""
    if not problem.keeps_known:
        return False
    return bool(np.asarray(problem.observation.mask)[tile.taken].all())


def _within(report: Report, done: int, count: int) -> Report:
    """Reports from one of several tiles."""

    def say(news: str, fraction: float | None = None) -> None:
        report(f"tile {done + 1} of {count}: {news}", done / count)

    return say


def _advice(info: gp.SolveInfo) -> str:
    """What can be done about a solver in the command's own terms."""
    if info.converged:
        return info.advice
    residual = float(np.max(np.asarray(info.residual)))
    return (
        f"the solver stopped at a residual of {residual:.1e}; compare it with "
        "a larger --noise, which is easier to solve for"
    )


def _reach(problem: Problem, covariances: Sequence[Covariance]) -> tuple[int, int]:
    """Of the covariance that reaches furthest along each axis."""
    each = [gp.find_reach(k, problem.shape[:2]) for k in covariances]
    return max(down for down, _ in each), max(right for _, right in each)


def _check_memory(
    problem: Problem, reach: tuple[int, int], std: bool, structure: str
) -> float:
    """Bytes that a restoration takes; ValueError where that is more than there is."""
    tile = _cut(problem, reach)[0]
    pixels = 1.0
    part = problem.part(*tile.place)
    for side, far in zip(part.shape[:2], reach, strict=True):
        size = max(side + far, 2 * far + 1)
        pixels *= scipy.fft.next_fast_len(size, real=True)
    through = problem.through is not None
    # Where everything is seen as it is, variances have a closed form.
    probes = through or not bool(np.asarray(problem.observation.mask).all())
    seen, shown = problem.observation.values.size, math.prod(problem.shown_shape)
    at_a_time = part.observation.mask.size
    total = memory.needed(pixels, at_a_time, problem.shape[2], through, std and probes)
    total += memory.of_arrays(seen, shown, std)
    height, width, _ = problem.shown_shape
    what, remedy = f"a picture of {width}x{height} pixels{structure}", _REMEDY
    if problem.hole > max(reach):
        what += f", with holes {2 * problem.hole:.0f} pixels wide,"
        remedy = _HOLE_REMEDY
    memory.check(total, what, remedy, problem.jobs)
    return total
