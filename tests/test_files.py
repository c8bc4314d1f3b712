import contextlib
import errno
import os
import tempfile
from pathlib import Path

import pytest

from dipgp.files import read_file, remove_unfinished, write_atomically


def test_what_is_written_is_read_again(tmp_path):
    write_atomically(tmp_path / "file", b"content")
    assert read_file(tmp_path / "file", "something") == b"content"


def test_writing_replaces_an_older_file_and_leaves_nothing_beside_it(tmp_path):
    path = tmp_path / "file"
    write_atomically(path, b"old")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_what_killed_writers_left_is_removed_file_by_file(tmp_path, monkeypatch):
    @contextlib.contextmanager
    def never_cleaned(**options):
        yield tempfile.mkdtemp(**options)

    with monkeypatch.context() as patched:
        patched.setattr(tempfile, "TemporaryDirectory", never_cleaned)
        for name in ("one", "other", "n" * 200):
            write_atomically(tmp_path / name, b"content")
    assert len(list(tmp_path.glob(".*"))) == 3
    remove_unfinished(tmp_path, "one")
    assert len(list(tmp_path.glob(".*"))) == 2
    remove_unfinished(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"one", "other", "n" * 200}


def test_written_files_have_the_usual_permissions(tmp_path):
    (tmp_path / "usual").write_bytes(b"")
    write_atomically(tmp_path / "file", b"content")
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_failed_write_keeps_the_older_file_and_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("disk on fire")

    path = tmp_path / "file"
    write_atomically(path, b"old")
    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk on fire"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_told_with_the_file_that_did_not_fit(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OSError, match="No space left") as raised:
        write_atomically(tmp_path / "file", b"content")
    assert raised.value.errno == errno.ENOSPC
    assert raised.value.filename == str(tmp_path / "file")
    assert not list(tmp_path.iterdir())


def test_writing_into_an_absent_folder_fails(tmp_path):
    with pytest.raises(OSError, match="absent"):
        write_atomically(tmp_path / "absent" / "file", b"content")


@pytest.mark.parametrize(
    ("name", "found"),
    [("absent", "no such file"), ("folder", "a folder"), ("empty", "an empty file")],
)
def test_reading_says_what_was_found_instead(tmp_path, name, found):
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty").touch()
    with pytest.raises(ValueError, match=f"{name}: expected a song.*{found}"):
        read_file(tmp_path / name, "a song")
