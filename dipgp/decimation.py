"""Down-sampling of an image as a linear map: what a coarser sensor would have seen.

The observation model of super-resolution, y = A f + noise: A is a low pass filter
followed by taking one sample a block of factor x factor pixels.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array


@dataclasses.dataclass(frozen=True)
class LanczosDecimation:
    """Down-sampling by a whole factor behind a Lanczos filter.

    Along each axis, of n pixels f and replicated at its ends,

      y[j] = sum_i k((i - c_j) / factor) f[i],    c_j = factor j + (factor - 1) / 2,
      k(t) = sinc(t) sinc(t / lobes) for |t| < lobes, else 0, over the sum of all taps.

    Samples lie in the middle of their blocks ("phase 1/2"). There are ceil(n / factor)
    of them: where the factor does not divide n, the last block reaches beyond the end,
    and no pixel is cut off. Constant images stay constant.

    The map is pure, differentiable and hashable: it can be a static argument.

    Attributes:
      factor: pixels a sample along each axis, at least 2.
      lobes: half width of the filter in samples; more make it sharper and ring more.

    References:
      Duchon, "Lanczos filtering in one and two dimensions", Journal of Applied
      Meteorology, 1979.
    """

    factor: int
    lobes: int = 2

    def __post_init__(self) -> None:
        """Raises ValueError, naming the argument, on numbers out of range."""
        if self.factor != int(self.factor) or self.factor < 2:
            raise ValueError(
                f"factor: expected a whole number of at least 2, got {self.factor}"
            )
        if self.lobes != int(self.lobes) or self.lobes < 1:
            raise ValueError(
                f"lobes: expected a whole number of at least 1, got {self.lobes}"
            )

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, int, int]:
        """Shape of what is seen of an image.

        Args:
          shape: (H, W, C) of the image.

        Returns:
          (ceil(H / factor), ceil(W / factor), C).

        Raises:
          ValueError: on another number of dimensions, or on one without pixels.
        """
        if len(shape) != 3 or min(shape) < 1:
            raise ValueError(f"shape: expected (H, W, C), got {tuple(shape)}")
        height, width, channels = shape
        return math.ceil(height / self.factor), math.ceil(width / self.factor), channels

    def __call__(self, image: Array) -> Array:
        """Filters and samples an image: A f.

        Args:
          image: (H, W, C) floating-point intensities.

        Returns:
          (ceil(H / factor), ceil(W / factor), C) in the image's units and dtype. The
          filter's negative lobes can lead a little beyond the image's own range.

        Raises:
          ValueError: on another number of dimensions.
        """
        self.output_shape(image.shape)
        rows, columns = (
            jnp.asarray(self._matrix(size), image.dtype) for size in image.shape[:2]
        )
        # Products of small matrices: XLA's backward pass of strided convolutions is
        # slow on CPU inside a scan, and accelerators would round them by default.
        return jnp.einsum(
            "ih,hwc,jw->ijc", rows, image, columns, precision=jax.lax.Precision.HIGHEST
        )

    def adjoint(self, values: Array, shape: tuple[int, int, int]) -> Array:
        """Spreads values over the pixels that they were taken from: A^T y.

        <A f, y> = <f, A^T y> for all images f of the shape.

        Args:
          values: (ceil(H / factor), ceil(W / factor), C) floating-point numbers.
          shape: (H, W, C) of the images that the map is applied to.

        Returns:
          (H, W, C) in the values' units and dtype.

        Raises:
          ValueError: where the values are not what is seen of such an image.
        """
        expected = self.output_shape(shape)
        if values.shape != expected:
            raise ValueError(
                f"values: expected shape {expected}, for images of shape "
                f"{tuple(shape)}, got {values.shape}"
            )
        rows, columns = (
            jnp.asarray(self._matrix(size), values.dtype) for size in shape[:2]
        )
        return jnp.einsum(
            "ih,ijc,jw->hwc", rows, values, columns, precision=jax.lax.Precision.HIGHEST
        )

    def _matrix(self, size: int) -> np.ndarray:
        """(samples, size): the map along one axis, the borders' replicas added up."""
        reach, centre = self.lobes * self.factor, (self.factor - 1) / 2
        taps = np.arange(math.floor(centre - reach) + 1, math.ceil(centre + reach))
        position = (taps - centre) / self.factor
        weights = np.sinc(position) * np.sinc(position / self.lobes)
        samples = np.arange(math.ceil(size / self.factor))[:, None]
        pixels = np.clip(taps + self.factor * samples, 0, size - 1)
        matrix = np.zeros((len(samples), size))
        np.add.at(matrix, (samples, pixels), weights / weights.sum())
        return matrix
