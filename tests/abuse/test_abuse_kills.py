"""Processes that are killed without warning, in small."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from benchmarks import abuse_disks, abuse_kills, abuse_runs, abuse_trials
from dipgp.inference.checkpoint import Checkpoints

# Writes checkpoints as fast as it can, each of numbers that say which it is.
WRITER = """
import pathlib, sys
import numpy as np
from dipgp.inference.checkpoint import Checkpoints
kept = Checkpoints(pathlib.Path(sys.argv[1]), {"seed": 0})
state = {"weights": np.zeros(20_000)}
found = kept.restore(state)
step = 0 if found is None else found.step
while True:
    step += 1
    kept.save(step, {"weights": np.full(20_000, float(step))})
"""


def test_a_writer_of_checkpoints_killed_at_any_moment_leaves_a_sound_one(tmp_path):
    kept, last = Checkpoints(tmp_path / "steps", {"seed": 0}), 0
    for delay in (0.0, 0.013, 0.05):
        command = [sys.executable, "-c", WRITER, str(tmp_path / "steps")]
        process = subprocess.Popen(command)
        while True:
            time.sleep(0.01)
            found = kept.restore({"weights": np.zeros(20_000)})
            if found is not None and found.step > last:
                break
            assert process.poll() is None
        time.sleep(delay)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        found = kept.restore({"weights": np.zeros(20_000)})
        assert found.step > last
        assert not found.warnings
        np.testing.assert_array_equal(found.state["weights"], found.step)
        last = found.step


@pytest.fixture
def cases(tmp_path):
    """The benchmark's small runs by name."""
    with abuse_runs.shared_programs(tmp_path):
        found = abuse_runs.cases(*abuse_runs.draw_pictures(tmp_path))
        yield {str(case): case for case in found}


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", ["denoise: gp,psgld", "equivalence: slice sampler"])
def test_runs_killed_at_random_moments_end_as_if_left_alone(name, cases, tmp_path):
    (case,) = (case for found, case in cases.items() if found.startswith(name))
    random = np.random.default_rng(0)
    row = abuse_kills.kill(case, 3, tmp_path / "runs", random)
    assert row["times"] == 3
    assert not row["failures"]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_run_whose_folder_is_mistreated_ends_in_a_sentence(cases, tmp_path):
    if not abuse_disks.may_mount():
        pytest.skip("full disks need the right to mount one")
    case = cases["denoise: psgld"]
    found = abuse_disks.trials(case, tmp_path / "runs", 2)
    for row in abuse_trials.each(found, jobs=2, seed=0):
        assert not row["failures"], row["trial"]
