"""One page of all that runs left: pictures, curves, numbers, settings.

The page is one file that needs no network and nothing beside it: scores, sliders
between what was observed and what was restored, close looks, maps of standard
deviations, curves, calibration, configuration and versions. Arrays stay where they are,
and the page has links to them:

  python -m experiments.inpaint --method=gp,psgld --preset=smoke
  python -m experiments.report runs/inpaint

Several runs, of any experiments, share a page; folders are searched for runs inside:

  python -m experiments.report runs/inpaint runs/uncertainty --title='The house'
  python -m experiments.report runs --output=all.html

Close looks are chosen by a rule that the page tells: where several methods differ most,
else where the error is largest, else where the standard deviation is. Pictures are
scaled down to 1,024 pixels, and compressed where they are large; the page says so.

What cannot be read, or is not over yet, is told on the page and on stderr.
Exit status: 0 done, 1 something could not be shown, 2 bad input or no run at all.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from dipgp.files import write_atomically
from experiments import (
    common,
    report_content,
    report_curves,
    report_pictures,
    report_runs,
    reporting,
)
from experiments.common import UserError, require
from experiments.report_content import Content

try:
    import jinja2
except ImportError as missing:
    raise ImportError(
        'reports need jinja2; try pip install "dipgp[report]"'
    ) from missing

# Of curves, in the page's style sheet; a chart with more begins again.
_COLOURS = 8

OUTPUT = flags.DEFINE_string(
    "output",
    None,
    "The page to write, a file that ends in .html; by default report.html in the first "
    "folder with a run.",
)
TITLE = flags.DEFINE_string(
    "title", None, "Of the page; by default the names of the runs."
)


def run(
    places: Sequence[str], output: str | None = None, title: str | None = None
) -> tuple[Path, list[str]]:
    """Reads runs and writes a page of them.

    Args:
      places: folders of runs, or of folders of runs.
      output: the page; by default report.html in the first place that has a run.
      title: of the page; by default the names of the runs.

    Returns:
      Where the page is, and what could not be shown on it, in words.

    Raises:
      UserError: where there is no run at all, or no page can be written.
    """
    if not places:
        raise UserError("RUN: expected at least one folder of a run, got none")
    expected = "a file that ends in .html"
    accepted = output is None or Path(output).suffix.lower() in (".html", ".htm")
    require(accepted, "output", output, expected)
    runs, problems = report_runs.read_runs([Path(place) for place in places])
    if not runs:
        told = "; ".join(map(str, problems))
        raise UserError(f"RUN: expected a folder of a run, got none that shows: {told}")
    page = Path(output) if output else _default(places, runs[0].folder)
    require(page.parent.is_dir(), "output", output, "a file in a folder that exists")
    require(not page.is_dir(), "output", output, f"{expected}, got a folder")
    content = report_content.gather(title or "", runs, problems, page)
    if not content.sections:
        told = "; ".join(content.problems)
        raise UserError(f"RUN: expected a folder of a run, got none that shows: {told}")
    write_atomically(page, render(content).encode("utf-8", errors="replace"))
    return page, content.problems


def _default(places: Sequence[str], folder: Path) -> Path:
    """In the place that has the folder, which may be a folder inside of it."""
    for place in map(Path, places):
        if folder == place or place in folder.parents:
            return place / "report.html"
    return folder / "report.html"


def render(content: Content) -> str:
    """The page as HTML, with all that it needs inside."""
    pictures = [picture.embedded for picture in content.pictures()]
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("experiments", "report_page"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("page.html").render(
        content=content,
        version=reporting.versions()["dipgp"],
        compressed=not all(picture.lossless for picture in pictures),
        scaled=any(picture.scaled for picture in pictures),
        longest_side=report_pictures.LONGEST_SIDE,
        colours=report_pictures.colour_stops(),
        colour_count=_COLOURS,
        frame=report_curves.FRAME,
    )


def main(arguments: Sequence[str]) -> int:
    """Runs under the flags."""
    common.refuse_unread_flags(__name__)
    page, problems = run(arguments, OUTPUT.value, TITLE.value)
    for problem in problems:
        print(f"Warning: not shown: {problem}", file=sys.stderr)
    print(f"{page}: {page.stat().st_size / 1e6:.1f} MB")
    return 1 if problems else 0


if __name__ == "__main__":
    common.main_with_arguments(main)
