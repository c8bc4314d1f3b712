"""Arrays in, figures out: the only module that imports matplotlib.

Figures are drawn by the file-writing Agg canvas and never pass through pyplot, whose
global state would keep them alive.
"""

import io
import os
from collections.abc import Sequence

import numpy as np

from dipgp.files import write_atomically

try:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
except ImportError as missing:
    raise ImportError(
        'figures need matplotlib; try pip install "dipgp[experiments]"'
    ) from missing

_DOTS_PER_INCH = 160


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
    grids = {np.shape(array)[:2] for _, array in (*images, *errors)}
    if len(grids) != 1:
        raise ValueError(
            f"expected images of one height and width, got {sorted(grids)}"
        )
    ((rows, columns),) = grids
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
