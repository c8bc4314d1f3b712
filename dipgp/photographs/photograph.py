"""What a picture file holds, apart from how it holds it."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np

Format = Literal["PNG", "JPEG", "TIFF"]


class Part(NamedTuple):
    """A piece of metadata that only files of the same format can hold.

    Attributes:
      name: the format's own, such as a PNG chunk's.
      content: as the format's writer wants it back.
    """

    name: str
    content: Any


@dataclasses.dataclass(frozen=True)
class Metadata:
    """What a file says of its picture.

    Attributes:
      exif: a block that begins with its byte order; empty where there is none.
      icc: a colour profile, likewise.
      xmp: a packet of XML, likewise.
      density: dots per inch from left to right and downwards, as the file stores its
        rows; None where it does not say.
      parts: what else there is.
      coding: how a file of the same format is to be written, by its writer's names.
      left_out: what was found and cannot be kept, in words.
    """

    exif: bytes = b""
    icc: bytes = b""
    xmp: bytes = b""
    density: tuple[float, float] | None = None
    parts: tuple[Part, ...] = ()
    coding: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    left_out: tuple[str, ...] = ()


# Compared by identity, as arrays are.
@dataclasses.dataclass(frozen=True, eq=False)
class Photograph:
    """A picture the right way up.

    Attributes:
      colours: (H, W, C) float32 in [0, 1], C being 1 (grey) or 3 (red, green, blue).
      alpha: (H, W) float32 in [0, 1], not multiplied into the colours, or None.
      dtype: of a sample in the file: uint8, uint16, or a float in [0, 1].
      format: of the file.
      orientation: how the file stores its rows, 1 to 8 as in EXIF; 1 is upright.
      metadata: what else the file says.
      coder_step: the largest that brightness was rounded to by a lossy coder, in its
        transform, where white is 1; 0 where there was none.
    """

    colours: np.ndarray
    alpha: np.ndarray | None
    dtype: np.dtype
    format: Format
    orientation: int
    metadata: Metadata
    coder_step: float = 0.0

    @property
    def samples(self) -> np.ndarray:
        """(H, W, C) or (H, W, C + 1) in the file's dtype, clipped and rounded."""
        height, width, count = self.colours.shape
        planes = np.empty((height, width, count + (self.alpha is not None)), self.dtype)
        for row in range(height):  # 64 bits of all rows would take much memory
            planes[row, :, :count] = self._stored(self.colours[row])
            if self.alpha is not None:
                planes[row, :, count] = self._stored(self.alpha[row])
        return planes

    def _stored(self, intensities: np.ndarray) -> np.ndarray:
        """Intensities of any shape in the file's dtype, clipped and rounded."""
        clipped = np.clip(intensities, 0.0, 1.0)
        if self.dtype.kind == "f":
            return clipped.astype(self.dtype)
        white = np.iinfo(self.dtype).max
        return np.round(clipped.astype(np.float64) * white).astype(self.dtype)


def from_samples(
    samples: np.ndarray,
    format: Format,
    orientation: int,
    metadata: Metadata,
) -> Photograph:
    """A photograph of a file's samples.

    Args:
      samples: (H, W) or (H, W, 1 to 4) as stored, the last of two or four being alpha.
      format: of the file.
      orientation: how the rows are stored, 1 to 8.
      metadata: what else the file says.

    Raises:
      ValueError: on another shape or kind of numbers.
    """
    if samples.ndim == 2:
        samples = samples[:, :, None]
    if samples.ndim != 3 or 0 in samples.shape or samples.shape[2] > 4:
        raise ValueError(f"samples of shape {samples.shape}; expected a picture's")
    kind = samples.dtype.newbyteorder("=")
    if kind not in (np.uint8, np.uint16, np.float16, np.float32, np.float64):
        raise ValueError(f"samples of {kind}; try converting it to 8 or 16 bits")
    planes = turned(samples, orientation).astype(kind)
    if kind.kind == "f":
        if not np.isfinite(planes).all():
            raise ValueError("samples that are not finite; try painting over them")
        least, most = float(planes.min()), float(planes.max())
        if least < 0 or most > 1:
            raise ValueError(
                f"float samples from {least:.3g} to {most:.3g}, outside [0, 1]; try "
                "clipping them, or dividing by white's value"
            )
        planes = planes.astype(np.float32)
    else:
        planes = planes.astype(np.float32) / np.float32(np.iinfo(kind).max)
    count = samples.shape[2]
    alpha = planes[:, :, -1] if count in (2, 4) else None
    colours = planes[:, :, : 1 if count < 3 else 3]
    return Photograph(colours, alpha, kind, format, orientation, metadata)


def turned(stored: np.ndarray, orientation: int) -> np.ndarray:
    """Stored rows (H, W, ...) as they are to be looked at."""
    mirrored, quarters = _TURNS[orientation]
    upright = np.rot90(stored, quarters)
    return upright[:, ::-1] if mirrored else upright


def stored(upright: np.ndarray, orientation: int) -> np.ndarray:
    """The inverse of `turned`."""
    mirrored, quarters = _TURNS[orientation]
    return np.rot90(upright[:, ::-1] if mirrored else upright, -quarters)


# By EXIF's orientation: a number of quarters anticlockwise, then perhaps a mirror.
_TURNS = {
    1: (False, 0),
    2: (True, 0),
    3: (False, 2),
    4: (True, 2),
    5: (True, 3),
    6: (False, 3),
    7: (True, 1),
    8: (False, 1),
}
