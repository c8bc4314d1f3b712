import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from dipgp.images import save_image
from experiments import denoise, processes
from experiments.common import UserError
from experiments.network_settings import NetworkSettings

ROOT = Path(__file__).parents[2]
LOST = "has lost touch with another", "another task died"


class Team:
    """Processes of one run on this machine, which end with the block.

    They meet by flags, or by the variables that Slurm sets.
    """

    def __init__(self, folder, *arguments, count=2, devices=1, slurm=False):
        folder.mkdir(exist_ok=True)
        flags = os.environ.get("XLA_FLAGS", "")
        flags += f" --xla_force_host_platform_device_count={devices}"
        environment = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
        command = [sys.executable, "-m", "experiments.denoise", *arguments]
        command += [f"--output_dir={folder}", "--noise_std=25"]
        if count > 1 and slurm:
            environment |= {"JAX_COORDINATOR_PORT": str(free_port())}
            command += ["--distributed=auto", "--heartbeat_timeout=10"]
        elif count > 1:
            command += [f"--coordinator_address=127.0.0.1:{free_port()}"]
            command += [f"--num_processes={count}", "--heartbeat_timeout=10"]
        self._logs = [folder.parent / f"{folder.name}_{i}.log" for i in range(count)]
        self.members = []
        for number, log in enumerate(self._logs):
            own = [f"--process_id={number}"] if count > 1 and not slurm else []
            variables = slurm_variables(count, number) if slurm else {}
            with log.open("w") as output:
                self.members.append(
                    subprocess.Popen(
                        command + own,
                        cwd=ROOT,
                        env=environment | variables,
                        stdout=output,
                        stderr=subprocess.STDOUT,
                    )
                )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for member in self.members:
            with contextlib.suppress(ProcessLookupError):
                member.kill()
            member.wait()

    def wait(self):
        """What each said, by its exit status."""
        statuses = [member.wait(800) for member in self.members]
        return list(zip(statuses, (log.read_text() for log in self._logs), strict=True))


def slurm_variables(count, number):
    """What `srun` tells a task, of those that JAX reads."""
    return {
        "SLURM_JOB_ID": "1",
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_NTASKS": str(count),
        "SLURM_PROCID": str(number),
        "SLURM_LOCALID": str(number),
    }


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def finish(*arguments, **settings):
    """What the processes said, each of which must have come to its end."""
    with Team(*arguments, **settings) as team:
        ends = team.wait()
    assert [status for status, _ in ends] == [0] * len(ends), ends
    return [said for _, said in ends]


def results(folder):
    record = json.loads((folder / "metrics.json").read_text())
    samples = np.load(folder / "samples.npz")["samples"]
    std = np.load(folder / "uncertainty.npz")["std"]
    return record["psnr_unclipped"], samples, std


