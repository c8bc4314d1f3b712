"""Timing several things in turn, and what one row of a report says of two of them."""

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np


class Contender(NamedTuple):
    """Something to time, and what else is known of it.

    Attributes:
      call: makes the steps, waits for them and gives the last one's loss.
      steps: that a call makes, those of all chains together.
      compile_seconds: before its first step, if it is compiled.
      mebibytes: that it needs, if that is known.
      layout: of PyTorch's images.
    """

    call: Callable[[], float]
    steps: int
    compile_seconds: float | None = None
    mebibytes: float | None = None
    layout: str | None = None


class Turns(NamedTuple):
    """What was timed.

    Attributes:
      rates: (repeats,) steps per second of each contender.
      losses: of its last step.
    """

    rates: dict[str, np.ndarray]
    losses: dict[str, float]


def take_turns(contenders: Mapping[str, Contender], repeats: int) -> Turns:
    """Calls each once to warm up; then one after the other, and again."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    losses = {name: one.call() for name, one in contenders.items()}
    for _ in range(repeats):
        for name, one in contenders.items():
            begun = time.perf_counter()
            losses[name] = one.call()
            seconds[name].append(time.perf_counter() - begun)
    rates = {
        name: one.steps / np.asarray(seconds[name]) for name, one in contenders.items()
    }
    return Turns(rates, losses)


def row(
    contenders: Mapping[str, Contender], turns: Turns, own: str, other: str | None
) -> dict[str, object]:
    """One of ours beside another: medians, and the median and range of their ratio.

    Ratios are those of neighbouring calls.
    """
    first, rates = contenders[own], turns.rates[own]
    columns: dict[str, object] = {
        "ours": own,
        "ours [steps/s]": float(np.median(rates)),
    }
    if other is not None:
        beside = turns.rates[other]
        ratios = rates / beside
        columns |= {
            "beside": other,
            "beside [steps/s]": float(np.median(beside)),
            "ratio": float(np.median(ratios)),
            "lowest": float(ratios.min()),
            "highest": float(ratios.max()),
        }
    columns |= {
        "compile [s]": first.compile_seconds,
        "ours [MiB]": _rounded(first.mebibytes),
    }
    if other is not None:
        second = contenders[other]
        columns |= {
            "beside [MiB]": _rounded(second.mebibytes),
            "PyTorch's layout": second.layout,
        }
    return columns


def _rounded(number: float | None) -> int | None:
    return None if number is None else round(number)
