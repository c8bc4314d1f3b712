"""Bad inputs, a small and always the same sample of them."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from benchmarks import abuse_estimates, abuse_functions, abuse_inputs, abuse_runs
from benchmarks.abuse_calls import BadInput, Call, bad_inputs
from dipgp import numerics

# Without those that compile for seconds before they look at an argument.
QUICK = ("architecture", "observations", "summaries", "images", "inference.schedules")
CALLS = abuse_inputs.by_name(
    [
        call
        for call in (*abuse_functions.calls(), *abuse_estimates.calls())
        if call.name.startswith(QUICK)
    ]
)


@settings(
    max_examples=150,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(bad_inputs(CALLS))
def test_bad_arguments_are_refused_by_name_or_harmless(bad):
    verdict = abuse_inputs.judge(CALLS[bad.call], bad)
    assert verdict.accepted, f"{bad}: {verdict.kind}: {verdict.told}"


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_bad_arguments_of_all_functions():
    row = abuse_inputs.functions(300, seed=1, jobs=2).run(np.random.default_rng(0))
    assert row["times"] == 300
    assert not row["failures"]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_bad_arguments_of_command_lines(tmp_path):
    with abuse_runs.shared_programs(tmp_path):
        lines = abuse_inputs.commands(30, seed=1, jobs=2, folder=tmp_path)
        row = lines.run(np.random.default_rng(0))
    assert row["times"] == 30
    assert not row["failures"]


class TestJudge:
    @staticmethod
    def verdict(function, value):
        call = Call("call", function, {"x": 1.0})
        return abuse_inputs.judge(call, BadInput("call", "x", value)).kind

    def test_a_refusal_names_the_argument(self):
        def checked(x):
            numerics.check_positive("x", x)

        assert self.verdict(checked, -1) == abuse_inputs.REFUSED

    def test_one_that_does_not_is_a_failure(self):
        def checked(x):
            numerics.check_positive("sigma", x)

        kind = self.verdict(checked, -1)
        assert kind == "a refusal that does not name the argument"

    def test_errors_from_elsewhere_are_failures(self):
        kind = self.verdict(lambda x: np.linalg.inv(x), np.zeros((2, 2)))
        assert kind == "an error from inside another library"

    @pytest.mark.parametrize("result", [np.nan, 1j, np.array(["x"])])
    def test_results_are_finite_and_real(self, result):
        assert self.verdict(lambda x: np.asarray(result), 1) not in (
            abuse_inputs.RESULT,
            abuse_inputs.REFUSED,
        )
        assert self.verdict(lambda x: x, 1.5) == abuse_inputs.RESULT

    def test_what_takes_too_long_is_ended(self, monkeypatch):
        monkeypatch.setattr(abuse_inputs, "_PATIENCE", 1)

        def hang(x):
            while True:
                pass

        assert self.verdict(hang, 1) == "a hang"
