"""A run's folders: made, seen to be writable, and held against other processes."""

import contextlib
import os
import socket
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from dipgp.files import remove_unfinished
from experiments.common import UserError

if sys.platform != "win32":
    import fcntl

LOCK_FILE = ".lock"


def paths(output_dir: str, names: Sequence[str]) -> dict[str, Path]:
    """Name to folder: the run's own for one image, for several a folder each in it."""
    run_folder = Path(output_dir)
    if len(names) == 1:
        return dict.fromkeys(names, run_folder)
    return {name: run_folder / name for name in names}


@contextlib.contextmanager
def open_run_folders(
    output_dir: str, names: Sequence[str]
) -> Iterator[dict[str, Path]]:
    """Creates the folders of a run's results and keeps other processes out of them.

    The operating system drops the lock with the process that holds it, however that
    ends, so that none is ever stale. File systems without locks go without.

    Args:
      output_dir: the run's folder.
      names: the images'.

    Yields:
      Name to folder.

    Raises:
      UserError: where a folder cannot be created or written to, or is another
        process's.
    """
    run_folder, folders = Path(output_dir), paths(output_dir, names)
    with contextlib.ExitStack() as stack:
        folder = run_folder
        try:
            run_folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(_held(run_folder))
            for folder in (run_folder, *folders.values()):
                folder.mkdir(exist_ok=True)
                with tempfile.TemporaryFile(dir=folder):
                    pass
                remove_unfinished(folder)
        except OSError as error:
            found = "a file" if folder.is_file() else error.strerror
            raise UserError(
                f"--output_dir={output_dir}: expected a folder that can be written to, "
                f"got {found} ({folder})"
            ) from error
        yield folders


@contextlib.contextmanager
def open_run_folder(output_dir: str) -> Iterator[Path]:
    """As `open_run_folders`, for a run that has one folder, whatever its images.

    Yields:
      The run's folder.
    """
    with open_run_folders(output_dir, ["run"]) as folders:
        yield folders["run"]


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Holds a folder's lock file, which says who does."""
    path = folder / LOCK_FILE
    if sys.platform == "win32":
        yield  # which has no such locks
        return
    descriptor = _lock(path)
    try:
        os.ftruncate(descriptor, 0)
        holder = f"process {os.getpid()} on {socket.gethostname()}"
        os.write(descriptor, holder.encode())
        yield
    finally:
        # Another one's, where the folder was removed and made anew meanwhile, stays.
        with contextlib.suppress(OSError):
            if _is_open_file(descriptor, path):
                path.unlink()
        os.close(descriptor)


def _lock(path: Path) -> int:
    """A descriptor of the file, locked."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(descriptor, 1000).decode(errors="replace")
            os.close(descriptor)
            raise UserError(
                f"--output_dir={path.parent}: expected a folder that no other run is "
                f"writing to, got that of {holder or 'another process'}; wait for it, "
                "or choose another"
            ) from error
        except OSError:  # a file system without locks
            return descriptor
        if _is_open_file(descriptor, path):
            return descriptor
        os.close(descriptor)  # its holder removed it just before it was locked


def _is_open_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
