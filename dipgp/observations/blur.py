"""Blur as a linear map: out of focus, in motion, or by any point-spread function."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np

from dipgp import numerics
from dipgp.observations.linear_map import as_image, as_values, image_shape

Array = jax.Array
Boundary = Literal["circular", "valid"]


@dataclass(frozen=True)
class Blur:
    """Convolution of each channel with a point-spread function h of K x L pixels.

      y[i, j] = sum_kl h[k, l] f[i - k + (K - 1) // 2, j - l + (L - 1) // 2]

    so that h is what is seen of a single bright pixel, with the entry
    ((K - 1) // 2, (L - 1) // 2) on that pixel. It is a `LinearMap`.

    Attributes:
      kernel: (K, L) finite numbers, used as they are; where their sum is 1, constant
        images stay constant. Kept as nested tuples.
      boundary: "circular": what lies beyond a border is the opposite side of the image,
        and as many pixels are seen as there are. "valid": nothing is known beyond the
        border, and only pixels are seen whose kernel lies within the image:
        (H - K + 1, W - L + 1), from i = K // 2 and j = L // 2 on.
    """

    kernel: np.typing.ArrayLike
    boundary: Boundary = "circular"

    def __post_init__(self) -> None:
        """Raises ValueError, naming the argument, on what is no such kernel."""
        kernel = _checked_kernel(self.kernel)
        object.__setattr__(self, "kernel", tuple(map(tuple, kernel.tolist())))
        numerics.check_choice("boundary", self.boundary, get_args(Boundary))

    @property
    def margins(self) -> list[tuple[int, int]]:
        """Rows above and below, columns left and right of what is seen."""
        if self.boundary == "circular":
            return [(0, 0), (0, 0)]
        return [(size // 2, size - 1 - size // 2) for size in np.shape(self.kernel)]

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, int, int]:
        """The image's own, or that of its valid part; see `LinearMap`."""
        height, width, channels = image_shape(shape)
        if self.boundary == "circular":
            return height, width, channels
        rows, columns = np.shape(self.kernel)
        if rows > height or columns > width:
            raise ValueError(
                f"shape: expected images no smaller than the kernel, {rows}x{columns} "
                f'pixels, with boundary="valid", got {height}x{width}; try a smaller '
                'kernel, or boundary="circular"'
            )
        return height - rows + 1, width - columns + 1, channels

    def __call__(self, image: Array) -> Array:
        """The blurred image; see `LinearMap`."""
        image = as_image(image)
        height, width, _ = self.output_shape(image.shape)
        blurred = _filter(image, self._spectrum(image.shape))
        # Where the kernel lies within the image, nothing has gone around the torus.
        (top, _), (left, _) = self.margins
        return blurred[top : top + height, left : left + width]

    def adjoint(self, values: Array, shape: tuple[int, ...]) -> Array:
        """Spreads values by the kernel turned by 180 degrees; see `LinearMap`."""
        values = jnp.pad(as_values(self, values, shape), [*self.margins, (0, 0)])
        return _filter(values, self._spectrum(shape).conj())

    def _spectrum(self, shape: tuple[int, ...]) -> np.ndarray:
        """(H, W // 2 + 1): the kernel's transform on the image's torus, in 64 bits.

        What of the kernel is larger than the torus goes around it.
        """
        kernel = np.asarray(self.kernel)
        rows, columns = (
            (np.arange(size) - (size - 1) // 2) % pixels
            for size, pixels in zip(kernel.shape, shape[:2], strict=True)
        )
        torus = np.zeros(shape[:2])
        np.add.at(torus, (rows[:, None], columns[None, :]), kernel)
        return np.fft.rfft2(torus)


# Of kernels, in pixels: those of any photograph are smaller.
_LARGEST_RADIUS = 1024


def gaussian_blur(
    std: float, boundary: Boundary = "circular", radius: int | None = None
) -> Blur:
    """Blur by a Gaussian, h[d] proportional to exp(-|d|^2 / (2 std^2)), of sum 1.

    Args:
      std: standard deviation in pixels.
      boundary: of `Blur`.
      radius: pixels on each side of the centre after which the kernel ends; by default
        ceil(4 std), where it has fallen to 3e-4.

    Returns:
      The blur, of a kernel of (2 radius + 1)^2 pixels.

    Raises:
      ValueError: where std or radius is not positive.
    """
    numerics.check_positive("std", std, scalar=True)
    if std > _LARGEST_RADIUS / 4:
        raise ValueError(f"std: expected at most {_LARGEST_RADIUS // 4}, got {std}")
    radius = math.ceil(4 * std) if radius is None else radius
    numerics.check_whole_number("radius", radius, least=1)
    if radius > _LARGEST_RADIUS:
        raise ValueError(f"radius: expected at most {_LARGEST_RADIUS}, got {radius}")
    steps = np.arange(-radius, radius + 1)
    profile = np.exp(-0.5 * (steps / std) ** 2)
    profile /= profile.sum()
    return Blur(np.outer(profile, profile), boundary)


def motion_blur(length: float, angle: float, boundary: Boundary = "circular") -> Blur:
    """Blur by a camera that moves evenly along a straight line.

    Each point of the line is shared out over the four pixels around it, bilinearly, and
    h is the integral over the line, of sum 1 and symmetric about its centre.

    Args:
      length: of the line in pixels.
      angle: of the line in degrees, 0 from left to right, 90 upwards, 45 from the lower
        left to the upper right.
      boundary: of `Blur`.

    Returns:
      The blur, of a kernel of odd sizes that just holds the line.

    Raises:
      ValueError: where the length is not positive, or the angle not finite.
    """
    numerics.check_positive("length", length, scalar=True)
    if length > 2 * _LARGEST_RADIUS:
        raise ValueError(
            f"length: expected at most {2 * _LARGEST_RADIUS} pixels, got {length}"
        )
    numerics.check_finite("angle", angle, scalar=True)
    # A line is the same after half a turn. Rounded, so that 90 degrees are upright.
    turn = math.radians(angle % 180)
    direction = np.round([-math.sin(turn), math.cos(turn)], 15)  # rows grow downwards
    radius = np.ceil(length / 2 * np.abs(direction)).astype(int)

    # Between crossings of rows and columns of pixels the shares are quadratic in the
    # position along the line, and two points integrate cubics (Gauss and Legendre).
    ends = length / 2 * np.array([-1.0, 1.0])
    crossings = [
        np.arange(-reach, reach + 1) / along
        for reach, along in zip(radius, direction, strict=True)
        if along != 0
    ]
    cuts = np.unique(np.clip(np.concatenate([ends, *crossings]), *ends))
    middles, halves = (cuts[1:] + cuts[:-1]) / 2, np.diff(cuts) / 2
    points = np.concatenate([middles - halves / 3**0.5, middles + halves / 3**0.5])
    weights = np.concatenate([halves, halves]) / length

    positions = radius[:, None] + direction[:, None] * points
    kernel = np.zeros(2 * radius + 1)
    below = np.floor(positions).astype(int)
    for step in np.ndindex(2, 2):
        pixels = below + np.reshape(step, (2, 1))
        share = np.prod(1 - np.abs(positions - pixels), axis=0)
        inside = np.minimum(pixels, 2 * radius[:, None])  # those beyond have no share
        np.add.at(kernel, tuple(inside), weights * share)
    return Blur(kernel, boundary)


def _filter(image: Array, spectrum: np.ndarray) -> Array:
    """Multiplies the transform of each channel by a spectrum."""
    height, width, _ = image.shape
    transform = jnp.fft.rfft2(image, axes=(0, 1))
    response = jnp.asarray(spectrum, transform.dtype)[:, :, None]
    return jnp.fft.irfft2(transform * response, s=(height, width), axes=(0, 1))


def _checked_kernel(kernel: np.typing.ArrayLike) -> np.ndarray:
    """(K, L) float64.

    Raises:
      ValueError: on what is no table of finite numbers with a sum.
    """
    numerics.check_real("kernel", kernel)
    table = np.asarray(kernel, np.float64)
    if table.ndim != 2 or table.size == 0:
        raise ValueError(
            "kernel: expected rows and columns of numbers, got an array of shape "
            f"{table.shape}"
        )
    numerics.check_finite("kernel", table)
    total, size = math.fsum(table.flat), math.fsum(np.abs(table).flat)
    if abs(total) <= table.size * np.finfo(np.float64).eps * size:
        raise ValueError(f"kernel: expected a sum other than 0, got {total:g}")
    return table
