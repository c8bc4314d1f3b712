import json

import pytest

from benchmarks import gp_through


def test_cases_differ_in_what_is_seen():
    cases = gp_through.cases()
    assert len(set(cases)) == len(cases)
    assert {case.prior for case in cases} == set(gp_through.priors())
    assert {case.share < 1 for case in cases} == {True, False}


@pytest.mark.slow
def test_a_run_at_toy_size_tells_steps_and_losses(tmp_path, monkeypatch):
    cases = gp_through.cases()
    monkeypatch.setattr(gp_through, "cases", lambda: [cases[0], cases[-1]])
    text = gp_through.run(24, tmp_path)
    assert (tmp_path / "gp_through.md").read_text() == text
    rows = json.loads((tmp_path / "gp_through.json").read_text())["rows"]
    for row in rows:
        assert 0 < row["weights: steps"] < row["field: steps"]
        assert abs(row["weights: PSNR lost [dB]"]) < 0.01
        assert 0 < row["weights: largest error"] < row["noise"]
