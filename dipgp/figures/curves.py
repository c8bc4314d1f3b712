"""Curves in frames."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dipgp.figures import canvas


class Curve(NamedTuple):
    """A line of a plot, or points with error bars.

    Attributes:
      label: in the legend; curves of one label have one colour and one entry.
      x: (N,) positions, such as iterations; of a single one there is a point.
      y: (N,) values; not drawn where NaN.
      dashed: whether it is the lesser of its label's lines.
      error: (N,) half lengths of error bars around points, in the place of a line.
    """

    label: str
    x: np.ndarray
    y: np.ndarray
    dashed: bool = False
    error: np.ndarray | None = None


class Plot(NamedTuple):
    """Curves in one frame.

    Attributes:
      title: above it.
      curves: in it.
      axis_titles: below it and beside it.
      logarithmic: whether both axes are; values that are not positive are left out.
      logarithmic_below: whether the axis below is, in powers of ten, and the other is
        not.
    """

    title: str
    curves: Sequence[Curve]
    axis_titles: tuple[str, str]
    logarithmic: bool = False
    logarithmic_below: bool = False


def plots(rows: Sequence[Sequence[Plot]], legend_below: bool = False) -> Figure:
    """Draws plots in rows, above each other where they share their positions.

    Args:
      rows: each of as many plots; the last may have fewer.
      legend_below: whether all share one legend, below them.

    Returns:
      The figure, for `save_figure`.

    Raises:
      ValueError: where there is no plot, or where rows differ in length otherwise.
    """
    lengths = [len(row) for row in rows]
    columns = max(lengths, default=0)
    if not all(lengths) or set(lengths[:-1]) - {columns} or not columns:
        raise ValueError(
            f"rows: expected as many plots in each, or fewer in the last, got {lengths}"
        )
    figure = canvas.empty_figure(4.2 * columns, 3.2 * len(rows))
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for row, axes in zip(rows, grid, strict=True):
        for plot, axis in zip(row, axes, strict=False):
            draw_plot(axis, plot)
            if legend_below:
                axis.get_legend().remove()
        for axis in axes[len(row) :]:
            axis.remove()
    if legend_below:
        canvas.explain(figure)
    return figure


def draw_plot(axis: Axes, plot: Plot) -> None:
    """Draws a plot in a frame of its own."""
    axis.set_title(plot.title, fontsize=9)
    if plot.logarithmic:
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
    elif plot.logarithmic_below:
        axis.set_xscale("log")
    for curve in plot.curves:
        if not isinstance(curve.label, str):
            raise TypeError(f"label: expected text, got {curve.label!r}")
    labels = list(dict.fromkeys(curve.label for curve in plot.curves))
    named = set()
    for curve in plot.curves:
        canvas.check_lengths(curve.x, y=curve.y, error=curve.error)
        # Of unsigned numbers matplotlib takes the negative ones as well.
        error = None if curve.error is None else np.asarray(curve.error, float)
        if error is not None and np.any(error < 0):
            raise ValueError("error: expected half lengths of at least 0, got less")
        colour = f"C{labels.index(curve.label)}"
        label = None if curve.label in named else curve.label
        named.add(curve.label)
        if error is not None:
            axis.errorbar(
                curve.x,
                curve.y,
                error,
                color=colour,
                fmt="s" if curve.dashed else "o",
                fillstyle="none" if curve.dashed else "full",
                markersize=3,
                linewidth=1,
                label=label,
            )
            continue
        axis.plot(
            curve.x,
            curve.y,
            color=colour,
            linestyle="--" if curve.dashed else "-",
            marker="o" if len(curve.x) == 1 else None,
            linewidth=1,
            alpha=0.6 if curve.dashed else 1.0,
            label=label,
        )
    axis.set_xlabel(plot.axis_titles[0])
    axis.set_ylabel(plot.axis_titles[1])
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
