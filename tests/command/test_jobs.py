import numpy as np
import pytest
from small_pictures import load, save

from dipgp.command.main import run


@pytest.fixture
def command(tmp_path, truth, monkeypatch):
    """Of two pictures and a file that is none."""
    monkeypatch.chdir(tmp_path)
    for name in "ab":
        save(tmp_path / f"{name}.png", np.full_like(truth, 0.3)[:, :, :1])
    (tmp_path / "c.png").write_bytes(b"no picture")
    files = ["a.png", "b.png", "c.png", "-o", "new"]
    return ["denoise", *files, "--noise=3", "--jobs=2"]


def test_processes_tell_what_became_of_their_pictures(tmp_path, command, capsys):
    (tmp_path / "new").mkdir()
    for name in "ab":
        (tmp_path / f"new/{name}.png").touch()
    assert run([*command, "--resume"]) == 1
    told = capsys.readouterr()
    assert "3 pictures: 2 skipped, 1 failed; " in told.out
    assert "c.png: expected a PNG, JPEG or TIFF picture" in told.err


@pytest.mark.slow
def test_pictures_are_restored_at_a_time(tmp_path, command, capsys):
    assert run(command) == 1
    assert "3 pictures: 2 done, 1 failed; " in capsys.readouterr().out
    for name in "ab":
        assert (load(tmp_path / f"new/{name}.png")[0] == 76).all()
