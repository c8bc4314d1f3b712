"""Pictures, arrays and curves of a run, or what is wrong with their files."""

import csv
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from dipgp.images import load_image
from experiments.report_runs import Part, Problem, Run

Loaded = TypeVar("Loaded")

# What numpy and Pillow raise on files that were cut off or overwritten.
_DAMAGE = (ValueError, OSError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


class Shown(NamedTuple):
    """What a method made of an image.

    Attributes:
      method: its name.
      restored: (H, W, C) intensities in [0, 1].
      std: (H, W) standard deviations, over channels by root mean square, or None.
    """

    method: str
    restored: np.ndarray
    std: np.ndarray | None


class Pictures(NamedTuple):
    """All pictures of a run, of one height, width and number of channels.

    Attributes:
      observed: (H, W, C) intensities in [0, 1], or None.
      truth: likewise.
      shown: one a method whose restoration could be read.
    """

    observed: np.ndarray | None
    truth: np.ndarray | None
    shown: tuple[Shown, ...]


def read_pictures(run: Run) -> tuple[Pictures | None, list[Problem]]:
    """Reads the pictures of a run.

    Returns:
      The pictures, or None where there is no restoration; and what is wrong with files.
    """
    problems: list[Problem] = []
    shown = [found for part in run.parts if (found := _shown(part, problems))]
    if not shown:
        return None, problems
    shape = shown[0].restored.shape
    alike = []
    for found in shown:
        if found.restored.shape == shape:
            alike.append(found)
        else:
            reason = f"{found.method}: expected {shape}, got {found.restored.shape}"
            problems.append(Problem(run.folder, reason))
    shared = {use: path for part in run.parts for use, path in part.files.items()}
    seen = {}
    for use in ("observed", "truth"):
        image = _attempt(shared.get(use), load_image, problems)
        if image is not None and image.shape != shape:
            reason = f"expected the restoration's {shape}, got {image.shape}"
            problems.append(Problem(shared[use], reason))
            image = None
        seen[use] = image
    return Pictures(seen["observed"], seen["truth"], tuple(alike)), problems


def read_trace(path: Path | None) -> tuple[dict[str, np.ndarray], list[Problem]]:
    """Reads a trace.csv.

    Returns:
      (N,) numbers by column, "iteration" among them, all of one length; none where
      there is no such file. And what is wrong with it.
    """
    problems: list[Problem] = []
    trace = _attempt(path, _load_trace, problems)
    return trace or {}, problems


def _shown(part: Part, problems: list[Problem]) -> Shown | None:
    if "maps" in part.files:
        return _attempt(
            part.files["maps"], lambda path: _load_maps(part.method, path), problems
        )
    restored = _attempt(part.files.get("restored"), load_image, problems)
    std = _attempt(part.files.get("std"), _load_std, problems)
    if restored is None:
        return None
    if std is not None and std.shape != restored.shape[:2]:
        reason = f"expected the restoration's pixels, got {std.shape}"
        problems.append(Problem(part.files["std"], reason))
        std = None
    return Shown(part.method, restored, std)


def _attempt(
    path: Path | None, load: Callable[[Path], Loaded], problems: list[Problem]
) -> Loaded | None:
    if path is None:
        return None
    try:
        return load(path)
    except _DAMAGE as error:
        words = " ".join(str(error).replace(f"{path}: ", "").split())
        problems.append(Problem(path, f"not readable ({words})"))
        return None


def _load_maps(method: str, path: Path) -> Shown:
    """What `experiments.uncertainty` keeps."""
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        mean, std = arrays["mean"], arrays["std"]
    if mean.ndim != 3 or std.shape not in ((), mean.shape):
        raise ValueError(f"expected (H, W, C), got {mean.shape} and {std.shape}")
    restored = np.clip(np.nan_to_num(mean), 0, 1).astype(np.float32)
    return Shown(method, restored, _over_channels(std) if std.shape else None)


def _load_std(path: Path) -> np.ndarray:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return _over_channels(arrays["std"])


def _over_channels(std: np.ndarray) -> np.ndarray:
    if std.ndim != 3 or not np.isfinite(std).all():
        raise ValueError(f"expected finite numbers (H, W, C), got {std.shape}")
    return np.sqrt(np.mean(np.square(std, dtype=np.float64), axis=2))


def _load_trace(path: Path) -> dict[str, np.ndarray]:
    with path.open(newline="", encoding="utf-8") as lines:
        titles, *rows = list(csv.reader(lines)) or [[]]
    if "iteration" not in titles or not rows:
        raise ValueError("expected a column of iterations, and a line an iteration")
    if any(len(row) != len(titles) for row in rows):
        raise ValueError(f"expected {len(titles)} numbers in every line")
    numbers = np.array(rows, np.float64)
    return {title: numbers[:, i] for i, title in enumerate(titles)}
