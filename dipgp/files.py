"""Files as wholes: reading with clear refusals, writing all or nothing."""

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

# Folders of files that are not yet whole.
UNFINISHED = ".writing-"


def read_file(path: str | os.PathLike[str], expected: str) -> bytes:
    """Reads a whole file that has something in it.

    Args:
      path: the file.
      expected: what it should be, for the message where it is not.

    Returns:
      All of its bytes.

    Raises:
      ValueError: where it is absent, not a regular file, not readable, or empty.
    """
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"path: expected that of {expected}, got {path!r}")
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path}: expected {expected}, got a folder")
    if not path.is_file():
        raise ValueError(f"{path}: expected {expected}, found no such file")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(
            f"{path}: expected {expected}, got {error.strerror}"
        ) from error
    if not content:
        raise ValueError(f"{path}: expected {expected}, got an empty file")
    return content


def write_atomically(path: str | os.PathLike[str], content: bytes) -> None:
    """Writes a whole file or nothing.

    Args:
      path: the file; one that exists is replaced.
      content: all of its bytes.

    Raises:
      OSError: where the file cannot be written, naming it; nothing is left behind then.
    """
    path = Path(path)
    try:
        # In the same folder, since replacing is atomic within one file system only.
        with tempfile.TemporaryDirectory(
            dir=path.parent, prefix=_unfinished(path.name)
        ) as folder:
            whole = Path(folder) / path.name
            whole.write_bytes(content)
            os.replace(whole, path)
    except OSError as error:  # of a full disk, it names no file
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def remove_unfinished(folder: Path, name: str | None = None) -> None:
    """Removes what writers that were killed have left in a folder.

    Args:
      folder: one into which nobody is writing the file, or any file.
      name: of the file that they were writing; any by default.
    """
    left = UNFINISHED if name is None else _unfinished(name)
    for unfinished in folder.glob(f"{left}*"):
        shutil.rmtree(unfinished, ignore_errors=True)


def _unfinished(name: str) -> str:
    """How a file's folders begin, however long its name."""
    return f"{UNFINISHED}{hashlib.sha256(name.encode()).hexdigest()[:16]}-"
