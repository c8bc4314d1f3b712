"""How much memory a restoration takes, and how much there is."""

import math
import os
from pathlib import Path

GIGA = 1e9
# Of the process before it restores anything, and of what XLA compiles.
BASE = 0.6 * GIGA
# Bytes a pixel of the torus and channel, measured on 1024x1024 pixels: of a mean 116 to
# 121, through a blur 206, of probed variances 388 to 409; of variances through a blur
# 655, on 512x512 pixels.
MEAN, MEAN_THROUGH = 130, 210
VARIANCE, VARIANCE_THROUGH = 420, 660
# Bytes a number of the picture that is read, and of the one that is written.
READ, WRITTEN, DEVIATIONS = 18, 8, 12


def needed(pixels: float, channels: int, through: bool, std: bool) -> float:
    """Bytes that a Gaussian process's posterior takes, the process included.

    Args:
      pixels: of the torus.
      channels: of the picture.
      through: whether it is seen through a map.
      std: whether variances are probed, too.
    """
    mean = MEAN_THROUGH if through else MEAN
    variance = VARIANCE_THROUGH if through else VARIANCE
    return BASE + pixels * channels * (variance if std else mean)


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
