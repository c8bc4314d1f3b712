"""Runs all benchmarks in a quick form, and writes what they found on one page.

  python -m benchmarks.run
  python -m benchmarks.run --run_only=kernels,gp_scaling
  python -m benchmarks.run --run_skip=abuse --figure6_data=figure6_64x64.npz

Each is a process of its own (`benchmarks.run_parts` has them all, with the flags of
their quick forms); one that fails, or takes longer than --part_minutes, is told and
costs no other's figures. After each, these are written anew:

  RESULTS.md      machine, versions, date, commit; a figure and a table of each
  RESULTS.json    the same
  figures/        a chart of each, NAME.png

Parts that are not run stay on the page as an earlier run left them there.

The quick forms are for a look at everything; the reports in benchmarks/results are of
longer runs. Exit status: 0 done, 1 where a part failed, 2 bad input.
"""

import datetime
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from absl import flags

from benchmarks import timing
from benchmarks.run_parts import PARTS, Part, Row
from dipgp import figures
from dipgp.files import write_atomically
from experiments import common
from experiments.common import require

ONLY = flags.DEFINE_list("run_only", None, "Parts to run; by default all.")
SKIP = flags.DEFINE_list("run_skip", [], "Parts not to run.")
MINUTES = flags.DEFINE_float("part_minutes", 10.0, "Longest time of a part.")
FIGURE6_DATA = flags.DEFINE_string(
    "figure6_data",
    None,
    "The .npz file of Figure 6, in whose place a photograph is taken without it.",
)
flags.declare_key_flag(common.OUTPUT_DIR.name)

_TOLD = 300  # characters of what a failing part said


class Outcome(NamedTuple):
    """What became of a part.

    Attributes:
      part: it.
      flags: that it was run with.
      seconds: it took, start and compilation included.
      trouble: why there is nothing, or nothing whole; "" where all went well.
      rows: of its report.
      figure: whether there is one.
      when: date and commit.
    """

    part: Part
    flags: tuple[str, ...]
    seconds: float
    trouble: str
    rows: Sequence[Row] = ()
    figure: bool = False
    when: str = ""

    @property
    def failed(self) -> bool:
        """Whether something went wrong."""
        return bool(self.trouble)


def run_part(part: Part, data: str | None, minutes: float, folder: Path) -> Outcome:
    """Runs a part in a process of its own, and draws its chart.

    Args:
      part: what to run.
      data: path of the file that it reads, where it may be told of one, or None.
      minutes: after which it is ended.
      folder: of the figures.
    """
    reads = bool(part.data) and data is not None
    given = part.flags + ((f"--{part.data}={data}",) if reads else ())
    with tempfile.TemporaryDirectory() as name:
        results = Path(name)
        command = [sys.executable, "-m", f"benchmarks.{part.name}", *given]
        begun = time.perf_counter()
        trouble = _call([*command, f"--results_dir={name}"], 60 * minutes)
        seconds = time.perf_counter() - begun
        when = f"{datetime.date.today().isoformat()}, commit {timing.commit()}"
        # The page tells the file's name, not where it lies on this machine.
        named = (f"--{part.data}={Path(data).name}",) if data and reads else ()
        outcome = Outcome(part, part.flags + named, seconds, trouble, when=when)
        try:
            record = json.loads((results / f"{part.name}.json").read_text())
            outcome = outcome._replace(rows=record["rows"])
            _draw(part, outcome.rows, results, folder / f"{part.name}.png")
            return outcome._replace(figure=True)
        # Charts meet rows of another program, which may lack what they ask for.
        except (OSError, ValueError, KeyError) as error:
            told = outcome.trouble or f"no chart: {type(error).__name__}: {error}"
            return outcome._replace(trouble=told)


