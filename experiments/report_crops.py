"""Where a report looks closely: windows chosen by a rule, not by eye."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

# A window's side is this part of the picture's shorter side, within bounds.
_PART, _FEWEST_PIXELS, _MOST_PIXELS = 6, 16, 64


class Window(NamedTuple):
    """A square part of a picture, in pixels.

    Attributes:
      row: its first.
      column: its first.
      side: its height and width.
    """

    row: int
    column: int
    side: int

    def of(self, image: np.ndarray) -> np.ndarray:
        """What an (H, W, ...) image shows there."""
        rows = slice(self.row, self.row + self.side)
        return image[rows, self.column : self.column + self.side]


def importance(
    restored: Sequence[np.ndarray],
    truth: np.ndarray | None,
    std: np.ndarray | None,
    observed: np.ndarray | None,
) -> tuple[str, np.ndarray]:
    """What windows are chosen by, whichever is known first of these.

    Args:
      restored: (H, W, C) images, one a method.
      truth: (H, W, C), or None.
      std: (H, W) standard deviation of a restoration, or None.
      observed: (H, W, C), or None.

    Returns:
      The rule in words, and (H, W) of what is to be large.
    """
    if len(restored) > 1:
        rule = "where the methods differ most"
        return rule, np.var(np.stack(restored), axis=0).mean(axis=2)
    if truth is not None:
        rule = "where the error is largest"
        return rule, np.square(restored[0] - truth).mean(axis=2)
    if std is not None:
        return "where the standard deviation is largest", np.square(std)
    if observed is not None:
        rule = "where restoration and observation differ most"
        return rule, np.square(restored[0] - observed).mean(axis=2)
    deviation = restored[0] - restored[0].mean(axis=(0, 1))
    return "where the picture is farthest from its mean", np.square(deviation).mean(2)


def choose(amount: np.ndarray, count: int = 3) -> list[Window]:
    """The windows of the largest sums, one after the other, none beside another.

    Args:
      amount: (H, W), at least 0.
      count: how many windows, at most; fewer where no more fit.
    """
    shorter = min(amount.shape)
    side = min(max(shorter // _PART, _FEWEST_PIXELS), _MOST_PIXELS, shorter)
    # Sums over windows as differences of sums from the corner on.
    total = np.pad(np.cumsum(np.cumsum(amount, axis=0, dtype=float), axis=1), (1, 0))
    above, below = total[:-side], total[side:]
    sums = below[:, side:] - below[:, :-side] - above[:, side:] + above[:, :-side]
    windows: list[Window] = []
    while len(windows) < count and np.isfinite(sums).any():
        row, column = np.unravel_index(np.argmax(sums), sums.shape)
        windows.append(Window(int(row), int(column), side))
        reach = 2 * side - 1  # leaves a window's breadth between two
        first = np.maximum((row - reach, column - reach), 0)
        sums[first[0] : row + reach + 1, first[1] : column + reach + 1] = -np.inf
    return windows
