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

Arrays may lie on the devices of several processes. The first of these writes them all,
and each reads its own part, so that a run goes on with another number of processes or
devices as well. The folder is one that all of them see.

When to save is up to the run; `dipgp.inference.interruption` tells when it is urgent.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jaxlib
import numpy as np

from dipgp import devices
from dipgp.files import read_file, remove_unfinished, write_atomically

_FORMAT = 1
_PATTERN = "step-*.checkpoint"
_ABSENT = "nothing of that name"


class CheckpointError(ValueError):
    """A checkpoint that cannot be gone on from, and why."""


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


class _Damaged(Exception):
    """A file that is not what was once written."""


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
            step.
          OSError: where the file cannot be written; what was there is still there.
        """
        if step < 0:
            raise ValueError(f"step: expected at least 0, got {step}")
        leaves, described = _describe(state)
        mesh = devices.spanned_mesh(leaves)
        if mesh is None:
            self._write(step, described, [_bytes(leaf) for leaf in leaves])
            return
        writes, parts = jax.process_index() == 0, []
        for leaf in leaves:
            whole = _bytes(leaf)  # by all processes together
            if writes:
                parts.append(whole)
        failure: Exception | None = None
        if writes:
            try:
                self._write(step, described, parts)
            except (OSError, ValueError) as error:
                failure = error
        # The others go on when the file is there.
        (failed,) = devices.any_process(mesh, failure is not None)
        if failure is not None:
            raise failure
        if failed:
            raise CheckpointError(
                f"{self.folder}: process 0 could not write step {step}, and says why"
            )

    def _write(
        self, step: int, described: list[list[Any]], arrays: Sequence[bytes]
    ) -> None:
        header = {
            "format": _FORMAT,
            "step": step,
            "configuration": self.configuration,
            "versions": _versions(),
            "leaves": described,
        }
        parts = [json.dumps(header).encode() + b"\n", *arrays]
        checksum = hashlib.sha256()
        for part in parts:
            checksum.update(part)
        first = _first_line(checksum.hexdigest())
        steps = self._steps()
        abandoned = [other for other in steps if other > step]
        for other in abandoned:
            self._refuse_sound(other, step)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self._path(step), b"".join([first, *parts]))
        _wait_for_disk(self._path(step))
        with contextlib.suppress(OSError):  # not every file system can for a folder
            _wait_for_disk(self.folder)
        kept = sorted({*steps, step} - {*abandoned})[-self.keep :]
        for other in steps:
            if other not in kept:
                self._path(other).unlink(missing_ok=True)
        remove_unfinished(self.folder)

    def restore(self, template: Any) -> Restored | None:
        """Reads the latest sound step.

        Args:
          template: a state of the structure, shapes and dtypes expected: arrays, or
            `jax.ShapeDtypeStruct`. Where a leaf lies on a device, so does what is read;
            NumPy arrays give NumPy arrays.

        Returns:
          The step, or None where there is none: no folder, or an empty one.

        Raises:
          CheckpointError: where the folder holds other things, no step is sound, or
            the latest sound one has another configuration, structure, shape or dtype;
            where processes find different steps.
        """
        found = self._latest(template)
        mesh = devices.spanned_mesh(template)
        if mesh is not None:
            steps = devices.exchange(-1 if found is None else found.step, mesh)
            if len({*steps.tolist()}) > 1:
                words = ("none" if step < 0 else f"step {step}" for step in steps)
                raise CheckpointError(
                    f"{self.folder}: expected a folder that all processes see, and in "
                    f"it the same step, got {', '.join(words)}"
                )
        return found

    def _latest(self, template: Any) -> Restored | None:
        warnings: list[str] = []
        for step in reversed(self._steps()):
            try:
                header, payload = _read(self._path(step))
            except _Damaged as error:
                warnings.append(f"passed over {error}")
                continue
            self._check_configuration(header["configuration"], self._path(step))
            warnings.extend(_changed_versions(header["versions"]))
            state = _assemble(header["leaves"], payload, template, self._path(step))
            return Restored(header["step"], state, tuple(warnings))
        if warnings:
            raise CheckpointError(
                f"{self.folder}: expected a sound checkpoint, got none: "
                f"{'; '.join(warnings)}; start afresh, or take another folder"
            )
        return None

    def forget(self) -> None:
        """Removes all steps, sound or not, to start over.

        Raises:
          CheckpointError: where the folder holds other things and no steps.
        """
        for step in self._steps():
            self._path(step).unlink(missing_ok=True)

    def _path(self, step: int) -> Path:
        return self.folder / f"step-{step:010d}.checkpoint"

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
            path.name for path in self.folder.iterdir() if not path.name.startswith(".")
        )
        if foreign and not steps:
            raise CheckpointError(
                f"{self.folder}: expected a folder of checkpoints, or an empty one, "
                f"got one with {foreign[0]}"
            )
        return steps

    def _refuse_sound(self, other: int, step: int) -> None:
        try:
            _read(self._path(other))
        except _Damaged:
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


def _read(path: Path) -> tuple[dict[str, Any], memoryview]:
    """The header and the arrays' bytes of a file."""
    try:
        content = read_file(path, "a checkpoint")
    except ValueError as error:
        raise _Damaged(str(error)) from error
    end = content.find(b"\n") + 1
    if content[:end] != _first_line(hashlib.sha256(content[end:]).hexdigest()):
        raise _Damaged(f"{path}: truncated or damaged")
    start = content.index(b"\n", end) + 1
    header = json.loads(content[end:start])
    if header["format"] != _FORMAT:
        raise CheckpointError(
            f"{path}: expected format {_FORMAT}, got {header['format']}; try the "
            "version of dipgp that wrote it"
        )
    return header, memoryview(content)[start:]


