"""A whole experiment that is killed without warning, and gone on with."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

FILES = ("restored.png", "trace.csv", "uncertainty.png")
PERIOD = 10


def command(picture: str, folder: Path, *more: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "experiments.denoise",
        f"--image={picture}",
        f"--output_dir={folder}",
        "--method=psgld",
        "--channels=4",
        "--iterations=1500",
        f"--log_every={PERIOD}",
        "--checkpoint_minutes=1e-6",  # after each period
        *more,
    ]


def checkpoints(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("step-*.checkpoint"))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_at_any_moment_it_loses_a_period_and_ends_as_if_it_had_not_been(
    photographs, tmp_path
):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    subprocess.run(command(photographs[0], whole), check=True)
    killed = []
    for delay in (0.0, 0.05, 0.31):
        process = subprocess.Popen(command(photographs[0], cut, "--resume"))
        known = checkpoints(cut)
        while process.poll() is None and checkpoints(cut) == known:
            time.sleep(0.002)
        time.sleep(delay)
        assert process.poll() is None, "the run was over before it was killed"
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        killed.append(checkpoints(cut)[-1])
        assert not (cut / "metrics.json").exists()
    assert killed == sorted(set(killed)), "each run went on from the one before"
    subprocess.run(command(photographs[0], cut, "--resume"), check=True)
    for name in FILES:
        assert (cut / name).read_bytes() == (whole / name).read_bytes()
