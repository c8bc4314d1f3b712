"""SIGKILL at random moments: a run that goes on ends as one that was left alone."""

import contextlib
import functools
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks import abuse_runs
from benchmarks.abuse_runs import Case, Run
from benchmarks.abuse_trials import Row, Trial, row

# No run under test takes longer, even beside others.
_PATIENCE = 300.0
# Failures of one case, after which no more are looked for.
_TOLD = 3


def trials(cases: Sequence[Case], kills: int, folder: Path) -> list[Trial]:
    """One of each case.

    Args:
      cases: what to run.
      kills: in all, shared out over the cases; those that get none are left out.
      folder: where to.
    """
    found = []
    for number, case in enumerate(cases):
        # The first ones take one more where the number does not divide.
        count = (kills + len(cases) - 1 - number) // len(cases)
        if count:
            do = functools.partial(kill, case, count, folder / str(number))
            found.append(Trial(str(case), do))
    return found


def kill(case: Case, count: int, folder: Path, random: np.random.Generator) -> Row:
    """Kills runs of one case until that many have been killed, and lets each end.

    Every other moment is uniform over the time that an undisturbed run takes once its
    programs are compiled; the rest come once the run has written something, uniform
    over what is then left. A run that goes on is killed again, until it ends.

    Args:
      case: what to run.
      count: kills.
      folder: where to; made.
      random: of the moments.

    Returns:
      What happened, and "failures": sentences on runs that did not end as they should.
    """
    folder.mkdir(parents=True)
    failures: list[str] = []
    whole = folder / "whole"
    for name in ("first", "whole"):  # the first compiles
        begun = time.monotonic()
        run = Run(case, folder / name)
        _wait_for_news(run, folder / name, set())
        in_silence = time.monotonic() - begun
        if (status := run.wait(_PATIENCE)) != 0:
            told = f"undisturbed: exit status {status}: {run.said()}"
            return row(str(case), 0, "not tried", [told])
        duration = time.monotonic() - begun
    if changed := abuse_runs.differences(folder / "first", whole):
        failures.append(f"two undisturbed runs differ in {changed}")
    killed, ended, in_advance = 0, 0, 0
    cut = folder / "cut-0"
    while True:
        known = _written(cut)
        run = Run(case, cut, "--resume")
        if killed >= count:
            status = run.wait(_PATIENCE)
        elif killed % 2:
            _wait_for_news(run, cut, known)
            status = run.wait((duration - in_silence) * random.uniform())
        else:
            status = run.wait(duration * random.uniform())
        if status is None:
            run.signal(signal.SIGKILL)
            status = run.wait()  # which may have ended by itself just then
        if status == -signal.SIGKILL and killed < count:
            killed += 1
            in_advance += bool(_written(cut))
            continue
        ended += 1
        if status == -signal.SIGKILL:
            failures.append(f"went on for {_PATIENCE:.0f} s: {run.said()}")
        elif status != 0:
            failures.append(f"exit status {status}: {run.said()}")
        elif changed := abuse_runs.differences(whole, cut):
            failures.append(f"another result than undisturbed in {changed}")
        elif hidden := abuse_runs.left_behind(cut):
            failures.append(f"left behind: {hidden}")
        if killed >= count or len(failures) >= _TOLD:
            break
        cut = folder / f"cut-{ended}"
    told = (
        f"{in_advance} came once something was written; {ended} runs ended, "
        f"undisturbed in {duration:.0f} s"
    )
    return row(str(case), killed, told, failures)


def _written(folder: Path) -> set[tuple[str, int]]:
    """Names and times of all that is not hidden."""
    found = set()
    # Steps come and go, and folders too, which os.walk passes over.
    for parent, _, names in os.walk(folder):
        for path in (os.path.join(parent, name) for name in names if name[0] != "."):
            with contextlib.suppress(FileNotFoundError):
                found.add((path, os.stat(path).st_mtime_ns))
    return found


def _wait_for_news(run: Run, folder: Path, known: set[tuple[str, int]]) -> None:
    """Returns when a run has written something, or has ended."""
    while run.wait(0.005) is None and _written(folder) <= known:
        pass
