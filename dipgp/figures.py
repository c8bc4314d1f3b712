"""Arrays in, figures out: the only module that imports matplotlib.

Figures are drawn by the file-writing Agg canvas and never pass through pyplot, whose
global state would keep them alive.
"""

import io
import math
import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dipgp import numerics
from dipgp.files import write_atomically
from dipgp.numerics import brief

try:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
except ImportError as missing:
    raise ImportError(
        'figures need matplotlib; try pip install "dipgp[experiments]"'
    ) from missing

_DOTS_PER_INCH = 160
_PANELS_A_ROW = 4
# What may follow (H, W) in a shape.
_CHANNELS = ((), (1,), (3,))
Grid = tuple[int, int]


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


class Panel(NamedTuple):
    """Functions of one variable, seen together.

    Attributes:
      title: above the panel.
      samples: (K, N) draws, each a thin line.
      mean: (N,), a line, or None.
      std: (N,) standard deviation around the mean, drawn as bands, or None.
    """

    title: str
    samples: np.ndarray | None = None
    mean: np.ndarray | None = None
    std: np.ndarray | None = None


def panels(
    images: Sequence[tuple[str, np.ndarray]],
    errors: Sequence[tuple[str, np.ndarray]] = (),
    height: float = 3.2,
) -> Figure:
    """Draws images, then error maps, side by side at one scale.

    Args:
      images: titles and (H, W), (H, W, 1) or (H, W, 3) intensities, drawn from black 0
        to white 1 and clipped beyond.
      errors: titles and differences of such shapes. Channels are averaged; red is
        positive, blue is negative, and all maps share one colour bar.
      height: of an image, in inches; at 3.2 a 512-pixel image keeps its pixels.

    Returns:
      The figure, for `save_figure`.

    Raises:
      ValueError: where there is nothing to draw, or where heights and widths differ.
    """
    rows, columns = _common_grid(height, images=images, errors=errors)
    count = len(images) + len(errors)
    bar = 0.7 if errors else 0.0
    width = height * columns / rows
    figure = Figure(
        figsize=(count * (width + 0.1) + bar, height + 0.35),
        dpi=_DOTS_PER_INCH,
        layout="compressed",
    )
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, count, squeeze=False)[0]
    for axis, (title, _) in zip(axes, (*images, *errors), strict=True):
        axis.set_title(title, fontsize=9)
        axis.set_axis_off()
    for axis, (_, array) in zip(axes, images, strict=False):
        axis.imshow(np.clip(_drawable(array), 0, 1), cmap="gray", vmin=0, vmax=1)
    maps = [_averaged(array) for _, array in errors]
    limit = max((float(np.abs(error).max()) for error in maps), default=0.0) or 1.0
    for axis, error in zip(axes[len(images) :], maps, strict=True):
        drawn = axis.imshow(error, cmap="RdBu_r", vmin=-limit, vmax=limit)
    if maps:
        # Inside its own inset, so that the last image keeps the others' size.
        figure.colorbar(drawn, cax=axes[-1].inset_axes((1.04, 0.0, 0.05, 1.0)))
    return figure


