"""One picture, from file to files."""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from dipgp.command import chains, deviations, memory, noise, problems, process
from dipgp.command.options import GREY_LEVELS, Order
from dipgp.command.plans import Plan
from dipgp.command.problems import Problem
from dipgp.command.process import Restoration
from dipgp.files import remove_unfinished, write_atomically
from dipgp.photographs import Photograph, encode, format_of, read
from dipgp.progress import Report

Tell = Callable[[str], None]

# A restoration that takes more says so before it begins.
WORTH_SAYING = 2e9


class Outcome(NamedTuple):
    """What became of a picture.

    Attributes:
      source: its file.
      state: "done", "skipped", "not converged" or "failed".
      facts: what is worth a place in a line, in words.
      notes: what else there is to know, a line each.
    """

    source: Path
    state: str
    facts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def restore(order: Order, plan: Plan, report: Report, tell: Tell) -> Outcome:
    """Reads a picture, restores it, and writes what was asked for.

    Args:
      order: what was asked for.
      plan: the picture's files.
      report: is told how far the work is.
      tell: is told what should be known before the work begins.

    Raises:
      ValueError: where the picture cannot be read, restored or written; what a first
        of two methods has made by then stays.
      OSError: where a file cannot be written.
    """
    begun = time.perf_counter()
    report("reading")
    photograph = read(plan.source)
    check_outputs(photograph, plan, order.quality)
    problem = problems.pose(order, photograph, plan.mask)
    total = _announce(order, plan, problem)
    if total > WORTH_SAYING:
        tell(f"{plan.source}: takes about {memory.in_words(total)} of memory")
    noise_std = noise.estimate(problem, report)
    notes: list[str] = []
    found: dict[str, Restoration] = {}
    for method in plan.outputs:
        found[method] = _by(method, order, plan, problem, noise_std, report, tell)
        # At once, since the next method may take hours.
        notes += _write(order, plan, method, photograph, problem, found[method])
    if len(found) == 2:
        notes.append(_apart(photograph, problem, *found.values()))
    converged = all(each.converged for each in found.values())
    height, width, _ = photograph.colours.shape
    seconds = time.perf_counter() - begun
    larger = f" to {order.factor * width}x{order.factor * height}"
    enlarged = larger if order.task == "upscale" else ""
    how = "told as" if problem.noise_known else "estimated at"
    return Outcome(
        source=plan.source,
        state="done" if converged else "not converged",
        facts=(
            f"{width}x{height} pixels{enlarged}",
            f"noise {how} {GREY_LEVELS * noise_std:.2f} grey levels of 255",
            f"{seconds:.0f} s",
        ),
        notes=tuple(dict.fromkeys(notes)),
    )


def attempt(order: Order, plan: Plan, report: Report, tell: Tell) -> Outcome:
    """The same, with failures as outcomes, so that other pictures are not held up.

    Args:
      order: what was asked for.
      plan: the picture's files; one that is done is left alone.
      report: is told how far the work is.
      tell: is told what should be known before the work begins.
    """
    for path in plan.written:  # by one that was killed
        remove_unfinished(path.parent, path.name)
    if plan.done:
        return Outcome(plan.source, "skipped", ("there already",))
    try:
        return restore(order, plan, report, tell)
    except (ValueError, OSError, MemoryError, jax.errors.JaxRuntimeError) as error:
        # Whoever reads of it is told the picture's name already.
        words = _in_words(error).removeprefix(f"{plan.source}: ")
        return Outcome(plan.source, "failed", (words,))


def _in_words(error: Exception) -> str:
    """One sentence; XLA tells of memory in a page."""
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in text:
        return "memory ran out; try a smaller picture, or a part of it"
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return text or type(error).__name__


def check_outputs(photograph: Photograph, plan: Plan, quality: int) -> None:
    """Raises ValueError where a format cannot hold what was read, before long work."""
    alpha = photograph.alpha
    pixel = dataclasses.replace(
        photograph,
        colours=photograph.colours[:1, :1],
        alpha=None if alpha is None else alpha[:1, :1],
    )
    for path in plan.outputs.values():
        try:
            encode(pixel, format_of(path), quality)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error


def _announce(order: Order, plan: Plan, problem: Problem) -> float:
    """Bytes that the hungriest method takes; ValueError where there are not so many."""
    each = []
    if "gp" in plan.outputs:
        each.append(process.announce(problem, "gp" in plan.deviations))
    if "sgld" in plan.outputs:
        each.append(chains.announce(problem, chains.protocol_of(order)))
    return max(each)


def _by(
    method: str,
    order: Order,
    plan: Plan,
    problem: Problem,
    noise_std: float,
    report: Report,
    tell: Tell,
) -> Restoration:
    """What one method makes of a problem."""
    key, std = jax.random.key(order.seed), method in plan.deviations
    if method == "gp":
        return process.restore(problem, noise_std, std, key, report)
    output = plan.outputs[method]
    return chains.restore(
        problem,
        noise_std,
        chains.protocol_of(order),
        key,
        output.with_name(f".{output.name}.chain"),
        order.resume,
        report,
        lambda text: tell(f"{plan.source}: {text}"),
    )


def _apart(
    photograph: Photograph, problem: Problem, first: Restoration, second: Restoration
) -> str:
    """How far two methods' pictures are apart, in words."""
    one, other = (
        np.clip(problems.in_colours(photograph, found.mean), 0, 1)
        for found in (first, second)
    )
    levels = GREY_LEVELS * float(np.sqrt(np.mean(np.square(one - other))))
    return f"gp and sgld are {levels:.2f} grey levels of 255 apart (root mean square)"


def _write(
    order: Order,
    plan: Plan,
    method: str,
    photograph: Photograph,
    problem: Problem,
    found: Restoration,
) -> list[str]:
    """Writes one method's files, and says what is to be known of them."""
    if not np.isfinite(found.mean).all():
        raise ValueError(f"{method}: the restoration is not finite; {found.advice}")
    notes = []
    output = plan.outputs[method]
    better = problems.restored(order, photograph, problem, found.mean)
    content, left_out = encode(better, format_of(output), order.quality)
    for path in plan.written:
        path.parent.mkdir(parents=True, exist_ok=True)
    if method in plan.deviations and found.std is not None:
        std = problems.in_colours(photograph, found.std)
        words = deviations.write(plan.deviations[method], std)
        notes += [f"{plan.deviations[method][0]}: {words}"] * bool(words)
    # Last, since a picture that is there counts as done.
    write_atomically(output, content)
    notes += [f"left out of {output}: {', '.join(left_out)}"] * bool(left_out)
    if not found.converged:
        notes.append(f"{output} is written, but has not converged: {found.advice}")
    return notes