def _draw(part: Part, rows: Sequence[Row], results: Path, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if part.chart is None:
        write_atomically(path, (results / f"{part.name}.png").read_bytes())
    else:
        figures.save_figure(path, part.chart(rows))


def _call(command: Sequence[str], seconds: float) -> str:
    """Runs a command; what went wrong, or ""."""
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        _, said = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        _end(process)
        return f"ended after {seconds / 60:g} minutes"
    except BaseException:
        _end(process)
        raise
    if process.returncode == 0:
        return ""
    last = " ".join(said.split())[-_TOLD:]
    return f"exit status {process.returncode}" + (f": {last}" if last else "")


def _end(process: "subprocess.Popen[str]") -> None:
    """Ends a process and those that it started."""
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def write_page(outcomes: Sequence[Outcome], folder: Path) -> str:
    """Writes RESULTS.md and RESULTS.json; gives the former."""
    load = f"{os.getloadavg()[0]:.1f}"  # of the last minute, our own part included
    facts = timing.environment() | {"commit": timing.commit(), "load": load}
    where = ", ".join(f"{name} {value}" for name, value in facts.items())
    text = "\n\n".join(
        [
            "# All benchmarks in a quick form",
            f"`python -m benchmarks.run` ({where}). Each is smaller than the run whose "
            "report stands in benchmarks/results; seconds are those of the whole "
            "process, with compilation.",
            *(block for outcome in outcomes for block in _blocks(outcome)),
        ]
    )
    record = {"environment": facts, "parts": [_plain(found) for found in outcomes]}
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "RESULTS.md", f"{text}\n".encode())
    encoded = json.dumps(record, indent=1)
    write_atomically(folder / "RESULTS.json", f"{encoded}\n".encode())
    return text


def _blocks(outcome: Outcome) -> list[str]:
    part = outcome.part
    command = " ".join(["python -m", f"benchmarks.{part.name}", *outcome.flags])
    blocks = [f"## {part.name}", part.shows]
    if outcome.trouble:
        blocks.append(f"**{outcome.trouble}**")
    if outcome.figure:
        blocks.append(f"![{part.name}](figures/{part.name}.png)")
    if outcome.rows:
        blocks.append(timing.table(outcome.rows))
    if outcome.flags:
        blocks.append(f"`{command}` ({outcome.seconds:.0f} s; {outcome.when})")
    return blocks


def _plain(outcome: Outcome) -> dict[str, Any]:
    return {
        "name": outcome.part.name,
        "flags": list(outcome.flags),
        "seconds": round(outcome.seconds, 1),
        "trouble": outcome.trouble,
        "rows": list(outcome.rows),
        "figure": outcome.figure,
        "when": outcome.when,
    }


def read_page(folder: Path) -> list[Outcome]:
    """What an earlier run left in RESULTS.json; nothing where there is none."""
    path = folder / "RESULTS.json"
    if not path.exists():
        return []
    found = {kept["name"]: kept for kept in json.loads(path.read_text())["parts"]}
    outcomes = []
    for part in PARTS:
        kept = found.get(part.name)
        if kept is not None:
            fields = {
                name: kept[name] for name in kept if name not in ("name", "flags")
            }
            outcomes.append(Outcome(part, tuple(kept["flags"]), **fields))
    return outcomes


def chosen(only: Sequence[str] | None, skip: Sequence[str]) -> list[Part]:
    """The parts to run, in the table's order.

    Raises:
      UserError: on a name that is none's.
    """
    known = [part.name for part in PARTS]
    for flag, names in ((ONLY, only or ()), (SKIP, skip)):
        expected = f"a list among: {', '.join(known)}"
        require(set(names) <= set(known), flag.name, ",".join(names), expected)
    wanted = set(known if only is None else only) - set(skip)
    return [part for part in PARTS if part.name in wanted]


def run(
    parts: Sequence[Part], data: str | None, minutes: float, folder: Path
) -> list[Outcome]:
    """Runs parts one after the other, and writes the page after each.

    Returns:
      What became of these parts.
    """
    earlier = {found.part.name: found for found in read_page(folder)}
    outcomes: dict[str, Outcome] = {}
    for part in parts:
        found = run_part(part, data, minutes, folder / "figures")
        outcomes[part.name] = found
        together = earlier | outcomes
        order = [each.name for each in PARTS if each.name in together]
        write_page([together[name] for name in order], folder)
        told = found.trouble or "done"
        print(f"{part.name}: {told} ({found.seconds:.0f} s)", flush=True)
    return list(outcomes.values())


def main() -> int:
    """Runs under the flags."""
    common.refuse_unread_flags(__name__)
    minutes = MINUTES.value
    require(minutes > 0, MINUTES.name, minutes, "a positive number")
    parts = chosen(ONLY.value, SKIP.value)
    folder = Path(common.OUTPUT_DIR.value or Path(__file__).parent)
    outcomes = run(parts, FIGURE6_DATA.value, minutes, folder)
    return 1 if any(found.failed for found in outcomes) else 0


if __name__ == "__main__":
    common.main(main)
