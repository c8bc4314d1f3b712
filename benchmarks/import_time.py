"""How much processor time an import of the library takes beyond that of JAX.

Fresh processes in turn import JAX, then JAX and a room of the library, and the turns'
differences are told. Some rooms are imported by themselves, and at once all but that of
figures, which matplotlib is imported for:

  python -m benchmarks.import_time

A room for which flax, optax or a part of SciPy is needed brings its import time along;
`python -X importtime -c 'import jax, dipgp.gp'` says which.
"""

import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import app, flags

from benchmarks import flags_only, timing

TURNS = flags.DEFINE_integer("import_turns", 7, "Processes for each room.")

ROOMS = (
    *("architecture", "images", "photographs", "observations", "kernels", "networks"),
    *("gp", "inference.loop", "summaries", "summaries.calibration", "command.main"),
)
ALONE = ("kernels", "networks", "gp", "inference.loop", "figures")
ALL = "all rooms but figures"
# What a process spends, in user's and system's time, its threads included.
_PROGRAM = """
import time
import jax
{more}
print(time.process_time())
"""


def processor_seconds(rooms: Sequence[str]) -> float:
    """Of a fresh process that imports JAX, then rooms of the library.

    Raises:
      RuntimeError: where the import fails, with what it said.
    """
    more = "".join(f"import dipgp.{room}\n" for room in rooms)
    command = [sys.executable, "-c", _PROGRAM.format(more=more)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(
            f"import of {', '.join(rooms)} failed: {done.stderr[-2000:]}"
        )
    return float(done.stdout)


def rows(turns: int) -> list[dict[str, object]]:
    """Medians of the differences, of some rooms and of all."""
    cases = {f"dipgp.{room}": (room,) for room in ALONE} | {ALL: ROOMS}
    processor_seconds(ROOMS)  # compiles what is not compiled yet, and fills caches
    beyond: dict[str, list[float]] = {name: [] for name in cases}
    alone = []
    for _ in range(turns):
        for name, rooms in cases.items():
            alone.append(processor_seconds(()))
            beyond[name].append(processor_seconds(rooms) - alone[-1])
    told: list[dict[str, object]] = [
        {"import": "jax", "processor time [s]": statistics.median(alone)}
    ]
    told += [
        {
            "import": name,
            "beyond jax [s]": statistics.median(found),
            "shortest": min(found),
            "longest": max(found),
        }
        for name, found in beyond.items()
    ]
    return told


def run(turns: int, folder: Path) -> str:
    """Measures and writes the report.

    Args:
      turns: processes for each room.
      folder: of the report.

    Returns:
      The report as Markdown.
    """
    notes = [
        "Processor seconds of a process that imports JAX and a room, less those of one "
        f"that imports JAX, both started in turn; medians of {turns} turns. The first "
        "row is the time of the latter. Other work on the machine makes both longer."
    ]
    title = "Import time of the library beyond JAX's own"
    return timing.write_report(folder, "import_time", title, rows(turns), notes, {})


def main() -> None:
    """Reads the flags and writes the report."""
    if TURNS.value < 1:
        raise app.UsageError(f"--import_turns={TURNS.value}: expected at least 1")
    print(run(TURNS.value, Path(timing.RESULTS_DIR.value)))


if __name__ == "__main__":
    flags_only.run(main)
