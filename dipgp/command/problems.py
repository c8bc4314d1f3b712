"""From an order and a photograph to what a prior is conditioned on, and back."""

import dataclasses
import math
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import scipy.ndimage
from PIL import Image

from dipgp.command.options import GREY_LEVELS, Order
from dipgp.images import load_image, load_mask
from dipgp.observations import (
    Bilinear,
    Blur,
    Box,
    Decimation,
    Filter,
    Lanczos,
    LinearMap,
    Observation,
    gaussian_blur,
    motion_blur,
    observe,
)
from dipgp.photographs import Photograph

# One grey level: where an estimate of noise begins; and where pixels are missing, where
# it ends. Less is slow to solve for, and what is known is kept as it is.
GUESS = LEAST_NOISE_STD = 1 / GREY_LEVELS
FILTERS: dict[str, Filter] = {
    "lanczos": Lanczos(),
    "box": Box(),
    "bilinear": Bilinear(),
}


# Compared by identity, as arrays are.
@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """A picture to restore.

    Attributes:
      observation: what is seen of it, with a guess of the noise where that is unknown.
      noise_known: whether it was told.
      least_noise_std: that an estimate may not fall below.
      through: from the picture to what is seen, before the mask; None where that is
        the picture itself.
      shape: (H, W, C) of the picture.
      inner: rows and columns of the picture that the file is to show.
      factor: of these to what is seen, along each axis.
      keeps_known: whether pixels that are known come back as they are.
      hole: how far what is to be filled in is from what is known, in pixels; 0 where
        nothing is.
      jobs: pictures at a time, which share the memory.
      coder_step: the largest that a lossy coder rounded brightness to, where white is
        1; 0 where there was none.
    """

    observation: Observation
    noise_known: bool
    least_noise_std: float
    through: LinearMap | None
    shape: tuple[int, int, int]
    inner: tuple[slice, slice]
    factor: int
    keeps_known: bool
    hole: float
    jobs: int
    coder_step: float

    @property
    def shown_shape(self) -> tuple[int, int, int]:
        """(H, W, C) of what the file is to show."""
        rows, columns = self.inner
        height, width = rows.stop - rows.start, columns.stop - columns.start
        return height, width, self.shape[2]

    def part(self, rows: slice, columns: slice) -> "Problem":
        """That of a part of what is seen, alike in all else.

        Args:
          rows: of what is seen.
          columns: likewise.
        """
        seen = (np.asarray(array)[rows, columns] for array in self.observation)
        grid = self.observation.mask.shape
        lost = [
            whole - (part.stop - part.start)
            for whole, part in zip(grid, (rows, columns), strict=True)
        ]
        down, right = (self.factor * size for size in lost)
        height, width, channels = self.shape
        return dataclasses.replace(
            self,
            observation=Observation(*map(jnp.asarray, seen)),
            shape=(height - down, width - right, channels),
            inner=(
                slice(self.inner[0].start, self.inner[0].stop - down),
                slice(self.inner[1].start, self.inner[1].stop - right),
            ),
        )


def pose(order: Order, photograph: Photograph, mask: Path | None) -> Problem:
    """What an order asks of a photograph.

    Args:
      order: what was asked for.
      photograph: what was read.
      mask: of what is missing, for "inpaint".

    Raises:
      ValueError: on a mask or a kernel that does not fit the photograph.
    """
    colours = _distinct(photograph.colours)
    height, width, channels = colours.shape
    if height * width == 1:
        raise ValueError("expected a picture of several pixels, got a single one")
    known = np.ones((height, width), bool)
    if mask is not None:
        known = _known(order, photograph, mask)
    if photograph.alpha is not None:
        known &= photograph.alpha > 0
        if not known.any():
            raise ValueError("expected a picture that is not all transparent")
    hole = 0.0 if mask is None else _deepest(known, photograph.alpha)
    least = _rounding(photograph.dtype)
    if order.task == "inpaint":
        least = max(least, LEAST_NOISE_STD)
    noise_std = max(least, GUESS) if order.noise_std is None else order.noise_std
    through: LinearMap | None = None
    shape, inner = (height, width, channels), (slice(0, height), slice(0, width))
    if order.task == "upscale":
        factor = order.factor
        through = Decimation(factor, FILTERS[order.filter])
        shape = (factor * height, factor * width, channels)
        inner = (slice(0, shape[0]), slice(0, shape[1]))
    elif order.task == "deblur":
        through = blur = _blur(order)
        (top, bottom), (left, right) = blur.margins
        shape = (height + top + bottom, width + left + right, channels)
        inner = (slice(top, top + height), slice(left, left + width))
    return Problem(
        observe(colours, known, noise_std=noise_std),
        order.noise_std is not None,
        least,
        through,
        shape,
        inner,
        order.factor,
        mask is not None,
        hole,
        order.jobs,
        photograph.coder_step,
    )


