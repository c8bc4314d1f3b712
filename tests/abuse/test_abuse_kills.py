"""Processes that are killed without warning, in small."""

import itertools
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


class TestFakeRuns:
    """The count of kills, with runs that end as they are told."""

    @pytest.fixture
    def kill(self, tmp_path, monkeypatch):
        def with_endings(endings, count):
            endings = iter(endings)

            class Run:
                def __init__(self, *_):
                    self.status = next(endings)

                def wait(self, seconds=None):
                    return self.status

                def signal(self, number):
                    self.status = -number

                def said(self):
                    return "sorry"

            monkeypatch.setattr(abuse_kills, "Run", Run)
            # News are waited for until they come.
            monkeypatch.setattr(abuse_kills, "_wait_for_news", lambda *_: None)
            case = abuse_runs.Case("module", "methods", ())
            random = np.random.default_rng(0)
            return abuse_kills.kill(case, count, tmp_path / "runs", random)

        return with_endings

    def test_runs_are_killed_until_there_were_enough(self, kill):
        row = kill([0, 0, None, 0, None, None, 0], 3)
        assert (row["times"], row["failures"]) == (3, [])
        assert "2 runs ended" in row["outcome"]

    def test_what_fails_undisturbed_is_not_tried(self, kill):
        row = kill([0, 2], 3)
        assert row["times"] == 0
        assert row["failures"] == ["undisturbed: exit status 2: sorry"]

    def test_what_fails_again_and_again_comes_to_an_end(self, kill):
        row = kill(itertools.chain([0, 0], itertools.repeat(1)), 3)
        assert row["failures"] == ["exit status 1: sorry"] * 3

    def test_what_never_ends_is_a_failure(self, kill):
        row = kill([0, 0, None, None], 1)
        assert row["times"] == 1
        assert row["failures"] == ["went on for 300 s: sorry"]


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
