"""Command lines, of which one flag is bad: what the binaries make of them."""

import dataclasses
import math
import re
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from benchmarks.abuse_runs import IN_A_FOLDER, Case, Run, draw_pictures
from benchmarks.abuse_verdict import LONGER, REFUSED, RESULT, Verdict
from dipgp.images import load_image, save_image

# Longer than any valid line takes, even beside others that compile.
_PATIENCE = 180.0
# Flags of which more is more work.
_WORK = ("--chains", "--depth", "--factor", "--iterations", "--samples")
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
    """A command line of which one argument is not what it was.

    Attributes:
      case: its place in the list of command lines.
      argument: which, by its place in the line.
      value: what it is now; of a flag, what follows "=".
    """

    case: int
    argument: int
    value: str


def command_lines(folder: Path) -> list[Case]:
    """Valid and small ones, all of whose arguments may be broken.

    Args:
      folder: where their pictures go.
    """
    grey, colour = draw_pictures(folder)
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
    found = [
        Case(f"experiments.{name}", name, flags)
        for name, each in lines.items()
        for flags in each
    ]
    return [*found, *_installed(grey, colour, folder)]


def _installed(grey: str, colour: str, folder: Path) -> list[Case]:
    """Command lines of `dipgp`, which has a parser and checks of its own."""
    mask, kernel = folder / "mask.png", folder / "kernel.png"
    hole = np.zeros((32, 32, 1), np.float32)
    hole[10:16, 8:20] = 1
    save_image(mask, hole)
    save_image(kernel, np.ones((3, 5, 1), np.float32))
    shared = ("--noise=25", "--quality=95", "--seed=0", "--jobs=1")
    sampled = ("--method=sgld", "--preset=smoke", "--iterations=4", *shared)
    lines: list[tuple[str, ...]] = [
        ("denoise", grey, "--method=gp", *shared),
        ("denoise", colour, *sampled),
        ("inpaint", grey, f"--mask={mask}", *shared),
        ("upscale", grey, "--factor=2", "--filter=box", *shared),
        ("deblur", grey, "--gaussian=1", *shared),
        ("deblur", grey, "--motion=3", "--angle=30", *shared),
        ("deblur", grey, f"--kernel={kernel}", *shared),
    ]
    return [Case("dipgp.command", line[0], line, IN_A_FOLDER) for line in lines]


def bad_lines(lines: Sequence[Case]) -> SearchStrategy[BadLine]:
    """Command lines with one argument exchanged for something worse."""
    places = [
        (number, place)
        for number, case in enumerate(lines)
        for place in range(len(case.arguments))
    ]
    words = st.sampled_from(_WORDS)
    numbers = st.floats().map(str) | st.integers(-(2**40), 2**40).map(str)
    text = st.text("abc,=.-0123456789 ", max_size=4)
    drawn = st.tuples(st.sampled_from(places), words | numbers | text)
    return drawn.map(lambda found: BadLine(*found[0], found[1]))


def judge(lines: Sequence[Case], bad: BadLine, folder: Path) -> Verdict:
    """Runs a command line with one bad argument.

    Args:
      lines: the valid ones.
      bad: which argument is exchanged, and for what.
      folder: of the run; not there yet.
    """
    case = lines[bad.case]
    arguments = list(case.arguments)
    flag, is_flag, valid = arguments[bad.argument].rpartition("=")
    arguments[bad.argument] = f"{flag}{is_flag}{bad.value}"
    run = Run(dataclasses.replace(case, arguments=tuple(arguments)), folder)
    status = run.wait(_PATIENCE)
    if status is None:
        return _stop(run, flag in _WORK and _is_more(bad.value, valid))
    said = run.said()
    told = f"{' '.join(arguments)}: {said[-1500:]}"
    if "Traceback" in said:
        return Verdict("a traceback", told)
    if status in (0, 1) and any(folder.rglob("*.png")):
        return Verdict(RESULT if _is_finite(folder) else "a damaged result", told)
    if status not in (1, 2):
        return Verdict(f"exit status {status}", told)
    # Arguments without a name are the restoration and its picture.
    name = flag.removeprefix("--") if is_flag else "restoration|picture"
    if re.search(rf"\b({name})", said) is None:
        return Verdict("a refusal that does not name the argument", told)
    return Verdict(REFUSED, told)


def _stop(run: Run, asked: bool) -> Verdict:
    """Ends a run that goes on, whether it was asked to take that long or not."""
    run.signal(signal.SIGTERM)
    ended = run.wait(_PATIENCE) is not None
    run.signal(signal.SIGKILL)
    return Verdict(LONGER if asked and ended else "a hang", run.said()[-500:])


def _is_more(value: str, valid: str) -> bool:
    """Whether a number stands in the place of a smaller one."""
    try:
        return math.isfinite(float(value)) and float(value) > float(valid)
    except ValueError:
        return False


def _is_finite(folder: Path) -> bool:
    """Whether all arrays that a run has written are finite, and its pictures whole."""
    for path in folder.rglob("*.png"):
        load_image(path)
    return all(
        np.isfinite(array).all()
        for path in folder.rglob("*.npz")
        for array in _arrays(path).values()
    )


def _arrays(path: Path) -> Mapping[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)
