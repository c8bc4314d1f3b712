"""Telling how far long work is, on stderr."""

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Protocol

import rich.console
import rich.markup
import rich.progress

SECONDS_BETWEEN_LINES = 30


class Report(Protocol):
    """Is told how far the work is."""

    def __call__(self, news: str, fraction: float | None = None) -> None:
        """Takes the latest news, and the part of the work that is done if known."""


def say_nothing(news: str, fraction: float | None = None) -> None:
    """A report of work that nobody watches."""


@contextlib.contextmanager
def show(title: str, shown: bool = True) -> Iterator[Report]:
    """Shows what is going on, on stderr: a bar on a terminal, elsewhere now and then.

    Args:
      title: what stays in front of every report.
      shown: whether anything is; not where another process shows the same.

    Yields:
      A function that takes the latest news, and the part of the work that is done
      where that is known.
    """
    if not shown:
        yield say_nothing
        return
    console = rich.console.Console(stderr=True)
    if not console.is_terminal:
        yield _plain_report(title)
        return
    columns = (
        rich.progress.SpinnerColumn(),
        rich.progress.TextColumn("{task.description}"),
        rich.progress.BarColumn(bar_width=20),
        rich.progress.TextColumn("{task.fields[news]}", markup=False),
        rich.progress.TimeRemainingColumn(compact=True),
    )
    with rich.progress.Progress(*columns, console=console, transient=True) as bars:
        task = bars.add_task(rich.markup.escape(title), total=None, news="")

        def report(news: str, fraction: float | None = None) -> None:
            total = None if fraction is None else 1.0
            bars.update(task, news=news, total=total, completed=fraction or 0.0)

        yield report


def _plain_report(title: str) -> Report:
    """Lines for a log file, far apart; quick work leaves none."""
    last = time.monotonic()

    def report(news: str, fraction: float | None = None) -> None:
        nonlocal last
        if time.monotonic() - last < SECONDS_BETWEEN_LINES:
            return
        last = time.monotonic()
        part = "" if fraction is None else f" {100 * fraction:.0f} %"
        print(f"{title}:{part} {news}", file=sys.stderr, flush=True)

    return report
