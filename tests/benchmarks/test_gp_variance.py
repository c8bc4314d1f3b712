import json

import numpy as np
import pytest

from benchmarks import gp_variance


def test_cases_have_what_estimators_differ_in():
    cases = gp_variance.cases(16)
    seen = [case.mask.mean() for case in cases]
    assert min(seen) < 0.2
    assert max(seen) == 1
    assert len({case.name for case in cases}) == len(cases)


@pytest.mark.slow
def test_a_run_at_toy_size_writes_its_report(tmp_path):
    text = gp_variance.run(17, [2, 18], 24, tmp_path)
    assert (tmp_path / "gp_variance.md").read_text() == text
    record = json.loads((tmp_path / "gp_variance.json").read_text())
    rows = record["rows"]
    assert len(rows) == 7 * 4 + 1
    for row in rows:
        assert 0 < row["observed, error"] < np.inf
        if row["estimator"] == "samples":
            # Of the square root of 2 / n, known to some 10 %.
            ratio = row["observed, claimed"] / np.sqrt(2 / row["solves"])
            assert 0.3 < ratio < 2.5
    assert record["samples_over_mean"] > 0
