"""Trials side by side, and the rows of the report."""

from benchmarks import abuse_report, abuse_trials
from benchmarks.abuse_trials import Trial


def drawing(name):
    def run(random):
        return abuse_trials.row(name, 1, f"{random.uniform():.6f}", [])

    return Trial(name, run)


def outcomes(names, jobs, seed=0):
    rows = abuse_trials.each([drawing(name) for name in names], jobs, seed)
    return {row["trial"]: row["outcome"] for row in rows}


def test_a_trial_draws_the_same_beside_others_and_alone():
    found = outcomes("abcdef", jobs=4)
    assert outcomes("fedcba", jobs=1) == found
    assert outcomes("c", jobs=2)["c"] == found["c"]
    assert len(set(found.values())) == 6
    assert outcomes("a", 1, seed=1)["a"] != found["a"]


def test_a_trial_that_breaks_off_is_a_failure_of_its_own():
    def broken(_):
        raise RuntimeError("no folder")

    trials = [Trial("broken", broken), drawing("whole")]
    rows = {row["trial"]: row for row in abuse_trials.each(trials, 2, 0)}
    (told,) = rows["broken"]["failures"]
    assert "broke off" in told
    assert "no folder" in told
    assert rows["whole"]["failures"] == []


def test_rows_replace_their_own_and_keep_the_order_of_the_trials():
    def row(name, times):
        return abuse_trials.row(name, times, "", [])

    names = ["one", "two", "three"]
    rows = [row("three", 1), row("gone", 1), row("one", 1)]
    found = abuse_report.replaced(rows, row("two", 2), names)
    assert [each["trial"] for each in found] == names
    found = abuse_report.replaced(found, row("one", 3), names)
    assert [each["times"] for each in found] == [3, 2, 1]


def test_a_report_is_read_back_with_all_parts(tmp_path):
    failing = abuse_trials.row("gp", 2, "one ended", ["another result"])
    parts = {"kills": [{**failing, "when": abuse_report.when()}]}
    abuse_report.write(tmp_path, parts)
    assert abuse_report.read(tmp_path) == parts
    text = (tmp_path / "abuse.md").read_text()
    assert "| kills | gp | 2 | 1 | one ended |" in text
    assert "SIGKILL at random moments: 2 in all, 1 failures." in text
    assert "- gp: another result" in text
    assert " cores |" in text
