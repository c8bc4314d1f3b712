import json
import re
import sys
from pathlib import Path

import pytest

from benchmarks import run, run_parts
from benchmarks.run_parts import Part
from experiments.common import UserError

FOLDER = Path(run.__file__).parent
ROWS = [
    {"pixels": "8x8", "ours [s]": 0.5, "theirs [s]": 2.0, "name": "a"},
    {"pixels": "16x16", "ours [s]": 1.0, "theirs [s]": None, "name": "b"},
]
CHART = run_parts.named_bars("Seconds", ("name",), "ours [s]")
GOOD = Part("good", "It is fast.", ("--quick",), CHART)


@pytest.fixture
def calls(monkeypatch):
    """Programs that write `ROWS`, or end as their names say."""
    table = (GOOD._replace(name="broken"), GOOD)
    monkeypatch.setattr(run, "PARTS", table)
    seen = []

    def call(command, seconds):
        seen.append(command)
        module = command[2].removeprefix("benchmarks.")
        results = Path(command[-1].removeprefix("--results_dir="))
        if module != "broken":
            record = {"rows": [{"other": 1}] if module == "strange" else ROWS}
            (results / f"{module}.json").write_text(json.dumps(record))
        return "exit status 1: out of memory" if module == "broken" else ""

    monkeypatch.setattr(run, "_call", call)
    return seen


def test_a_part_that_fails_is_told_and_costs_no_others_figures(calls, tmp_path):
    broken = GOOD._replace(name="broken")
    found = run.run([broken, GOOD], None, 1.0, tmp_path)
    assert [outcome.failed for outcome in found] == [True, False]
    page = (tmp_path / "RESULTS.md").read_text()
    assert "**exit status 1: out of memory**" in page
    assert "It is fast." in page
    assert "| 8x8 | 0.5 | 2 | a |" in page
    assert "![good](figures/good.png)" in page
    assert "![broken]" not in page
    assert (tmp_path / "figures/good.png").stat().st_size > 1000
    record = json.loads((tmp_path / "RESULTS.json").read_text())
    assert {"processor", "jax", "date", "commit"} <= set(record["environment"])
    first, second = record["parts"]
    assert (first["rows"], second["rows"]) == ([], ROWS)
    assert (first["trouble"], second["trouble"]) == ("exit status 1: out of memory", "")
    assert second["flags"] == ["--quick"]


def test_parts_that_are_not_run_stay_as_they_were(calls, tmp_path):
    broken = GOOD._replace(name="broken")
    run.run([GOOD], None, 1.0, tmp_path)
    before = run.read_page(tmp_path)
    run.run([broken], None, 1.0, tmp_path)
    first, second = run.read_page(tmp_path)
    assert first.part.name == "broken"
    assert [second] == before
    assert second.figure
    assert "commit" in second.when


def test_rows_that_the_chart_does_not_know_are_shown_without_it(calls, tmp_path):
    found = run.run_part(GOOD._replace(name="strange"), None, 1.0, tmp_path)
    assert found.rows == [{"other": 1}]
    assert not found.figure
    assert found.trouble == "no chart: KeyError: 'name'"


def test_a_part_is_told_of_its_file_where_there_is_one(calls, tmp_path):
    reader = GOOD._replace(data="data")
    found = run.run_part(reader, None, 1.0, tmp_path)
    assert found.flags == ("--quick",)
    found = run.run_part(reader, "folder/known.npz", 1.0, tmp_path)
    assert found.flags == ("--quick", "--data=known.npz")
    assert calls[1][3:5] == ["--quick", "--data=folder/known.npz"]
    run.run_part(GOOD, "folder/known.npz", 1.0, tmp_path)
    assert [len(call) for call in calls] == [5, 6, 5]


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("print('fine')", ""),
        ("raise SystemExit('no such file')", "exit status 1: no such file"),
        ("import time; time.sleep(60)", "ended after 0.005 minutes"),
    ],
    ids=["good", "failing", "endless"],
)
def test_commands_end_in_a_word(code, told):
    assert run._call(
        [sys.executable, "-S", "-c", code], 0.3 if "60" in code else 60
    ) == (told)


def test_parts_are_chosen_by_name_in_the_tables_order():
    names = [part.name for part in run.chosen(["gp_scaling", "kernels"], ["abuse"])]
    assert names == ["kernels", "gp_scaling"]
    every = [part.name for part in run.chosen(None, ["abuse"])]
    assert len(every) == len(run_parts.PARTS) - 1
    with pytest.raises(UserError, match="--run_skip=gpu: expected a list among"):
        run.chosen(None, ["gpu"])


def test_lines_leave_out_columns_without_numbers():
    chart = run_parts.lines(
        "t", "pixels", ("ours [s]", "theirs [s]", "absent"), "seconds"
    )
    (axis,) = chart(ROWS).axes
    assert [line.get_label() for line in axis.lines] == ["ours [s]", "theirs [s]"]
    assert list(axis.lines[0].get_xdata()) == [8.0, 16.0]


def test_bars_are_a_column_or_its_ratio_to_another():
    chart = run_parts.named_bars("t", ("name", "pixels"), "theirs [s]", over="ours [s]")
    (axis,) = chart(ROWS).axes
    assert [text.get_text() for text in axis.get_yticklabels()] == ["a, 8x8"]
    assert [text.get_text() for text in axis.texts] == ["4"]
    assert axis.get_xlabel() == "theirs [s] / ours [s]"


def test_every_benchmark_is_in_the_table():
    programs = {
        path.stem
        for path in FOLDER.glob("*.py")
        if 'if __name__ == "__main__"' in path.read_text()
    }
    named = [part.name for part in run_parts.PARTS]
    assert len(named) == len(set(named))
    assert programs == {*named, *run_parts.LEFT_OUT}


@pytest.mark.parametrize("part", run_parts.PARTS, ids=lambda part: part.name)
def test_quick_forms_have_flags_that_their_programs_define(part):
    program = (FOLDER / f"{part.name}.py").read_text()
    read = re.findall(r"^from benchmarks\.(\w+) import", program, re.MULTILINE)
    paths = {
        *FOLDER.glob(f"{part.name}*.py"),
        *(FOLDER / f"{name}.py" for name in read),
    }
    sources = "".join(path.read_text() for path in paths)
    defined = set(re.findall(r'DEFINE_\w+\(\s*"(\w+)"', sources))
    given = {flag.removeprefix("--").partition("=")[0] for flag in part.flags}
    assert given | ({part.data} - {""}) <= defined
