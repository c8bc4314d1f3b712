"""Curves of a report as geometry that a template draws as SVG."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dipgp.figures import Curve

_TICKS = 6
_MOST_POINTS = 300
_ASIDE = 5.0


class Frame(NamedTuple):
    """A drawing's size and its margins, in units that text is set in, too."""

    width: int = 460
    height: int = 300
    left: int = 62
    right: int = 14
    top: int = 12
    bottom: int = 56


FRAME = Frame()


class Stroke(NamedTuple):
    """A line as it is drawn.

    Attributes:
      path: of the curve, as SVG writes it.
      bars: of the error bars, likewise; empty for none.
      points: centres of the points, with their values in words.
      colour: number of its colour, from 0; None for a line to compare with.
      dashed: whether it is the lesser of its label's lines.
    """

    path: str
    bars: str
    points: list[tuple[float, float, str]]
    colour: int | None
    dashed: bool


class Chart(NamedTuple):
    """A frame with curves.

    Attributes:
      title: above it.
      description: in its stead, for who does not see it.
      axis_titles: below it and beside it.
      x_ticks: positions and numbers.
      y_ticks: likewise.
      strokes: the curves.
      legend: labels and their colours, likewise.
    """

    title: str
    description: str
    axis_titles: tuple[str, str]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    strokes: list[Stroke]
    legend: list[tuple[str, int | None]]


