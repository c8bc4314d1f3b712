"""Files to try readers and writers with, made by other libraries."""

import io
from typing import Any

import numpy as np
from PIL import Image

PROFILE = b"a colour profile"
XMP = b'<x:xmpmeta tiff:Orientation="6">note</x:xmpmeta>'


def samples(channels: int, dtype: Any = np.uint8, shape: tuple[int, int] = (5, 7)):
    """(H, W, channels) that use all bits."""
    rng = np.random.default_rng(channels)
    if np.dtype(dtype).kind == "f":
        return rng.random((*shape, channels)).astype(dtype)
    return rng.integers(0, np.iinfo(dtype).max, (*shape, channels), dtype, True)


def exif(orientation: int = 1, size: tuple[int, int] = (7, 5)) -> bytes:
    """A block that says who made the picture, how it is turned, and how large it is."""
    block = Image.Exif()
    block[0x010F] = "a maker"
    block[0x0112] = orientation
    camera = block.get_ifd(0x8769)
    camera[0xA002], camera[0xA003] = size
    return b"Exif\0\0" + block.tobytes().removeprefix(b"Exif\0\0")


def saved(pixels: np.ndarray, format: str, **options: Any) -> bytes:
    """A file by pillow."""
    buffer = io.BytesIO()
    planes = pixels[:, :, 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
    Image.fromarray(planes).save(buffer, format, **options)
    return buffer.getvalue()


def opened(content: bytes) -> Image.Image:
    """What pillow makes of a file."""
    return Image.open(io.BytesIO(content))
