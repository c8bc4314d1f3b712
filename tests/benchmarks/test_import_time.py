"""Import times are differences of processes, and failures are told."""

import pytest

from benchmarks import import_time


def test_times_are_those_beyond_jax(monkeypatch, tmp_path):
    seconds = {(): 0.5, import_time.ROOMS: 1.25}
    monkeypatch.setattr(
        import_time, "processor_seconds", lambda rooms: seconds.get(rooms, 0.75)
    )
    text = import_time.run(2, tmp_path)
    assert "| jax | 0.5 | - | - | - |" in text
    assert "| dipgp.gp | - | 0.25 | 0.25 | 0.25 |" in text
    assert f"| {import_time.ALL} | - | 0.75 | 0.75 | 0.75 |" in text
    assert (tmp_path / "import_time.md").read_text() == text


def test_an_import_is_timed_or_its_failure_told():
    assert import_time.processor_seconds(("architecture",)) > 0
    with pytest.raises(RuntimeError, match=r"(?s)import of nowhere .*ModuleNotFound"):
        import_time.processor_seconds(("nowhere",))
