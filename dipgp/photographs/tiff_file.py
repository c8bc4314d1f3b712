"""TIFF: grey or colour of 8 or 16 bits or floats, with or without alpha, and its tags.

pillow cuts 16-bit colour down to 8 bits, so that tifffile reads and writes.
"""

import io
from typing import Any

import numpy as np
from PIL import Image

from dipgp.photographs.photograph import Metadata, Part, Photograph, from_samples

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_ORIENTATION, _ICC, _XMP = 274, 34675, 700
_UNITS = {2: 1.0, 3: 2.54}  # of resolution, in parts of an inch
_NO_COMPRESSION = 1
# About how samples are stored, and written anew.
_STRUCTURE = {
    *(254, 255, 256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 280, 281, 282, 283),
    *(284, 292, 293, 296, 297, 317, 322, 323, 324, 325, 338, 339, 340, 341, 347),
    *(_ORIENTATION, _ICC, _XMP),
}
_LEFT_OUT = {
    330: "further pictures in the file",
    34665: "EXIF",
    34853: "EXIF's position",
    37724: "layers",
}


def decode(content: bytes) -> Photograph:
    """The photograph of a TIFF file.

    Raises:
      ValueError: on several pages, on samples or colours other than those above, on a
        coding that no installed library knows, or damage.
    """
    tifffile = _tifffile()
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        page = file.pages[0]
        further = [other for other in file.pages[1:] if not other.is_reduced]
        if further:
            raise ValueError(f"{1 + len(further)} pages; try saving one of them")
        _check_kind(page)
        try:
            samples = page.asarray()
        except ValueError as error:  # tifffile lacks the coder
            samples = _decode_by_pillow(content, page, error)
        if page.planarconfig == 2 and page.samplesperpixel > 1:
            samples = np.moveaxis(samples, 0, -1)
        metadata = _metadata(content, file, page)
        tag = page.tags.get(_ORIENTATION)
    orientation = 1 if tag is None else int(tag.value)
    return from_samples(
        samples, "TIFF", orientation if 1 <= orientation <= 8 else 1, metadata
    )


def encode(
    stored: np.ndarray, metadata: Metadata, orientation: int
) -> tuple[bytes, list[str]]:
    """A TIFF file, its samples uncompressed where they were so, otherwise deflated.

    Args:
      stored: (H, W, 1 to 4) of 8 or 16 unsigned bits or floats, rows as the file is to
        hold them.
      metadata: to go with it.
      orientation: how the rows are to be turned, 1 to 8.

    Returns:
      The file, and what was left out of it, in words.
    """
    channels = stored.shape[2]
    tags: list[Any] = [(_ORIENTATION, "H", 1, orientation, True)]
    tags += [part.content for part in metadata.parts]
    if metadata.xmp:
        tags.append((_XMP, "B", len(metadata.xmp), metadata.xmp, True))
    buffer = io.BytesIO()
    _tifffile().imwrite(
        buffer,
        stored[:, :, 0] if channels == 1 else stored,
        photometric="rgb" if channels > 2 else "minisblack",
        planarconfig=None if channels == 1 else "contig",
        extrasamples=["unassalpha"] if channels in (2, 4) else None,
        iccprofile=metadata.icc or None,
        resolution=metadata.density,
        resolutionunit="inch" if metadata.density else None,
        metadata=None,
        software=False,
        extratags=tags,
        **{"compression": "zlib", **metadata.coding},
    )
    return buffer.getvalue(), ["EXIF"] * bool(metadata.exif)


def _check_kind(page: Any) -> None:
    """Refuses what an array of colours would not show."""
    photometric = page.photometric.name
    if photometric not in ("MINISBLACK", "RGB", "YCBCR"):
        raise ValueError(f"colours as {photometric}; try converting it to RGB or grey")
    bits = page.bitspersample
    if bits not in (8, 16, 32, 64):
        raise ValueError(f"{bits} bit a sample; try converting it to 8 or 16 bits")
    base = 1 if photometric == "MINISBLACK" else 3
    extra = [int(kind) for kind in page.extrasamples]
    if page.samplesperpixel != base + len(extra) or len(extra) > 1:
        raise ValueError(f"{page.samplesperpixel} channels; try saving 1 to 4")
    if extra == [1]:
        raise ValueError(
            "colours that are multiplied by alpha; try saving them unassociated"
        )


def _decode_by_pillow(content: bytes, page: Any, error: ValueError) -> np.ndarray:
    """By pillow's coders, where these give all bits."""
    exact = page.bitspersample == 8 or (
        page.bitspersample == 16 and page.samplesperpixel == 1
    )
    if not exact:
        raise ValueError(
            f"a coding that takes imagecodecs ({error}); try pip install imagecodecs, "
            "or saving it without compression"
        ) from error
    with Image.open(io.BytesIO(content), formats=["TIFF"]) as picture:
        if picture.mode not in ("L", "LA", "RGB", "RGBA", "I;16", "I;16B"):
            raise ValueError(f"colour mode {picture.mode}; try converting it to RGB")
        samples = np.asarray(picture)
    if page.planarconfig == 2 and page.samplesperpixel > 1:
        samples = np.moveaxis(samples, -1, 0)
    return samples


def _metadata(content: bytes, file: Any, page: Any) -> Metadata:
    coding = {"byteorder": file.byteorder, "bigtiff": file.is_bigtiff}
    if page.compression == _NO_COMPRESSION:
        coding["compression"] = None
    parts, left_out = [], ["further pictures in the file"] * (len(file.pages) > 1)
    icc = xmp = b""
    for tag in page.tags:
        raw = content[tag.valueoffset : tag.valueoffset + tag.valuebytecount]
        if tag.code == _ICC:
            icc = raw
        elif tag.code == _XMP:
            xmp = raw
        elif tag.code in _LEFT_OUT:
            left_out.append(_LEFT_OUT[tag.code])
        elif tag.code not in _STRUCTURE:
            entry = (tag.code, int(tag.dtype), tag.count, raw, True)
            parts.append(Part(f"the tag {tag.name}", entry))
    return Metadata(
        icc=icc,
        xmp=xmp,
        density=_density(page),
        parts=tuple(parts),
        coding=coding,
        left_out=tuple(left_out),
    )


def _density(page: Any) -> tuple[float, float] | None:
    """Dots per inch, where the file gives any."""
    unit = page.tags.get(296)
    per_inch = _UNITS.get(2 if unit is None else int(unit.value))
    found = [page.tags.get(code) for code in (282, 283)]
    if per_inch is None or None in found:
        return None
    across, down = (tag.value[0] / max(tag.value[1], 1) for tag in found)
    return (across * per_inch, down * per_inch) if across and down else None


def _tifffile() -> Any:
    try:
        import tifffile
    except ImportError as error:
        raise ValueError(
            "a TIFF, which takes tifffile; try pip install 'dipgp[io]'"
        ) from error
    return tifffile
