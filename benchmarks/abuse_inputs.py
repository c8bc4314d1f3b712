"""One bad argument at a time: what public functions make of it."""

import contextlib
import faulthandler
import itertools
import re
import signal
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import hypothesis
import jax
import numpy as np
from hypothesis.strategies import SearchStrategy

import dipgp
from benchmarks import abuse_commands, abuse_estimates, abuse_functions, abuse_runs
from benchmarks.abuse_calls import BadInput, Call, bad_inputs
from benchmarks.abuse_report import Row
from benchmarks.abuse_verdict import REFUSED, RESULT, Verdict

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


def functions(count: int, seed: int) -> Row:
    """Calls public functions with a bad argument each, so many times."""
    calls = by_name([*abuse_functions.calls(), *abuse_estimates.calls()])
    return _tried(
        f"calls of {len(calls)} public functions",
        bad_inputs(calls),
        lambda bad: judge(calls[bad.call], bad),
        count,
        seed,
    )


def commands(count: int, seed: int, scratch: Path) -> Row:
    """Runs command lines with a bad flag each, so many times."""
    lines = abuse_commands.command_lines(*abuse_runs.draw_pictures(scratch))
    folders = (scratch / f"line-{number}" for number in itertools.count())
    return _tried(
        f"command lines of {len(lines)} kinds",
        abuse_commands.bad_lines(lines),
        lambda bad: abuse_commands.judge(lines, bad, next(folders)),
        count,
        seed,
    )


def _tried(
    trial: str,
    strategy: SearchStrategy[Any],
    judge: Callable[[Any], Verdict],
    count: int,
    seed: int,
) -> Row:
    """Draws bad inputs and counts the verdicts."""
    kinds: Counter[str] = Counter()
    failures: dict[tuple[object, ...], str] = {}

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
        verdict = judge(bad)
        kinds[verdict.kind] += 1
        if not verdict.accepted:
            told = " ".join(verdict.told.split())[-300:]
            failures.setdefault((*bad[:2], verdict.kind), f"{bad!r:.200}: {told}")

    draw()
    outcome = ", ".join(f"{kinds[kind]} {kind}" for kind in sorted(kinds))
    words = [f"{kind}: {told}" for (*_, kind), told in failures.items()]
    return {
        "trial": trial,
        "times": kinds.total(),
        "outcome": outcome,
        "failures": words,
    }


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
    except TimeoutError as error:
        return Verdict("a hang", str(error))
    except Exception as error:
        return _refusal(error, bad.argument)
    if finite or bad.argument in call.passes_on:
        return Verdict(RESULT)
    return Verdict("a result that is not finite")


@contextlib.contextmanager
def _in_time() -> Iterator[None]:
    """Raises TimeoutError where a call takes too long; ends one that hears nothing."""

    def give_up(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"more than {_PATIENCE} s")

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
