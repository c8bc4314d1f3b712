import numpy as np
from small_pictures import load, save

from dipgp.command.main import run


def test_pictures_are_restored_at_a_time(tmp_path, truth, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in "ab":
        save(tmp_path / f"{name}.png", np.full_like(truth, 0.3)[:, :, :1])
    (tmp_path / "c.png").write_bytes(b"no picture")
    command = ["denoise", "a.png", "b.png", "c.png", "-o", "new", "--jobs=2"]
    assert run([*command, "--noise=3"]) == 1
    told = capsys.readouterr()
    assert "3 pictures: 2 done, 1 failed; " in told.out
    assert (load(tmp_path / "new/b.png")[0] == 76).all()
