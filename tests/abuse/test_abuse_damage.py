"""Damaged files, pickles, and what is never imported."""

import ast
from pathlib import Path

import numpy as np
import pytest

import dipgp
from benchmarks import abuse_damage

ROOT = Path(dipgp.__file__).parents[1]
# They run what a file says.
UNPICKLERS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
# Makes pickles, to see that they are refused.
ALLOWED = {"benchmarks/abuse_damage.py"}


def test_damage_is_seen_in_every_kind_of_file(tmp_path):
    for trial in abuse_damage.trials(tmp_path / "files", 40):
        row = trial.run(np.random.default_rng(0))
        assert row["trial"] == trial.name
        assert not row["failures"], row["trial"]


def test_damage_that_nobody_sees_would_be_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(abuse_damage, "load_image", lambda _: np.zeros((12, 11, 3)))
    random = np.random.default_rng(0)
    row = abuse_damage.pictures(tmp_path, "PNG", 3, random)
    assert not row["failures"]  # all alike, damaged or not
    pictures = iter(np.zeros((4, 12, 11, 3)) + np.arange(4)[:, None, None, None] / 4)
    monkeypatch.setattr(abuse_damage, "load_image", lambda _: next(pictures))
    row = abuse_damage.pictures(tmp_path, "PNG", 3, random)
    assert row["failures"] == ["another picture than was saved, without a word"] * 3


@pytest.mark.parametrize("room", ["dipgp", "experiments", "benchmarks"])
def test_nothing_that_unpickles_is_imported_or_asked_for(room):
    found = []
    for path in sorted((ROOT / room).rglob("*.py")):
        if str(path.relative_to(ROOT)) in ALLOWED:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            elif isinstance(node, ast.Call):
                pickled = [k.value for k in node.keywords if k.arg == "allow_pickle"]
                if any(getattr(value, "value", True) for value in pickled):
                    found.append(f"{path}:{node.lineno}: allow_pickle")
            roots = {name.split(".")[0] for name in names}
            found += [f"{path}:{node.lineno}: {name}" for name in roots & UNPICKLERS]
    assert not found