def assert_same_results(found, expected):
    for one, other in zip(results(found), results(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def wait_for_checkpoint(folder, team):
    pattern = "checkpoints/psgld/step-*.checkpoint"
    while len(list(folder.glob(pattern))) < 2:
        assert all(member.poll() is None for member in team.members)
        time.sleep(0.05)


@pytest.fixture(scope="module")
def arguments(tmp_path_factory):
    path = tmp_path_factory.mktemp("image") / "grey.png"
    save_image(path, np.random.default_rng(0).uniform(size=(12, 16)))
    # A period a step, so that there is a checkpoint to be killed after.
    return (
        f"--image={path}",
        "--method=psgld",
        "--preset=smoke",
        "--channels=4",
        "--iterations=150",
        "--burn_in=20",
        "--chains=4",
        "--samples=4",
        "--log_every=1",
    )


@pytest.fixture(scope="module")
def alone(arguments, tmp_path_factory):
    folder = tmp_path_factory.mktemp("one") / "run"
    finish(folder, *arguments, "--checkpoint_minutes=0", count=1)
    return folder


@pytest.mark.slow
@pytest.mark.timeout(1800)
class TestChainsOfOneImage:
    def test_a_process_that_dies_ends_the_other_and_one_goes_on(
        self, arguments, alone, tmp_path
    ):
        folder, often = tmp_path / "run", "--checkpoint_minutes=0.001"
        with Team(folder, *arguments, often) as team:
            wait_for_checkpoint(folder, team)
            team.members[1].kill()
            begun = time.monotonic()
            (status, said), _ = team.wait()
            print(f"the other ended after {time.monotonic() - begun:.1f} s", status)
        assert status in (2, -signal.SIGABRT)
        assert any(words in said for words in LOST)
        finish(folder, *arguments, "--resume", count=1)
        assert_same_results(folder, alone)

    def test_a_signal_to_one_ends_both_and_two_with_two_devices_go_on(
        self, arguments, alone, tmp_path
    ):
        folder, often = tmp_path / "run", "--checkpoint_minutes=0.001"
        with Team(folder, *arguments, often, count=1) as team:
            wait_for_checkpoint(folder, team)
            team.members[0].kill()
        with Team(folder, *arguments, often, "--resume", devices=2) as team:
            time_of_first = newest(folder)
            while newest(folder) == time_of_first:
                assert all(member.poll() is None for member in team.members)
                time.sleep(0.05)
            team.members[1].terminate()
            ends = team.wait()
        assert [status for status, _ in ends] == [130, 130], ends
        assert all("add --resume to go on" in said for _, said in ends)
        first, second = finish(folder, *arguments, "--resume", devices=2)
        assert "psgld: PSNR" in first
        assert "psgld" not in second
        assert_same_results(folder, alone)


def newest(folder):
    return max(path.name for path in folder.glob("checkpoints/psgld/step-*.checkpoint"))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_images_are_shared_and_the_first_process_writes_the_table(
    tmp_path, photographs
):
    one, two = tmp_path / "one", tmp_path / "two"
    images = [f"--image={path}" for path in photographs]
    finish(one, *images, "--depth=2", "--sigma=1", count=1)
    first, second = finish(two, *images, "--depth=2", "--sigma=1", slurm=True)
    assert "grey: gp" in first
    assert "colour: gp" not in first
    assert "colour: gp" in second
    assert "| average |" in first
    assert "| average |" not in second
    tables = [json.loads((folder / "table.json").read_text()) for folder in (one, two)]
    for table in tables:
        for row in (*table["images"], *table["averages"]):
            del row["seconds"]
    assert tables[0] == tables[1]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_work_that_cannot_be_shared_is_refused_by_all(tmp_path, photographs):
    with Team(tmp_path / "run", f"--image={photographs[0]}") as team:
        for status, said in team.wait():
            assert status == 2
            assert "--method=gp: expected one of sgld, psgld, noisy_adam" in said


class TestFlags:
    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            (["--num_processes=2"], "--coordinator_address=None: expected host and"),
            (["--coordinator_address=here"], "--coordinator_address=here: expected"),
            (
                ["--coordinator_address=a:1", "--process_id=0"],
                "--num_processes=None: expected a number of at least 1",
            ),
            (
                ["--coordinator_address=a:1", "--num_processes=2", "--process_id=2"],
                "--process_id=2: expected this process's number, from 0 to below 2",
            ),
            (
                ["--distributed=auto", "--process_id=0"],
                "--process_id=0: expected no such flag beside --distributed=auto",
            ),
            (
                ["--distributed=auto", "--heartbeat_timeout=0"],
                "--heartbeat_timeout=0: expected at least 1 second",
            ),
        ],
    )
    def test_processes_that_cannot_meet(self, binary, capsys, arguments, expected):
        assert binary(processes.together(lambda: 0), *arguments) == 2
        assert f"Error: {expected}" in capsys.readouterr().err

    def test_without_flags_a_run_is_alone(self, binary):
        assert binary(processes.together(lambda: 7)) == 7

    @pytest.mark.parametrize("devices", ["0", "-1", "some"])
    def test_devices_are_all_or_a_number(self, binary, capsys, devices):
        status = binary(denoise.config_from_flags, f"--devices={devices}")
        assert status == 2
        assert f"--devices={devices}: expected all, or a num" in capsys.readouterr().err


@pytest.fixture
def two_processes(monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(jax, "process_index", lambda: 1)


class TestShares:
    def test_images_in_turn(self, two_processes):
        assert processes.own_share(["a", "b", "c"]) == ["b"]
        assert not processes.is_first()

    @pytest.mark.parametrize(
        ("method", "chains", "expected"),
        [
            ("sgd", 2, r"^--method=sgd: expected one of sgld, psgld, noisy_adam,"),
            ("psgld", 3, r"^--chains=3: expected a multiple of the 2 processes"),
        ],
    )
    def test_work_that_several_would_do_alike(
        self, two_processes, method, chains, expected
    ):
        settings = {
            name: NetworkSettings(channels=(4,), iterations=2, stop_at=1, chains=number)
            for name, number in (("sgld", 4), (method, chains))
        }
        processes.check_work(settings, ["sgld"])
        with pytest.raises(UserError, match=expected):
            processes.check_work(settings, ["sgld", method])

    def test_one_process_has_all(self):
        records = [{"image": "a"}]
        assert processes.collect(records) is records
        assert processes.own_share(["a", "b"]) == ["a", "b"]
        assert processes.all_agree(True)
        assert not processes.all_agree(False)
