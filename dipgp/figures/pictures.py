"""Images and maps side by side."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dipgp import numerics
from dipgp.figures import canvas
from dipgp.figures.curves import Plot, draw_plot
from dipgp.numerics import brief

_PANELS_A_ROW = 4
# What may follow (H, W) in a shape.
_CHANNELS = ((), (1,), (3,))
Grid = tuple[int, int]


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
    figure = canvas.empty_figure(
        count * (width + 0.1) + bar, height + 0.35, layout="compressed"
    )
    axes = figure.subplots(1, count, squeeze=False)[0]
    _draw_images(axes, images, errors, size=9)
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
    figure = canvas.empty_figure(width, sum(heights))
    grid = figure.add_gridspec(len(heights), columns, height_ratios=heights)
    axes = [
        figure.add_subplot(grid[index // columns, index % columns])
        for index in range(count)
    ]
    _draw_images(axes, images, deviations, size=8)
    maps = [np.sqrt(_averaged(np.square(array))) for _, array in deviations]
    limit = max((float(map_.max()) for map_ in maps), default=0.0) or 1.0
    for axis, map_ in zip(axes[len(images) :], maps, strict=True):
        drawn = axis.imshow(map_, cmap="magma", vmin=0, vmax=limit)
    if maps:
        figure.colorbar(drawn, ax=axes[len(images) :], shrink=0.8)
    if frames:
        below = grid[rows, :].subgridspec(1, len(frames))
        for number, plot in enumerate(frames):
            draw_plot(figure.add_subplot(below[0, number]), plot)
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


def _draw_images(
    axes: Sequence[Axes],
    images: Sequence[tuple[str, np.ndarray]],
    maps: Sequence[tuple[str, np.ndarray]],
    size: float,
) -> None:
    """Draws titles, in points, above all axes, and images in the first ones."""
    for axis, (title, _) in zip(axes, (*images, *maps), strict=True):
        axis.set_title(title, fontsize=size)
        axis.set_axis_off()
    for axis, (_, array) in zip(axes, images, strict=False):
        axis.imshow(np.clip(_drawable(array), 0, 1), cmap="gray", vmin=0, vmax=1)


def _drawable(array: np.ndarray) -> np.ndarray:
    array = np.asarray(array)
    return array[:, :, 0] if array.ndim == 3 and array.shape[2] == 1 else array


def _averaged(array: np.ndarray) -> np.ndarray:
    array = np.asarray(array)
    return array.mean(axis=2) if array.ndim == 3 else array
