"""Numbers inside a block of EXIF, read and changed where they stand.

The block is a small TIFF: a byte order, then directories of twelve-byte entries. Only
the numbers asked for are touched, so that what cameras keep in private entries, which
point into the block, stays valid.
"""

import struct
from collections.abc import Iterator, Mapping

_ORIENTATION = 0x0112
# The picture's size, in the first directory and in that of the camera's settings.
_WIDTHS, _HEIGHTS = (0x0100, 0xA002), (0x0101, 0xA003)
_CAMERA = 0x8769
_SHORT, _LONG = 3, 4
_ENTRY = 12


def orientation(exif: bytes) -> int:
    """How rows are stored, 1 to 8; 1 where the block does not say or is damaged."""
    try:
        for tag, kind, place in _entries(exif):
            if tag == _ORIENTATION and kind == _SHORT:
                (found,) = struct.unpack_from(f"{_order(exif)}H", exif, place)
                return found if 1 <= found <= 8 else 1
    except (struct.error, ValueError):
        pass
    return 1


def upright(exif: bytes) -> bytes:
    """The block of the same picture with its rows stored upright."""
    return _changed(exif, {_ORIENTATION: 1})


def with_size(exif: bytes, width: int, height: int) -> bytes:
    """The block with another size of the picture, as stored, where it tells any."""
    numbers: dict[int, int] = {}
    for tag in _WIDTHS:
        numbers[tag] = width
    for tag in _HEIGHTS:
        numbers[tag] = height
    return _changed(exif, numbers)


def without_preview(exif: bytes) -> tuple[bytes, bool]:
    """Unhooks the second directory, a small copy of the picture as it was.

    Args:
      exif: the block; one that is damaged is returned as it is.

    Returns:
      The block, and whether there was one.
    """
    try:
        order, (start,) = _order(exif), struct.unpack_from(f"{_order(exif)}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, start)
        place = start + 2 + _ENTRY * count
        (second,) = struct.unpack_from(f"{order}I", exif, place)
    except (struct.error, ValueError):
        return exif, False
    return exif[:place] + bytes(4) + exif[place + 4 :], second != 0


def _changed(exif: bytes, numbers: Mapping[int, int]) -> bytes:
    """With other numbers in entries that are there; damaged blocks as they are."""
    block = bytearray(exif)
    try:
        for tag, kind, place in _entries(exif):
            if tag in numbers and kind in (_SHORT, _LONG):
                form = "H" if kind == _SHORT else "I"
                struct.pack_into(f"{_order(exif)}{form}", block, place, numbers[tag])
    except (struct.error, ValueError):
        return exif
    return bytes(block)


def _order(exif: bytes) -> str:
    """The sign of struct's byte order; ValueError where there is none."""
    orders = {b"II*\0": "<", b"MM\0*": ">"}
    if exif[:4] not in orders:
        raise ValueError("exif: expected a byte order")
    return orders[exif[:4]]


def _entries(exif: bytes) -> Iterator[tuple[int, int, int]]:
    """Tag, kind and place of the value: of the first directory, then the camera's."""
    order = _order(exif)
    (start,) = struct.unpack_from(f"{order}I", exif, 4)
    for tag, kind, place in _directory(exif, order, start):
        yield tag, kind, place
        if tag == _CAMERA:
            (inner,) = struct.unpack_from(f"{order}I", exif, place)
            yield from _directory(exif, order, inner)


def _directory(exif: bytes, order: str, start: int) -> Iterator[tuple[int, int, int]]:
    (count,) = struct.unpack_from(f"{order}H", exif, start)
    for number in range(count):
        place = start + 2 + _ENTRY * number
        tag, kind = struct.unpack_from(f"{order}HH", exif, place)
        yield tag, kind, place + 8
