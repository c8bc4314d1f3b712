import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from experiments.common import UserError
from experiments.run_folders import LOCK_FILE, open_run_folders

# Another process that holds a folder until it ends.
HOLDER = """
import fcntl, os, sys, time
file = open(sys.argv[1], "w")
fcntl.flock(file, fcntl.LOCK_EX)
file.write(f"process {os.getpid()} on elsewhere")
file.flush()
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    command = [sys.executable, "-c", HOLDER, str(tmp_path / LOCK_FILE)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def opened(output_dir: Path, *names: str) -> dict[str, Path]:
    with open_run_folders(str(output_dir), names) as folders:
        return folders


class TestFolders:
    def test_one_image_needs_no_folder_of_its_own(self, tmp_path):
        assert opened(tmp_path / "run", "a") == {"a": tmp_path / "run"}
        assert not list((tmp_path / "run").iterdir())

    def test_several_images_get_a_folder_each(self, tmp_path):
        folders = opened(tmp_path / "deep/run", "a", "b")
        assert folders["b"] == tmp_path / "deep/run/b"
        assert all(folder.is_dir() for folder in folders.values())

    def test_a_folder_may_exist(self, tmp_path):
        assert opened(tmp_path, "a") == {"a": tmp_path}

    @pytest.mark.parametrize("name", ["file", "file/run"])
    def test_a_file_is_refused(self, tmp_path, name):
        (tmp_path / "file").touch()
        with pytest.raises(
            UserError, match=f"--output_dir=.*{name}: expected a folder"
        ):
            opened(tmp_path / name, "a")

    def test_a_folder_that_cannot_be_written_to_is_refused(self, tmp_path, monkeypatch):
        def refuse(**_):
            raise PermissionError(13, "Permission denied")

        # Permissions would not stop a test that the superuser runs.
        monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
        with pytest.raises(UserError, match="written to, got Permission denied"):
            opened(tmp_path, "a")

    def test_what_a_killed_writer_left_is_removed(self, tmp_path):
        for folder in (tmp_path, tmp_path / "a"):
            unfinished = folder / ".writing-x" / "restored.png"
            unfinished.parent.mkdir(parents=True)
            unfinished.write_bytes(b"half")
        opened(tmp_path, "a", "b")
        assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "b"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such locks")
class TestLock:
    def test_a_folder_is_one_runs_at_a_time(self, tmp_path):
        with open_run_folders(str(tmp_path), ["a"]):
            found = f"got that of process {os.getpid()} on {socket.gethostname()}"
            with pytest.raises(UserError, match=f"^--output_dir=.*{found}"):
                opened(tmp_path, "a")
        assert opened(tmp_path, "a")

    def test_another_process_is_named(self, tmp_path, holder):
        with pytest.raises(UserError, match=f"process {holder.pid} on elsewhere"):
            opened(tmp_path, "a")

    def test_that_of_a_process_that_was_killed_is_taken_over(self, tmp_path, holder):
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        assert (tmp_path / LOCK_FILE).exists()
        with open_run_folders(str(tmp_path), ["a"]):
            assert str(os.getpid()) in (tmp_path / LOCK_FILE).read_text()
        assert not (tmp_path / LOCK_FILE).exists()

    def test_a_folder_that_was_made_anew_meanwhile_is_anothers(self, tmp_path):
        folder = tmp_path / "run"
        with open_run_folders(str(folder), ["a"]):
            (folder / LOCK_FILE).unlink()
            (folder / LOCK_FILE).write_text("process 1 on elsewhere")
        assert (folder / LOCK_FILE).exists()

    def test_a_folder_that_vanishes_is_no_error(self, tmp_path):
        folder = tmp_path / "run"
        with open_run_folders(str(folder), ["a"]):
            (folder / LOCK_FILE).unlink()
            folder.rmdir()
