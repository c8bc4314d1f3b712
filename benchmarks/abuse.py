"""What dipgp does when it is mistreated: killed, starved of disk, damaged, misled.

  python -m benchmarks.abuse
  python -m benchmarks.abuse --parts=kills --kills=20
  python -m benchmarks.abuse --parts=inputs --bad_inputs=200 --seed=1

  kills    SIGKILL at random moments of small runs of every method, that many in all;
           each run goes on with --resume and must end, bit for bit, as one that was
           left alone
  disks    a full disk (a tmpfs of a few kilobytes), a folder that cannot be written to
           or that vanishes, SIGTERM, two processes on one folder
  damage   checkpoints, kept cells and pictures, cut off and with flipped bits; pickles
  inputs   public functions and command lines of which one argument is bad: another
           type, shape or dtype, empty, NaN, infinite, negative, huge

Whatever happens must end in one sentence that says what was wrong, or in a result that
is right: never in a traceback from inside a library, in a hang, or in half a file. The
report keeps the parts that are not run. Mounting a tmpfs needs the superuser; without,
those trials are left out and counted as such. Exit status: 0 all stood, 1 some did not.
"""

import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from absl import app, flags

from benchmarks import (
    abuse_damage,
    abuse_disks,
    abuse_inputs,
    abuse_kills,
    abuse_report,
    abuse_runs,
    timing,
)
from benchmarks.abuse_report import Row
from experiments import common

KILLS = flags.DEFINE_integer("kills", 100, "SIGKILLs, shared out over the runs.")
BAD_INPUTS = flags.DEFINE_integer(
    "bad_inputs", 1000, "Calls of functions with a bad argument."
)
BAD_LINES = flags.DEFINE_integer("bad_lines", 100, "Command lines with a bad flag.")
DAMAGED = flags.DEFINE_integer("damaged", 600, "Damaged files of each kind.")
TERMINATED = flags.DEFINE_integer("terminated", 10, "SIGTERMs.")


def _kills(scratch: Path, random: np.random.Generator) -> Iterator[Row]:
    found = abuse_runs.cases(*abuse_runs.draw_pictures(scratch))
    for number, case in enumerate(found):
        # The first ones take one more where the number does not divide.
        count = (KILLS.value + len(found) - 1 - number) // len(found)
        if count:
            yield abuse_kills.kill(case, count, scratch / str(number), random)


def _disks(scratch: Path, random: np.random.Generator) -> Iterator[Row]:
    cases = abuse_runs.cases(*abuse_runs.draw_pictures(scratch))
    (case,) = (case for case in cases if str(case) == "denoise: psgld")
    return abuse_disks.trials(case, scratch / "runs", TERMINATED.value, random)


def _damage(scratch: Path, random: np.random.Generator) -> Iterator[Row]:
    return abuse_damage.trials(scratch / "files", DAMAGED.value, random)


def _inputs(scratch: Path, random: np.random.Generator) -> Iterator[Row]:
    seed = int(random.integers(2**32))
    if BAD_INPUTS.value:
        yield abuse_inputs.functions(BAD_INPUTS.value, seed)
    if BAD_LINES.value:
        yield abuse_inputs.commands(BAD_LINES.value, seed, scratch)


_PARTS: dict[str, Callable[[Path, np.random.Generator], Iterator[Row]]] = {
    "kills": _kills,
    "disks": _disks,
    "damage": _damage,
    "inputs": _inputs,
}
PARTS = flags.DEFINE_list("parts", list(_PARTS), f"Which of {', '.join(_PARTS)}.")
for _shared in (common.SEED.name, timing.RESULTS_DIR.name):
    flags.declare_key_flag(_shared)


def main(arguments: Sequence[str]) -> None:
    """Reads the flags, runs the parts and writes the report."""
    if len(arguments) > 1:
        raise app.UsageError(f"{arguments[1]}: expected flags only")
    unknown = sorted(set(PARTS.value) - set(_PARTS))
    if unknown:
        raise app.UsageError(f"--parts: expected some of {list(_PARTS)}, got {unknown}")
    folder = Path(timing.RESULTS_DIR.value)
    parts = abuse_report.read(folder)
    for part in PARTS.value:
        parts[part] = []
        random = np.random.default_rng(common.SEED.value)
        with tempfile.TemporaryDirectory(prefix="abuse-") as name:
            scratch = Path(name)
            with abuse_runs.shared_programs(scratch):
                for row in _PARTS[part](scratch, random):
                    parts[part].append(row)
                    print(json.dumps(row), flush=True)
                    abuse_report.write(folder, parts)
    failed = any(row["failures"] for rows in parts.values() for row in rows)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    app.run(main)
