"""What each layer does to second moments between all pairs of pixels.

Arrays are (*shape, *shape): the axes of the first pixel, then those of the second.
"""

import functools
import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from dipgp import architecture, numerics
from dipgp.kernels import pixel_operators
from dipgp.kernels.nonlinearities import arc_excess

Array = jax.Array
Shape = tuple[int, ...]


class DenseRules:
    """What each layer does to second moments (*shape, *shape) of one channel."""

    def __init__(self, largest: int) -> None:
        self._largest = largest

    def concat(self, fields: Sequence[Array], channels: Sequence[int]) -> Array:
        """The mean over channels, sum_i c_i C_i / sum_i c_i."""
        weighted = [
            count / sum(channels) * field
            for field, count in zip(fields, channels, strict=True)
        ]
        return self.add(weighted)

    def convolution(self, field: Array, layer: architecture.Convolution) -> Array:
        """sigma_w^2 / k^d sum_j S_j C S_j^T + sigma_b^2, axis by axis."""
        for axis in range(field.ndim // 2):
            field = pixel_operators.mean_over_taps(
                field, axis, layer.kernel_size, layer.stride, layer.padding
            )
        return layer.weight_variance * field + layer.bias_variance

    def add(self, fields: Sequence[Array]) -> Array:
        """The sum of independent branches."""
        return functools.reduce(jnp.add, fields)

    def batch_norm(self, field: Array, layer: architecture.BatchNorm) -> Array:
        """(P C P) / (mean of its diagonal + epsilon), where P takes the mean away."""
        first, second = _pixel_axes(field)
        field = field - field.mean(first, keepdims=True)
        field = field - field.mean(second, keepdims=True)
        scale = jnp.mean(_diagonal(field)) + layer.epsilon
        return numerics.safe_divide(field, scale)

    def downsample(self, field: Array, layer: architecture.Downsample) -> Array:
        """U C U^T, axis by axis."""
        for axis, size in enumerate(_image_shape(field)):
            matrix = pixel_operators.downsampling(size, layer.factor, layer.method)
            field = pixel_operators.apply(field, axis, matrix)
        return field

    def upsample(self, field: Array, layer: architecture.Upsample) -> Array:
        """U C U^T, axis by axis."""
        shape = _image_shape(field)
        check_pixels(tuple(layer.factor * size for size in shape), self._largest)
        for axis, size in enumerate(shape):
            matrix = pixel_operators.upsampling(size, layer.factor, layer.method)
            field = pixel_operators.apply(field, axis, matrix)
        return field

    def rectify(self, field: Array, slope: float) -> Array:
        """K' = (1+a^2)/2 K + (1-a)^2/(2 pi) (sqrt(q q' - K^2) - theta K), slope a.

        q and q' are the variances of the two pixels, cos(theta) = K / sqrt(q q').
        Written in sqrt(q q') - K, which keeps its digits next to correlation 1.
        """
        scale = _mean_scale(field)
        bend = (1 - slope) ** 2 / (2 * math.pi)
        excess = arc_excess(numerics.not_negative(scale - field), scale)
        return (1 + slope**2) / 2 * field + bend * excess

    def erf(self, field: Array, scale: float) -> Array:
        """K' = 2/pi asin(K / sqrt((q + t) (q' + t))), t = 1 / (2 scale^2).

        As an angle whose other side is the root of
        q q' - K^2 + t (q + q' + t), each term of which is at least 0.
        """
        softness = 0.5 / scale**2
        middle = _mean_scale(field)
        apart = numerics.not_negative(middle - field) * (middle + field)
        sums = _outer(field, jnp.add) + softness
        other = numerics.safe_sqrt(apart + softness * sums)
        # Where a pixel is always 0, both sides may vanish.
        nothing = middle == 0
        angle = jnp.atan2(jnp.where(nothing, 0, field), jnp.where(nothing, 1, other))
        return 2 / math.pi * angle


def check_pixels(shape: Shape, largest: int) -> None:
    """Refuses sizes whose second moments would not fit.

    Raises:
      ValueError: on more pixels than `largest`.
    """
    pixels = math.prod(shape)
    if pixels > largest:
        size = "x".join(map(str, shape))
        raise ValueError(
            f"largest: expected at most {largest} pixels, got {size} = {pixels}, whose "
            f"second moments take {8 * pixels**2 / 2**30:.3g} GiB in float64 (and a "
            f"few times that on the way); take a smaller grid, or largest={pixels}"
        )


def _image_shape(field: Array) -> Shape:
    return field.shape[: field.ndim // 2]


def _pixel_axes(field: Array) -> tuple[Shape, Shape]:
    """The axes of the first pixel and those of the second."""
    axes = tuple(range(field.ndim))
    return axes[: len(axes) // 2], axes[len(axes) // 2 :]


def _diagonal(field: Array) -> Array:
    """Variances, (pixels,)."""
    pixels = math.prod(_image_shape(field))
    return jnp.diagonal(field.reshape(pixels, pixels))


def _outer(field: Array, function: Callable[[Array, Array], Array]) -> Array:
    """A function of the variances of both pixels, (*shape, *shape)."""
    variances = _diagonal(field)
    shape = (variances.size, variances.size)
    first = jnp.broadcast_to(variances[:, None], shape)
    second = jnp.broadcast_to(variances[None, :], shape)
    return function(first, second).reshape(field.shape)


def _mean_scale(field: Array) -> Array:
    """sqrt(q q'), exactly q where the two are equal, and without underflow."""

    def geometric_mean(first: Array, second: Array) -> Array:
        larger = jnp.maximum(first, second)
        ratio = numerics.safe_divide(jnp.minimum(first, second), larger)
        return larger * numerics.safe_sqrt(ratio)

    return _outer(field, geometric_mean)
