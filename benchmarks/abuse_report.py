"""The report of what was tried, how often, and what did not stand."""

import datetime
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks import timing
from benchmarks.abuse_trials import Row

_FILE = "abuse"
_TITLES = {
    "kills": "SIGKILL at random moments",
    "disks": "Disks, folders and SIGTERM",
    "damage": "Damaged files",
    "inputs": "Bad arguments of functions",
    "lines": "Bad arguments of command lines",
}


def read(folder: Path) -> dict[str, list[Row]]:
    """The rows of earlier runs, by part; none where there is no report."""
    path = folder / f"{_FILE}.json"
    return json.loads(path.read_text())["parts"] if path.exists() else {}


def replaced(rows: Sequence[Row], found: Row, names: Sequence[str]) -> list[Row]:
    """Rows in the order of their trials, with one in the place of its last.

    Args:
      rows: of earlier runs; those of trials that are no more are dropped.
      found: the new one.
      names: of a part's trials.
    """
    by_name = {row["trial"]: row for row in (*rows, found)}
    return [by_name[name] for name in names if name in by_name]


def when() -> str:
    """The date, the state of the checkout, and how large this machine is."""
    cores = len(os.sched_getaffinity(0))
    today = datetime.date.today().isoformat()
    return f"{today}, commit {timing.commit()}, {cores} cores"


def write(folder: Path, parts: Mapping[str, Sequence[Row]]) -> None:
    """Writes all parts, as a table each, and all failures in words."""
    rows = [
        {
            "part": part,
            "what": row["trial"],
            "times": row["times"],
            "failures": len(_failures(row)),
            "outcome": row["outcome"],
            "when": row["when"],
        }
        for part in _TITLES
        for row in parts.get(part, ())
    ]
    notes = [
        f"{_TITLES[part]}: {sum(_times(row) for row in parts[part]):,} in all, "
        f"{sum(len(_failures(row)) for row in parts[part]):,} failures."
        for part in _TITLES
        if part in parts
    ]
    found = [
        f"- {row['trial']}: {failure}"
        for part in _TITLES
        for row in parts.get(part, ())
        for failure in _failures(row)
    ]
    if found:
        notes.append("What did not stand:\n\n" + "\n".join(found))
    title = "What dipgp does when it is mistreated"
    timing.write_report(folder, _FILE, title, rows, notes, {"parts": dict(parts)})


def _failures(row: Row) -> list[str]:
    failures = row["failures"]
    assert isinstance(failures, list)
    return failures


def _times(row: Row) -> int:
    times = row["times"]
    assert isinstance(times, int)
    return times
