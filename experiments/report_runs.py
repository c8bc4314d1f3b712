"""Reading what the experiments wrote: whole runs, and what is wrong with the others."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dipgp.files import UNFINISHED
from experiments.run_folders import LOCK_FILE

Record = dict[str, Any]

# Which say that an experiment was there, where no record says that it ended.
_HALF_WRITTEN = f"{UNFINISHED}*"
_TRACES = ("restored*.png", "observed.png", "checkpoints", "cells.json", _HALF_WRITTEN)
# Of how a standard deviation fits: what holds numbers, and what is one for certain.
_SCORED = ("forms", "bins", "rank_correlation")
_NUMBERS = ("value", "standard_error", "block_error")
# Of a configuration, what changes no numbers.
_IDLE = ("output_dir", "images", "running")


class Problem(NamedTuple):
    """What could not be shown.

    Attributes:
      path: the file or folder.
      reason: in words.
    """

    path: Path
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class Part(NamedTuple):
    """What one method did of a run.

    Attributes:
      method: its name.
      record: its numbers, as metrics.json holds them.
      files: paths by what they hold; all exist.
    """

    method: str
    record: Record
    files: Mapping[str, Path]


class Run(NamedTuple):
    """What a folder holds of an image, or of an experiment without one.

    Attributes:
      folder: where it is.
      experiment: the binary's name.
      image: its name, or None.
      parts: one a method; empty for experiments that restore nothing.
      record: what all parts share: "configuration", "versions", "seed".
      written: when, in seconds of the epoch.
    """

    folder: Path
    experiment: str
    image: str | None
    parts: tuple[Part, ...]
    record: Record
    written: float

    @property
    def name(self) -> str:
        """What a reader calls it."""
        return f"{self.experiment}: {self.image}" if self.image else self.experiment


def read_runs(places: Sequence[Path]) -> tuple[list[Run], list[Problem]]:
    """Reads all runs in folders and in the folders inside of them.

    Args:
      places: folders; one that is inside of another is read once.

    Returns:
      The runs, in the order of places and alphabetically within, and what is wrong
      with those that could not be read, wholly or in part.
    """
    runs: list[Run] = []
    problems: list[Problem] = []
    seen: set[Path] = set()
    for place in places:
        if not place.is_dir():
            found = "a file" if place.exists() else "nothing there"
            problems.append(Problem(place, f"expected a run's folder, found {found}"))
            continue
        anything = False
        for folder in _folders(place, problems):
            files = sorted(folder.glob("metrics*.json"))
            begun = any(any(folder.glob(trace)) for trace in _TRACES)
            anything = anything or bool(files) or begun
            if folder.resolve() in seen:
                continue
            seen.add(folder.resolve())
            for half in sorted(folder.glob(_HALF_WRITTEN)):
                problems.append(Problem(half, "left half-written, or being written"))
            if (folder / LOCK_FILE).exists():
                reason = "a run is writing to it, or was killed"
                problems.append(Problem(folder, reason))
            if files:
                runs += _read_folder(folder, files, problems)
            elif begun:
                reason = "no metrics.json, so that the run is not over, or was cut off"
                problems.append(Problem(folder, reason))
        if not anything:
            problems.append(Problem(place, "no metrics.json in it or in its folders"))
    return runs, problems


def shared_settings(record: Record) -> Record:
    """What runs have in common that belong together."""
    configuration = {
        name: value
        for name, value in record["configuration"].items()
        if name not in _IDLE
    }
    return {"experiment": record["experiment"], **configuration}


def _folders(place: Path, problems: list[Problem]) -> Iterator[Path]:
    """The folder and those inside, without what is half-written or kept to go on."""
    try:
        inside = sorted(place.iterdir())
    except OSError as error:
        problems.append(Problem(place, f"not readable ({error.strerror})"))
        return
    yield place
    for folder in inside:
        hidden = folder.name.startswith(".") or folder.name == "checkpoints"
        if folder.is_dir() and not folder.is_symlink() and not hidden:
            yield from _folders(folder, problems)


def _read_folder(
    folder: Path, files: Sequence[Path], problems: list[Problem]
) -> list[Run]:
    """The run that was last written there; all else is a problem."""
    records = []
    for path in files:
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            reason = f"not readable as JSON ({_first_line(error)})"
            problems.append(Problem(path, reason))
            continue
        fault = _fault(record)
        if fault:
            problems.append(Problem(path, fault))
        else:
            records.append((path.stat().st_mtime, path, record))
    if not records:
        return []
    written, _, newest = max(records, key=lambda found: found[:2])
    kept = []
    for _, path, record in records:
        if shared_settings(record) == shared_settings(newest):
            kept += [(path, part) for part in _methods(record)]
        else:
            problems.append(Problem(path, "left there by a run of other settings"))
    parts = [_part(folder, path, record, problems) for path, record in kept]
    order = newest["configuration"].get("methods")
    if isinstance(order, list):
        # What stands beside the methods that were asked for comes after them.
        known = [*order, *(part.method for part in parts)]
        parts.sort(key=lambda part: known.index(part.method))
    image = parts[0].record["image"] if parts else None
    experiment = newest["experiment"]
    return [Run(folder, experiment, image, tuple(parts), newest, written)]


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _fault(record: object) -> str | None:
    """What is wrong with the content of a metrics.json."""
    if not isinstance(record, dict):
        return f"expected a JSON object, got {type(record).__name__}"
    for key, kind in (("experiment", str), ("configuration", dict), ("versions", dict)):
        if not isinstance(record.get(key), kind):
            return f'no "{key}", so that it is of no experiment that is known'
    for part in _methods(record):
        named = isinstance(part, dict) and all(
            isinstance(part.get(key), str) for key in ("image", "method")
        )
        if not named:
            return "its image or its method has no name"
    return None


def _methods(record: Record) -> list[Record]:
    """The records of methods on an image, of which there may be none."""
    if record["experiment"] == "uncertainty":
        records = record.get("records")
        return records if isinstance(records, list) else [{}]
    return [record] if "method" in record or "image" in record else []


def _with_nan(value: Any, is_number: bool) -> Any:
    """With NaN where JSON, which has no such number, says null."""
    if isinstance(value, dict):
        return {key: _with_nan(each, key in _NUMBERS) for key, each in value.items()}
    if isinstance(value, list):
        return [_with_nan(each, True) for each in value]
    return math.nan if value is None and is_number else value


def _part(folder: Path, path: Path, record: Record, problems: list[Problem]) -> Part:
    listed = record.get("files")
    if not isinstance(listed, dict):
        # Draws from a prior have no pictures to keep.
        if record["image"] != "prior":
            problems.append(Problem(path, "lists no files, so that none are shown"))
        listed = {}
    files = {}
    for use, name in listed.items():
        if not isinstance(name, str) or Path(name).name != name:
            problems.append(Problem(path, f"{use}: expected a file's name, got {name}"))
        elif not (folder / name).is_file():
            problems.append(Problem(folder / name, "is missing"))
        else:
            files[use] = folder / name
    scored = {key: _with_nan(record[key], True) for key in _SCORED if key in record}
    return Part(record["method"], record | scored, files)
