import json

import numpy as np
import pytest

from benchmarks import gp_solvers
from benchmarks.gp_solvers import Case


def test_errors_are_those_of_a_mean_beside_its_limit():
    truth = np.zeros((2, 2))
    found = gp_solvers.errors(truth + 0.2, truth + 0.1, truth)
    assert found["dB off"] == pytest.approx(20 * np.log10(2))
    assert found["largest error"] == pytest.approx(25.5)
    assert set(gp_solvers.errors(truth, None, truth).values()) == {None}


def test_a_summary_reads_the_form_that_was_picked():
    row = {"picked": "field"}
    for form, off in (("field", 1.0), ("weights", 9.0)):
        row |= {f"{form}: {key}": off for key in ("dB off", "largest error")}
        row[f"{form}: over FFTs"] = off
    assert set(gp_solvers.summary([row]).values()) == {1.0}


@pytest.mark.slow
def test_a_run_at_toy_size_is_within_a_hundredth_of_a_decibel(tmp_path):
    cases = [
        Case("depth 4", mask, noise)
        for mask, noise in (("50 % missing", 1e-2), ("large hole", 1e-6))
    ]
    text = gp_solvers.run(cases, 48, 1, tmp_path)
    assert (tmp_path / "gp_solvers.md").read_text() == text
    record = json.loads((tmp_path / "gp_solvers.json").read_text())
    assert [row["picked"] for row in record["rows"]] == ["field", "weights"]
    assert record["most dB off"] < 0.01
