"""The command's beginning and end: an order in, pictures and a summary out."""

import sys
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from dipgp.command import jobs, options, plans
from dipgp.command.options import Order
from dipgp.command.plans import Plan

if TYPE_CHECKING:
    from dipgp.command.work import Outcome

DONE, FAILED, SENSELESS, INTERRUPTED = 0, 1, 2, 130


def run(arguments: Sequence[str] | None = None) -> int:
    """Restores what the command line asks for.

    Args:
      arguments: without the program's name; those of the process by default.

    Returns:
      The exit status.
    """
    order = options.parse(arguments)
    try:
        found = plans.make(order)
    except ValueError as error:
        _tell(f"Error: {error}")
        return SENSELESS
    others = plans.passed_over(order.inputs)
    if others:
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        _tell(f"left alone: {others[0]}{more}; try converting to PNG, JPEG or TIFF")
    outcomes: list[Outcome] = []
    begun = time.monotonic()
    restore = jobs.restore_each if order.jobs > 1 else _restore_each
    try:
        for plan, outcome in restore(order, found):
            _print(outcome, plan)
            outcomes.append(outcome)
    except KeyboardInterrupt:
        _tell("stopped by the keyboard; add --resume to make what is missing")
        _summarise(outcomes, len(found), time.monotonic() - begun)
        return INTERRUPTED
    _summarise(outcomes, len(found), time.monotonic() - begun)
    failed = any(outcome.state not in ("done", "skipped") for outcome in outcomes)
    return FAILED if failed else DONE


def _restore_each(
    order: Order, found: Sequence[Plan]
) -> Iterator[tuple[Plan, "Outcome"]]:
    """One picture after the other, in this process."""
    # JAX takes seconds to load, which --help and mistakes need not wait for.
    from dipgp import compilation_cache, progress
    from dipgp.command import work

    compilation_cache.choose_folder()
    for number, plan in enumerate(found, start=1):
        place = f"{number}/{len(found)} " if len(found) > 1 else ""
        with progress.show(f"{place}{plan.source.name}") as report:
            outcome = work.attempt(order, plan, report, _tell)
        yield plan, outcome


def _print(outcome: "Outcome", plan: Plan) -> None:
    """A picture's line, and notes below it."""
    if outcome.state == "failed":
        _tell(f"{plan.source}: {'; '.join(outcome.facts)}")
        return
    outputs = ", ".join(map(str, plan.outputs.values()))
    print(f"{plan.source} -> {outputs}: {', '.join(outcome.facts)}", flush=True)
    for note in outcome.notes:
        print(f"  {note}", flush=True)


def _summarise(outcomes: Sequence["Outcome"], count: int, seconds: float) -> None:
    """How many of several pictures went which way, and which failed."""
    if count == 1:
        return
    states = [outcome.state for outcome in outcomes]
    parts = [
        f"{states.count(state)} {state}"
        for state in ("done", "skipped", "not converged", "failed")
        if state in states
    ]
    left = count - len(outcomes)
    parts += [f"{left} not begun"] * bool(left)
    print(f"{count} pictures: {', '.join(parts)}; {seconds:.0f} s", flush=True)
    for outcome in outcomes:
        if outcome.state in ("not converged", "failed"):
            print(f"  {outcome.state}: {outcome.source}", flush=True)


def _tell(text: str) -> None:
    print(" ".join(text.split()), file=sys.stderr, flush=True)
