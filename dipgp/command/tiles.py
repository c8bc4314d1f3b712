"""A large picture cut into tiles that overlap, and what becomes of them joined.

Along each axis tiles of one size overlap by two margins and a ramp. Inside the ramp,
in the middle, one tile's result gives way to the next one's, so that what is taken from
a tile is at least a margin away from where it was cut. Nothing here depends on the
machine: a picture is always cut alike.
"""

import itertools
from typing import NamedTuple

import numpy as np

# Larger pictures are cut, into tiles that add at most so many rows and columns each.
LARGEST_WHOLE = 2**21
ADDED = 1024
RAMP = 16


class Tile(NamedTuple):
    """A part of what is seen of a picture.

    Attributes:
      rows: of what is seen.
      columns: likewise.
      down: how much each row of the tile's restoration counts, 0 to 1.
      right: likewise, each column.
    """

    rows: slice
    columns: slice
    down: np.ndarray
    right: np.ndarray

    @property
    def place(self) -> tuple[slice, slice]:
        """Rows and columns."""
        return self.rows, self.columns

    @property
    def taken(self) -> tuple[slice, slice]:
        """Rows and columns of what is seen that anything is taken from."""
        return _taken(self.rows, self.down), _taken(self.columns, self.right)

    def add(self, canvas: np.ndarray, image: np.ndarray) -> None:
        """Adds the tile's restoration (h, w, C) to the picture's (H, W, C)."""
        places = []
        for seen, weights in ((self.rows, self.down), (self.columns, self.right)):
            factor = len(weights) // (seen.stop - seen.start)
            places.append(slice(factor * seen.start, factor * seen.stop))
        counted = self.down[:, None, None] * self.right[None, :, None]
        canvas[places[0], places[1]] += counted * image


def lay(grid: tuple[int, int], factor: int, margin: int | None) -> list[Tile]:
    """Cuts what is seen of a picture.

    Args:
      grid: (h, w) pixels seen.
      factor: of the picture's pixels to those, along each axis.
      margin: pixels seen that a cut has an effect on; None not to cut.

    Returns:
      Tiles of one size that cover the grid, whose weights add up to 1.
    """
    each_down, each_right = (_lay_axis(size, factor, margin) for size in grid)
    return [
        Tile(rows, columns, down, right)
        for rows, down in each_down
        for columns, right in each_right
    ]


def is_large(shape: tuple[int, int, int]) -> bool:
    """Whether a picture of (H, W, C) is to be cut."""
    return shape[0] * shape[1] > LARGEST_WHOLE


def side(size: int, factor: int, margin: int) -> int:
    """Pixels seen that a tile has along an axis of so many."""
    overlap = 2 * margin + _ramp(factor)
    added = max(ADDED // factor, _ramp(factor))
    count = max(-(-(size - overlap) // added), 1)
    return min(-(-(size - overlap) // count) + overlap, size)


def _lay_axis(
    size: int, factor: int, margin: int | None
) -> list[tuple[slice, np.ndarray]]:
    """Ranges of what is seen, and weights of the picture's pixels."""
    if margin is None:
        return [(slice(0, size), np.ones(factor * size, np.float32))]
    length, ramp = side(size, factor, margin), _ramp(factor)
    step = length - 2 * margin - ramp
    starts = sorted({min(start, size - length) for start in range(0, size, step)})
    if length == size:
        starts = [0]
    # How much all tiles from each on count for, together.
    pixels = (np.arange(factor * size) + 0.5) / factor
    after = [np.ones(factor * size, np.float32)]
    for before, start in itertools.pairwise(starts):
        middle = (before + length + start) / 2
        rising = np.clip((pixels - middle) / ramp + 0.5, 0, 1)
        after.append(rising.astype(np.float32))
    after.append(np.zeros(factor * size, np.float32))
    ranges = []
    for start, (own, following) in zip(starts, itertools.pairwise(after), strict=True):
        end = start + length
        ranges.append(
            (slice(start, end), (own - following)[factor * start : factor * end])
        )
    return ranges


def _ramp(factor: int) -> int:
    """In pixels seen."""
    return max(RAMP // factor, 1)


def _taken(seen: slice, weights: np.ndarray) -> slice:
    factor = len(weights) // (seen.stop - seen.start)
    counted = np.flatnonzero(weights)
    first, last = counted[0] // factor, counted[-1] // factor
    return slice(seen.start + int(first), seen.start + int(last) + 1)
