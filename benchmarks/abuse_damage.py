"""Files that are cut off, have flipped bits or hold pickles."""

import functools
import io
import pickle
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from PIL import Image

from benchmarks.abuse_trials import Row, Trial, row
from dipgp.images import load_image
from dipgp.inference.checkpoint import CheckpointError, Checkpoints
from dipgp.progress import say_nothing
from experiments.cells import Cells
from experiments.common import UserError

# Formats with a checksum of the pixels: there damage is seen, or changes no pixel.
_CHECKED = ("PNG",)
_PICKLES = "pickles in the place of files"
_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP")


def trials(folder: Path, times: int) -> list[Trial]:
    """All damage.

    Args:
      folder: where to; made.
      times: damaged files of each kind.
    """
    folder.mkdir(parents=True)
    kept = folder / "checkpoints"
    return [
        Trial("checkpoints", functools.partial(checkpoints, kept, times)),
        Trial("kept cells", functools.partial(cells, folder / "cells.json", times)),
        *[
            Trial(f"{kind} pictures", functools.partial(pictures, folder, kind, times))
            for kind in _FORMATS
        ],
        Trial(_PICKLES, lambda _: pickles(folder)),
    ]


def damaged(content: bytes, times: int, random: np.random.Generator) -> Iterator[bytes]:
    """Copies of a file, in turn cut off, with a flipped bit, with a zeroed block."""
    for number in range(times):
        place = int(random.integers(len(content)))
        if number % 3 == 0:
            yield content[:place]
        elif number % 3 == 1:
            flipped = content[place] ^ (1 << int(random.integers(8)))
            yield content[:place] + bytes([flipped]) + content[place + 1 :]
        else:
            end = place + int(random.integers(1, 64))
            zeros = bytes(len(content[place:end]))
            yield content[:place] + zeros + content[end:]


def checkpoints(folder: Path, times: int, random: np.random.Generator) -> Row:
    """The step before takes the place of a damaged one, which is told of."""
    state = {
        "weights": np.arange(40.0, dtype=np.float32),
        "key": jax.random.key(0),
        "count": np.asarray(3),
    }
    kept = Checkpoints(folder, {"seed": 0})
    for step in (1, 2):
        kept.save(step, state | {"count": np.asarray(step)})
    latest = sorted(folder.iterdir())[-1]
    sound = latest.read_bytes()
    failures, passed_over = [], 0
    for content in damaged(sound, times, random):
        latest.write_bytes(content)
        found = kept.restore(state)
        expected = 2 if content == sound else 1
        if found is None or found.step != expected or found.state["count"] != expected:
            failures.append(f"restored {found} of a file damaged to {content[:80]!r}")
        elif expected == 1:
            passed_over += 1
            if not any(latest.name in warning for warning in found.warnings):
                failures.append(f"{found.warnings} do not name {latest.name}")
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    outcome = _refusal(lambda: kept.restore(state), CheckpointError, latest.name)
    if outcome is not None:
        failures.append(f"both steps cut off: {outcome}")
    told = f"{passed_over} passed over for the step before; none left: refused"
    return row("checkpoints", times, told, failures)


def cells(path: Path, times: int, random: np.random.Generator) -> Row:
    """Kept parts of a long run are refused where they are not what was written."""
    Cells(path, {"seed": 0}, resume=False).get(
        "a", lambda _: {"x": [1.25, 2.5]}, say_nothing
    )
    sound = path.read_bytes()
    failures, refused = [], 0

    def read() -> dict[str, Any]:
        return Cells(path, {"seed": 0}, resume=True).get("a", lambda _: {}, say_nothing)

    for content in damaged(sound, times, random):
        path.write_bytes(content)
        try:
            found = read()
        except UserError as error:
            refused += 1
            if path.name not in str(error):
                failures.append(f"{error} does not name {path.name}")
        except Exception as error:
            failures.append(f"{error!r} of {content!r}")
        else:
            if found != {"x": [1.25, 2.5]}:
                failures.append(f"read {found}")
    return row("kept cells", times, f"{refused} refused", failures)


def pictures(folder: Path, kind: str, times: int, random: np.random.Generator) -> Row:
    """A damaged picture is refused by name, or is still a picture."""
    pixels = (255 * random.uniform(size=(12, 11, 3))).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    sound, path = stream.getvalue(), folder / f"picture.{kind.lower()}"
    path.write_bytes(sound)
    whole = load_image(path)
    failures, refused, changed = [], 0, 0
    for content in damaged(sound, times, random):
        path.write_bytes(content)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # decoders', of what they make do with
                found = load_image(path)
        except ValueError as error:
            refused += 1
            if str(path) not in str(error):
                failures.append(f"{error} does not name {path}")
        except Exception as error:
            failures.append(f"{error!r}")
        else:
            if not ((found >= 0) & (found <= 1)).all():
                failures.append("intensities beyond [0, 1]")
            if found.shape != whole.shape or not np.array_equal(found, whole):
                changed += 1
                if kind in _CHECKED:
                    failures.append("another picture than was saved, without a word")
    told = f"{refused} refused by name, {changed} read as another picture"
    return row(f"{kind} pictures", times, told, failures)


class _Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.path,)


def pickles(folder: Path) -> Row:
    """Nothing that is read from a file is ever unpickled."""
    sprung = folder / "sprung"
    trap = _Trap(sprung)
    stream = io.BytesIO()
    np.savez(stream, allow_pickle=True, std=np.array([trap], object))
    contents = {"pickle": pickle.dumps(trap), "npz": stream.getvalue()}
    failures = []
    for name, content in contents.items():
        picture = folder / f"{name}.png"
        step = folder / f"{name}-steps" / "step-0000000001.checkpoint"
        kept = folder / f"{name}.json"
        step.parent.mkdir()
        for path in (picture, step, kept):
            path.write_bytes(content)
        readers: dict[str, Callable[[], object]] = {
            "a picture": functools.partial(load_image, picture),
            "a checkpoint": functools.partial(Checkpoints(step.parent, {}).restore, {}),
            "kept cells": functools.partial(Cells, kept, {}, resume=True),
        }
        for reader, read in readers.items():
            if (outcome := _refusal(read, ValueError, name)) is not None:
                failures.append(f"{name} as {reader}: {outcome}")
    if sprung.exists():
        failures.append("a file was unpickled")
    return row(_PICKLES, 6, "6 refused", failures)


def _refusal(
    read: Callable[[], object], kind: type[Exception], name: str
) -> str | None:
    """What is wrong with how a file is refused; None where nothing is."""
    try:
        read()
    except kind as error:
        return None if name in str(error) else f"{error} does not name it"
    except Exception as error:
        return repr(error)
    return "it was accepted"
