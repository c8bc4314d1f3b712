"""What dipgp does when it is mistreated: killed, starved of disk, damaged, misled.

  python -m benchmarks.abuse
  python -m benchmarks.abuse --parts=kills --kills=20
  python -m benchmarks.abuse --parts=inputs,lines --bad_inputs=200 --seed=1
  python -m benchmarks.abuse --parts=kills --trials='denoise: .*' --jobs=16

  kills    SIGKILL at random moments of small runs of every method, that many in all;
           each run goes on with --resume and must end, bit for bit, as one that was
           left alone
  disks    a full disk (a tmpfs of a few kilobytes), a folder that cannot be written to
           or that vanishes, SIGTERM, two processes on one folder
  damage   checkpoints, kept cells and pictures, cut off and with flipped bits; pickles
  inputs   public functions of which one argument is bad: another type, shape or dtype,
           empty, NaN, infinite, negative, huge
  lines    command lines, of the experiments and of the installed dipgp, of which one
           argument is bad

Whatever happens must end in one sentence that says what was wrong, or in a result that
is right: never in a traceback from inside a library, in a hang, or in half a file. The
report keeps what is not run, and each of its rows says when it was found. Mounting a
tmpfs needs the superuser; without, those trials are left out and say so. Exit status: 0
all stood, 1 some did not.
"""

import json
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from absl import app, flags, logging

from benchmarks import (
    abuse_damage,
    abuse_disks,
    abuse_inputs,
    abuse_kills,
    abuse_report,
    abuse_runs,
    abuse_trials,
    flags_only,
    timing,
)
from benchmarks.abuse_trials import Row, Trial
from experiments import common

KILLS = flags.DEFINE_integer("kills", 100, "SIGKILLs, shared out over the runs.")
BAD_INPUTS = flags.DEFINE_integer(
    "bad_inputs", 1000, "Calls of functions with a bad argument."
)
BAD_LINES = flags.DEFINE_integer("bad_lines", 300, "Command lines with a bad argument.")
DAMAGED = flags.DEFINE_integer("damaged", 600, "Damaged files of each kind.")
TERMINATED = flags.DEFINE_integer("terminated", 10, "SIGTERMs.")
JOBS = flags.DEFINE_integer(
    "jobs",
    len(os.sched_getaffinity(0)),
    "Trials, calls or command lines at a time; by default one for each core.",
    lower_bound=1,
)
TRIALS = flags.DEFINE_string(
    "trials", "", "A regular expression; only trials whose name it matches are run."
)


def _kills(scratch: Path) -> list[Trial]:
    cases = abuse_runs.cases(*abuse_runs.draw_pictures(scratch))
    return abuse_kills.trials(cases, KILLS.value, scratch)


def _disks(scratch: Path) -> list[Trial]:
    cases = abuse_runs.cases(*abuse_runs.draw_pictures(scratch))
    (case,) = (case for case in cases if str(case) == "denoise: psgld")
    return abuse_disks.trials(case, scratch / "runs", TERMINATED.value)


def _damage(scratch: Path) -> list[Trial]:
    return abuse_damage.trials(scratch / "files", DAMAGED.value)


def _inputs(scratch: Path) -> list[Trial]:
    del scratch  # nothing is written
    return [abuse_inputs.functions(BAD_INPUTS.value, common.SEED.value, JOBS.value)]


def _lines(scratch: Path) -> list[Trial]:
    count, seed = BAD_LINES.value, common.SEED.value
    return [abuse_inputs.commands(count, seed, JOBS.value, scratch)]


_PARTS: dict[str, Callable[[Path], list[Trial]]] = {
    "kills": _kills,
    "disks": _disks,
    "damage": _damage,
    "inputs": _inputs,
    "lines": _lines,
}
# Parts whose trials start processes and wait for them.
_SIDE_BY_SIDE = ("kills", "disks")
PARTS = flags.DEFINE_list("parts", list(_PARTS), f"Which of {', '.join(_PARTS)}.")
for _shared in (common.SEED.name, timing.RESULTS_DIR.name):
    flags.declare_key_flag(_shared)


def main() -> None:
    """Reads the flags, runs the parts and writes the report."""
    unknown = sorted(set(PARTS.value) - set(_PARTS))
    if unknown:
        raise app.UsageError(f"--parts: expected some of {list(_PARTS)}, got {unknown}")
    try:
        re.compile(TRIALS.value)
    except re.error as error:
        raise app.UsageError(f"--trials={TRIALS.value}: {error}") from error
    logging.set_verbosity(logging.WARNING)  # else JAX tells of absent devices
    with (
        tempfile.TemporaryDirectory(prefix="abuse-") as programs,
        abuse_runs.shared_programs(Path(programs)),
    ):
        when = abuse_report.when()  # before anybody commits something else
        rows = [row for part in PARTS.value for row in _run_part(part, when)]
    if not rows:
        raise app.UsageError(f"--trials={TRIALS.value}: expected a trial's name")
    sys.exit(1 if any(row["failures"] for row in rows) else 0)


def _run_part(part: str, when: str) -> Iterator[Row]:
    """Runs a part's trials, and writes the report after each."""
    folder = Path(timing.RESULTS_DIR.value)
    with tempfile.TemporaryDirectory(prefix="abuse-") as scratch:
        trials = _PARTS[part](Path(scratch))
        names = [trial.name for trial in trials]
        chosen = [trial for trial in trials if re.search(TRIALS.value, trial.name)]
        jobs = JOBS.value if part in _SIDE_BY_SIDE else 1
        for row in abuse_trials.each(chosen, jobs, common.SEED.value):
            found = {**row, "when": when}
            print(json.dumps(found), flush=True)
            parts = abuse_report.read(folder)
            parts[part] = abuse_report.replaced(parts.get(part, ()), found, names)
            abuse_report.write(folder, parts)
            yield found


if __name__ == "__main__":
    flags_only.run(main)
