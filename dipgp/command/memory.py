"""How much memory a restoration takes, and how much there is."""

import math
import os
from pathlib import Path
from typing import NamedTuple

GIGA = 1e9


class _Cost(NamedTuple):
    """What a posterior takes.

    Attributes:
      base: bytes of the process with its programs, compiled in it.
      torus: bytes a pixel of the torus and channel.
      seen: bytes a number that is seen at a time, pixels times channels.
    """

    base: float
    torus: float
    seen: float


# By (through a map, probed variances): bounds, 1.03 to 1.4 times what
#   XDG_CACHE_HOME=$(mktemp -d) /usr/bin/time -v dipgp TASK in.png -o out.png
# told of scikit-image's coffee in colour, of 0.25 to 12 megapixels. The peaks stand in
# tests/command/test_memory.py.
COSTS = {
    (False, False): _Cost(0.5 * GIGA, 115, 0),
    (False, True): _Cost(0.74 * GIGA, 230, 0),
    (True, False): _Cost(0.72 * GIGA, 45, 90),
    (True, True): _Cost(0.72 * GIGA, 280, 240),
}
# Bytes a number of the picture that is read, and of the one that is written.
READ, WRITTEN, DEVIATIONS = 18, 10, 12


def needed(
    pixels: float, seen: float, channels: int, through: bool, std: bool
) -> float:
    """Bytes that a Gaussian process's posterior takes, the process included.

    Args:
      pixels: of the torus.
      seen: pixels seen.
      channels: of the picture.
      through: whether it is seen through a map.
      std: whether variances are probed, too.
    """
    cost = COSTS[through, std]
    return cost.base + channels * (pixels * cost.torus + seen * cost.seen)


def of_arrays(read: int, written: int, std: bool) -> float:
    """Bytes that a picture takes beside the posterior of a part of it.

    Args:
      read: numbers in the picture that is read, pixels times channels.
      written: likewise, in the one that is written.
      std: whether standard deviations are written, too.
    """
    return READ * read + (WRITTEN + DEVIATIONS * std) * written


def available() -> float:
    """Bytes that a process may still take, infinite where that cannot be known."""
    return min(_free(), _allowed())


def _free() -> float:
    """What the operating system could give without swapping."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return 1024.0 * int(line.split()[1])
    except (OSError, ValueError):
        pass
    try:
        # Elsewhere what there is in all, since what is free says little.
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, OSError, ValueError):
        return math.inf


def _allowed() -> float:
    """What a container's limit leaves."""
    folder = Path("/sys/fs/cgroup")
    try:
        limit = float((folder / "memory.max").read_text())
        # What is cached of files could be given back.
        lines = (folder / "memory.stat").read_text().splitlines()
        return limit - float(dict(map(str.split, lines))["anon"])
    except (OSError, ValueError, KeyError):  # no container, or "max"
        return math.inf


def check(bytes_needed: float, what: str, remedy: str, jobs: int) -> None:
    """Raises ValueError where there is not enough for each of several jobs."""
    there = available() / jobs
    if bytes_needed > there:
        shared = f" for each of {jobs} jobs" if jobs > 1 else ""
        raise ValueError(
            f"{what} takes about {in_words(bytes_needed)} of memory, and "
            f"{in_words(there)} are free{shared}; {remedy}"
        )


def in_words(number: float) -> str:
    """Bytes as people say them."""
    return f"{number / GIGA:.1f} GB"