def restored(
    order: Order, photograph: Photograph, problem: Problem, mean: np.ndarray
) -> Photograph:
    """The photograph with its colours restored.

    Args:
      order: what was asked for.
      photograph: what was read.
      problem: its own.
      mean: (H, W, C) of the problem's shown shape.
    """
    colours = in_colours(photograph, mean)
    alpha = photograph.alpha
    if problem.keeps_known:
        # What is known comes back bit by bit.
        known = np.asarray(problem.observation.mask)[:, :, None] != 0
        colours = np.where(known, photograph.colours, colours)
    if alpha is not None and order.task == "upscale":
        size = (colours.shape[1], colours.shape[0])
        large = Image.fromarray(alpha).resize(size, Image.Resampling.BICUBIC)
        alpha = np.clip(np.asarray(large), 0.0, 1.0)
    return dataclasses.replace(photograph, colours=colours, alpha=alpha)


def in_colours(photograph: Photograph, image: np.ndarray) -> np.ndarray:
    """An image (H, W, 1 or C) with as many colours as the file has."""
    return np.broadcast_to(image, (*image.shape[:2], photograph.colours.shape[2]))


def _distinct(colours: np.ndarray) -> np.ndarray:
    """One channel of a grey picture that is stored in colour, otherwise all."""
    return colours[:, :, :1] if (colours == colours[:, :, :1]).all() else colours


def _deepest(known: np.ndarray, alpha: np.ndarray | None) -> float:
    """How far a pixel that is missing and will be seen is from a known one."""
    distances = scipy.ndimage.distance_transform_edt(~known)
    return float(np.max(distances if alpha is None else distances * (alpha > 0)))


def _rounding(dtype: np.dtype) -> float:
    """Standard deviation of a uniform error of up to half a step of the file's."""
    steps = float(np.iinfo(dtype).max) if dtype.kind == "u" else 2.0**16
    return 1 / (steps * math.sqrt(12))


def _known(order: Order, photograph: Photograph, path: Path) -> np.ndarray:
    """(H, W), true where the mask says that the picture is known."""
    try:
        white = load_mask(path)
    except ValueError as error:
        raise ValueError(f"--mask={error}") from error
    grid = photograph.colours.shape[:2]
    if white.shape != grid:
        turned = (
            "; EXIF turns the picture, try a mask that is turned likewise"
            if white.shape == grid[::-1] and photograph.orientation > 4
            else ""
        )
        raise ValueError(
            f"--mask={path}: expected the picture's {_size(grid)} pixels, got "
            f"{_size(white.shape)}{turned}"
        )
    known = white if order.mask_is_known else ~white
    words = "black" if order.mask_is_known else "white"
    other = "" if order.mask_is_known else "; white is missing, try --mask-is-known"
    if known.all():
        raise ValueError(f"--mask={path}: expected some {words}, got nothing missing")
    if not known.any():
        raise ValueError(f"--mask={path}: expected not all {words}{other}")
    return known


def _blur(order: Order) -> Blur:
    if order.kernel is not None:
        try:
            light = load_image(order.kernel)
        except ValueError as error:
            raise ValueError(f"--kernel={error}") from error
        kernel = np.mean(light, axis=2, dtype=np.float64)
        if not kernel.any() or not all(size % 2 for size in kernel.shape):
            raise ValueError(
                f"--kernel={order.kernel}: expected a point of light in a picture with "
                f"odd sides, got {_size(kernel.shape)} pixels"
                + ("" if kernel.any() else ", all black")
            )
        return Blur(kernel / kernel.sum(), "valid")
    if order.motion is not None:
        return motion_blur(order.motion, order.angle, "valid")
    assert order.gaussian is not None
    return gaussian_blur(order.gaussian, "valid")


def _size(grid: tuple[int, ...]) -> str:
    return f"{grid[1]}x{grid[0]}"  # width first, as image viewers say it
