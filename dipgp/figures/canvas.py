"""Empty figures, what all of them share, and their files.

Figures are drawn by the file-writing Agg canvas and never pass through pyplot, whose
global state would keep them alive.
"""

import io
import os
from typing import Literal

import numpy as np

from dipgp import numerics
from dipgp.files import write_atomically

try:
    from matplotlib.artist import Artist
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
except ImportError as missing:
    raise ImportError(
        'figures need matplotlib; try pip install "dipgp[experiments]"'
    ) from missing

DOTS_PER_INCH = 160


def empty_figure(
    width: float,
    height: float,
    layout: Literal["constrained", "compressed"] = "constrained",
    dots_per_inch: int | None = None,
) -> Figure:
    """A figure without axes, for `save_figure`.

    Args:
      width: in inches.
      height: in inches.
      layout: matplotlib's name of how axes are placed.
      dots_per_inch: by default `DOTS_PER_INCH`.
    """
    figure = Figure(
        figsize=(width, height), dpi=dots_per_inch or DOTS_PER_INCH, layout=layout
    )
    FigureCanvasAgg(figure)
    return figure


def check_lengths(x: np.ndarray, **drawn: np.ndarray | None) -> None:
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


def explain(figure: Figure) -> None:
    """Adds one legend, below, for what all frames have in common."""
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


def save_figure(path: str | os.PathLike[str], figure: Figure) -> None:
    """Writes a figure as a PNG file, in one step.

    Args:
      path: the file; one that exists is replaced.
      figure: what a function of this package gave.

    Raises:
      OSError: where the file cannot be written; nothing is left behind then.
    """
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png")
    write_atomically(path, drawn.getvalue())
