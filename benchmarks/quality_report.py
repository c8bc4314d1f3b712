"""What `benchmarks.time_to_quality` found, as a table and as a picture."""

import math
from collections.abc import Sequence

import numpy as np

from benchmarks.quality_courses import Course
from dipgp import figures

# The picture leaves out what is so far below the best.
_SHOWN_DECIBELS = 9.0
_TARGETS = 5
_POINTS = 100


def targets(courses: Sequence[Course]) -> list[int]:
    """Whole decibels up to the best of all."""
    best = math.floor(_best(courses))
    return list(range(best - _TARGETS + 1, best + 1))


def _best(courses: Sequence[Course]) -> float:
    return float(np.nanmax(np.concatenate([course.psnr for course in courses])))


def seconds_to(course: Course, decibels: float) -> float | None:
    """Seconds after which a course is that good for the first time, or None."""
    reached = np.flatnonzero(course.psnr >= decibels)
    return float(course.seconds[reached[0]]) if len(reached) else None


def rows(courses: Sequence[Course]) -> list[dict[str, object]]:
    """The table, a method in each row."""
    return [_row(course, targets(courses)) for course in courses]


def _row(course: Course, decibels: Sequence[int]) -> dict[str, object]:
    # A short run of a sampler may have no mean yet.
    there = not np.isnan(course.psnr).all()
    best = int(np.nanargmax(course.psnr)) if there else None
    return {
        "method": course.name,
        "start [s]": course.start,
        "then [s]": float(course.seconds[-1]),
        "iterations": course.iterations,
        "best [dB]": None if best is None else _decibels(course.psnr[best]),
        "best after [s]": None if best is None else float(course.seconds[best]),
        "handed back [dB]": _decibels(course.psnr[course.read_at]),
        **{f"to {goal} dB [s]": seconds_to(course, goal) for goal in decibels},
    }


def _decibels(value: float) -> str | None:
    return None if np.isnan(value) else f"{value:.2f}"


def thinned(count: int) -> np.ndarray:
    """Places of a hundred points of a course at most, close at its beginning."""
    if count <= _POINTS:
        return np.arange(count)
    return np.unique(np.geomspace(1, count, _POINTS).round().astype(int)) - 1


def picture(courses: Sequence[Course], title: str, clock: str) -> figures.Figure:
    """PSNR by seconds, without what goes before the first step and with it."""
    best = _best(courses)
    frames = []
    for told, included in (("compiled before", 0.0), ("compilation included", 1.0)):
        curves = []
        for course in courses:
            drawn = np.where(course.psnr > best - _SHOWN_DECIBELS, course.psnr, np.nan)
            seconds = course.seconds + included * course.start
            dashed, kept = course.name.startswith("PyTorch"), thinned(len(drawn))
            curves.append(
                figures.Curve(course.name, seconds[kept], drawn[kept], dashed)
            )
        axis_titles = (f"{clock} seconds", "PSNR [dB]")
        frames.append(
            figures.Plot(
                f"{title}, {told}", curves, axis_titles, logarithmic_below=True
            )
        )
    return figures.plots([frames], legend_below=True)
