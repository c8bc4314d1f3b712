"""Files to go on from, after a long run was cut off.

    checkpoints = Checkpoints(folder, {"seed": 0, "image": "barbara"})
    restored = checkpoints.restore(template=state)     # None in a fresh folder
    ...
    checkpoints.save(step, state)

A step is one file, written whole or not at all: a line with a checksum of all that
follows, a line of JSON that says what it is, and the arrays' bytes. A run goes on from
it only with the configuration, shapes and dtypes that it was written with.

Why not orbax: of a state of 27 MB on one machine it makes some twenty files in about
twice the time, and it restores flipped bits and casts dtypes without a word.

Arrays may lie on the devices of several processes. Each of these then writes the rows
that it has to a file of its own, step-*.part, and when all are there the first process
writes the step's file, which names them: a step is there with that file, or not at all.
Each reads the rows that it is to have, from one file or several, so that a run goes on
with another number of processes or devices as well, or with one. The folder is one that
all of them see.

When to save is up to the run; `dipgp.inference.interruption` tells when it is urgent.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jaxlib
import numpy as np

from dipgp import devices
from dipgp.devices import Mesh
from dipgp.files import remove_unfinished
from dipgp.inference import checkpoint_file, checkpoint_state
from dipgp.inference.checkpoint_file import CheckpointError, Content, Damaged

_PATTERN, _PARTS = "step-*.checkpoint", "step-*.part"
_ABSENT = "nothing of that name"


class Restored(NamedTuple):
    """What a run goes on from.

    Attributes:
      step: as it was saved.
      state: of the template's structure, on the template's devices.
      warnings: sentences on what was passed over or has changed; usually none.
    """

    step: int
    state: Any
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one run, in a folder of their own.

    One process writes at a time. Those that share a state call `save` and `restore`
    together.

    Attributes:
      folder: made where it is absent.
      configuration: JSON values by name; what a run must have in common with its
        continuation.
      keep: how many of the latest steps stay, at least 1. With 2, damage to the latest
        costs no more than the time between them.
      may_change: names in the configuration that need not agree, such as the number of
        iterations.
    """

    folder: Path
    configuration: Mapping[str, Any]
    keep: int = 2
    may_change: Collection[str] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", Path(self.folder))
        if self.keep < 1:
            raise ValueError(f"keep: expected at least 1, got {self.keep}")
        try:
            # As it will be read again: tuples are lists there.
            plain = json.loads(json.dumps(dict(self.configuration), allow_nan=False))
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"configuration: expected finite JSON values by name, got {error}"
            ) from error
        object.__setattr__(self, "configuration", plain)

    def save(self, step: int, state: Any) -> None:
        """Writes a step and removes those that are no longer kept.

        Waits for the arrays and for the disk: older steps go only when the new one is
        safe, so that neither a kill nor a power cut leaves nothing. In a folder that
        may have been used before, `restore` or `forget` comes first.

        Args:
          step: at least 0, and no less than the latest sound step in the folder.
          state: a pytree of arrays of numbers, random keys among them.

        Raises:
          ValueError: on a negative step, or on a leaf that is no array.
          CheckpointError: where the folder is not one of checkpoints, or holds a later
            step; where another process could not write, or sees another folder.
          OSError: where the file cannot be written; what was there is still there.
        """
        if step < 0:
            raise ValueError(f"step: expected at least 0, got {step}")
        leaves, described = checkpoint_state.describe(state)
        header = {
            "format": checkpoint_file.WHOLE,
            "step": step,
            "configuration": self.configuration,
            "versions": _versions(),
            "leaves": described,
        }
        mesh = devices.spanned_mesh(leaves)
        if mesh is None:
            self._write(step, header, leaves)
        else:
            self._save_together(step, header, leaves, mesh)

    def _save_together(
        self, step: int, header: dict[str, Any], leaves: list[Any], mesh: Mesh
    ) -> None:
        """Writes what this process has, and as the first one what names it all."""
        shared = {i: e for i, e in enumerate(leaves) if checkpoint_state.is_shared(e)}
        rows = [checkpoint_state.shares(leaf) for leaf in shared.values()]
        checksum, failure = "", None
        try:
            self._steps()  # refuses a folder of other things
            own = {
                "format": checkpoint_file.PARTED,
                "step": step,
                "process": jax.process_index(),
            }
            arrays = map(checkpoint_state.to_bytes, shared.values())
            checksum, content = checkpoint_file.encode(own, arrays)
            checkpoint_file.write(self._part(step, checksum), content)
        except (OSError, ValueError) as error:
            checksum, failure = "", error
        digest = bytes.fromhex(checksum).ljust(32, b"\0")
        told = devices.exchange(np.frombuffer(digest, np.uint8), mesh)
        self._raise_together(step, failure, [not each.any() for each in told])
        if jax.process_index() == 0:
            parts = [
                {"checksum": bytes(digest).hex(), "rows": [e[process] for e in rows]}
                for process, digest in enumerate(told)
            ]
            header = header | {
                "format": checkpoint_file.PARTED,
                "shared": [*shared],
                "parts": parts,
            }
            others = [e for i, e in enumerate(leaves) if i not in shared]
            try:
                self._check_parts(step, parts)
                self._write(step, header, others)
            except (OSError, ValueError) as error:
                failure = error
        # The others go on when the file is there.
        (failed,) = devices.any_process(mesh, failure is not None)
        self._raise_together(step, failure, [failed])

    def _raise_together(
        self, step: int, failure: Exception | None, failed: list[bool]
    ) -> None:
        """Raises this process's failure, or says which process has failed."""
        if failure is not None:
            raise failure
        if any(failed):
            raise CheckpointError(
                f"{self.folder}: process {failed.index(True)} could not write step "
                f"{step}, and says why"
            )

    def _check_parts(self, step: int, parts: list[dict[str, Any]]) -> None:
        for process, part in enumerate(parts):
            path = self._part(step, part["checksum"])
            if not path.exists():
                raise CheckpointError(
                    f"{self.folder}: expected a folder that all processes see, and in "
                    f"it {path.name}, which process {process} has written, got none"
                )

    def _write(self, step: int, header: dict[str, Any], leaves: Iterable[Any]) -> None:
        """Writes a step's own file, and removes what is then no longer kept."""
        steps = self._steps()
        abandoned = [other for other in steps if other > step]
        for other in abandoned:
            self._refuse_sound(other, step)
        arrays = map(checkpoint_state.to_bytes, leaves)
        _, content = checkpoint_file.encode(header, arrays)
        checkpoint_file.write(self._path(step), content)
        kept = sorted({*steps, step} - {*abandoned})[-self.keep :]
        for other in steps:
            if other not in kept:
                self._path(other).unlink(missing_ok=True)
        written = {self._part(step, each["checksum"]) for each in _parts(header)}
        stems = {_stem(other) for other in kept if other != step}
        for path in self.folder.glob(_PARTS):
            # Of other steps, or left by a writer that was interrupted.
            if path not in written and path.name.rpartition("-")[0] not in stems:
                path.unlink(missing_ok=True)
        remove_unfinished(self.folder)

    def restore(self, template: Any) -> Restored | None:
        """Reads the latest sound step.

        Args:
          template: a state of the structure, shapes and dtypes expected: arrays, or
            `jax.ShapeDtypeStruct`. Where a leaf lies on a device, so does what is read;
            NumPy arrays give NumPy arrays.

        Returns:
          The step, or None where there is none, with no folder or an empty one.

        Raises:
          CheckpointError: where the folder holds other things, no step is sound, or
            the latest sound one has another configuration, structure, shape or dtype;
            where processes find different steps.
        """
        mesh = devices.spanned_mesh(template)
        steps, warnings = self._steps(), list[str]()
        latest = _told(steps[-1] if steps else -1, mesh)
        if len({*latest}) > 1:
            words = ("none" if step < 0 else f"step {step}" for step in latest)
            raise CheckpointError(
                f"{self.folder}: expected a folder that all processes see, and in it "
                f"the same step, got {', '.join(words)}"
            )
        while True:
            found = self._latest(template, steps, warnings)
            own = -1 if found is None else found.step
            sound = _told(own, mesh)
            if len({*sound}) == 1:
                break
            # From what one process cannot read none goes on.
            steps = [step for step in steps if step <= min(sound)]
            if own > min(sound):
                warnings.append(f"passed over step {own}, damaged for another process")
        if found is None and warnings:
            raise CheckpointError(
                f"{self.folder}: expected a sound checkpoint, got none: "
                f"{'; '.join(warnings)}; start afresh, or take another folder"
            )
        return found

    def _latest(
        self, template: Any, steps: list[int], warnings: list[str]
    ) -> Restored | None:
        """The latest sound one of some steps; adds a warning for each passed over."""
        for step in reversed(steps):
            path = self._path(step)
            try:
                content = checkpoint_file.read(path)
                header = content.header
                self._check_configuration(header["configuration"], path)
                state = self._assemble(content, template, path)
            except Damaged as error:
                warnings.append(f"passed over {error}")
                continue
            changed = _changed_versions(header["versions"])
            return Restored(header["step"], state, (*warnings, *changed))
        return None

    def forget(self) -> None:
        """Removes all steps, sound or not, to start over.

        Raises:
          CheckpointError: where the folder holds other things and no steps.
        """
        for step in self._steps():
            self._path(step).unlink(missing_ok=True)
        for path in self.folder.glob(_PARTS):
            path.unlink(missing_ok=True)

    def _path(self, step: int) -> Path:
        return self.folder / f"{_stem(step)}.checkpoint"

    def _part(self, step: int, checksum: str) -> Path:
        # Named by what is in it: no part is ever written over another.
        return self.folder / f"{_stem(step)}-{checksum[:16]}.part"

    def _steps(self) -> list[int]:
        """The steps in the folder, in order, sound or not."""
        if not self.folder.exists():
            return []
        if not self.folder.is_dir():
            raise CheckpointError(f"{self.folder}: expected a folder, got a file")
        stems = (path.stem.removeprefix("step-") for path in self.folder.glob(_PATTERN))
        steps = sorted(int(stem) for stem in stems if stem.isdigit())
        # What is hidden, such as unfinished files, counts as nothing.
        foreign = sorted(
            path.name
            for path in self.folder.iterdir()
            if not (path.name.startswith(".") or path.match(_PARTS))
        )
        if foreign and not steps:
            raise CheckpointError(
                f"{self.folder}: expected a folder of checkpoints, or an empty one, "
                f"got one with {foreign[0]}"
            )
        return steps

    def _refuse_sound(self, other: int, step: int) -> None:
        try:
            for part in _parts(checkpoint_file.read(self._path(other)).header):
                self._read_part(other, part)
        except Damaged:
            return
        raise CheckpointError(
            f"step: expected none before {other}, which is in {self.folder} already, "
            f"got {step}; restore it, forget it, or take another folder"
        )

    def _check_configuration(self, saved: Mapping[str, Any], path: Path) -> None:
        for name in sorted({*saved, *self.configuration} - {*self.may_change}):
            before = saved.get(name, _ABSENT)
            now = self.configuration.get(name, _ABSENT)
            if before != now:
                raise CheckpointError(
                    f"{path}: expected {name} = {now!r}, as in this configuration, "
                    f"got {before!r}; try that value, or another folder"
                )

    def _read_part(self, step: int, part: Mapping[str, Any]) -> memoryview:
        path = self._part(step, part["checksum"])
        content = checkpoint_file.read(path)
        if content.checksum != part["checksum"]:
            raise Damaged(f"{path}: not what {self._path(step).name} names")
        return content.payload

    def _assemble(self, content: Content, template: Any, path: Path) -> Any:
        """A state of the template's structure, this process's part of it."""
        leaves, expected = checkpoint_state.describe(template)
        header, payload = content.header, content.payload
        checkpoint_state.check_leaves(header["leaves"], expected, path)
        shared, parts = header.get("shared", []), _parts(header)
        values = {}
        for number, leaf in enumerate(leaves):
            if number not in shared:
                value, payload = checkpoint_state.take(leaf, payload)
                values[number] = checkpoint_state.own_part(leaf, value)
        joined = checkpoint_state.join(
            [leaves[number] for number in shared],
            [part["rows"] for part in parts],
            lambda number: self._read_part(header["step"], parts[number]),
        )
        values |= dict(zip(shared, joined, strict=True))
        restored = []
        for number, leaf in enumerate(leaves):
            value = checkpoint_state.put(values[number], leaf)
            if value.dtype != leaf.dtype:
                raise CheckpointError(
                    f"{path}: expected {leaf.dtype}, which JAX has turned into "
                    f"{value.dtype}; try JAX_ENABLE_X64=1"
                )
            restored.append(value)
        return jax.tree.unflatten(jax.tree.structure(template), restored)


def _told(step: int, mesh: Mesh | None) -> list[int]:
    """What all processes say."""
    return [step] if mesh is None else devices.exchange(step, mesh).tolist()


def _stem(step: int) -> str:
    return f"step-{step:010d}"


def _parts(header: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Checksum and rows of each part that a step's file names."""
    return header.get("parts", [])


def _versions() -> dict[str, str]:
    """Of the libraries that decide the numbers."""
    return {module.__name__: module.__version__ for module in (jax, jaxlib, np)}


def _changed_versions(saved: Mapping[str, str]) -> list[str]:
    return [
        f"written with {name} {saved.get(name)}, now {now}"
        for name, now in _versions().items()
        if saved.get(name) != now
    ]
