import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from two_processes import FAILURES, restored, state

from dipgp.inference import checkpoint_file
from dipgp.inference.checkpoint import CheckpointError, Checkpoints

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("two_processes.py")


def start_both(folder, *death):
    """Exit statuses, and what was said, of two processes with a folder in common."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    both = [
        subprocess.Popen(
            [sys.executable, SCRIPT, address, str(number), folder, *death],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for number in range(2)
    ]
    said = [process.communicate(timeout=120)[0] for process in both]
    return [process.returncode for process in both], said


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What two processes have left, who met a checkpoint of one process."""
    folder = tmp_path_factory.mktemp("shared")
    Checkpoints(folder / "one", {}).save(7, state(7))
    statuses, said = start_both(folder)
    assert statuses == [0, 0], said
    return folder


@pytest.fixture(scope="module")
def told(folder):
    return [json.loads((folder / f"{number}.json").read_text()) for number in range(2)]


@pytest.fixture
def copied(folder, tmp_path):
    """A folder that two processes have left, to be written into."""
    return lambda name: Path(shutil.copytree(folder / name, tmp_path / "copy"))


def both(told, name):
    return [each[name] for each in told]


def files(folder, suffix):
    return sorted(path.name for path in folder.glob(f"*.{suffix}"))


class TestTwoProcesses:
    def test_each_reads_what_one_or_two_have_written(self, told):
        assert both(told, "saved") == [["", "", ""]] * 2
        assert both(told, "of two") == [[3, True, []]] * 2
        assert both(told, "of one process") == [[7, True, []]] * 2
        assert both(told, "of nobody") == [None, None]

    def test_each_has_written_its_own_chains(self, folder):
        assert len(files(folder / "two", "checkpoint")) == 2
        parts = [checkpoint_file.read(path) for path in (folder / "two").glob("*.part")]
        assert sorted(part.header["process"] for part in parts) == [0, 0, 1, 1]
        # Of two chains: six numbers of four bytes, and a key of eight.
        assert {len(part.payload) for part in parts} == {2 * (24 + 8)}

    def test_one_goes_on_alone(self, copied):
        two = copied("two")
        assert restored(two, None) == [3, True, []]
        Checkpoints(two, {}).save(4, state(4))
        assert len(files(two, "part")) == 2
        Checkpoints(two, {}).save(5, state(5))
        assert files(two, "part") == []
        assert restored(two, None) == [5, True, []]

    @pytest.mark.parametrize("name", list(FAILURES))
    def test_a_failure_ends_both_and_costs_no_earlier_step(self, copied, told, name):
        process, _ = FAILURES[name]
        said = both(told, name)
        assert "disk full" in said[process]
        assert f"process {process} could not write step 2" in said[1 - process]
        assert both(told, f"after {name}") == [[1, True, []]] * 2
        # One alone sees the same, and clears away what was left.
        left = copied(name)
        assert restored(left, None) == [1, True, []]
        Checkpoints(left, {}).save(2, state(2))
        assert len(files(left, "part")) == 2

    def test_folders_that_are_not_the_same_are_told(self, told):
        first, second = both(told, "apart")
        assert "apart 0: expected a folder that all processes see" in first
        assert "which process 1 has written, got none" in first
        assert "apart 1: process 0 could not write step 1" in second

    def test_what_one_cannot_read_none_goes_on_from(self, folder, told):
        first, second = both(told, "of damaged")
        assert [first[:2], second[:2]] == [[1, True]] * 2
        assert first[2] == ["passed over step 2, damaged for another process"]
        assert "truncated or damaged" in second[2][0]
        step, same, (warning,) = restored(folder / "damaged", None)
        assert (step, same) == (1, True)
        assert "truncated or damaged" in warning

    def test_a_step_without_a_part_is_passed_over_and_written_over(self, copied):
        two = copied("two")
        with pytest.raises(CheckpointError, match=r"^step: expected none before 3"):
            Checkpoints(two, {}).save(2, state(2))
        for path in two.glob("step-*3-*.part"):
            path.unlink()
        step, same, (warning,) = restored(two, None)
        assert (step, same) == (2, True)
        assert "found no such file" in warning
        Checkpoints(two, {}).save(2, state(2))
        assert files(two, "checkpoint") == ["step-0000000002.checkpoint"]
        assert files(two, "part") == []

    def test_parts_without_a_step_are_nothing(self, copied):
        lonely = copied("apart 1")
        assert len(files(lonely, "part")) == 1
        assert restored(lonely, None) is None
        Checkpoints(lonely, {}).forget()
        assert list(lonely.iterdir()) == []


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", list(FAILURES))
def test_a_kill_within_saving_leaves_a_sound_step(tmp_path, name, when):
    process, file = FAILURES[name]
    statuses, said = start_both(tmp_path, f"{process} {file} {when}")
    assert statuses[process] == -signal.SIGKILL
    assert statuses[1 - process] != 0, said
    whole = file == 2 and when == "after"
    assert restored(tmp_path, None) == [2 if whole else 1, True, []]
    for step in (3, 4):
        Checkpoints(tmp_path, {}).save(step, state(step))
    assert len(list(tmp_path.iterdir())) == 2
