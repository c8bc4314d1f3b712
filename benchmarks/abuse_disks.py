"""Folders that fill up, cannot be written to, vanish or are another's; SIGTERM."""

import contextlib
import functools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from benchmarks import abuse_runs
from benchmarks.abuse_runs import Case, Run
from benchmarks.abuse_trials import Row, Trial, row

# In kilobytes, of the 390 that a run takes: room for its lock, a checkpoint, and so on.
_DISKS = (4, 128, 256, 320, 368)
_ENOUGH = 16_384
_PATIENCE = 300.0


def trials(case: Case, folder: Path, terms: int) -> list[Trial]:
    """All that may happen to a run's folder, and to the run from outside.

    Args:
      case: a run that writes checkpoints and has one picture; is run undisturbed first.
      folder: where to; made.
      terms: how many SIGTERMs at random moments.
    """
    folder.mkdir(parents=True)
    whole = folder / "whole"
    Run(case, folder / "first").wait(_PATIENCE)  # compiles
    begun = time.monotonic()
    undisturbed = Run(case, whole)
    status = undisturbed.wait(_PATIENCE)
    assert status == 0, undisturbed.said()
    duration = time.monotonic() - begun
    mounted = may_mount()

    def trial(name: str, do: Callable[..., Row], *more: object) -> Trial:
        cut = folder / "-".join(name.split())
        return Trial(name, functools.partial(do, name, case, cut, whole, *more))

    def on_disk(name: str, do: Callable[..., Row], *more: object) -> Trial:
        return trial(name, do if mounted else _not_mounted, *more)

    return [
        trial("SIGTERM at random moments", _terminated, terms, duration),
        trial("two processes on one folder, the first then killed", _held),
        trial("the folder vanishes", _vanished),
        trial("the folder cannot be written to any more", _immutable),
        on_disk("a read-only file system", _read_only),
        *[on_disk(f"a full disk of {size} KB", _full, size) for size in _DISKS],
    ]


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
    name: str,
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
    outcome = (
        f"{told} said how to go on, {before} came before the program began, {ended} "
        "runs ended in between"
    )
    return row(name, told + before, outcome, failures)


def _held(name: str, case: Case, cut: Path, whole: Path, _: object) -> Row:
    first = _begun(case, cut)
    second = Run(case, cut, "--resume")
    failures = []
    if second.wait(_PATIENCE) != 2:
        failures.append("the second process was not refused")
    failures += complaint(second, f"process {first.pid}", socket.gethostname())
    first.signal(signal.SIGKILL)
    first.wait(_PATIENCE)
    failures += _resumed(case, cut, whole)
    return row(name, 1, "the second refused, the third took over", failures)


def _begun(case: Case, cut: Path) -> Run:
    """A run that has written a checkpoint."""
    run = Run(case, cut)
    while run.wait(0.01) is None and not list(cut.rglob("step-*")):
        pass
    return run


def _vanished(name: str, case: Case, cut: Path, whole: Path, _: object) -> Row:
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
    return row(name, 1, outcome, failures)


def _immutable(name: str, case: Case, cut: Path, whole: Path, _: object) -> Row:
    run = _begun(case, cut)
    # Hidden ones come and go.
    folders = [str(path) for path in (cut, *cut.rglob("[!.]*")) if path.is_dir()]
    done = subprocess.run(["chattr", "+i", *folders], capture_output=True, check=False)
    status = run.wait(_PATIENCE)
    subprocess.run(["chattr", "-i", *folders], capture_output=True, check=False)
    if done.returncode != 0:
        return row(name, 0, "left out: chattr +i is refused", [])
    if status == 0:
        return row(name, 0, "not tried: the run had ended", [])
    failures = complaint(run, str(cut), "--resume") + _resumed(case, cut, whole)
    return row(name, 1, "one sentence, and right when resumed", failures)


def _not_mounted(name: str, *_: object) -> Row:
    return row(name, 0, "left out: mounting is refused", [])


def _read_only(name: str, case: Case, disk: Path, *_: object) -> Row:
    with tmpfs(disk, _ENOUGH):
        _mount(disk, "-o", "remount,ro")
        run = Run(case, disk / "run", log=disk.with_suffix(".log"))
        status = run.wait(_PATIENCE)
        failures = complaint(run, str(disk / "run"), "Read-only")
        if status != 2:
            failures.append(f"exit status {status}")
    return row(name, 1, "refused", failures)


def _full(
    name: str, case: Case, disk: Path, whole: Path, kilobytes: int, _: object
) -> Row:
    failures, outcome = [], "there was room"
    with tmpfs(disk, kilobytes):
        run = Run(case, disk / "run", log=disk.with_suffix(".log"))
        if run.wait(_PATIENCE) != 0:
            outcome = "one sentence"
            failures += complaint(run, str(disk / "run"), "No space left")
            hidden = abuse_runs.left_behind(disk)
            failures += [f"left behind: {hidden}"] if hidden else []
        _mount(disk, "-o", f"remount,size={_ENOUGH}k")
        failures += _resumed(case, disk / "run", whole)
    return row(name, 1, f"{outcome}; right when resumed with room", failures)
