"""Down-sampling of an image as a linear map: what a coarser sensor would have seen.

The observation model of super-resolution, y = A f + noise: A is a low pass filter
followed by taking one sample a block of factor x factor pixels.
"""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from dipgp import numerics
from dipgp.observations.filters import Filter, Lanczos
from dipgp.observations.linear_map import as_image, as_values, image_shape

Array = jax.Array


# A filter has a few times as many taps, which are written down.
_LARGEST = 1024


@dataclass(frozen=True)
class Decimation:
    """Down-sampling by a whole factor behind a filter.

    Along each axis, of n pixels f and replicated at its ends,

      y[j] = sum_i w((i - c_j) / factor) f[i],    c_j = factor j + (factor - 1) / 2,

    over the sum of all weights w of the filter. Samples lie in the middle of their
    blocks ("phase 1/2"). There are ceil(n / factor) of them: where the factor does not
    divide n, the last block reaches beyond the end, and no pixel is cut off. Constant
    images stay constant. It is a `LinearMap`.

    Attributes:
      factor: pixels a sample along each axis, from 2 to 1,024.
      filter: `Lanczos(lobes)`, `Box()` or `Bilinear()`.
    """

    factor: int
    filter: Filter = Lanczos()

    def __post_init__(self) -> None:
        """Raises ValueError, naming the argument, on numbers out of range."""
        numerics.check_whole_number("factor", self.factor, least=2, most=_LARGEST)
        if isinstance(self.filter, type) or not isinstance(self.filter, Filter):
            raise ValueError(
                f"filter: expected Lanczos(), Box() or Bilinear(), got {self.filter!r}"
            )

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, int, int]:
        """(ceil(H / factor), ceil(W / factor), C); see `LinearMap`."""
        height, width, channels = image_shape(shape)
        return math.ceil(height / self.factor), math.ceil(width / self.factor), channels

    def __call__(self, image: Array) -> Array:
        """Filters and samples an image; see `LinearMap`.

        A filter's negative lobes can lead a little beyond the image's own range.
        """
        image = as_image(image)
        rows, columns = (
            jnp.asarray(self._matrix(size), image.dtype) for size in image.shape[:2]
        )
        # Products of small matrices: XLA's backward pass of strided convolutions is
        # slow on CPU inside a scan, and accelerators would round them by default.
        return jnp.einsum(
            "ih,hwc,jw->ijc", rows, image, columns, precision=jax.lax.Precision.HIGHEST
        )

    def adjoint(self, values: Array, shape: tuple[int, ...]) -> Array:
        """Spreads samples over the pixels of their filters; see `LinearMap`."""
        values = as_values(self, values, shape)
        rows, columns = (
            jnp.asarray(self._matrix(size), values.dtype) for size in shape[:2]
        )
        return jnp.einsum(
            "ih,ijc,jw->hwc", rows, values, columns, precision=jax.lax.Precision.HIGHEST
        )

    @property
    def taps(self) -> np.ndarray:
        """How much the pixels around a sample count for it, along each axis; sum 1."""
        weights = self.filter((self._pixels() - self._centre) / self.factor)
        return weights / weights.sum()

    @property
    def _centre(self) -> float:
        """Where the first sample lies, in pixels."""
        return (self.factor - 1) / 2

    def _pixels(self) -> np.ndarray:
        """Those that count for the first sample."""
        reach = self.filter.reach * self.factor
        first, end = self._centre - reach, self._centre + reach
        return np.arange(math.floor(first) + 1, math.ceil(end))

    def _matrix(self, size: int) -> np.ndarray:
        """(samples, size): the map along one axis, the borders' replicas added up."""
        samples = np.arange(math.ceil(size / self.factor))[:, None]
        pixels = np.clip(self._pixels() + self.factor * samples, 0, size - 1)
        matrix = np.zeros((len(samples), size))
        np.add.at(matrix, (samples, pixels), self.taps)
        return matrix
