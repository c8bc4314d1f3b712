"""Measuring time and memory, and writing down what was measured and where."""

import datetime
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
from absl import flags

from dipgp.files import write_atomically

# A process starts out with the peak memory of the one that made it, so a small process
# has to stand between this one and the one that is measured.
_MEASURE = """
import resource, subprocess, sys
run = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, text=True)
print(*[line for line in run.stdout.splitlines() if line.startswith("device peak")])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(run.returncode)
"""

RESULTS_DIR = flags.DEFINE_string(
    "results_dir", str(Path(__file__).parent / "results"), "Folder of the report."
)


class Timing(NamedTuple):
    """Seconds that calls of a function took.

    Attributes:
      median: of the repeated calls.
      shortest: of them.
      longest: of them.
      first: of the first call, which compiles.
    """

    median: float
    shortest: float
    longest: float
    first: float


def measure(function: Callable[[], object], repeats: int = 5) -> Timing:
    """Times a function after one call to warm up; waits for JAX's results.

    Raises:
      ValueError: on fewer than one repeat.
    """
    if repeats < 1:
        raise ValueError(f"repeats: expected at least 1, got {repeats}")
    first, *others = (seconds(function) for _ in range(repeats + 1))
    return Timing(statistics.median(others), min(others), max(others), first)


class Comparison(NamedTuple):
    """Two functions timed in turn, so that both meet the same other load.

    Attributes:
      one: median seconds.
      other: median seconds.
      ratio: median of one's over the other's, turn by turn.
    """

    one: float
    other: float
    ratio: float


def compare(
    one: Callable[[], object], other: Callable[[], object], repeats: int
) -> Comparison:
    """Times two functions in turn after a call of each; waits for JAX's results.

    Raises:
      ValueError: on fewer than one repeat.
    """
    if repeats < 1:
        raise ValueError(f"repeats: expected at least 1, got {repeats}")
    turns = [(seconds(one), seconds(other)) for _ in range(repeats + 1)][1:]
    return Comparison(
        statistics.median(first for first, _ in turns),
        statistics.median(second for _, second in turns),
        statistics.median(first / second for first, second in turns),
    )


def seconds(function: Callable[[], object]) -> float:
    """That one call takes; waits for JAX's results."""
    start = time.perf_counter()
    jax.block_until_ready(function())
    return time.perf_counter() - start


def peak_memory_mib(
    module: str,
    arguments: Sequence[str],
    environment: Mapping[str, str] | None = None,
) -> float:
    """Largest memory of a fresh Python process that runs a module, in MiB.

    Of its device's memory, where it has one and calls `tell_device_memory` at its end;
    else its resident memory.

    Args:
      module: to run.
      arguments: of its command line.
      environment: variables beside those of this process.

    Raises:
      RuntimeError: where the process fails, with what it said.
    """
    command = [sys.executable, "-m", module, *arguments]
    result = subprocess.run(
        [sys.executable, "-c", _MEASURE, *command],
        capture_output=True,
        text=True,
        env={**os.environ, **(environment or {})},
    )
    if result.returncode != 0:
        said = result.stderr.strip()[-2000:]
        raise RuntimeError(f"{' '.join(command)} failed: {said}")
    device, resident = result.stdout.splitlines()[-2:]
    if device:
        return float(device.split()[-1]) / 2**20
    # Kilobytes on Linux, bytes on macOS.
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return float(resident) / unit


def tell_device_memory() -> None:
    """Prints for `peak_memory_mib` what the device held at most; CPUs do not know."""
    stats = jax.devices()[0].memory_stats()
    if stats is not None:
        print("device peak", stats["peak_bytes_in_use"])


def environment() -> dict[str, str]:
    """Machine, versions and date."""
    packages = ("jax", "jaxlib", "numpy", "scipy")
    versions = {name: importlib.metadata.version(name) for name in packages}
    return {
        "date": datetime.date.today().isoformat(),
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "device": jax.devices()[0].device_kind,
        "python": platform.python_version(),
        **versions,
    }


def commit() -> str:
    """Of the checkout that this file is in; "unknown" outside of one."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    try:
        said = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True
        )
    except OSError:
        return "unknown"
    return said.stdout.strip() or "unknown"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.split(":")[1].strip() for line in lines if "model name" in line)
    return next(names, platform.machine())


def write_report(
    folder: Path,
    name: str,
    title: str,
    rows: Sequence[Mapping[str, object]],
    notes: Sequence[str],
    summary: Mapping[str, object],
) -> str:
    """Writes `name`.md and `name`.json.

    Args:
      folder: where to; made where it is absent.
      name: of the benchmark, as in `python -m benchmarks.name`.
      title: of the table.
      rows: a mapping from column to cell each; None is shown as a dash.
      notes: sentences below the table.
      summary: what else the json holds.

    Returns:
      The report as Markdown.
    """
    facts = environment()
    where = ", ".join(f"{key} {value}" for key, value in facts.items())
    command = f"`python -m benchmarks.{name}` ({where})"
    text = "\n\n".join([f"# {title}", table(rows), *notes, command]) + "\n"
    record = {"environment": facts, "rows": list(rows), **summary}
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / f"{name}.md", text.encode())
    encoded = json.dumps(record, indent=2, default=str)
    write_atomically(folder / f"{name}.json", f"{encoded}\n".encode())
    return text


def table(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows in Markdown: a mapping from column to cell each; None is a dash."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    lines = [columns, ["---:"] * len(columns)]
    lines += [[_cell(row.get(column)) for column in columns] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
