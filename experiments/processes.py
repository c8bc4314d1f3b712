"""Several processes at work on one run: how they meet, share, agree and end.

Each process is started with the same flags and a number of its own (docs/devices.md).
Several images are shared out over the processes; a single one has its samplers' chains
and its variance's linear systems shared by all of them.
"""

import atexit
import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import jax
import numpy as np
from absl import flags

from dipgp import devices
from experiments import reporting, run_folders
from experiments.common import UserError, require
from experiments.network_method import SAMPLERS
from experiments.network_settings import NetworkSettings
from experiments.restoration import Interrupted
from experiments.results import Record

COORDINATOR_ADDRESS = flags.DEFINE_string(
    "coordinator_address",
    None,
    "Host and port of process 0, where several processes meet; they also need "
    "--num_processes and --process_id.",
)
NUM_PROCESSES = flags.DEFINE_integer(
    "num_processes", None, "How many processes work on the run."
)
PROCESS_ID = flags.DEFINE_integer(
    "process_id", None, "Which of them this is, from 0 on."
)
DISTRIBUTED = flags.DEFINE_enum(
    "distributed",
    "no",
    ["no", "auto"],
    "auto: this is one of several processes, and JAX finds out by itself where they "
    "meet, as it does on a TPU slice and under Slurm, Open MPI and Kubernetes.",
)
HEARTBEAT_TIMEOUT = flags.DEFINE_integer(
    "heartbeat_timeout",
    100,
    "Seconds without a sign of life after which a process counts as dead, and the "
    "others end.",
)
MEETING_TIMEOUT = flags.DEFINE_integer(
    "meeting_timeout", 300, "Seconds that processes wait for each other at the start."
)


def together(run: Callable[[], int]) -> Callable[[], int]:
    """A run that meets the other processes first, where the flags tell of any.

    A process that fails ends at once, with status 2, and its end ends the others. One
    that is asked to end waits for them, since they are asked as well, and have
    checkpoints to write.
    """

    def joined() -> int:
        if not _meet():
            return run()
        try:
            _compare_flags()
            return run()
        except Interrupted:
            raise
        except BaseException:
            # Registered last, hence called first: JAX's own way out would wait for the
            # others, who wait for this process.
            atexit.register(_leave)
            raise

    return joined


def is_first() -> bool:
    """Whether this process writes what all have in common."""
    return jax.process_index() == 0


def own_share(names: Sequence[str]) -> list[str]:
    """This process's part of what is shared out."""
    return list(names[jax.process_index() :: jax.process_count()])


@contextlib.contextmanager
def open_run_folders(
    output_dir: str, names: Sequence[str]
) -> Iterator[dict[str, Path]]:
    """A run's folders, which the first process opens and holds for all.

    Arguments, what is yielded and raised as of `run_folders.open_run_folders`.
    """
    with contextlib.ExitStack() as stack:
        if is_first():
            held = run_folders.open_run_folders(output_dir, names)
            folders = stack.enter_context(held)
            all_agree(True)
        else:
            all_agree(True)  # when they are there
            folders = run_folders.paths(output_dir, names)
            for folder in folders.values():
                folder.mkdir(parents=True, exist_ok=True)
        yield folders


def check_work(networks: Mapping[str, NetworkSettings], methods: Sequence[str]) -> None:
    """Refuses an image of which several processes would do the same.

    Args:
      networks: the methods' settings.
      methods: names, by which the image is to be restored.

    Raises:
      UserError: unless all are samplers whose chains the processes divide evenly.
    """
    count = jax.process_count()
    for method in methods:
        expected = (
            f"one of {', '.join(SAMPLERS)}, whose chains are all that {count} "
            "processes can share of one image; try several images, or one process"
        )
        require(method in SAMPLERS, "method", method, expected)
        chains = networks[method].chains
        expected = f"a multiple of the {count} processes"
        require(chains % count == 0, "chains", chains, expected)


def collect(records: list[Record]) -> list[Record]:
    """The records of all processes, as JSON gives them back, on each of them."""
    if jax.process_count() == 1:
        return records
    mesh = devices.make_mesh()
    text = json.dumps(reporting.plain(records)).encode()
    lengths = devices.exchange(np.array(len(text), np.int32), mesh)
    own = np.frombuffer(text.ljust(lengths.max()), np.uint8)
    return [
        record
        for row in devices.exchange(own, mesh)
        for record in json.loads(bytes(row))
    ]


def all_agree(answer: bool) -> bool:
    """Whether all processes say yes."""
    if jax.process_count() == 1:
        return answer
    (otherwise,) = devices.any_process(devices.make_mesh(), not answer)
    return not otherwise


def _meet() -> bool:
    """Joins the other processes, and says whether there are any."""
    address, count = COORDINATOR_ADDRESS.value, NUM_PROCESSES.value
    number, automatic = PROCESS_ID.value, DISTRIBUTED.value == "auto"
    if not automatic and (address, count, number) == (None, None, None):
        return False
    if automatic:
        for flag in (COORDINATOR_ADDRESS, NUM_PROCESSES, PROCESS_ID):
            expected = "no such flag beside --distributed=auto"
            require(flag.value is None, flag.name, flag.value, expected)
    else:
        _check_address(address)
        accepted = count is not None and count >= 1
        require(accepted, NUM_PROCESSES.name, count, "a number of at least 1")
        accepted = number is not None and 0 <= number < (count or 0)
        expected = f"this process's number, from 0 to below {count}"
        require(accepted, PROCESS_ID.name, number, expected)
    for flag in (HEARTBEAT_TIMEOUT, MEETING_TIMEOUT):
        require(flag.value >= 1, flag.name, flag.value, "at least 1 second")
    # It would take SIGTERM for itself, which `Interruption` listens to.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(
            address,
            count,
            number,
            cluster_detection_method=None if automatic else "deactivate",
            initialization_timeout=MEETING_TIMEOUT.value,
            heartbeat_timeout_seconds=HEARTBEAT_TIMEOUT.value,
            shutdown_timeout_seconds=HEARTBEAT_TIMEOUT.value,
        )
    except (RuntimeError, ValueError) as error:
        raise UserError(f"the processes have not met: {error}") from error
    return jax.process_count() > 1


def _check_address(address: str | None) -> None:
    host, _, port = (address or "").rpartition(":")
    accepted = bool(host) and port.isdecimal()
    expected = "host and port where the processes meet, as in node1:1234"
    require(accepted, COORDINATOR_ADDRESS.name, address, expected)


def _compare_flags() -> None:
    """Refuses processes that were told different things.

    The first exchange also connects them, while none is far behind.
    """
    told = {
        flag.name: flag.value
        for module, found in flags.FLAGS.flags_by_module_dict().items()
        for flag in found
        if module.startswith("experiments.") and flag.name != PROCESS_ID.name
    }
    text = json.dumps([told, reporting.versions()], sort_keys=True, default=str)
    others = devices.dissenting(text, devices.make_mesh())
    if others:
        numbers = ", ".join(map(str, others))
        raise UserError(
            "expected the same flags and versions of all processes, but for "
            f"--process_id, got others than process 0's in process {numbers}"
        )


def _leave() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(2)
