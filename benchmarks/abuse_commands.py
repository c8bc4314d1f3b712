"""Command lines, of which one flag is bad: what the binaries make of them."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from benchmarks.abuse_runs import Case, Run
from benchmarks.abuse_verdict import REFUSED, RESULT, Verdict

_PATIENCE = 300.0
_WORDS = (
    "",
    "text",
    "nan",
    "inf",
    "-inf",
    "-1",
    "0",
    "1e300",
    "1e30",
    "0.5",
    "1j",
    ",",
)


class BadLine(NamedTuple):
    """A command line of which one flag is not what it was.

    Attributes:
      case: its place in the list of command lines.
      flag: which.
      value: what it is now.
    """

    case: int
    flag: str
    value: str


def command_lines(grey: str, colour: str) -> list[Case]:
    """Valid and small ones, all of whose flags may be broken; another is another line.

    Args:
      grey: path of a picture.
      colour: of another.
    """
    process = ("--method=gp", "--depth=2", "--sigma=2", "--seed=0", "--tolerance=1e-3")
    network = (
        *("--method=sgd", "--preset=smoke", "--channels=4", "--iterations=4"),
        *("--stop_at=2", "--learning_rate=0.01", "--input_noise=0.03", "--log_every=2"),
        *("--checkpoint_minutes=1", "--window=2", "--patience=2", "--seed=0"),
    )
    sampled = (
        *("--method=psgld", "--preset=smoke", "--channels=4", "--iterations=4"),
        *("--burn_in=2", "--thinning=1", "--chains=1", "--step_size=0.001"),
        *("--momentum=0.5", "--temperature=1", "--frozen_after=2", "--samples=1"),
    )
    one = f"--image={grey}"
    lines: dict[str, list[tuple[str, ...]]] = {
        "denoise": [
            (one, "--noise_std=25", *process),
            (one, *network),
            (one, *sampled),
        ],
        "inpaint": [(one, "--drop_fraction=0.5", *process)],
        "super_resolve": [(one, "--factor=2", *process)],
        "deblur": [(one, "--blur=gaussian", "--blur_std=1", *process)],
        "demosaic": [(f"--image={colour}", "--pattern=RGGB", *process)],
    }
    return [
        Case(f"experiments.{name}", name, flags)
        for name, each in lines.items()
        for flags in each
    ]


def bad_lines(lines: Sequence[Case]) -> SearchStrategy[BadLine]:
    """Command lines with one flag's value exchanged for something worse."""
    flags = [
        (place, flag.split("=")[0].removeprefix("--"))
        for place, case in enumerate(lines)
        for flag in case.arguments
    ]
    words = st.sampled_from(_WORDS)
    numbers = st.floats().map(str) | st.integers(-(2**40), 2**40).map(str)
    text = st.text("abc,=.-0123456789 ", max_size=4)
    drawn = st.tuples(st.sampled_from(flags), words | numbers | text)
    return drawn.map(lambda found: BadLine(*found[0], found[1]))


def judge(lines: Sequence[Case], bad: BadLine, folder: Path) -> Verdict:
    """Runs a command line with one bad flag.

    Args:
      lines: the valid ones.
      bad: which flag is exchanged, and for what.
      folder: of the run; not there yet.
    """
    case = lines[bad.case]
    prefix = f"--{bad.flag}="
    arguments = tuple(
        f"{prefix}{bad.value}" if flag.startswith(prefix) else flag
        for flag in case.arguments
    )
    run = Run(Case(case.module, case.methods, arguments), folder)
    status = run.wait(_PATIENCE)
    said = run.said()
    if status is None:
        run.signal(9)
        return Verdict("a hang", said[-500:])
    if "Traceback" in said:
        return Verdict("a traceback", said[-1500:])
    if status in (0, 1):
        finite = _is_finite(folder)
        return Verdict(RESULT if finite else "a damaged result", said[-500:])
    if status != 2:
        return Verdict(f"exit status {status}", said[-500:])
    if re.search(rf"\b{bad.flag}", said) is None:
        return Verdict("a refusal that does not name the flag", said[-500:])
    return Verdict(REFUSED, said[-500:])


def _is_finite(folder: Path) -> bool:
    """Whether all arrays that a run has written are finite, and its pictures there."""
    arrays = list(folder.rglob("*.npz"))
    finite = all(
        np.isfinite(array).all() for path in arrays for array in _arrays(path).values()
    )
    return finite and any(folder.rglob("restored*.png"))


def _arrays(path: Path) -> Mapping[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)