class _Axis(NamedTuple):
    """Numbers to positions along one side of the frame."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def __call__(self, values: np.ndarray) -> np.ndarray:
        low, high = self.low, self.high
        if self.logarithmic:
            values, low, high = np.log10(values), math.log10(low), math.log10(high)
        return self.start + (values - low) / (high - low) * (self.end - self.start)


def chart(
    title: str,
    lines: Sequence[Curve],
    axis_titles: tuple[str, str],
    logarithmic: bool = False,
    tallest: float = math.inf,
    reference: str | None = None,
) -> Chart | None:
    """Lays out curves in a frame.

    Args:
      title: of the chart.
      lines: the curves; those without a finite value are left out.
      axis_titles: what the axes hold, with units.
      logarithmic: whether the horizontal axis is; its values are positive then.
      tallest: span of the vertical axis at most, from the largest value down; what is
        below is cut off.
      reference: label of the line that others are compared with, drawn without colour.

    Returns:
      The chart, or None where there is nothing to draw.
    """
    lines = [_thinned(line, logarithmic) for line in lines if _drawable(line).any()]
    if not lines:
        return None
    x = np.concatenate([line.x[_drawable(line)] for line in lines])
    reach = [
        line.y[_drawable(line)] + sign * error[_drawable(line)]
        for line in lines
        for error in [np.zeros(len(line.y)) if line.error is None else line.error]
        for sign in (-1, 1)
    ]
    y = np.concatenate(reach)
    high = float(y.max())
    low = max(float(y.min()), high - tallest)
    margin = 0.04 * (high - low) or 0.5
    across = _Axis(
        *_apart(x, logarithmic), FRAME.left, FRAME.width - FRAME.right, logarithmic
    )
    up = _Axis(low - margin, high + margin, FRAME.height - FRAME.bottom, FRAME.top)
    labels = list(dict.fromkeys(line.label for line in lines))
    coloured = [label for label in labels if label != reference]
    colours = {label: number for number, label in enumerate(coloured)}
    shifts = _shifts(lines)
    return Chart(
        title=title,
        description=_description(title, lines, axis_titles),
        axis_titles=axis_titles,
        x_ticks=_placed(across),
        y_ticks=_placed(up),
        strokes=[
            _stroke(line, across(line.x) + shift, up, colours.get(line.label))
            for line, shift in zip(lines, shifts, strict=True)
        ],
        legend=[(label, colours.get(label)) for label in labels],
    )


def ticks(low: float, high: float, most: int = _TICKS) -> list[float]:
    """Round numbers within [low, high], evenly spaced by 1, 2 or 5 times ten's powers.

    Args:
      low: a number below `high`.
      high: a finite number.
      most: how many there are at most.
    """
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(f * power for f in (1, 2, 5, 10, 20) if f * power >= rough)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def _drawable(line: Curve) -> np.ndarray:
    return np.isfinite(line.x) & np.isfinite(line.y)


def _thinned(line: Curve, logarithmic: bool) -> Curve:
    """As many points as can be told apart, evenly spread along the axis."""
    count = len(line.x)
    if count <= _MOST_POINTS or line.error is not None:
        return line
    chosen = np.linspace(0, count - 1, _MOST_POINTS)
    if logarithmic:
        chosen = np.geomspace(1, count, _MOST_POINTS) - 1
    chosen = np.unique(np.round(chosen).astype(int))
    return line._replace(x=line.x[chosen], y=line.y[chosen])


def _shifts(lines: Sequence[Curve]) -> list[float]:
    """By line, how far error bars step aside for others at the same places."""
    barred = [
        number
        for number, line in enumerate(lines)
        if line.error is not None and np.any(line.error > 0)
    ]
    shifts = [0.0] * len(lines)
    for place, number in enumerate(barred):
        shifts[number] = _ASIDE * (place - (len(barred) - 1) / 2)
    return shifts


def _apart(x: np.ndarray, logarithmic: bool) -> tuple[float, float]:
    """The ends of the numbers, which differ."""
    low, high = float(x.min()), float(x.max())
    if low < high:
        return low, high
    return (low / 2, high * 2) if logarithmic else (low - 0.5, high + 0.5)


def _placed(axis: _Axis) -> list[tuple[float, str]]:
    values = _powers(axis) if axis.logarithmic else ticks(axis.low, axis.high)
    positions = axis(np.array(values))
    return [
        (round(float(position), 1), _in_digits(value))
        for position, value in zip(positions, values, strict=True)
    ]


def _powers(axis: _Axis) -> list[float]:
    """Powers of ten, with 2 and 5 times them where they are few."""
    first, last = math.floor(math.log10(axis.low)), math.ceil(math.log10(axis.high))
    factors = (1, 2, 5) if last - first <= 3 else (1,)
    found = [f * 10.0**power for power in range(first, last + 1) for f in factors]
    return [value for value in found if axis.low <= value <= axis.high]


def _in_digits(value: float) -> str:
    text = f"{value:,.10g}" if 1e-4 <= abs(value) < 1e7 or not value else f"{value:.3g}"
    return text.replace(",", "\u202f").replace("-", "\u2212")


def _stroke(line: Curve, x: np.ndarray, up: _Axis, colour: int | None) -> Stroke:
    kept, y = _drawable(line), up(line.y)
    pieces, joined = [], False
    for i in np.arange(len(x)):
        if kept[i] and line.error is None:
            pieces.append(f"{'L' if joined else 'M'}{x[i]:.1f} {y[i]:.1f}")
        joined = bool(kept[i])
    bars: list[str] = []
    points: list[tuple[float, float, str]] = []
    if line.error is not None:
        low, high = up(line.y - line.error), up(line.y + line.error)
        for i in np.flatnonzero(kept):
            bars.append(f"M{x[i]:.1f} {low[i]:.1f}V{high[i]:.1f}")
            words = f"{line.label}: {line.x[i]:.4g}, {line.y[i]:.4g}"
            if line.error[i] > 0:
                words += f" ± {line.error[i]:.2g}"
            points.append((round(float(x[i]), 1), round(float(y[i]), 1), words))
    return Stroke("".join(pieces), "".join(bars), points, colour, line.dashed)


def _description(
    title: str, lines: Sequence[Curve], axis_titles: tuple[str, str]
) -> str:
    ends = [
        f"{line.label} ends at {line.y[_drawable(line)][-1]:.4g}"
        for line in lines
        if line.error is None and not line.dashed
    ]
    return f"{title}: {axis_titles[1]} by {axis_titles[0]}. {'; '.join(ends)}."
