"""Standard deviations as files: a grey picture to look at, and exact numbers."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dipgp.command.options import GREY_LEVELS
from dipgp.files import write_atomically
from dipgp.photographs import Metadata, png_file
from dipgp.photographs.photograph import Part

# White of a picture, in grey levels of 255: the first that no pixel exceeds.
SCALES = tuple(step * 10.0**power for power in range(-2, 4) for step in (1, 2, 5))


def write(paths: Sequence[Path], std: np.ndarray) -> str:
    """Writes the files.

    Args:
      paths: ending in .png or .npz.
      std: (H, W, C) where white is 1, the way up that the picture is looked at.

    Returns:
      What white means in the picture; empty where there is none.
    """
    words = ""
    for path in paths:
        if path.suffix == ".npz":
            buffer = io.BytesIO()
            np.savez_compressed(buffer, std=std.astype(np.float32))
            write_atomically(path, buffer.getvalue())
            continue
        squares = np.einsum("hwc,hwc->hw", std, std, dtype=np.float64)
        grey = np.sqrt(squares / std.shape[2])
        scale = white(float(grey.max()))
        words = f"white is a standard deviation of {scale:g} grey levels of 255"
        samples = np.round(grey * (GREY_LEVELS / scale) * 65535)
        samples = np.minimum(samples, 65535).astype(np.uint16)[:, :, None]
        text = ("tEXt", b"Description\0" + words.encode())
        metadata = Metadata(parts=(Part("text", text),))
        content, _ = png_file.encode(samples, metadata)
        write_atomically(path, content)
    return words


def white(largest: float) -> float:
    """The scale of a picture, in grey levels of 255.

    Args:
      largest: of the standard deviations, where white is 1.
    """
    levels = GREY_LEVELS * largest
    return next((scale for scale in SCALES if levels <= scale), levels)
