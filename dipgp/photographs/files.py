"""Reading and writing pictures, whatever the format."""

import io
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from PIL import Image

from dipgp.files import read_file
from dipgp.photographs import exif as exif_block
from dipgp.photographs import jpeg_file, png_file, tiff_file
from dipgp.photographs.photograph import Format, Metadata, Photograph, stored

ENDINGS: Mapping[str, Format] = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
_EXPECTED = "a PNG, JPEG or TIFF picture"
_XMP_ORIENTATION = re.compile(rb"""(tiff:Orientation(?:\s*=\s*["']|>))[2-8](?=["'<])""")


def read(path: str | os.PathLike[str]) -> Photograph:
    """Reads a picture file with all that belongs to it.

    Args:
      path: the file; its content, not its ending, says which format it has.

    Raises:
      ValueError: where the file is absent or damaged, or holds what a restored picture
        could not be written as again: a palette, less than 8 bits, several pages,
        CMYK, numbers that are not finite.
    """
    content = read_file(path, _EXPECTED)
    try:
        if content.startswith(png_file.SIGNATURE):
            return png_file.decode(content)
        if content.startswith(jpeg_file.SIGNATURE):
            return jpeg_file.decode(content)
        if content.startswith(tiff_file.SIGNATURES):
            return tiff_file.decode(content)
    except Exception as error:  # decoders fail on damaged files in any way they like
        raise ValueError(f"{path}: expected {_EXPECTED}, got {error}") from error
    raise ValueError(f"{path}: expected {_EXPECTED}, got {_kind(content)}")


def _kind(content: bytes) -> str:
    """What another file is, in words."""
    try:
        with Image.open(io.BytesIO(content)) as picture:
            return f"a {picture.format} picture; try converting it to PNG"
    except Exception:  # no picture, or one that is damaged in any way
        return "another kind of file"


def format_of(path: str | os.PathLike[str]) -> Format:
    """The format that a file's ending names.

    Raises:
      ValueError: where it names none.
    """
    ending = Path(path).suffix.lower()
    if ending not in ENDINGS:
        known = ", ".join(ENDINGS)
        raise ValueError(f"{path}: expected an ending among {known}, got {ending!r}")
    return ENDINGS[ending]


def encode(
    photograph: Photograph, format: Format, quality: int
) -> tuple[bytes, list[str]]:
    """A file of a photograph.

    A file of the photograph's own format stores its rows as they were. In another
    format they are upright, since not all programs heed EXIF there.

    Args:
      photograph: what to write; its colours may have another size than when read.
      format: of the file.
      quality: of JPEG's coder, 1 to 100.

    Returns:
      The file, and what was left out of it, in words.

    Raises:
      ValueError: where the format cannot hold the samples.
    """
    metadata, left_out = photograph.metadata, list(photograph.metadata.left_out)
    orientation = photograph.orientation
    if format != photograph.format:
        metadata, lost = _for_another_format(metadata, orientation)
        left_out += lost
        orientation = 1
    samples = stored(photograph.samples, orientation)
    height, width = samples.shape[:2]
    exif = exif_block.with_size(metadata.exif, width, height)
    metadata = replace(metadata, exif=exif)
    if format == "PNG":
        content, lost = png_file.encode(samples, metadata)
    elif format == "JPEG":
        content, lost = jpeg_file.encode(samples, metadata, quality)
    else:
        content, lost = tiff_file.encode(samples, metadata, orientation)
    return content, left_out + lost


def _for_another_format(
    metadata: Metadata, orientation: int
) -> tuple[Metadata, list[str]]:
    """What all formats can hold, for rows that are stored upright."""
    density = metadata.density
    if density and orientation > 4:
        density = density[1], density[0]
    kept = Metadata(
        exif=exif_block.upright(metadata.exif),
        icc=metadata.icc,
        xmp=_XMP_ORIENTATION.sub(rb"\g<1>1", metadata.xmp),
        density=density,
    )
    return kept, sorted({part.name for part in metadata.parts})
