"""Parts of a long run, kept in a file as they are done, to be taken up again."""

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from dipgp import progress
from dipgp.progress import Report
from experiments import common, reporting

Cell = dict[str, Any]


class Cells:
    """Results by name, in a JSON file."""

    def __init__(
        self,
        path: Path,
        settings: Mapping[str, Any],
        resume: bool,
        idle: Iterable[str] = (),
    ) -> None:
        """Opens the file.

        Args:
          path: the file; it is written after each cell.
          settings: all that a cell's numbers depend on, besides its name; JSON values.
          resume: whether to take up what the file holds.
          idle: names of settings that change no cell, as which of them there are, and
            where they are.

        Raises:
          UserError: where the file is to be taken up and is of other settings, or
            cannot be read.
        """
        decisive = dict(settings)
        for name in idle:
            del decisive[name]
        self._fingerprint = _checksum(reporting.plain(decisive))
        self._path = path
        self._done: dict[str, Cell] = {}
        if resume and path.exists():
            self._done = self._read()

    def _read(self) -> dict[str, Cell]:
        advice = "choose another --output_dir, or start afresh without --resume"
        try:
            kept = json.loads(self._path.read_text())
            cells, checksum = kept["cells"], kept["checksum"]
        except (OSError, ValueError, TypeError, LookupError) as error:
            expected = f"a readable {self._path}, got {error!r}; {advice}"
            raise common.UserError(f"--resume: expected {expected}") from error
        if checksum != _checksum(cells):
            expected = f"an undamaged {self._path}, got another checksum; {advice}"
            raise common.UserError(f"--resume: expected {expected}")
        if kept.get("fingerprint") != self._fingerprint:
            raise common.UserError(
                f"--resume: expected {self._path} to be of the same settings; {advice}"
            )
        return cells

    def __contains__(self, name: str) -> bool:
        """Whether the cell of that name is done."""
        return name in self._done

    def __getitem__(self, name: str) -> Cell:
        """The cell of that name, which is done."""
        return self._done[name]

    def get(
        self,
        name: str,
        compute: Callable[[Report], Cell],
        report: Report | None = None,
    ) -> Cell:
        """The cell of that name, computed where it is not there yet.

        Args:
          name: of the cell.
          compute: gives JSON values, numbers and arrays by name, and tells how far it
            is.
          report: whom it tells; by default a display of its own under the cell's name.

        Returns:
          The cell as a file gives it back, whether it came from there or not.
        """
        if name not in self._done:
            shown = contextlib.nullcontext(report) if report else None
            with shown or progress.show(name) as told:
                cell = reporting.plain(compute(told))
            assert isinstance(cell, dict)
            self._done[name] = cell
            kept = {
                "fingerprint": self._fingerprint,
                "checksum": _checksum(self._done),
                "cells": self._done,
            }
            reporting.write_json(self._path, kept)
        return self._done[name]


def _checksum(plain: object) -> str:
    """Of JSON values, whatever order names are in."""
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
