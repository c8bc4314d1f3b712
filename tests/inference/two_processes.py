"""One of two processes that save and restore a state which they share.

    python tests/inference/two_processes.py ADDRESS NUMBER FOLDER [DEATH]

`test_checkpoint_parts` starts both, and reads what each found from NUMBER.json. DEATH
is who is killed, at which file that it writes, before or after, such as "1 1 before".
"""

import functools
import json
import os
import signal
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from dipgp import devices
from dipgp.inference import checkpoint_file
from dipgp.inference.checkpoint import Checkpoints

CHAINS = 4
# Of a step the first process writes its part, then the step's file; the second a part.
FAILURES = {"part of 0": (0, 1), "step's file": (0, 2), "part of 1": (1, 1)}
_WRITE = checkpoint_file.write


def chain(number, step):
    """A chain's state after some steps."""
    key = jax.random.fold_in(jax.random.key(number), step)
    return {"key": key, "w": jnp.full((3, 2), 10.0 * number + step)}


def state(step, mesh=None):
    """What processes share, or all of it on one device."""
    trace = np.full((CHAINS, 5), float(step))
    if mesh is not None:
        make = functools.partial(chain, step=step)
        return {"chains": devices.spread(make, CHAINS, mesh), "trace": trace}
    chains = [chain(number, step) for number in range(CHAINS)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *chains)
    return {"chains": stacked, "trace": trace}


def at_file(number, before, after):
    """Does something before or after the file of such a number is written."""
    written = []

    def write(path, content):
        written.append(path)
        if len(written) == number:
            before()
        _WRITE(path, content)
        if len(written) == number:
            after()

    checkpoint_file.write = write


def restored(folder, mesh):
    """Step, whether all is as it was saved, and warnings; or what is refused."""
    try:
        found = Checkpoints(folder, {}).restore(state(0, mesh))
    except ValueError as error:
        return str(error)
    if found is None:
        return None
    read, expected = map(devices.gather, (found.state, state(found.step)))
    same = jax.tree.leaves(jax.tree.map(np.array_equal, read, expected))
    return [found.step, all(same), list(found.warnings)]


def saved(folder, step, mesh):
    """What the failure is, or ""."""
    try:
        Checkpoints(folder, {}).save(step, state(step, mesh))
    except (OSError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    return ""


def damage_part(folder, step, process):
    """Flips a bit in what a process has written of a step."""
    for path in folder.glob(f"step-{step:010d}-*.part"):
        if checkpoint_file.read(path).header["process"] == process:
            content = bytearray(path.read_bytes())
            content[-1] ^= 1
            path.write_bytes(content)


def out_of_space():
    raise OSError("disk full")


def find_out(folder, mesh):
    """All that ends well, or with a sentence."""
    number, told = jax.process_index(), {}
    told["of one process"] = restored(folder / "one", mesh)
    told["of nobody"] = restored(folder / "nobody", mesh)
    told["saved"] = [saved(folder / "two", step, mesh) for step in (1, 2, 3)]
    told["of two"] = restored(folder / "two", mesh)
    for name, (process, file) in FAILURES.items():
        saved(folder / name, 1, mesh)
        if number == process:
            at_file(file, out_of_space, lambda: None)
        told[name] = saved(folder / name, 2, mesh)
        checkpoint_file.write = _WRITE
        told[f"after {name}"] = restored(folder / name, mesh)
    told["apart"] = saved(folder / f"apart {number}", 1, mesh)
    for step in (1, 2):
        saved(folder / "damaged", step, mesh)
    if number == 0:
        damage_part(folder / "damaged", 2, 1)
    devices.exchange(0, mesh)  # when the damage is done
    told["of damaged"] = restored(folder / "damaged", mesh)
    return told


def die(folder, death, mesh):
    """Kills a process within its second saving."""
    process, file, when = death.split()
    Checkpoints(folder, {}).save(1, state(1, mesh))
    if jax.process_index() == int(process):
        kill = functools.partial(os.kill, os.getpid(), signal.SIGKILL)
        moments = {"before": lambda: None, "after": lambda: None} | {when: kill}
        at_file(int(file), **moments)
    Checkpoints(folder, {}).save(2, state(2, mesh))
    return {}


def main(address, number, folder, *death):
    """Meets the other, and does what is asked."""
    jax.distributed.initialize(
        address,
        2,
        int(number),
        cluster_detection_method="deactivate",
        heartbeat_timeout_seconds=10,
        shutdown_timeout_seconds=10,
    )
    mesh, folder = devices.make_mesh(), Path(folder)
    told = die(folder, death[0], mesh) if death else find_out(folder, mesh)
    (folder / f"{number}.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
