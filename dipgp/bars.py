"""Bars for numbers that have names."""

from collections.abc import Mapping

from dipgp.figures import Figure, canvas

_DOTS_PER_INCH = 110
# Bars that differ by more than so many times are drawn on a logarithmic axis.
_WIDE = 20


def bars(
    title: str,
    values: Mapping[str, float],
    axis_title: str,
    reference: float | None = None,
) -> Figure:
    """Draws a bar for each of several numbers, its value beside it.

    Args:
      title: above them.
      values: by label, from above; bars are logarithmic where all are positive and the
        largest is more than twenty times the smallest.
      axis_title: below them.
      reference: where a line stands, such as 1 among ratios; or None.

    Returns:
      The figure, for `save_figure`.

    Raises:
      ValueError: where there is nothing to draw.
    """
    if not values:
        raise ValueError("values: expected at least one, got none")
    figure = canvas.empty_figure(
        6.4, 0.8 + 0.28 * len(values), dots_per_inch=_DOTS_PER_INCH
    )
    axis = figure.subplots()
    heights = list(values.values())
    drawn = axis.barh(range(len(heights)), heights, height=0.7)
    axis.bar_label(drawn, [f"{value:.3g}" for value in heights], padding=3, fontsize=7)
    axis.set_yticks(range(len(heights)), list(values), fontsize=8)
    axis.invert_yaxis()
    if min(heights) > 0 and max(heights) > _WIDE * min(heights):
        axis.set_xscale("log")
    axis.margins(x=0.12)
    if reference is not None:
        axis.axvline(reference, color="black", linewidth=0.8, linestyle="--")
    figure.suptitle(title, fontsize=9)  # labels take much of the axes' width
    axis.set_xlabel(axis_title)
    axis.grid(alpha=0.3, axis="x")
    return figure