def _first_line(checksum: str) -> bytes:
    return f"dipgp checkpoint {checksum}\n".encode()


def _describe(state: Any) -> tuple[list[Any], list[list[Any]]]:
    """The leaves of a state, and path, shape and dtype of each as JSON has them."""
    leaves, described = [], []
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        name = jax.tree_util.keystr(path)
        if not hasattr(leaf, "dtype") or not hasattr(leaf, "shape"):
            raise ValueError(
                f"state{name}: expected an array, got {type(leaf).__name__}"
            )
        if not (_is_key(leaf) or _is_number(leaf)):
            raise ValueError(f"state{name}: expected numbers, got {leaf.dtype}")
        leaves.append(leaf)
        described.append([name, list(leaf.shape), str(leaf.dtype)])
    return leaves, described


def _is_key(leaf: Any) -> bool:
    return bool(jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key))


def _is_number(leaf: Any) -> bool:
    known = (jnp.issubdtype(leaf.dtype, kind) for kind in (jnp.number, jnp.bool_))
    return any(known) and np.dtype(leaf.dtype).isnative


def _bytes(leaf: Any) -> bytes:
    return devices.gather(leaf).tobytes()


def _assemble(
    described: list[list[Any]], payload: memoryview, template: Any, path: Path
) -> Any:
    """A state of the template's structure from the bytes of a file."""
    leaves, expected = _describe(template)
    for saved, wanted in zip(described, expected, strict=False):
        if saved != wanted:
            raise CheckpointError(
                f"{path}: expected state{_in_words(wanted)}, "
                f"got state{_in_words(saved)}"
            )
    if len(described) != len(expected):
        raise CheckpointError(
            f"{path}: expected a state of {len(expected)} arrays, got {len(described)}"
        )
    restored = []
    for leaf in leaves:
        value, payload = _take(leaf, payload)
        if value.dtype != leaf.dtype:
            raise CheckpointError(
                f"{path}: expected {leaf.dtype}, which JAX has turned into "
                f"{value.dtype}; try JAX_ENABLE_X64=1"
            )
        restored.append(value)
    return jax.tree.unflatten(jax.tree.structure(template), restored)


def _in_words(described: list[Any]) -> str:
    name, shape, dtype = described
    return f"{name} of shape {tuple(shape)} and {dtype}"


def _take(leaf: Any, payload: memoryview) -> tuple[Any, memoryview]:
    """The first array of some bytes, like a leaf of the template, and the rest."""
    like = jax.eval_shape(jax.random.key_data, leaf) if _is_key(leaf) else leaf
    dtype = np.dtype(like.dtype)
    size = int(np.prod(like.shape)) * dtype.itemsize
    value = np.frombuffer(payload[:size], dtype).reshape(like.shape)
    if isinstance(leaf, np.ndarray | np.generic):
        return value.copy(), payload[size:]
    if leaf.sharding is not None and not leaf.sharding.is_fully_addressable:
        array = devices.put_like(value, leaf.sharding)
        if _is_key(leaf):
            array = jax.random.wrap_key_data(array, dtype=leaf.dtype)
        return array, payload[size:]
    # Copied, since a compiled loop may be given the state to overwrite.
    array = jnp.array(value, copy=True)
    if _is_key(leaf):
        array = jax.random.wrap_key_data(array, dtype=leaf.dtype)
    if leaf.sharding is not None and getattr(leaf, "committed", True):
        array = jax.device_put(array, leaf.sharding)
    return array, payload[size:]


def _versions() -> dict[str, str]:
    """Of the libraries that decide the numbers."""
    return {module.__name__: module.__version__ for module in (jax, jaxlib, np)}


def _changed_versions(saved: Mapping[str, str]) -> list[str]:
    return [
        f"written with {name} {saved.get(name)}, now {now}"
        for name, now in _versions().items()
        if saved.get(name) != now
    ]


def _wait_for_disk(path: Path) -> None:
    """Returns when a file, or the names in a folder, would survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
