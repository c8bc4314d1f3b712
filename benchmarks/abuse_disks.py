"""Folders that fill up, cannot be written to, vanish or are another's; SIGTERM."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks import abuse_runs
from benchmarks.abuse_report import Row
from benchmarks.abuse_runs import Case, Run

# In kilobytes: for a lock file, a checkpoint, two, some results, all but the last.
_DISKS = (4, 128, 384, 512, 640)
_ENOUGH = 16_384
_PATIENCE = 300.0


def trials(
    case: Case, folder: Path, terms: int, random: np.random.Generator
) -> Iterator[Row]:
    """All that may happen to a run's folder, and to the run from outside.

    Args:
      case: a run that writes checkpoints and has one picture.
      folder: where to; made.
      terms: how many SIGTERMs at random moments.
      random: of the moments.
    """
    folder.mkdir(parents=True)
    whole = folder / "whole"
    Run(case, folder / "first").wait(_PATIENCE)  # compiles
    begun = time.monotonic()
    undisturbed = Run(case, whole)
    status = undisturbed.wait(_PATIENCE)
    assert status == 0, undisturbed.said()
    duration = time.monotonic() - begun
    yield _terminated(case, folder / "terminated", whole, terms, duration, random)
    yield _held(case, folder / "held", whole)
    yield _vanished(case, folder / "vanished", whole)
    yield _immutable(case, folder / "immutable", whole)
    if may_mount():
        yield _read_only(case, folder / "read-only")
        yield _full(case, folder / "full", whole)
    else:
        yield _left_out("full disks, a read-only file system", "mounting is refused")


def may_mount() -> bool:
    """Whether this process may mount a tmpfs."""
    return os.geteuid() == 0 and shutil.which("mount") is not None and _mounts()


def _mounts() -> bool:
    with tempfile.TemporaryDirectory() as folder:
        try:
            with tmpfs(Path(folder), 64):
                return True
        except subprocess.CalledProcessError:
            return False


@contextlib.contextmanager
def tmpfs(folder: Path, kilobytes: int) -> Iterator[None]:
    """A file system of so many kilobytes at a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    _mount(folder, "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def _mount(folder: Path, *options: str) -> None:
    subprocess.run(["mount", *options, str(folder)], check=True, capture_output=True)


def complaint(run: Run, *words: str) -> list[str]:
    """What is wrong with how a run ended that had to refuse or give up.

    Args:
      run: which has ended.
      words: that its one sentence must have.
    """
    said = run.said()
    lines = [line for line in said.splitlines() if line.startswith("Error: ")]
    if "Traceback" in said or len(lines) != 1:
        return [f"expected one sentence, got {said[-2000:]}"]
    missing = [word for word in words if word not in lines[0]]
    return [f"expected {missing} in: {lines[0]}"] if missing else []


def _resumed(case: Case, cut: Path, whole: Path) -> list[str]:
    """What is wrong with the result of a run that goes on."""
    run = Run(case, cut, "--resume")
    if (status := run.wait(_PATIENCE)) != 0:
        return [f"resumed: exit status {status}: {run.said()[-2000:]}"]
    if changed := abuse_runs.differences(whole, cut):
        return [f"resumed: another result than undisturbed in {changed}"]
    hidden = abuse_runs.left_behind(cut)
    return [f"left behind: {hidden}"] if hidden else []


def _terminated(
    case: Case,
    cut: Path,
    whole: Path,
    count: int,
    duration: float,
    random: np.random.Generator,
) -> Row:
    failures: list[str] = []
    told = before = ended = 0
    while told + before < count:
        run = Run(case, cut, "--resume")
        if run.wait(duration * random.uniform()) is None:
            run.signal(signal.SIGTERM)
        status = run.wait(_PATIENCE)
        if status == -signal.SIGTERM:
            before += 1  # while Python was still importing
        elif status == 130:
            told += 1
            failures += complaint(run, "--resume")
        elif status == 0:
            ended += 1
            failures += [f"differs in {d}" for d in abuse_runs.differences(whole, cut)]
            shutil.rmtree(cut)
        else:
            failures.append(f"exit status {status}: {run.said()[-2000:]}")
            break
    failures += _resumed(case, cut, whole)
    return {
        "trial": "SIGTERM at random moments",
        "times": told + before,
        "outcome": f"{told} said how to go on, {before} came before the program began, "
        f"{ended} runs ended in between",
        "failures": failures,
    }


def _left_out(trial: str, why: str) -> Row:
    return {"trial": trial, "times": 0, "outcome": f"left out: {why}", "failures": []}


def _held(case: Case, cut: Path, whole: Path) -> Row:
    first = _begun(case, cut)
    second = Run(case, cut, "--resume")
    failures = []
    if second.wait(_PATIENCE) != 2:
        failures.append("the second process was not refused")
    failures += complaint(second, f"process {first.pid}", socket.gethostname())
    first.signal(signal.SIGKILL)
    first.wait(_PATIENCE)
    failures += _resumed(case, cut, whole)
    return {
        "trial": "two processes on one folder, the first then killed",
        "times": 1,
        "outcome": "the second refused, the third took over",
        "failures": failures,
    }


def _begun(case: Case, cut: Path) -> Run:
    """A run that has written a checkpoint."""
    run = Run(case, cut)
    while run.wait(0.01) is None and not list(cut.rglob("step-*")):
        pass
    return run


def _vanished(case: Case, cut: Path, whole: Path) -> Row:
    run = _begun(case, cut)
    while cut.exists():
        shutil.rmtree(cut, ignore_errors=True)
    status = run.wait(_PATIENCE)
    if status == 0:
        outcome = "made anew, with the right results"
        changed = abuse_runs.differences(whole, cut)
        failures = [f"differs in {changed}"] if changed else []
    else:
        outcome = "one sentence"
        failures = complaint(run, str(cut)) + _resumed(case, cut, whole)
    return {
        "trial": "the folder vanishes",
        "times": 1,
        "outcome": outcome,
        "failures": failures,
    }


def _immutable(case: Case, cut: Path, whole: Path) -> Row:
    run = _begun(case, cut)
    folders = [str(path) for path in (cut, *cut.rglob("*")) if path.is_dir()]
    done = subprocess.run(["chattr", "+i", *folders], capture_output=True, check=False)
    status = run.wait(_PATIENCE)
    trial = "the folder cannot be written to any more"
    if done.returncode != 0:
        return _left_out(trial, "chattr +i is refused")
    subprocess.run(["chattr", "-i", *folders], check=True)
    failures = complaint(run, str(cut), "--resume") if status != 0 else []
    failures += _resumed(case, cut, whole)
    return {
        "trial": trial,
        "times": 1,
        "outcome": "one sentence, and right when resumed",
        "failures": failures,
    }


def _read_only(case: Case, disk: Path) -> Row:
    with tmpfs(disk, _ENOUGH):
        _mount(disk, "-o", "remount,ro")
        run = Run(case, disk / "run", log=disk.with_suffix(".log"))
        status = run.wait(_PATIENCE)
        failures = complaint(run, str(disk / "run"), "Read-only")
        if status != 2:
            failures.append(f"exit status {status}")
    return {
        "trial": "a read-only file system",
        "times": 1,
        "outcome": "refused",
        "failures": failures,
    }


def _full(case: Case, disk: Path, whole: Path, sizes: Sequence[int] = _DISKS) -> Row:
    failures, gave_up = [], 0
    for kilobytes in sizes:
        place = disk / str(kilobytes)
        with tmpfs(place, kilobytes):
            run = Run(case, place / "run", log=disk / f"{kilobytes}.log")
            status = run.wait(_PATIENCE)
            if status != 0:
                gave_up += 1
                words = (str(place / "run"), "No space left")
                failures += [f"{kilobytes} KB: {f}" for f in complaint(run, *words)]
                hidden = abuse_runs.left_behind(place)
                failures += [f"{kilobytes} KB: left behind: {h}" for h in hidden]
            _mount(place, "-o", f"remount,size={_ENOUGH}k")
            resumed = _resumed(case, place / "run", whole)
            failures += [f"{kilobytes} KB: {failure}" for failure in resumed]
    return {
        "trial": f"full disks of {sizes[0]} to {sizes[-1]} KB",
        "times": len(sizes),
        "outcome": f"{gave_up} ended in one sentence; all right when resumed with room",
        "failures": failures,
    }
