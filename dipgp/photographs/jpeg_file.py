"""JPEG: grey or colour of 8 bits, and its segments.

Application segments and comments are carried over as they are, but for those about how
the samples are coded (ISO/IEC 10918-1, annex B).
"""

import io
import struct
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from dipgp.photographs import exif as exif_block
from dipgp.photographs.photograph import Metadata, Part, Photograph, from_samples

SIGNATURE = b"\xff\xd8\xff"
_EXIF = b"Exif\0\0"
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_ICC = b"ICC_PROFILE\0"
_PREVIEWS = {b"JFXX\0": "JFIF's preview", b"MPF\0": "further pictures in the file"}
_APP0, _APP1, _APP2, _APP14, _COMMENT = 0xE0, 0xE1, 0xE2, 0xEE, 0xFE
_SCAN = 0xDA
_LONGEST = 65533  # bytes in a segment
_CENTIMETRES_AN_INCH = 2.54


def decode(content: bytes) -> Photograph:
    """The photograph of a JPEG file.

    Raises:
      ValueError: on colours other than grey and RGB, or damage.
    """
    with Image.open(io.BytesIO(content), formats=["JPEG", "MPO"]) as picture:
        if picture.mode not in ("L", "RGB"):
            raise ValueError(
                f"colour mode {picture.mode}; try converting it to RGB or grey"
            )
        samples = np.asarray(picture)
        assert isinstance(picture, JpegImageFile)
        # Of brightness, in units of the coder's orthonormal transform.
        step = max(picture.quantization[0]) / np.iinfo(np.uint8).max
    metadata = _metadata(content)
    orientation = exif_block.orientation(metadata.exif)
    photograph = from_samples(samples, "JPEG", orientation, metadata)
    return replace(photograph, coder_step=step)


def encode(
    stored: np.ndarray, metadata: Metadata, quality: int
) -> tuple[bytes, list[str]]:
    """A JPEG file, with as many samples of colour as of brightness.

    Args:
      stored: (H, W, 1 or 3) of 8 bits, rows as the file is to hold them.
      metadata: to go with it.
      quality: 1 to 100, the coder's.

    Returns:
      The file, and what was left out of it, in words.

    Raises:
      ValueError: on samples that JPEG cannot hold.
    """
    if stored.dtype != np.uint8:
        raise ValueError(f"JPEG holds 8 bits, not {stored.dtype}; try .png or .tif")
    if stored.shape[2] not in (1, 3):
        raise ValueError("JPEG holds no alpha channel; try .png or .tif")
    planes = stored[:, :, 0] if stored.shape[2] == 1 else stored
    buffer = io.BytesIO()
    Image.fromarray(planes).save(
        buffer,
        "JPEG",
        quality=quality,
        subsampling=0,
        dpi=tuple(map(round, metadata.density or (0, 0))),
    )
    whole = buffer.getvalue()
    # Behind the start and JFIF's own segment, which comes first.
    behind = 2
    if whole[3] == _APP0:
        behind = 4 + struct.unpack_from(">H", whole, 4)[0]
    segments, left_out = _written(metadata)
    return whole[:behind] + segments + whole[behind:], left_out


def _segments(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and payload of each, up to the first scan."""
    place = 2
    while place + 4 <= len(content):
        if content[place] != 0xFF:
            raise ValueError("a damaged file")
        marker = content[place + 1]
        if marker == _SCAN:
            return
        if marker == 0xFF:  # a filling byte
            place += 1
            continue
        (length,) = struct.unpack_from(">H", content, place + 2)
        yield marker, content[place + 4 : place + 2 + length]
        place += 2 + length


def _metadata(content: bytes) -> Metadata:
    exif, xmp, density = b"", b"", None
    profile: dict[int, bytes] = {}
    parts, left_out = [], []
    for marker, payload in _segments(content):
        preview = _PREVIEWS.get(payload[: payload.find(b"\0") + 1])
        if marker == _APP14 or not (_APP0 <= marker < _APP0 + 16 or marker == _COMMENT):
            continue
        if marker == _APP0 and payload.startswith(b"JFIF\0"):
            density = _density(payload)
        elif preview:
            left_out.append(preview)
        elif marker == _APP1 and payload.startswith(_EXIF) and not exif:
            exif, found = exif_block.without_preview(payload[len(_EXIF) :])
            left_out += ["EXIF's preview"] * found
        elif marker == _APP1 and payload.startswith(_XMP):
            xmp = payload[len(_XMP) :]
        elif marker == _APP2 and payload.startswith(_ICC):
            profile[payload[len(_ICC)]] = payload[len(_ICC) + 2 :]
        else:
            parts.append(Part(_name(marker, payload), (marker, payload)))
    icc = b"".join(profile[number] for number in sorted(profile))
    return Metadata(exif, icc, xmp, density, tuple(parts), left_out=tuple(left_out))


def _name(marker: int, payload: bytes) -> str:
    """For those who are told that it was left out."""
    if marker == _COMMENT:
        return "the comment"
    owner = payload.split(b"\0")[0][:30].decode("latin-1")
    return f"the segment APP{marker - _APP0} {owner}"


def _density(jfif: bytes) -> tuple[float, float] | None:
    """Dots per inch, where the segment gives any."""
    unit, across, down = struct.unpack_from(">BHH", jfif, 7)
    if unit not in (1, 2) or not across or not down:
        return None
    scale = 1.0 if unit == 1 else _CENTIMETRES_AN_INCH
    return scale * across, scale * down


def _written(metadata: Metadata) -> tuple[bytes, list[str]]:
    """Metadata as segments, and what is too long for one."""
    segments, left_out = [], []
    for marker, name, head, data in (
        (_APP1, "EXIF", _EXIF, metadata.exif),
        (_APP1, "XMP", _XMP, metadata.xmp),
    ):
        if len(head) + len(data) > _LONGEST:
            left_out.append(f"{name}, which is too long for a JPEG")
        elif data:
            segments.append((marker, head + data))
    room = _LONGEST - len(_ICC) - 2
    pieces = [
        metadata.icc[first : first + room]
        for first in range(0, len(metadata.icc), room)
    ]
    for number, piece in enumerate(pieces, start=1):
        segments.append((_APP2, _ICC + bytes([number, len(pieces)]) + piece))
    segments += [part.content for part in metadata.parts]
    return b"".join(
        struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload
        for marker, payload in segments
    ), left_out
