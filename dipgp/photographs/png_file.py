"""PNG: grey or colour of 8 or 16 bits, with or without alpha, and its chunks.

Chunks that are not about how samples are stored are carried over as they are (PNG
specification, third edition, section 11). pillow cuts 16-bit colour down to 8 bits, so
that pypng reads and writes those.
"""

import io
import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from PIL import Image

from dipgp.photographs import exif as exif_block
from dipgp.photographs.photograph import Metadata, Part, Photograph, from_samples

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _PALETTE = 0, 3
_XMP = b"XML:com.adobe.xmp\0"
_METRES_AN_INCH = 0.0254
# About samples or their order in the file, and written anew.
_STRUCTURE = {"IHDR", "PLTE", "IDAT", "IEND"}
_KNOWN = {
    *("gAMA", "cHRM", "sRGB", "cICP", "mDCV", "cLLI", "sBIT", "bKGD", "pHYs"),
    *("tEXt", "zTXt", "iTXt", "sTER"),
}


def decode(content: bytes) -> Photograph:
    """The photograph of a PNG file.

    Raises:
      ValueError: on a palette, colour keys, less than 8 bits, animation, or damage.
    """
    found = list(_chunks(content))
    header = dict(found)["IHDR"]
    _, _, bits, kind = struct.unpack(">IIBB", header[:10])
    names = {name for name, _ in found}
    if "acTL" in names:
        raise ValueError("an animation; try saving one of its frames")
    if kind == _PALETTE:
        raise ValueError(
            "a palette, which cannot hold a restored picture; try converting it to RGB"
        )
    if bits < 8:
        raise ValueError(
            f"{bits} bit a sample, which cannot hold a restored picture; try "
            "converting it to 8 bits"
        )
    if "tRNS" in names:
        raise ValueError("a transparent colour; try converting it to an alpha channel")
    if bits == 16 and kind != _GREY:
        samples = _decode_by_pypng(content)
    else:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as picture:
            samples = np.asarray(picture)
    metadata = _metadata(found)
    orientation = exif_block.orientation(metadata.exif)
    return from_samples(samples, "PNG", orientation, metadata)


def encode(stored: np.ndarray, metadata: Metadata) -> tuple[bytes, list[str]]:
    """A PNG file.

    Args:
      stored: (H, W, 1 to 4) of 8 or 16 unsigned bits, rows as the file is to hold them.
      metadata: to go with it.

    Returns:
      The file, and what was left out of it, in words.

    Raises:
      ValueError: on float samples.
    """
    if stored.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"PNG holds 8 or 16 bits, not {stored.dtype}; try .tif")
    channels = stored.shape[2]
    if stored.dtype == np.uint16 and channels > 1:
        whole = _encode_by_pypng(stored)
    else:
        buffer = io.BytesIO()
        planes = stored[:, :, 0] if channels == 1 else stored
        Image.fromarray(planes).save(buffer, "PNG")
        whole = buffer.getvalue()
    header, *rest = _chunks(whole)
    return SIGNATURE + b"".join(
        _packed(name, data) for name, data in (header, *_written(metadata), *rest)
    ), []


def _chunks(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Name and data of each, the file's end checked for."""
    place = len(SIGNATURE)
    while place + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, place)
        name = content[place + 4 : place + 8].decode("latin-1")
        data = content[place + 8 : place + 8 + length]
        yield name, data
        if name == "IEND":
            return
        place += 12 + length
    raise ValueError("a file that is cut short")


def _packed(name: str, data: bytes) -> bytes:
    body = name.encode("latin-1") + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def _metadata(found: Iterable[tuple[str, bytes]]) -> Metadata:
    exif, icc, xmp, density = b"", b"", b"", None
    parts, left_out = [], []
    for name, data in found:
        if name in _STRUCTURE:
            continue
        if name == "eXIf":
            exif, preview = exif_block.without_preview(data)
            left_out += ["EXIF's preview"] * preview
        elif name == "iCCP":
            try:
                icc = zlib.decompress(data[data.index(b"\0") + 2 :])
            except (ValueError, zlib.error):
                left_out.append("a damaged colour profile")
        elif name == "iTXt" and data.startswith(_XMP):
            xmp = _xmp(data)
        elif name == "pHYs" and data[8:] == b"\1":
            across, down = struct.unpack(">II", data[:8])
            density = (across * _METRES_AN_INCH, down * _METRES_AN_INCH)
        elif name in _KNOWN or name[3].islower():  # safe to copy for who knows it not
            parts.append(Part(f"the chunk {name}", (name, data)))
        else:
            left_out.append(f"the chunk {name}")
    return Metadata(exif, icc, xmp, density, tuple(parts), left_out=tuple(left_out))


def _xmp(data: bytes) -> bytes:
    """The packet behind compression flag, method, language and translated keyword."""
    compressed = data[len(_XMP)] == 1
    packet = data[len(_XMP) + 2 :].split(b"\0", 2)[2]
    return zlib.decompress(packet) if compressed else packet


def _written(metadata: Metadata) -> Iterator[tuple[str, bytes]]:
    """Metadata as chunks, in an order that the specification allows."""
    if metadata.icc:
        yield "iCCP", b"profile\0\0" + zlib.compress(metadata.icc)
    yield from (part.content for part in metadata.parts)
    if metadata.density:
        across, down = (round(d / _METRES_AN_INCH) for d in metadata.density)
        yield "pHYs", struct.pack(">IIB", across, down, 1)
    if metadata.xmp:
        yield "iTXt", _XMP + b"\0\0\0\0" + metadata.xmp
    if metadata.exif:
        yield "eXIf", metadata.exif


def _decode_by_pypng(content: bytes) -> np.ndarray:
    width, height, rows, facts = _pypng().Reader(bytes=content).read()
    flat = np.vstack([np.asarray(row, np.uint16) for row in rows])
    return flat.reshape(height, width, facts["planes"])


def _encode_by_pypng(stored: np.ndarray) -> bytes:
    height, width, channels = stored.shape
    writer = _pypng().Writer(
        width, height, greyscale=channels < 3, alpha=channels in (2, 4), bitdepth=16
    )
    buffer = io.BytesIO()
    # Row by row, since a list of all numbers takes ten times their memory.
    writer.write(buffer, (row.tolist() for row in stored.reshape(height, -1)))
    return buffer.getvalue()


def _pypng() -> Any:
    try:
        import png
    except ImportError as error:
        raise ValueError(
            "16-bit colour or alpha, which takes pypng; try pip install 'dipgp[io]'"
        ) from error
    return png
