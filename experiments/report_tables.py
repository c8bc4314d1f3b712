"""Tables of a report: scores, calibration, stopping rules, settings."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from experiments import reporting, uncertainty_scores
from experiments.report_runs import Part, Run, shared_settings

Rows = list[tuple[str, str]]


class Cell(NamedTuple):
    """A place of a table.

    Attributes:
      text: what it says.
      best: whether it is the best of those that it is compared with.
      anchor: of the section that tells more, or None.
    """

    text: str
    best: bool = False
    anchor: str | None = None


class Table(NamedTuple):
    """Rows under titles.

    Attributes:
      caption: what it is about.
      titles: of the columns.
      rows: each as long as the titles.
      numbers: places of the columns that hold numbers, from 0.
      footer: rows that are not sorted with the others.
    """

    caption: str
    titles: list[str]
    rows: list[list[Cell]]
    numbers: Sequence[int] = ()
    footer: Sequence[list[Cell]] = ()


def scores(runs: Sequence[tuple[str, Run]]) -> list[Table]:
    """The scores of all restorations, a table an experiment and a row a method.

    Args:
      runs: anchors of their sections, and the runs.
    """
    by_experiment: dict[str, list[tuple[str, Run]]] = {}
    for anchor, run in runs:
        if any(_scored(part) for part in run.parts):
            by_experiment.setdefault(run.experiment, []).append((anchor, run))
    return [_scores(name, found) for name, found in by_experiment.items()]


def _scores(experiment: str, runs: Sequence[tuple[str, Run]]) -> Table:
    parts = [part for _, run in runs for part in run.parts]
    columns = list(dict.fromkeys(key for part in parts for key in _scored(part)))
    columns.append("seconds")
    rows = []
    for anchor, run in runs:
        best = {column: _best(run, column) for column in columns}
        for part in run.parts:
            cells = [
                Cell(
                    reporting.format_number(column, part.record.get(column)),
                    part.record.get(column) == best[column] is not None,
                )
                for column in columns
            ]
            words = [Cell(run.image or "", anchor=anchor), Cell(part.method)]
            rows.append([*words, *cells, Cell(_outcome(part))])
    caption = f"{experiment}: scores"
    if any(cell.best for row in rows for cell in row):
        caption += "; the best of an image's methods is bold"
    titles = ["image", "method", *map(reporting.title, columns), "outcome"]
    numbers = range(2, 2 + len(columns))
    return Table(caption, titles, rows, numbers, _averages(runs, columns))


def from_markdown(caption: str, text: str) -> Table | None:
    """A table that `reporting.markdown` wrote, or None where it has no rows.

    Args:
      caption: what it is about.
      text: the table; lines that do not begin with a bar are left out.
    """
    rows = [
        [cell.strip() for cell in line.strip().strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("|")
    ]
    if len(rows) < 3:
        return None
    titles, rule, *rows = rows
    numbers = [place for place, cell in enumerate(rule) if cell.endswith(":")]
    whole = [[Cell(cell) for cell in row] for row in rows if len(row) == len(titles)]
    return Table(caption, titles, whole, numbers)


def calibration(runs: Sequence[Run]) -> Table | None:
    """Coverage by level of the intervals; None where nothing was scored."""
    scored = [
        (run.image or "", part.method, part.record)
        for run in runs
        for part in run.parts
        if "forms" in part.record
    ]
    caption = (
        "Share of withheld values inside the central intervals of each level [%], "
        "with standard errors"
    )
    return from_markdown(caption, uncertainty_scores.table(scored))


def stopping(run: Run) -> Table | None:
    """Where rules would have stopped descents; None where there were none."""
    rows = []
    for part in run.parts:
        for rule, found in part.record.get("stopping", {}).items():
            psnr, gap = (
                reporting.format_number("psnr", found.get(key))
                for key in ("psnr", "gap_to_best")
            )
            chosen = [_number(found.get(key)) for key in ("iteration", "stopped_at")]
            rows.append(
                [Cell(text) for text in (part.method, rule, *chosen, psnr, gap)]
            )
    if not rows:
        return None
    titles = ["method", "rule", "iteration chosen", "told at", "PSNR there"]
    caption = "Rules that stop descent without knowing the truth, and their price"
    return Table(caption, [*titles, "less than the best by"], rows, range(2, 6))


def differences(runs: Sequence[Run]) -> Table | None:
    """Settings in which runs of one experiment differ; None where there are none."""
    rows = []
    for experiment in dict.fromkeys(run.experiment for run in runs):
        alike = [run for run in runs if run.experiment == experiment]
        flat = [dict(settings(shared_settings(run.record))) for run in alike]
        for name in dict.fromkeys(name for told in flat for name in told):
            values = [told.get(name, "-") for told in flat]
            if len(set(values)) > 1:
                said = "; ".join(
                    f"{run.folder.name}: {value}"
                    for run, value in zip(alike, values, strict=True)
                )
                rows.append([Cell(text) for text in (experiment, name, said)])
    if not rows:
        return None
    caption = "Settings in which runs of one experiment differ, by folder"
    return Table(caption, ["experiment", "setting", "values"], rows)


def settings(record: Mapping[str, Any], prefix: str = "") -> Rows:
    """Nested settings as names with dots, and values in words."""
    rows: Rows = []
    for name, value in record.items():
        if isinstance(value, dict) and value:
            rows += settings(value, f"{prefix}{name}.")
        else:
            rows.append((f"{prefix}{name}", _in_words(value)))
    return rows


def _in_words(value: object) -> str:
    if value is None:
        return "automatic or absent"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return ", ".join(map(_in_words, value)) or "none"
    if isinstance(value, dict):
        told = ", ".join(f"{name} {_in_words(each)}" for name, each in value.items())
        return f"({told})" if told else "none"
    return str(value)


def _scored(part: Part) -> list[str]:
    """Names of scores."""
    return [key for key in part.record if key.split("_")[0] in ("psnr", "ssim")]


def _best(run: Run, column: str) -> float | None:
    """The largest of several methods' scores."""
    found = [part.record.get(column) for part in run.parts]
    known = [number for number in found if isinstance(number, float)]
    if column == "seconds" or len(set(known)) < 2:
        return None
    return max((number for number in known if math.isfinite(number)), default=None)


def _outcome(part: Part) -> str:
    message = str(part.record.get("message", ""))
    return message if part.record.get("converged") else f"not converged: {message}"


def _averages(
    runs: Sequence[tuple[str, Run]], columns: Sequence[str]
) -> list[list[Cell]]:
    """Means over images, of methods that restored all of them."""
    rows = []
    for method in dict.fromkeys(part.method for _, run in runs for part in run.parts):
        found = [
            part.record
            for _, run in runs
            for part in run.parts
            if part.method == method
        ]
        if not len(found) == len(runs) > 1:
            continue
        full = [{column: record.get(column) for column in columns} for record in found]
        mean = reporting.average([{"method": method, **row} for row in full], columns)
        cells = [reporting.format_number(column, mean[column]) for column in columns]
        rows.append(
            [Cell(text) for text in (f"mean of {len(runs)}", method, *cells, "")]
        )
    return rows


def _number(value: object) -> str:
    return "-" if value is None else str(value)
