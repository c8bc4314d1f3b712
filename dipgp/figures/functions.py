"""Functions of one variable: samples, and means with bands around them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dipgp import numerics
from dipgp.figures import canvas


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
    canvas.check_lengths(x, truth=truth, observed=observed)
    if not any(panels for _, panels in rows):
        raise ValueError("rows: expected at least one panel, got none")
    columns = max(len(panels) for _, panels in rows)
    figure = canvas.empty_figure(3.0 * columns, 2.4 * len(rows) + 0.5)
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
    canvas.explain(figure)
    return figure


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
    canvas.check_lengths(x, mean=mean, std=std)
    if mean is None:
        return
    if std is not None:
        for count, alpha in ((1, 0.35), (2, 0.2)):
            low, high = mean - count * std, mean + count * std
            shade = axis.fill_between(x, low, high, color="C0", linewidth=0)
            shade.set(alpha=alpha, label=f"{count} std")
    axis.plot(x, mean, color="C0", linewidth=1.2, label="mean")
