"""Whether the tests would notice: faults put into the library, one at a time.

Each fault of tests/faults is a fragment of source, what stands in its place, and the
test that must fail then. In a copy of the repository the tests named are run once
without a fault, and must pass; then each fault is put in by itself and its test is run
in a process of its own. A failing test has caught the fault; one that passes, or that
cannot even be collected, has not, and the command fails:

  python -m benchmarks.mutations
  python -m benchmarks.mutations --faults='kernels.*,gp.evidence_two_pi'

It is run from the repository's root, and writes docs/mutations.md. Seconds there are
those of the failing process, most of them Python's and JAX's start.
"""

import fnmatch
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from absl import flags

from benchmarks import flags_only, timing
from dipgp.files import write_atomically

FAULTS = flags.DEFINE_list(
    "faults", ["*"], "Names of faults, or patterns such as 'kernels.*'."
)
FAULT_SECONDS = flags.DEFINE_integer(
    "fault_seconds", 300, "Seconds after which a test counts as one that fails."
)

FOLDER = Path("tests") / "faults"
DOCUMENT = Path("docs") / "mutations.md"
# What the tests import, and how they are run.
_PARTS = ("dipgp", "experiments", "benchmarks", "tests", "pyproject.toml")

# Plugins that pyproject.toml has settings for are loaded by name; others, found by
# themselves, would take most of the start. Slow tests may be named, too.
_OPTIONS = (
    *("-p", "xdist.plugin", "-p", "pytest_timeout", "-p", "no:cacheprovider"),
    *("-n0", "-q", "-x", "--tb=line", "-m", ""),
)

_PREFACE = """\
Each line is a fault that `python -m benchmarks.mutations` puts into a copy of the
library, by itself, and a test that fails then and passes otherwise. The changes
themselves stand in `tests/faults`. Seconds are those of the failing
process, most of them the start of Python and JAX, beside whatever else ran."""

# Caught: the test failed. Missed: it passed. Broken: no test ran.
Verdict = Literal["caught", "missed", "broken"]


@dataclass(frozen=True)
class Fault:
    """A change of one place in the source that some test must notice.

    Attributes:
      name: file of faults and name in it, such as "gp.evidence_two_pi".
      meaning: what is wrong then.
      file: of the source, from the repository's root.
      fragment: of the source, which occurs there once.
      replacement: what stands in its place.
      test: that must fail, as pytest names it.
    """

    name: str
    meaning: str
    file: str
    fragment: str
    replacement: str
    test: str

    @property
    def room(self) -> str:
        """The file of faults that it is from."""
        return self.name.split(".")[0]

    def apply(self, source: str) -> str:
        """The source with the fault.

        Raises:
          ValueError: unless the fragment occurs once.
        """
        count = source.count(self.fragment)
        if count != 1:
            raise ValueError(
                f"{self.name}: expected its fragment once in {self.file}, found it "
                f"{count} times: {self.fragment}"
            )
        return source.replace(self.fragment, self.replacement)


class Outcome(NamedTuple):
    """What became of a fault.

    Attributes:
      verdict: whether its test caught it.
      seconds: of the test's process.
      said: the end of what pytest wrote.
    """

    verdict: Verdict
    seconds: float
    said: str


def read(root: Path) -> list[Fault]:
    """The faults of a repository, file by file in the order of their names.

    Raises:
      ValueError: where there is none.
    """
    faults = [
        Fault(f"{path.stem}.{name}", **entries)
        for path in sorted((root / FOLDER).glob("*.toml"))
        for name, entries in tomllib.loads(path.read_text()).items()
    ]
    if not faults:
        raise ValueError(
            f"{root / FOLDER}: expected files of faults, found none; try the root of "
            "the repository"
        )
    return faults


def choose(faults: Iterable[Fault], patterns: Sequence[str]) -> list[Fault]:
    """Those whose names fit one of the patterns.

    Raises:
      ValueError: where a pattern fits none.
    """
    faults = list(faults)
    names = [fault.name for fault in faults]
    rooms = ", ".join(f"{room}.*" for room in dict.fromkeys(f.room for f in faults))
    for pattern in patterns:
        if not fnmatch.filter(names, pattern):
            raise ValueError(
                f"faults: expected a pattern that fits some of {len(names)}, got "
                f"{pattern}; try {rooms}"
            )
    return [
        fault
        for fault in faults
        if any(fnmatch.fnmatch(fault.name, pattern) for pattern in patterns)
    ]


