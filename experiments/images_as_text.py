"""Small grey pictures as lines of text, to be kept among numbers in JSON."""

from collections.abc import Sequence

import numpy as np


def to_text(image: np.ndarray) -> list[str]:
    """Rows of (H, W) intensities, clipped to [0, 1], as 256 levels of two hex digits.

    What is not finite becomes black.
    """
    known = np.nan_to_num(np.asarray(image, np.float64), nan=0.0)
    levels = np.rint(255 * np.clip(known, 0, 1)).astype(np.uint8)
    return [row.tobytes().hex() for row in levels]


def from_text(rows: Sequence[str]) -> np.ndarray:
    """(H, W) intensities in [0, 1], from what `to_text` gave."""
    levels = [np.frombuffer(bytes.fromhex(row), np.uint8) for row in rows]
    return np.stack(levels) / 255.0
