"""Pictures of a report: as text in the page, of a size to look at."""

import base64
import io
from typing import NamedTuple

import numpy as np
from PIL import Image

# Longer sides are scaled down to it; the files keep all pixels.
LONGEST_SIDE = 1024
# A picture that takes more without loss is compressed with some.
_MOST_BYTES = 300_000
_JPEG_QUALITY = 92
# Of a map: few enough that neighbouring pixels often share one, which compresses.
_SHADES = 64
# From no uncertainty to much: lightness rises throughout, so that a map survives
# printing in grey and colour blindness.
_COLOURS = np.array(
    [
        (10, 8, 30),
        (72, 24, 106),
        (160, 44, 96),
        (226, 96, 52),
        (250, 176, 40),
        (252, 250, 190),
    ],
    np.float64,
)


class Embedded(NamedTuple):
    """A picture in a page.

    Attributes:
      uri: the picture itself, as a data URI.
      width: in pixels, as embedded.
      height: likewise.
      scaled: whether the picture has more pixels than that.
      lossless: whether the embedded pixels are exact.
    """

    uri: str
    width: int
    height: int
    scaled: bool
    lossless: bool


def embed_image(image: np.ndarray, longest_side: int = LONGEST_SIDE) -> Embedded:
    """Puts an image into a page.

    Args:
      image: (H, W, C) finite intensities, C being 1 or 3; clipped to [0, 1].
      longest_side: in pixels; a longer one is scaled down to it.

    Returns:
      WebP without loss where that is small, otherwise JPEG with all of its colours.
    """
    pixels = np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)
    picture = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    return _embed(picture, longest_side)


def embed_file(content: bytes, longest_side: int) -> Embedded:
    """Puts a picture file's content into a page, as `embed_image` does.

    Raises:
      OSError: where it is no picture.
      ValueError: likewise.
    """
    with Image.open(io.BytesIO(content)) as picture:
        return _embed(picture.convert("RGB"), longest_side)


def embed_map(values: np.ndarray, limit: float) -> Embedded:
    """Puts a map into a page, in the colours of `colour_stops`.

    Args:
      values: (H, W), at least 0.
      limit: the value of the last colour; larger ones have it, too.
    """
    shares = np.clip(values / (limit or 1.0), 0, 1)
    shades = np.round(shares * (_SHADES - 1)).astype(np.uint8)
    picture = Image.fromarray(shades)
    original = picture.size
    picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.BOX)
    # Scaled as numbers, hence coloured afterwards.
    picture.putpalette(_palette().tobytes())
    return _embedded(picture, "PNG", original, lossless=True, optimize=True)


def colour_stops() -> list[str]:
    """The colours of a map from 0 to its limit, evenly spaced, as CSS writes them."""
    return [f"rgb({red:.0f} {green:.0f} {blue:.0f})" for red, green, blue in _COLOURS]


def _palette() -> np.ndarray:
    """(shades, 3) colours."""
    positions = np.linspace(0, len(_COLOURS) - 1, _SHADES)
    anchors = np.arange(len(_COLOURS))
    channels = [np.interp(positions, anchors, channel) for channel in _COLOURS.T]
    return np.round(np.stack(channels, axis=1)).astype(np.uint8)


def _embed(picture: Image.Image, longest_side: int) -> Embedded:
    original = picture.size
    picture.thumbnail((longest_side, longest_side), Image.Resampling.LANCZOS)
    exact = _embedded(picture, "WEBP", original, lossless=True)
    if len(exact.uri) * 3 // 4 <= _MOST_BYTES:
        return exact
    settings = {"quality": _JPEG_QUALITY, "subsampling": 0}  # single pixels keep colour
    return _embedded(picture, "JPEG", original, lossless=False, **settings)


def _embedded(
    picture: Image.Image,
    kind: str,
    original: tuple[int, int],
    lossless: bool,
    **settings: int,
) -> Embedded:
    content = io.BytesIO()
    if kind == "WEBP":
        settings["lossless"] = lossless
    picture.save(content, kind, **settings)
    text = base64.b64encode(content.getvalue()).decode("ascii")
    width, height = picture.size
    return Embedded(
        uri=f"data:image/{kind.lower()};base64,{text}",
        width=width,
        height=height,
        scaled=picture.size != original,
        lossless=lossless,
    )
