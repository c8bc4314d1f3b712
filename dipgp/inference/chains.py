"""Several chains at once: on one device, or shared out over several.

    carries = jax.vmap(begin)(jax.random.split(key, 4))     # a leading axis of chains
    carries, traces = run_chains(advance, carries)

Chains know nothing of each other. Each carries its own random key, so that they differ,
and gives the same numbers as it would alone, up to rounding. Several devices, also of
several processes, share the chains without talking to each other (`dipgp.devices`).
"""

import functools
from collections.abc import Callable
from typing import Any, Literal, get_args

import jax
import numpy as np

from dipgp import devices
from dipgp.devices import Mesh

Array = jax.Array
# A pytree of arrays.
Carry = Any
Trace = Any
Advance = Callable[[Carry], tuple[Carry, Trace]]
How = Literal["map", "vmap"]


def run_chains(
    advance: Advance,
    carries: Carry,
    mesh: Mesh | None = None,
    how: How = "map",
) -> tuple[Carry, Trace]:
    """Advances K chains by one compiled program.

    The program is compiled at the first call and found again by the function itself:
    pass the same `advance`, not a new lambda each time.

    On one device the chains run one after the other ("map") or as a batch ("vmap"). A
    batch of networks with weights of their own turns convolutions into grouped ones.
    They cost more than one after the other on CPUs, and on an NVIDIA H100 as well:
    four hourglasses of 256x256 pixels made 0.71 times the steps per second of one
    (`benchmarks.throughput`). Only networks too small to fill a device gain by it.

    Args:
      advance: from a carry to the next carry, of equal shapes and dtypes, and a trace.
      carries: of all chains, with a leading axis K. Their buffers are used again: do
        not read them afterwards.
      mesh: devices over which the chains are shared out evenly, in order; by default
        they stay on the one device where they are.
      how: "map" or "vmap"; `how_for_small_networks` knows which of them those want.

    Returns:
      The next carries and the traces, with the leading axis K; on a mesh each device
      holds its own chains.

    Raises:
      ValueError: on leaves without a common leading axis, on a number of chains that is
        no multiple of the devices, on an unknown `how`, or on an advance that changes
        a carry's shapes or dtypes.
    """
    count = _count(carries)
    _check(how)
    if mesh is not None:
        devices.check_multiple("carries", count, mesh)
        carries = devices.place(carries, mesh)
    return _run(advance, carries, mesh, how)


def how_for_small_networks() -> How:
    """What suits networks that leave most of a device idle: "vmap", but not on CPUs."""
    return "map" if jax.default_backend() == "cpu" else "vmap"


def map_chains(function: Callable[[Any], Any], chains: Any, how: How = "map") -> Any:
    """A function of each chain, for code that is compiled around it.

    Args:
      function: of one chain, to a pytree of arrays.
      chains: a pytree of arrays with a leading axis K.
      how: "map" or "vmap", as in `run_chains`.

    Returns:
      What the function gives, with the leading axis K.

    Raises:
      ValueError: on an unknown `how`.
    """
    _check(how)
    if how == "vmap":
        return jax.vmap(function)(chains)
    return jax.lax.map(function, chains)


@functools.partial(
    jax.jit, static_argnames=("advance", "mesh", "how"), donate_argnames="carries"
)
def _run(
    advance: Advance, carries: Carry, mesh: Mesh | None, how: How
) -> tuple[Carry, Trace]:
    def share(carries: Carry, _: None) -> tuple[Carry, Trace]:
        return map_chains(advance, carries, how)

    everywhere = share if mesh is None else devices.on_shares(share, mesh)
    advanced, traces = everywhere(carries, None)
    before, after = (_shapes(each) for each in (carries, advanced))
    if before != after:
        raise ValueError(
            "advance: expected carries of equal structure, shapes and dtypes, "
            f"got {before} and then {after}"
        )
    return advanced, traces


def _shapes(carries: Carry) -> Carry:
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), carries)


def _count(carries: Carry) -> int:
    leaves = jax.tree.leaves(carries)
    shapes = [np.shape(leaf) for leaf in leaves]
    counts = {shape[:1] for shape in shapes}
    if len(counts) != 1 or counts & {(), (0,)}:
        raise ValueError(
            f"carries: expected arrays with one leading axis of chains, got {shapes}"
        )
    return counts.pop()[0]


def _check(how: str) -> None:
    if how not in get_args(How):
        known = ", ".join(get_args(How))
        raise ValueError(f"how: expected one of {known}, got {how!r}")