def overview(
    images: Sequence[tuple[str, np.ndarray]],
    deviations: Sequence[tuple[str, np.ndarray]] = (),
    frames: Sequence[Plot] = (),
    height: float = 2.4,
) -> Figure:
    """Draws images and maps of standard deviations in rows, and plots below them.

    Args:
      images: titles and (H, W), (H, W, 1) or (H, W, 3) intensities, drawn from black 0
        to white 1 and clipped beyond.
      deviations: titles and such arrays of standard deviations, at least 0. Channels
        are averaged (root mean square); all maps share one colour bar.
      frames: plots, side by side in one row.
      height: of an image, in inches.

    Returns:
      The figure, for `save_figure`.

    Raises:
      ValueError: where there is no image, or where heights and widths differ.
    """
    grid_shape = _common_grid(height, images=images, deviations=deviations)
    rows_a_panel, columns_a_panel = grid_shape
    count = len(images) + len(deviations)
    columns = min(count, _PANELS_A_ROW)
    rows = math.ceil(count / columns)
    width = columns * (height * columns_a_panel / rows_a_panel + 0.1) + 0.7
    heights = [height + 0.3] * rows + ([3.2] if frames else [])
    figure = Figure(
        figsize=(width, sum(heights)), dpi=_DOTS_PER_INCH, layout="constrained"
    )
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(len(heights), columns, height_ratios=heights)
    panels_axes = [
        figure.add_subplot(grid[index // columns, index % columns])
        for index in range(count)
    ]
    for axis, (title, _) in zip(panels_axes, (*images, *deviations), strict=True):
        axis.set_title(title, fontsize=8)
        axis.set_axis_off()
    for axis, (_, array) in zip(panels_axes, images, strict=False):
        axis.imshow(np.clip(_drawable(array), 0, 1), cmap="gray", vmin=0, vmax=1)
    maps = [np.sqrt(_averaged(np.square(array))) for _, array in deviations]
    limit = max((float(map_.max()) for map_ in maps), default=0.0) or 1.0
    for axis, map_ in zip(panels_axes[len(images) :], maps, strict=True):
        drawn = axis.imshow(map_, cmap="magma", vmin=0, vmax=limit)
    if maps:
        figure.colorbar(drawn, ax=panels_axes[len(images) :], shrink=0.8)
    if frames:
        below = grid[rows, :].subgridspec(1, len(frames))
        for number, plot in enumerate(frames):
            _draw_plot(figure.add_subplot(below[0, number]), plot)
    return figure


def _common_grid(height: float, **titled: Sequence[tuple[str, np.ndarray]]) -> Grid:
    """Height and width that all titled arrays share, by what they are called."""
    numerics.check_between("height", height, 0.05, 100)
    grids = set()
    for name, pairs in titled.items():
        if not isinstance(pairs, Sequence):
            raise TypeError(f"{name}: expected titled arrays, got {brief(pairs)}")
        for pair in pairs:
            if not isinstance(pair, Sequence) or len(pair) != 2:
                raise TypeError(f"{name}: expected titled arrays, got {brief(pair)}")
            numerics.check_real(name, pair[1])
            shape = np.shape(pair[1])
            if len(shape) not in (2, 3) or 0 in shape or shape[2:] not in _CHANNELS:
                raise ValueError(
                    f"{name}: expected shapes (H, W), (H, W, 1) or (H, W, 3), got "
                    f"{shape}"
                )
            grids.add(shape[:2])
    if len(grids) != 1:
        raise ValueError(
            f"{', '.join(titled)}: expected images of one height and width, got "
            f"{sorted(grids)}"
        )
    return grids.pop()


def _check_lengths(x: np.ndarray, **drawn: np.ndarray | None) -> None:
    """Raises ValueError unless all that is drawn over x is numbers, one for each."""
    for name, array in {"x": x, **drawn}.items():
        if array is None:
            continue
        numerics.check_real(name, array)
        if np.shape(array) != np.shape(x) or np.ndim(array) != 1:
            raise ValueError(
                f"{name}: expected shape (N,), like x, got {np.shape(array)}, and "
                f"{np.shape(x)} of x"
            )


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
    figure = Figure(
        figsize=(4.2 * columns, 3.2 * len(rows)),
        dpi=_DOTS_PER_INCH,
        layout="constrained",
    )
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for row, axes in zip(rows, grid, strict=True):
        for plot, axis in zip(row, axes, strict=False):
            _draw_plot(axis, plot)
            if legend_below:
                axis.get_legend().remove()
        for axis in axes[len(row) :]:
            axis.remove()
    if legend_below:
        _explain(figure)
    return figure


def bands(
    rows: Sequence[tuple[str, Sequence[Panel]]],
    x: np.ndarray,
    truth: np.ndarray | None = None,
    observed: np.ndarray | None = None,
) -> Figure:
    """Draws samples, and means with bands of 1 and 2 standard deviations.

    Args:
      rows: labels and panels. In a row, panels with a mean share one scale, and so do
        those without; the latter show neither truth nor observations.
      x: (N,) positions.
      truth: (N,), dashed.
      observed: (N,), true at the positions where the truth was seen, drawn as points.

    Returns:
      The figure, for `save_figure`.

    Raises:
      ValueError: where there is no panel, or where arrays differ in length from x.
    """
    _check_lengths(x, truth=truth, observed=observed)
    if not any(panels for _, panels in rows):
        raise ValueError("rows: expected at least one panel, got none")
    columns = max(len(panels) for _, panels in rows)
    figure = Figure(
        figsize=(3.0 * columns, 2.4 * len(rows) + 0.5),
        dpi=_DOTS_PER_INCH,
        layout="constrained",
    )
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for (label, panels), axes in zip(rows, grid, strict=True):
        axes[0].set_ylabel(label, fontsize=9)
        first: dict[bool, Axes] = {}
        for panel, axis in zip(panels, axes, strict=False):
            posterior = panel.mean is not None
            _draw_panel(axis, panel, x)
            if posterior and truth is not None:
                axis.plot(x, truth, "--", color="black", linewidth=0.8, label="truth")
                if observed is not None:
                    axis.plot(
                        x[observed],
                        truth[observed],
                        "k.",
                        markersize=5,
                        label="observed",
                    )
            if posterior in first:
                axis.sharey(first[posterior])
                axis.tick_params(labelleft=False)
            first.setdefault(posterior, axis)
        for axis in axes[len(panels) :]:
            axis.set_axis_off()
    _explain(figure)
    return figure


def _explain(figure: Figure) -> None:
    """One legend for what all panels have in common."""
    found: dict[str, Artist] = {}
    for axis in figure.axes:
        for artist, label in zip(*axis.get_legend_handles_labels(), strict=True):
            found.setdefault(label, artist)
    if found:
        labels = list(found)
        artists = [found[label] for label in labels]
        figure.legend(
            artists, labels, loc="outside lower center", ncols=len(labels), fontsize=8
        )


def _draw_panel(axis: Axes, panel: Panel, x: np.ndarray) -> None:
    axis.set_title(panel.title, fontsize=9)
    axis.tick_params(labelsize=7)
    axis.margins(x=0)
    axis.grid(alpha=0.3)
    samples = np.zeros((0, len(x))) if panel.samples is None else panel.samples
    numerics.check_real("samples", samples)
    if np.ndim(samples) != 2 or np.shape(samples)[1] != len(x):
        raise ValueError(
            f"samples: expected shape (K, {len(x)}), as x has it, got "
            f"{np.shape(samples)}"
        )
    for sample in samples:
        axis.plot(x, sample, linewidth=0.7, alpha=0.8)
    mean, std = panel.mean, panel.std
    _check_lengths(x, mean=mean, std=std)
    if mean is None:
        return
    if std is not None:
        for count, alpha in ((1, 0.35), (2, 0.2)):
            low, high = mean - count * std, mean + count * std
            shade = axis.fill_between(x, low, high, color="C0", linewidth=0)
            shade.set(alpha=alpha, label=f"{count} std")
    axis.plot(x, mean, color="C0", linewidth=1.2, label="mean")


def _draw_plot(axis: Axes, plot: Plot) -> None:
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
        _check_lengths(curve.x, y=curve.y, error=curve.error)
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


def save_figure(path: str | os.PathLike[str], figure: Figure) -> None:
    """Writes a figure as a PNG file, in one step.

    Args:
      path: the file; one that exists is replaced.
      figure: what `panels` gave.

    Raises:
      OSError: where the file cannot be written; nothing is left behind then.
    """
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png")
    write_atomically(path, drawn.getvalue())


def _drawable(array: np.ndarray) -> np.ndarray:
    array = np.asarray(array)
    return array[:, :, 0] if array.ndim == 3 and array.shape[2] == 1 else array


def _averaged(array: np.ndarray) -> np.ndarray:
    array = np.asarray(array)
    return array.mean(axis=2) if array.ndim == 3 else array
