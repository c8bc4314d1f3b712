import json

import pytest

from benchmarks import timing


def test_the_first_call_is_not_among_those_counted():
    calls = []
    timed = timing.measure(lambda: calls.append(0), repeats=3)
    assert len(calls) == 4
    assert 0 <= timed.shortest <= timed.median <= timed.longest


def test_no_repeats_are_refused():
    with pytest.raises(ValueError, match="repeats: expected at least 1, got 0"):
        timing.measure(lambda: None, repeats=0)


def test_two_functions_are_timed_in_turn():
    calls = []
    found = timing.compare(lambda: calls.append(1), lambda: calls.append(2), 3)
    assert calls == [1, 2] * 4
    assert min(found) > 0
    with pytest.raises(ValueError, match="repeats: expected at least 1, got 0"):
        timing.compare(list, list, 0)


def test_a_process_that_holds_more_memory_shows_it():
    small = timing.peak_memory_mib("platform", [])
    assert 1 < small < timing.peak_memory_mib("unittest", ["-h"])


def test_a_device_that_knows_its_memory_is_believed(tmp_path, monkeypatch):
    code = "print('something else'); print('device peak', 3 * 2**20)"
    (tmp_path / "accelerated.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert timing.peak_memory_mib("accelerated", []) == 3.0


def test_a_process_that_fails_is_reported_with_what_it_said():
    with pytest.raises(RuntimeError, match="No module named nothing_of_that_name"):
        timing.peak_memory_mib("nothing_of_that_name", [])


def test_a_report_names_command_machine_and_versions(tmp_path):
    rows = [{"pixels": "8x8", "seconds": 0.12345}, {"pixels": "9x9", "seconds": None}]
    text = timing.write_report(tmp_path / "new", "some", "Title", rows, ["Note."], {})
    assert (tmp_path / "new/some.md").read_text() == text
    assert "| 8x8 | 0.123 |\n| 9x9 | - |" in text
    assert "`python -m benchmarks.some`" in text
    record = json.loads((tmp_path / "new/some.json").read_text())
    assert record["rows"] == rows
    assert {"processor", "cores", "jax", "date"} <= set(record["environment"])
