"""Which files an order means, found before any work begins."""

import dataclasses
import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from dipgp.command.options import Order
from dipgp.photographs import ENDINGS, format_of

_METHODS = {"gp": ("gp",), "sgld": ("sgld",), "both": ("gp", "sgld")}
_DEVIATIONS = (".png", ".npz")
# Of pictures that somebody might expect to be restored.
OTHER_ENDINGS = (
    *(".gif", ".webp", ".bmp", ".heic", ".heif", ".avif", ".jp2", ".jxl", ".psd"),
    *(".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2"),
)


@dataclasses.dataclass(frozen=True)
class Plan:
    """One picture's files.

    Attributes:
      source: the picture.
      outputs: by method, where its restoration goes.
      deviations: by method, where its standard deviations go: a .png and a .npz, or the
        latter alone; empty where none are asked for.
      mask: what is missing, or None.
      done: whether all of it is there already, and is to be left alone.
    """

    source: Path
    outputs: dict[str, Path]
    deviations: dict[str, tuple[Path, ...]]
    mask: Path | None
    done: bool

    @property
    def written(self) -> list[Path]:
        """All files that it makes."""
        each = [path for paths in self.deviations.values() for path in paths]
        return [*self.outputs.values(), *each]


def make(order: Order) -> list[Plan]:
    """The plans of all pictures.

    Args:
      order: what was asked for.

    Raises:
      ValueError: where there is nothing to do, where outputs exist and nothing was said
        of them, or where they would write over each other or over a picture.
    """
    _check_names(order)
    sources, several = _sources(order.inputs)
    named_as_folder = order.output.endswith(("/", "\\"))
    folder = several or named_as_folder or Path(order.output).is_dir()
    if several:
        for flag, name in (("--output", order.output), ("--std", order.std)):
            _check_folder(flag, name)
    plans = [_plan(order, source, folder) for source in sources]
    _check_apart(plans)
    for place in {path.parent for plan in plans for path in plan.written}:
        _check_writable(place)
    if order.resume:
        return [
            dataclasses.replace(plan, done=all(path.exists() for path in plan.written))
            for plan in plans
        ]
    there = [path for plan in plans for path in plan.written if path.exists()]
    if there and not order.overwrite:
        more = f" and {len(there) - 1} more" if len(there) > 1 else ""
        raise ValueError(
            f"{there[0]}{more}: expected no such file yet; try --overwrite, or "
            "--resume to make what is missing only"
        )
    return plans


def _check_names(order: Order) -> None:
    """Raises ValueError on an empty name, as a shell makes of a variable not set.

    To `Path` it is the current folder.
    """
    named = {"--output": order.output, "--std": order.std, "--mask": order.mask}
    for name, text in [*named.items(), *(("picture", text) for text in order.inputs)]:
        if text == "":
            raise ValueError(f"{name}: expected a file or a folder, got an empty name")


def passed_over(inputs: Sequence[str]) -> list[Path]:
    """Pictures in folders that are left alone, being of formats that are not written.

    Args:
      inputs: files, folders and patterns; those are looked at that are folders.
    """
    folders = [Path(text) for text in inputs if Path(text).is_dir()]
    return [
        path
        for folder in folders
        for path in sorted(_visible(folder))
        if path.suffix.lower() in OTHER_ENDINGS
    ]


def _check_folder(flag: str, name: str | None) -> None:
    """Raises ValueError on a file's name where several files may have to go."""
    if name is None or name.endswith(("/", "\\")) or Path(name).is_dir():
        return
    words = f"{flag}={name}: expected a folder, since several pictures are meant, got "
    if Path(name).is_file():
        raise ValueError(f"{words}a file")
    if Path(name).suffix.lower() in (*ENDINGS, *_DEVIATIONS):
        raise ValueError(f"{words}a file's name; try {name}/ if that is the folder")


def _check_writable(folder: Path) -> None:
    """Raises ValueError where files cannot be made, before hours of work are lost."""
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        raise ValueError(f"{folder}: expected a folder to write to, {there} is none")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ValueError(f"{folder}: expected a folder to write to, got no permission")


def _sources(inputs: Sequence[str]) -> tuple[list[Path], bool]:
    """Each picture once, and whether more than one file could have been meant."""
    found: dict[Path, Path] = {}
    several = len(inputs) > 1
    for text in inputs:
        path = Path(text)
        paths = [path]
        if path.is_dir():
            several = True
            paths = sorted(_pictures(path))
            if not paths:
                raise ValueError(
                    f"{text}: expected a folder with pictures ({', '.join(ENDINGS)}), "
                    "got none"
                )
        elif not path.exists() and any(sign in text for sign in "*?["):
            several = True
            matches = glob.glob(text, recursive=True)
            paths = sorted(Path(match) for match in matches if Path(match).is_file())
            if not paths:
                raise ValueError(f"{text}: expected a pattern that matches a file")
        elif not path.exists():
            raise ValueError(f"{text}: expected a picture, found no such file")
        for each in paths:
            found.setdefault(each.resolve(), each)
    return list(found.values()), several


def _pictures(folder: Path) -> Iterator[Path]:
    """Files that a picture's ending is on, hidden ones left out."""
    return (path for path in _visible(folder) if path.suffix.lower() in ENDINGS)


def _visible(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.is_file() and not path.name.startswith("."):
            yield path


def _plan(order: Order, source: Path, folder: bool) -> Plan:
    output = Path(order.output) / source.name if folder else Path(order.output)
    format_of(output)
    methods = _METHODS[order.method]
    outputs = {method: _named(output, method, methods) for method in methods}
    deviations: dict[str, tuple[Path, ...]] = {}
    if order.std is not None:
        std = Path(order.std) / f"{source.stem}.png" if folder else Path(order.std)
        if std.suffix not in _DEVIATIONS:
            raise ValueError(
                f"--std={order.std}: expected an ending among {', '.join(_DEVIATIONS)}"
            )
        for method in methods:
            named = _named(std, method, methods)
            exact = named.with_suffix(".npz")
            deviations[method] = (exact,) if named == exact else (named, exact)
    mask = None
    if order.mask is not None:
        mask = Path(order.mask)
        if mask.is_dir():
            mask = _mask(mask, source)
    return Plan(source, outputs, deviations, mask, done=False)


def _named(path: Path, method: str, methods: Sequence[str]) -> Path:
    """With the method in its name, where there are several."""
    return path if len(methods) == 1 else path.with_stem(f"{path.stem}-{method}")


def _mask(folder: Path, source: Path) -> Path:
    found = [path for path in sorted(_pictures(folder)) if path.stem == source.stem]
    if len(found) != 1:
        raise ValueError(
            f"--mask={folder}: expected one mask with the name of {source.name}, got "
            f"{len(found)}"
        )
    return found[0]


def _check_apart(plans: Sequence[Plan]) -> None:
    """Raises ValueError where a file would be written twice, or over a picture."""
    read = {plan.source.resolve() for plan in plans}
    read |= {plan.mask.resolve() for plan in plans if plan.mask is not None}
    written: dict[str, Path] = {}
    for plan in plans:
        for path in plan.written:
            # Some file systems take names that differ in case only for the same.
            key = str(path.resolve()).casefold()
            if path.resolve() in read:
                raise ValueError(
                    f"{path}: expected another file than the pictures and masks that "
                    "are read, which would be lost"
                )
            if key in written:
                words = f"{path}: expected a file of its own for "
                if written[key] == plan.source:
                    raise ValueError(f"{words}--std, got --output's")
                raise ValueError(
                    f"{words}{plan.source} and {written[key]}; try two folders"
                )
            written[key] = plan.source
