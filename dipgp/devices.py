"""Items spread over devices, those of one process or of several.

    mesh = devices.make_mesh()                          # all devices of all processes
    keys = devices.place(jax.random.split(key, 64), mesh)
    images = devices.map_shares(draw_some, keys, None, mesh)    # each device its own
    devices.gather(images)                              # NumPy, on every process

Items along a leading axis lie on the devices in order, as many on each. They know
nothing of each other, so that devices talk to each other only where results are
gathered.

Several processes (`jax.distributed.initialize`) run the same calls in the same order,
each with the devices that it has. Arrays that span them cannot be read as NumPy arrays
but through `gather`.
"""

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils

Array = jax.Array
Mesh = jax.sharding.Mesh
# A pytree of arrays.
Tree = Any

AXIS = "item"


class ProcessLost(ConnectionError):
    """Another process ended, or cannot be reached; what was under way is lost."""


def make_mesh(count: int | None = None, *, local: bool = False) -> Mesh:
    """Devices in a row, to spread items over.

    Args:
      count: how many, as many of each process; all by default.
      local: whether to take those of this process only.

    Returns:
      The mesh, whose only axis is `AXIS`. All processes have a part in it, unless it is
      local.

    Raises:
      ValueError: where there are not so many, or no multiple of the processes.
    """
    found = jax.local_devices() if local else jax.devices()
    of_process: dict[int, list[jax.Device]] = {}
    for device in found:
        of_process.setdefault(device.process_index, []).append(device)
    processes = len(of_process)
    available = processes * min(map(len, of_process.values()))
    count = available if count is None else count
    if not 1 <= count <= available or count % processes:
        among = f", a multiple of the {processes} processes" if processes > 1 else ""
        raise ValueError(f"count: expected from 1 to {available}{among}, got {count}")
    each = count // processes
    chosen = [device for _, own in sorted(of_process.items()) for device in own[:each]]
    return Mesh(np.array(chosen), (AXIS,))


def check_multiple(name: str, count: int, mesh: Mesh) -> None:
    """Raises ValueError, naming the argument, unless a mesh divides a number evenly."""
    if count % mesh.size:
        raise ValueError(
            f"{name}: expected a multiple of {mesh.size}, as many as there are "
            f"devices, got {count}; try {-(-count // mesh.size) * mesh.size}"
        )


def spans_processes(mesh: Mesh | None) -> bool:
    """Whether processes have to agree on what they do on a mesh."""
    return mesh is not None and len(_processes(mesh)) > 1


def spanned_mesh(tree: Tree) -> Mesh | None:
    """The mesh of arrays that no process has whole, if there are any."""
    for leaf in jax.tree.leaves(tree):
        sharding = getattr(leaf, "sharding", None)
        if sharding is not None and not sharding.is_fully_addressable:
            return sharding.mesh
    return None


def place(items: Tree, mesh: Mesh) -> Tree:
    """Spreads items that every process has; what lies there already is not moved.

    Args:
      items: arrays with a leading axis K, a multiple of the devices.
      mesh: see `make_mesh`.

    Returns:
      The same, each device holding K / devices items, in order.
    """
    return _put(items, jax.NamedSharding(mesh, jax.P(AXIS)))


def replicate(tree: Tree, mesh: Mesh) -> Tree:
    """Puts a copy of what every process has on each device."""
    return _put(tree, jax.NamedSharding(mesh, jax.P()))


def put_like(value: np.ndarray, sharding: jax.sharding.Sharding) -> Array:
    """An array that every process has whole, laid out like another."""
    if sharding.is_fully_addressable:
        return jax.device_put(value, sharding)
    return jax.make_array_from_callback(
        value.shape, sharding, lambda index: value[index]
    )


def spread(make: Callable[[int], Tree], count: int, mesh: Mesh) -> Tree:
    """Items that are made where they are to lie, each process its own.

    Args:
      make: from an item's number to the item, a pytree of arrays.
      count: K, how many there are; a multiple of the devices.
      mesh: see `make_mesh`.

    Returns:
      The items with a leading axis K, as `place` spreads them. No process ever holds
      more than its own, nor a device more than its own and one device's more.

    Raises:
      ValueError: on a count that is no multiple.
    """
    check_multiple("count", count, mesh)
    each, shares = count // mesh.size, []
    for place_in_row, device in enumerate(mesh.devices.flat):
        if device.process_index == jax.process_index():
            first = place_in_row * each
            own = [make(number) for number in range(first, first + each)]
            stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *own)
            shares.append(jax.device_put(stacked, device))
    sharding = jax.NamedSharding(mesh, jax.P(AXIS))

    def join(*leaves: Array) -> Array:
        shape = (count, *leaves[0].shape[1:])
        return jax.make_array_from_single_device_arrays(shape, sharding, leaves)

    return jax.tree.map(join, *shares)


