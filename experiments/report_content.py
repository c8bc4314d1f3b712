"""What stands in a report: runs as sections, and what all of them have in common."""

import datetime
import os
import urllib.parse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from experiments import noise, report_charts, report_files, report_tables, report_views
from experiments.report_charts import Explained
from experiments.report_files import Pictures
from experiments.report_pictures import embed_file
from experiments.report_runs import Problem, Run
from experiments.report_tables import Rows, Table
from experiments.report_views import CloseLook, Comparison, Overlay, Picture

# What JSON that is not as the experiments write it leads to.
_UNEXPECTED = (KeyError, TypeError, ValueError, IndexError, AttributeError)
_FIGURE_SIDE = 1600
_NO_NOISE = {"estimated": None, "added": None, "left": None}


class Link(NamedTuple):
    """A file beside the page.

    Attributes:
      label: its name.
      address: relative to the page.
      size: in words.
    """

    label: str
    address: str
    size: str


class Section(NamedTuple):
    """What is shown of a run; what it does not have is None or empty.

    Attributes:
      anchor: its place in the page.
      title: of the run.
      facts: of it, in few words each.
      comparison: its pictures.
      close_look: parts of them.
      overlays: standard deviations over restorations.
      curves: of quality along the way.
      calibration: coverage, and errors by standard deviation.
      tables: of numbers.
      figure: what the experiment drew, where its pictures are not shown.
      hyperparameters: by method, what it was told or found.
      configuration: the run's settings.
      versions: of what it ran on.
      links: its files.
    """

    anchor: str
    title: str
    facts: list[str]
    comparison: Comparison | None
    close_look: CloseLook | None
    overlays: list[Overlay]
    curves: list[Explained]
    calibration: list[Explained]
    tables: list[Table]
    figure: Picture | None
    hyperparameters: list[tuple[str, Rows]]
    configuration: Rows
    versions: Rows
    links: list[Link]


class Content(NamedTuple):
    """A whole report.

    Attributes:
      title: of the page.
      sections: one a run.
      tables: over all runs.
      problems: what could not be shown, in words.
    """

    title: str
    sections: list[Section]
    tables: list[Table]
    problems: list[str]

    def pictures(self) -> Iterator[Picture]:
        """All that have a name beside them."""
        for section in self.sections:
            if section.comparison:
                yield from section.comparison.pictures
            yield from (overlay.base for overlay in section.overlays)
            if section.figure:
                yield section.figure


def gather(
    title: str, runs: Sequence[Run], problems: Sequence[Problem], page: Path
) -> Content:
    """Reads the files of all runs and puts together what the page shows of them.

    Args:
      title: of the page; a title made of the runs' names where it is empty.
      runs: to be shown.
      problems: that reading them had.
      page: where the page is going to be, for links.
    """
    told = list(problems)
    sections, whole = [], []
    for number, run in enumerate(runs, start=1):
        try:
            section, found = _section(f"run-{number}", run, page)
        except _UNEXPECTED as error:
            words = f"{type(error).__name__}: {error}"
            told.append(Problem(run.folder, f"numbers are not as expected ({words})"))
            continue
        told += found
        sections.append(section)
        whole.append((section.anchor, run))
    shown = [run for _, run in whole]
    tables = [*report_tables.scores(whole), report_tables.differences(shown)]
    scored = [run for run in shown if run.experiment == "uncertainty"]
    if len(scored) > 1:
        tables.append(report_tables.calibration(scored))
    return Content(
        title=title or _title(shown),
        sections=sections,
        tables=[table for table in tables if table],
        # What methods share is wrong for each of them.
        problems=list(dict.fromkeys(map(str, told))),
    )


def _title(runs: Sequence[Run]) -> str:
    if len(runs) == 1:
        return runs[0].name
    *others, last = dict.fromkeys(run.experiment for run in runs)
    named = f"{', '.join(others)} and {last}" if others else last
    return f"{len(runs)} runs of {named}"


def _section(anchor: str, run: Run, page: Path) -> tuple[Section, list[Problem]]:
    pictures, problems = report_files.read_pictures(run)
    curves, found = report_charts.along_the_way(run)
    problems += found
    figure, table = None, None
    if pictures is None:
        figure, found = _figure(run)
        problems += found
        if not run.parts:
            table = _own_table(run)
    tables = [report_tables.calibration([run]), report_tables.stopping(run), table]
    section = Section(
        anchor=anchor,
        title=run.name,
        facts=_facts(run, pictures),
        comparison=pictures and report_views.comparison(run, pictures),
        close_look=pictures and report_views.close_look(run, pictures),
        overlays=report_views.overlays(run, pictures) if pictures else [],
        curves=curves,
        calibration=report_charts.calibration(run),
        tables=[table for table in tables if table],
        figure=figure,
        hyperparameters=[
            (part.method, report_tables.settings(part.record["hyperparameters"]))
            for part in run.parts
            if "hyperparameters" in part.record
        ],
        configuration=report_tables.settings(run.record["configuration"]),
        versions=report_tables.settings(run.record["versions"]),
        links=_links(run, page),
    )
    return section, problems


def _facts(run: Run, pictures: Pictures | None) -> list[str]:
    facts = []
    if pictures:
        height, width, channels = pictures.shown[0].restored.shape
        facts.append(
            f"{width}x{height} pixels, {'grey' if channels == 1 else 'colour'}"
        )
    if "seed" in run.record["configuration"]:
        facts.append(f"seed {run.record['configuration']['seed']}")
    for part in run.parts:
        told = noise.in_words(part.record.get("noise_std", _NO_NOISE))
        facts += [f"{part.method}: {words}" for words in told]
    written = datetime.datetime.fromtimestamp(run.written, datetime.UTC)
    facts.append(f"written {written:%Y-%m-%d %H:%M} UTC")
    facts.append(f"in {run.folder}")
    return facts


def _figure(run: Run) -> tuple[Picture | None, list[Problem]]:
    path = run.folder / "figure.png"
    if not path.is_file():
        return None, [Problem(path, "is missing")]
    try:
        embedded = embed_file(path.read_bytes(), _FIGURE_SIDE)
    except (OSError, ValueError) as error:
        return None, [Problem(path, f"not readable ({error})")]
    return Picture("Figure", f"Figure of {run.name}", embedded), []


def _own_table(run: Run) -> Table | None:
    path = run.folder / "table.md"
    if not path.is_file():
        return None
    text = path.read_text(encoding="utf-8", errors="replace")
    return report_tables.from_markdown(f"Table of {run.experiment}", text)


def _links(run: Run, page: Path) -> list[Link]:
    """All files of a run, but for what only serves to go on with it."""
    paths = {path for part in run.parts for path in part.files.values()}
    # Where records list files, others may be an earlier run's.
    others = ("figure.png", "table.md") if run.parts else ("*.png", "*.npz", "*.md")
    for pattern in ("metrics*.json", *others):
        paths |= set(run.folder.glob(pattern))
    return [_link(path, page) for path in sorted(paths)]


def _link(path: Path, page: Path) -> Link:
    relative = os.path.relpath(path.resolve(), page.parent.resolve())
    address = urllib.parse.quote(os.fsencode(relative))
    size = path.stat().st_size
    words = f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"
    return Link(path.name, address, words)
