"""Masks with holes: words written over a picture, or a region cut out of it."""

import math
from pathlib import Path

import jax
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

_SENTENCE = (
    "the deep image prior of a network that nobody has trained restores what lies "
    "behind these letters from the pixels around them"
)
# Heights of letters, in parts of the picture's; and of lines, in letters'.
_LETTERS = (1 / 24, 1 / 12)
_SMALLEST, _SPACING = 8, 1.5
_SLENDEREST = 2.0
# DejaVu Sans comes with matplotlib, the same file in 3.10 and 3.11. Pillow's own font
# is another, set by another rule, where its optional libraries are absent.
_FONT = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"


def text(key: jax.Array, shape: tuple[int, int], fraction: float) -> np.ndarray:
    """Writes lines of words in random order, at random heights and sizes.

    Args:
      key: a `jax.random.key`.
      shape: (H, W).
      fraction: part of the pixels that goes missing, but for one word at most.

    Returns:
      (H, W) bool, true where a pixel is observed.

    Raises:
      ValueError: where lines all over the picture take less than the fraction.
    """
    height, width = shape
    words = _SENTENCE.split()
    # For each line its size, its turn, and the turns of its words.
    draws = jax.random.uniform(key, (height, 2 + len(words)), np.float32)
    sizes, turns, orders = np.split(np.asarray(draws, np.float64), [1, 2], axis=1)
    lines: list[tuple[int, int]] = []
    top = 0
    while top < height:
        part = _LETTERS[0] + (_LETTERS[1] - _LETTERS[0]) * sizes[len(lines), 0]
        lines.append((top, max(round(part * height), _SMALLEST)))
        top += math.ceil(_SPACING * lines[-1][1])
    page = Image.new("1", (width, height), 1)
    draw = ImageDraw.Draw(page)
    for line in np.argsort(turns[: len(lines), 0]).tolist():
        (top, size), left = lines[line], 0.0
        font = ImageFont.truetype(_FONT, size, layout_engine=ImageFont.Layout.BASIC)
        for index in np.argsort(orders[line]).tolist():
            draw.text((left, top), words[index], fill=0, font=font)
            if np.mean(np.asarray(page) == 0) >= fraction:
                return np.array(page)
            left += draw.textlength(f"{words[index]} ", font)
    most = float(np.mean(np.asarray(page) == 0))
    raise ValueError(
        f"drop_fraction: expected at most {most:.2f}, which lines of text all over "
        f"{height}x{width} pixels take, got {fraction}"
    )


def region(key: jax.Array, shape: tuple[int, int], fraction: float) -> np.ndarray:
    """Cuts one rectangle out, anywhere within the picture.

    Args:
      key: a `jax.random.key`.
      shape: (H, W).
      fraction: part of the pixels that goes missing, but for rounding. The sides are
        to each other as the picture's, times 1/2 to 2 as far as they fit.

    Returns:
      (H, W) bool, true where a pixel is observed.

    Raises:
      ValueError: where no pixel would be left.
    """
    shares = np.asarray(jax.random.uniform(key, (3,), np.float32), np.float64)
    reach = min(math.log(_SLENDEREST), -math.log(fraction)) / 2
    stretch = math.exp(reach * (2 * shares[0] - 1))
    parts = math.sqrt(fraction) * np.array([stretch, 1 / stretch])
    sides = np.clip(np.rint(parts * shape), 1, shape).astype(int)
    corner = np.rint(shares[1:] * (shape - sides)).astype(int)
    mask = np.ones(shape, bool)
    mask[corner[0] : corner[0] + sides[0], corner[1] : corner[1] + sides[1]] = False
    if not mask.any():
        raise ValueError(
            f"drop_fraction: {fraction} left none of {shape[0]}x{shape[1]} pixels; try "
            "a smaller fraction"
        )
    return mask