def check(
    root: Path,
    faults: Sequence[Fault],
    seconds: float,
    report: Callable[[str], None] = lambda message: None,
) -> Iterator[tuple[str, Outcome]]:
    """Puts in one fault after the other and runs its test.

    Args:
      root: of the repository, which stays as it is.
      faults: to put in.
      seconds: after which a test counts as one that fails.
      report: is told how far the work is.

    Yields:
      A fault's name, and what became of it.

    Raises:
      RuntimeError: where a test named fails without any fault, or where Python imports
        another copy of the library than the one with faults.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for part in _PARTS:
            _copy(root / part, copy / part)
        _check_imports(copy)
        tests = sorted({fault.test for fault in faults})
        report(f"{len(tests)} tests without a fault")
        sound = _run(copy, tests, seconds * len(tests))
        if sound.verdict != "missed":
            raise RuntimeError(f"tests fail without a fault: {sound.said}")
        for number, fault in enumerate(faults, 1):
            path = copy / fault.file
            source = path.read_text()
            path.write_text(fault.apply(source))
            outcome = _run(copy, [fault.test], seconds)
            path.write_text(source)
            progress = f"{number} of {len(faults)}: {fault.name} {outcome.verdict}"
            report(f"{progress} in {outcome.seconds:.1f} s")
            yield fault.name, outcome


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    elif source.exists():
        shutil.copy(source, target)


def _environment(copy: Path) -> dict[str, str]:
    """One in which the copy is imported, and no stale bytecode."""
    return os.environ | {
        "PYTHONPATH": str(copy),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }


def _check_imports(copy: Path) -> None:
    command = [sys.executable, "-c", "import dipgp; print(dipgp.__file__)"]
    found = subprocess.run(
        command, cwd=copy, env=_environment(copy), capture_output=True, text=True
    )
    if not found.stdout.startswith(str(copy)):
        raise RuntimeError(
            f"dipgp: expected it to be imported from {copy}, got "
            f"{found.stdout.strip() or found.stderr.strip()}"
        )


def _run(copy: Path, tests: Sequence[str], seconds: float) -> Outcome:
    command = [sys.executable, "-m", "pytest", *_OPTIONS, *tests]
    start = time.perf_counter()
    try:
        done = subprocess.run(
            command,
            cwd=copy,
            env=_environment(copy),
            capture_output=True,
            text=True,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        return Outcome("caught", seconds, f"no end within {seconds:.0f} s")
    # 0: all passed; 1: some failed; others: none was collected, or pytest broke.
    verdicts: dict[int, Verdict] = {0: "missed", 1: "caught"}
    return Outcome(
        verdicts.get(done.returncode, "broken"),
        time.perf_counter() - start,
        (done.stdout + done.stderr)[-1500:],
    )


def render(faults: Sequence[Fault], seconds: Mapping[str, float], footer: str) -> str:
    """The table of faults and of the tests that catch them, as Markdown.

    Args:
      faults: in order.
      seconds: that each one's test took to fail, by name; those without are not caught.
      footer: where that was measured.
    """
    parts = ["# Faults, and the tests that catch them", _PREFACE]
    for room in dict.fromkeys(fault.room for fault in faults):
        lines = ["| fault | name | caught by | seconds |", "| --- | --- | --- | ---: |"]
        lines += [
            _row(fault, seconds.get(fault.name))
            for fault in faults
            if fault.room == room
        ]
        parts += [f"## {room}", "\n".join(lines)]
    caught = sum(fault.name in seconds for fault in faults)
    parts.append(f"{caught} of {len(faults)} faults are caught. {footer}")
    return "\n\n".join(parts) + "\n"


def _row(fault: Fault, seconds: float | None) -> str:
    path, _, test = fault.test.partition("::")
    caught_by = f"`{test}` in `{path.removeprefix('tests/')}`"
    took = "not caught" if seconds is None else f"{seconds:.1f}"
    return f"| {fault.meaning} | `{fault.name}` | {caught_by} | {took} |"


def recorded(document: str) -> tuple[dict[str, float], str]:
    """Seconds by name, and the footer, of what `render` wrote."""
    rows = re.findall(r"^\| .* \| `([\w.]+)` \| .* \| ([\d.]+) \|$", document, re.M)
    footer = re.search(r"faults are caught\. (.*)\n\Z", document)
    return {name: float(took) for name, took in rows}, footer[1] if footer else ""


def run(root: Path, patterns: Sequence[str], seconds: float) -> dict[str, Outcome]:
    """Checks the faults chosen and brings the document up to date after each."""
    faults = read(root)
    document = root / DOCUMENT
    known, _ = recorded(document.read_text() if document.exists() else "")
    facts = timing.environment()
    where = ", ".join(f"{key} {value}" for key, value in facts.items())
    footer = f"Last run: {where}."
    outcomes = {}
    for name, outcome in check(root, choose(faults, patterns), seconds, report=print):
        outcomes[name] = outcome
        known.pop(name, None)
        if outcome.verdict == "caught":
            known[name] = outcome.seconds
        write_atomically(document, render(faults, known, footer).encode())
    return outcomes


def main() -> None:
    """Reads the flags, checks, and fails where a fault was not caught."""
    outcomes = run(Path.cwd(), FAULTS.value, FAULT_SECONDS.value)
    escaped = {
        name: outcome
        for name, outcome in outcomes.items()
        if outcome.verdict != "caught"
    }
    for name, outcome in escaped.items():
        print(f"\n{name}: {outcome.verdict}\n{outcome.said}")
    if escaped:
        sys.exit(f"{len(escaped)} of {len(outcomes)} faults were not caught")


if __name__ == "__main__":
    flags_only.run(main)
