"""The arrays of a state: as bytes, all of them or a process's share, and back.

A leaf is shared where its leading axis lies on the devices of several processes. Rows
(start, stop) of it are a process's own; the others it never holds.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dipgp.inference.checkpoint_file import CheckpointError

Rows = tuple[int, int]
# Path, shape and dtype of each.
Leaves = list[list[Any]]


def describe(state: Any) -> tuple[list[Any], Leaves]:
    """The leaves of a state, and path, shape and dtype of each as JSON has them.

    Raises:
      ValueError: on a leaf that is no array of numbers or random keys.
    """
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


def check_leaves(found: Leaves, expected: Leaves, path: Path) -> None:
    """Refuses what a file has, as `describe` tells it, unless it is what is expected.

    Raises:
      CheckpointError: on other names, shapes or dtypes.
    """
    for saved, wanted in zip(found, expected, strict=False):
        if saved != wanted:
            raise CheckpointError(
                f"{path}: expected state{_in_words(wanted)}, "
                f"got state{_in_words(saved)}"
            )
    if len(found) != len(expected):
        raise CheckpointError(
            f"{path}: expected a state of {len(expected)} arrays, got {len(found)}"
        )


def is_shared(leaf: Any) -> bool:
    """Whether no process has the whole leaf."""
    sharding = getattr(leaf, "sharding", None)
    if sharding is None:
        return False
    return not (sharding.is_fully_addressable or sharding.is_fully_replicated)


def shares(leaf: Any) -> dict[int, Rows]:
    """The rows of each process, by its number, of a leaf that is shared.

    Raises:
      ValueError: where it is shared along another axis, or rows not in one piece.
    """
    rows: dict[int, set[Rows]] = {}
    for device, index in leaf.sharding.devices_indices_map(leaf.shape).items():
        pairs = zip(index, leaf.shape, strict=True)
        (start, stop, _), *others = (each.indices(size) for each, size in pairs)
        if others != [(0, size, 1) for size in leaf.shape[1:]]:
            raise ValueError("state: expected arrays spread along their leading axis")
        rows.setdefault(device.process_index, set()).add((start, stop))
    found = {}
    for process, pieces in rows.items():
        first, last = min(pieces)[0], max(pieces)[1]
        if sum(stop - start for start, stop in pieces) != last - first:
            raise ValueError("state: expected the rows of a process in one piece")
        found[process] = (first, last)
    return found


def to_bytes(leaf: Any) -> bytes:
    """All of a leaf, or of one that is shared this process's rows."""
    if _is_key(leaf):
        leaf = jax.random.key_data(leaf)
    if not is_shared(leaf):
        return np.asarray(leaf).tobytes()
    pieces = {
        shard.index[0].indices(leaf.shape[0])[0]: np.asarray(shard.data)
        for shard in leaf.addressable_shards
    }
    return b"".join(pieces[start].tobytes() for start in sorted(pieces))


def take(
    leaf: Any, payload: memoryview, rows: Rows | None = None
) -> tuple[np.ndarray, memoryview]:
    """The first array of some bytes, all of a leaf or rows of it, and the rest."""
    like = _data_of(leaf)
    shape = like.shape if rows is None else (rows[1] - rows[0], *like.shape[1:])
    dtype = np.dtype(like.dtype)
    size = int(np.prod(shape)) * dtype.itemsize
    return np.frombuffer(payload[:size], dtype).reshape(shape), payload[size:]


def own_part(leaf: Any, value: np.ndarray) -> np.ndarray:
    """Of all of an array, what this process is to have of a template's leaf."""
    return value[slice(*_wanted(leaf))] if is_shared(leaf) else value


def join(
    leaves: Sequence[Any],
    parts: Sequence[Sequence[Rows]],
    read: Callable[[int], memoryview],
) -> list[np.ndarray]:
    """What this process is to have of a template's leaves, from parts of them.

    Args:
      leaves: of the template, shared or not.
      parts: for each part its rows of each leaf; together they are all rows.
      read: from a part's number to its bytes; called only for those that are needed,
        one at a time.
    """
    wanted = [_wanted(leaf) for leaf in leaves]
    joined = []
    for leaf, (first, last) in zip(leaves, wanted, strict=True):
        like = _data_of(leaf)
        joined.append(np.empty((last - first, *like.shape[1:]), like.dtype))
    for number, part in enumerate(parts):
        common = [
            (max(start, first), min(stop, last))
            for (start, stop), (first, last) in zip(part, wanted, strict=True)
        ]
        if all(begin >= end for begin, end in common):
            continue
        payload = read(number)
        for i, (begin, end) in enumerate(common):
            value, payload = take(leaves[i], payload, part[i])
            if begin < end:
                there = joined[i][begin - wanted[i][0] : end - wanted[i][0]]
                there[:] = value[begin - part[i][0] : end - part[i][0]]
    return joined


def put(value: np.ndarray, leaf: Any) -> Any:
    """This process's rows of an array, laid out like a leaf of the template."""
    if isinstance(leaf, np.ndarray | np.generic):
        return value.copy()
    sharding = leaf.sharding
    if sharding is not None and not sharding.is_fully_addressable:
        shape = _data_of(leaf).shape
        array = jax.make_array_from_process_local_data(sharding, value, shape)
        if _is_key(leaf):
            array = jax.random.wrap_key_data(array, dtype=leaf.dtype)
        return array
    # Copied, since a compiled loop may be given the state to overwrite.
    array = jnp.array(value, copy=True)
    if _is_key(leaf):
        array = jax.random.wrap_key_data(array, dtype=leaf.dtype)
    if sharding is not None and getattr(leaf, "committed", True):
        array = jax.device_put(array, sharding)
    return array


def _in_words(described: list[Any]) -> str:
    name, shape, dtype = described
    return f"{name} of shape {tuple(shape)} and {dtype}"


def _wanted(leaf: Any) -> Rows:
    """This process's rows of a template's leaf."""
    if is_shared(leaf):
        return shares(leaf)[jax.process_index()]
    return 0, leaf.shape[0]


def _data_of(leaf: Any) -> Any:
    """Shape and dtype of a leaf's numbers, which random keys are made of as well."""
    return jax.eval_shape(jax.random.key_data, leaf) if _is_key(leaf) else leaf


def _is_key(leaf: Any) -> bool:
    return bool(jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key))


def _is_number(leaf: Any) -> bool:
    known = (jnp.issubdtype(leaf.dtype, kind) for kind in (jnp.number, jnp.bool_))
    return any(known) and np.dtype(leaf.dtype).isnative
