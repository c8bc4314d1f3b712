"""One bad argument at a time: what public functions make of it."""

import concurrent.futures
import contextlib
import faulthandler
import functools
import re
import signal
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import hypothesis
import jax
import numpy as np
from hypothesis.strategies import SearchStrategy

import dipgp
from benchmarks import (
    abuse_commands,
    abuse_estimates,
    abuse_functions,
    abuse_workers,
)
from benchmarks.abuse_calls import BadInput, Call, bad_inputs
from benchmarks.abuse_trials import Row, Trial, row
from benchmarks.abuse_verdict import LONGER, REFUSED, RESULT, Verdict

_PATIENCE = 60  # seconds
# What an argument is called where it is handed on, or in words.
_MEANINGS = {
    "activation": ("layer",),
    "body": ("layer",),
    "branches": ("covariance",),
    "candidates": ("covariance",),
    "channels_down": ("channels",),
    "channels_up": ("channels",),
    "channels_skip": ("channels",),
    "covariances": ("mixture", "branches"),
    "downsample": ("method",),
    "held_out": ("observation",),
    "input": ("covariance", "shape"),
    "lengthscale": ("sigma",),
    "output_channels": ("channels",),
    "path": ("expected a still picture",),
    "tangent": ("covariance",),
    "upsample": ("method",),
    "values": ("mask", "observed", "image_shape", "channels"),
    "weights": ("mixture",),
}
_LIBRARY = str(Path(dipgp.__file__).parent)


def functions(count: int, seed: int, jobs: int) -> Trial:
    """Calls of public functions with a bad argument each.

    Args:
      count: of them.
      seed: of what is drawn.
      jobs: calls at a time.
    """
    name = f"calls of {len(_calls())} public functions"

    def run(_: np.random.Generator) -> Row:
        bad = drawn(bad_inputs(_calls()), count, seed)

        def lost(number: int, status: int | None) -> Verdict:
            return _end(_calls(), bad[number], status)

        prepare = functools.partial(_judge_of, bad)
        return _counted(name, bad, abuse_workers.verdicts(prepare, lost, count, jobs))

    return Trial(name, run)


def commands(count: int, seed: int, jobs: int, folder: Path) -> Trial:
    """Command lines with a bad argument each.

    Args:
      count: of them.
      seed: of what is drawn.
      jobs: lines at a time.
      folder: of what they read and write.
    """
    lines = abuse_commands.command_lines(folder)
    name = f"command lines of {len(lines)} kinds"

    def run(_: np.random.Generator) -> Row:
        bad = drawn(abuse_commands.bad_lines(lines), count, seed)
        folders = [folder / f"line-{number}" for number in range(count)]
        judge = functools.partial(abuse_commands.judge, lines)
        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            return _counted(name, bad, list(pool.map(judge, bad, folders)))

    return Trial(name, run)


@functools.cache
def _calls() -> Mapping[str, Call]:
    return by_name([*abuse_functions.calls(), *abuse_estimates.calls()])


def _judge_of(bad: Sequence[BadInput]) -> Callable[[int], Verdict]:
    """What judges each of some calls by its number."""
    calls = _calls()
    return lambda number: judge(calls[bad[number].call], bad[number])


def drawn(strategy: SearchStrategy[Any], count: int, seed: int) -> list[Any]:
    """So many examples, always the same ones."""
    found: list[Any] = []

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(strategy)
    def draw(bad: Any) -> None:
        found.append(bad)

    draw()
    return found


def _counted(name: str, bad: Sequence[Any], verdicts: Sequence[Verdict]) -> Row:
    """How many ended in which way, and what did not end as it should, once each."""
    kinds = Counter(verdict.kind for verdict in verdicts)
    failures: dict[tuple[object, ...], str] = {}
    for each, verdict in zip(bad, verdicts, strict=True):
        if not verdict.accepted:
            told = " ".join(verdict.told.split())[-300:]
            place = (*each[:2], verdict.kind)
            failures.setdefault(place, f"{verdict.kind}: {each!r:.200}: {told}")
    outcome = ", ".join(f"{kinds[kind]} {kind}" for kind in sorted(kinds))
    return row(name, len(bad), outcome, list(failures.values()))


def judge(call: Call, bad: BadInput) -> Verdict:
    """Calls a function with one bad argument.

    Args:
      call: the valid call.
      bad: which argument is exchanged, and for what.
    """
    arguments = {**call.arguments, bad.argument: bad.value}
    try:
        with _in_time(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = call.function(**arguments)
            finite = _is_finite(found)
    except TimeoutError:
        return _too_long(call, bad)
    except Exception as error:
        return _refusal(error, bad.argument)
    if finite or bad.argument in call.passes_on:
        return Verdict(RESULT)
    return Verdict("a result that is not finite")


def _too_long(call: Call, bad: BadInput) -> Verdict:
    """A hang, but where a whole number stands in the place of a smaller one."""
    value, valid = bad.value, call.arguments[bad.argument]
    longer = type(value) is int and type(valid) is int and value > valid
    return Verdict(LONGER if longer else "a hang", f"more than {_PATIENCE} s")


def _end(calls: Mapping[str, Call], bad: BadInput, status: int | None) -> Verdict:
    """What to think of a call whose process has ended."""
    if status == 1:  # by the timer in it
        return _too_long(calls[bad.call], bad)
    return Verdict("the end of the process", f"exit status {status}")


@contextlib.contextmanager
def _in_time() -> Iterator[None]:
    """Raises TimeoutError where a call takes too long; ends one that hears nothing."""

    def give_up(number: int, frame: FrameType | None) -> None:
        raise TimeoutError

    previous = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(_PATIENCE)
    faulthandler.dump_traceback_later(2 * _PATIENCE, exit=True)
    try:
        yield
    finally:
        signal.alarm(0)
        faulthandler.cancel_dump_traceback_later()
        signal.signal(signal.SIGALRM, previous)


def _refusal(error: Exception, argument: str) -> Verdict:
    """Whether an error is the library's own and names the argument."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    told = f"{type(error).__name__}: {error} ({frame.filename}:{frame.lineno})"
    if not frame.filename.startswith(_LIBRARY):
        return Verdict("an error from inside another library", told)
    if not isinstance(error, ValueError | TypeError | ImportError):
        return Verdict("an error that is neither of value nor of type", told)
    names = (argument.removesuffix("s"), *_MEANINGS.get(argument, ()))
    if not any(re.search(rf"\b{name}", str(error)) for name in names):
        return Verdict("a refusal that does not name the argument", told)
    return Verdict(REFUSED, told)


def _is_finite(found: Any) -> bool:
    """Whether all numbers of a result are real and finite."""
    for leaf in jax.tree.leaves(found):
        if not isinstance(leaf, jax.Array | np.ndarray | np.generic | float):
            continue
        if jax.dtypes.issubdtype(getattr(leaf, "dtype", float), jax.dtypes.prng_key):
            continue
        array = np.asarray(leaf)
        if np.iscomplexobj(array) or array.dtype.kind in "OSU":
            return False
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            return False
    return True


def by_name(calls: list[Call]) -> Mapping[str, Call]:
    """Calls under their names.

    Raises:
      ValueError: where two have one.
    """
    named = {call.name: call for call in calls}
    if len(named) < len(calls):
        names = [call.name for call in calls]
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"calls: expected each name once, got {twice} twice")
    return named
