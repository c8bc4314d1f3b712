"""One file of a checkpoint: what it is, and bytes of arrays, whole or damaged.

A line with a checksum of all that follows, a line of JSON, and the arrays' bytes.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dipgp.files import read_file, write_atomically

# Of a step that is one file, and of one that names other files.
WHOLE, PARTED = 1, 2


class CheckpointError(ValueError):
    """A checkpoint that cannot be gone on from, and why."""


class Damaged(Exception):
    """A file that is not what was once written."""


class Content(NamedTuple):
    """What a file holds.

    Attributes:
      checksum: of all of it.
      header: JSON values by name.
      payload: the arrays' bytes, one after the other.
    """

    checksum: str
    header: dict[str, Any]
    payload: memoryview


def encode(header: Mapping[str, Any], arrays: Iterable[bytes]) -> tuple[str, bytes]:
    """A checksum, and the bytes of a file that begins with it."""
    parts = [json.dumps(header).encode() + b"\n", *arrays]
    checksum = hashlib.sha256()
    for part in parts:
        checksum.update(part)
    digest = checksum.hexdigest()
    return digest, b"".join([_first_line(digest), *parts])


def write(path: Path, content: bytes) -> None:
    """Writes a whole file or nothing; a power cut does not undo it.

    Raises:
      OSError: where it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content)
    _wait_for_disk(path)
    with contextlib.suppress(OSError):  # not every file system can for a folder
        _wait_for_disk(path.parent)


def read(path: Path) -> Content:
    """Reads a file of `encode`.

    Raises:
      Damaged: where it is absent, or not what was written.
      CheckpointError: where it is of another format.
    """
    try:
        content = read_file(path, "a checkpoint")
    except ValueError as error:
        raise Damaged(str(error)) from error
    end = content.find(b"\n") + 1
    checksum = hashlib.sha256(content[end:]).hexdigest()
    if content[:end] != _first_line(checksum):
        raise Damaged(f"{path}: truncated or damaged")
    start = content.index(b"\n", end) + 1
    header = json.loads(content[end:start])
    if header["format"] not in (WHOLE, PARTED):
        raise CheckpointError(
            f"{path}: expected format {WHOLE} or {PARTED}, got {header['format']}; try "
            "the version of dipgp that wrote it"
        )
    return Content(checksum, header, memoryview(content)[start:])


def _first_line(checksum: str) -> bytes:
    return f"dipgp checkpoint {checksum}\n".encode()


def _wait_for_disk(path: Path) -> None:
    """Returns when a file, or the names in a folder, would survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