def on_shares(function: Callable[..., Tree], mesh: Mesh) -> Callable[..., Tree]:
    """A function of each device's share, for code that is compiled around it.

    Args:
      function: of the items that a device has, with their leading axis, and of what
        all devices have whole, to arrays with a leading axis.
      mesh: see `make_mesh`.

    Returns:
      The same function of all items, the leading axes of its results joined.
    """
    # Without check_vma it may make arrays of its own inside its loops.
    return jax.shard_map(
        function,
        mesh=mesh,
        in_specs=(jax.P(AXIS), jax.P()),
        out_specs=jax.P(AXIS),
        check_vma=False,
    )


@partial(jax.jit, static_argnames=("function", "mesh"))
def map_shares(
    function: Callable[[Tree, Tree], Tree], items: Tree, whole: Tree, mesh: Mesh
) -> Tree:
    """Runs a function of each device's share, as one program without traffic.

    Args:
      function: of a device's items and of `whole`, to arrays with a leading axis;
        pass the same function each time, since the program is found by it.
      items: as `place` or `spread` gives them.
      whole: as `replicate` gives it, or None.
      mesh: see `make_mesh`.

    Returns:
      What the function gives, its leading axes joined.
    """
    return on_shares(function, mesh)(items, whole)


def total(items: Array, mesh: Mesh) -> Array:
    """The sum over the leading axis of what is spread, an ordinary array."""
    with _in_touch(mesh):
        return jax.block_until_ready(_total(items, mesh)).addressable_data(0)


@partial(jax.jit, static_argnames="mesh")
def _total(items: Array, mesh: Mesh) -> Array:
    summed = jnp.sum(items, axis=0)
    return jax.lax.with_sharding_constraint(summed, jax.NamedSharding(mesh, jax.P()))


def gather(tree: Tree) -> Tree:
    """All of what is spread, on the host of every process.

    Processes that an array spans call this together.

    Args:
      tree: a pytree of arrays; keys are gathered as their data.

    Returns:
      The same as NumPy arrays.

    Raises:
      ProcessLost: where another process is gone.
    """

    def whole(leaf: Any) -> np.ndarray:
        if isinstance(leaf, Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        if not isinstance(leaf, Array) or leaf.is_fully_addressable:
            return np.asarray(leaf)
        with _in_touch():
            return multihost_utils.process_allgather(leaf, tiled=True)

    return jax.tree.map(whole, tree)


def exchange(values: np.typing.ArrayLike, mesh: Mesh) -> np.ndarray:
    """What each process of a mesh says, told to all of them.

    Args:
      values: this process's numbers, of one shape and dtype everywhere.
      mesh: see `make_mesh`.

    Returns:
      (processes, ...), in the order of their numbers.

    Raises:
      ProcessLost: where another process is gone.
    """
    own = np.asarray(values)[None]
    if not spans_processes(mesh):
        return own
    sharding = jax.NamedSharding(mesh, jax.P(AXIS))
    shape = (mesh.size, *own.shape[1:])
    rows = jax.make_array_from_callback(shape, sharding, lambda index: own)
    said = gather(rows)
    return said[:: mesh.size // len(_processes(mesh))]


def any_process(mesh: Mesh | None, *said: bool) -> tuple[bool, ...]:
    """Of each question, whether any process of a mesh says yes."""
    if mesh is None or not spans_processes(mesh):
        return said
    answers = exchange(np.array(said), mesh)
    return tuple(bool(each.any()) for each in answers.T)


def dissenting(text: str, mesh: Mesh | None) -> list[int]:
    """Numbers of the processes whose text is not the first one's."""
    if mesh is None or not spans_processes(mesh):
        return []
    digest = hashlib.sha256(text.encode()).digest()
    said = exchange(np.frombuffer(digest, np.uint8), mesh)
    return np.flatnonzero((said != said[0]).any(axis=1)).tolist()


def _processes(mesh: Mesh) -> set[int]:
    return {device.process_index for device in mesh.devices.flat}


def _put(tree: Tree, sharding: jax.NamedSharding) -> Tree:
    if sharding.is_fully_addressable:
        return jax.device_put(tree, sharding)

    def put(leaf: Any) -> Array:
        if isinstance(leaf, Array) and not leaf.is_fully_addressable:
            return jax.device_put(leaf, sharding)
        if isinstance(leaf, Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            data = put_like(np.asarray(jax.random.key_data(leaf)), sharding)
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
        return put_like(np.asarray(leaf), sharding)

    return jax.tree.map(put, tree)


@contextlib.contextmanager
def _in_touch(mesh: Mesh | None = None) -> Iterator[None]:
    """Says in words what it means when a message to other processes fails."""
    try:
        yield
    except (jax.errors.JaxRuntimeError, ValueError) as error:
        if mesh is not None and not spans_processes(mesh):
            raise
        raise ProcessLost(
            f"process {jax.process_index()} of {jax.process_count()} has lost touch "
            "with another, which has ended or cannot be reached; look for its last "
            f"words, and start all of them again ({str(error).splitlines()[0]})"
        ) from error
