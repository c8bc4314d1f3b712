"""What is seen of an image before mask and noise: a linear map A with its adjoint.

Iterative solvers of Gaussian processes need A and A^T; descent and Langevin dynamics of
networks need A, and JAX derives the rest. Maps are pure, differentiable, and frozen
dataclasses that are equal where their settings are, so that a compiled function takes
them as static arguments. They leave no pixel out because it was not seen: that is the
business of an observation's mask.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from dipgp import numerics

Array = jax.Array


@runtime_checkable
class LinearMap(Protocol):
    """A linear map from images to what is seen of them; hashable."""

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, int, int]:
        """Shape of what is seen of an image.

        Args:
          shape: (H, W, C) of the image.

        Returns:
          (h, w, c).

        Raises:
          ValueError: on images that the map does not take.
        """

    def __call__(self, image: Array) -> Array:
        """What is seen of an image: A f.

        Args:
          image: (H, W, C) floating-point intensities.

        Returns:
          (h, w, c) in the image's units and dtype.

        Raises:
          ValueError: on images that the map does not take.
        """

    def adjoint(self, values: Array, shape: tuple[int, ...]) -> Array:
        """Spreads values over the pixels that they were taken from: A^T y.

        <A f, y> = <f, A^T y> for all images f of the shape.

        Args:
          values: (h, w, c) floating-point numbers.
          shape: (H, W, C) of the images that the map is applied to.

        Returns:
          (H, W, C) in the values' units and dtype.

        Raises:
          ValueError: where the values are not what is seen of such an image.
        """


@dataclass(frozen=True)
class Identity:
    """An image is seen as it is."""

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, int, int]:
        """The image's own; see `LinearMap`."""
        return image_shape(shape)

    def __call__(self, image: Array) -> Array:
        """The image itself; see `LinearMap`."""
        return as_image(image)

    def adjoint(self, values: Array, shape: tuple[int, ...]) -> Array:
        """The values themselves; see `LinearMap`."""
        return as_values(self, values, shape)


@dataclass(frozen=True)
class Composition:
    """Maps one after the other: A = A_n ... A_2 A_1.

    Attributes:
      maps: A_1 to A_n, the first applied first.
    """

    maps: Sequence[LinearMap]

    def __post_init__(self) -> None:
        """Raises ValueError, naming the argument, on something else than maps."""
        given = self.maps
        if not isinstance(given, Sequence) or len(given) == 0:
            raise ValueError(
                f"maps: expected a sequence of linear maps, got {given!r}; "
                "try Identity() for none"
            )
        for linear_map in given:
            if isinstance(linear_map, type) or not isinstance(linear_map, LinearMap):
                raise ValueError(f"maps: expected linear maps, got {linear_map!r}")
        object.__setattr__(self, "maps", tuple(given))

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, int, int]:
        """That of the last map; see `LinearMap`."""
        return self._shapes(shape)[-1]

    def __call__(self, image: Array) -> Array:
        """A_n ... A_1 f; see `LinearMap`."""
        return functools.reduce(lambda seen, see: see(seen), self.maps, image)

    def adjoint(self, values: Array, shape: tuple[int, ...]) -> Array:
        """A_1^T ... A_n^T y; see `LinearMap`."""
        values = as_values(self, values, shape)
        inputs = self._shapes(shape)[:-1]
        for linear_map, before in zip(self.maps[::-1], inputs[::-1], strict=True):
            values = linear_map.adjoint(values, before)
        return values

    def _shapes(self, shape: tuple[int, ...]) -> list[tuple[int, int, int]]:
        """What the first map takes, then what each gives."""
        shapes = [image_shape(shape)]
        for linear_map in self.maps:
            shapes.append(linear_map.output_shape(shapes[-1]))
        return shapes


def image_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """The shape, checked to be that of an image with at least one pixel.

    Raises:
      ValueError: where it is not.
    """
    numerics.check_grid("shape", shape, axes=(3,))
    height, width, channels = shape
    return height, width, channels


def as_image(image: jax.typing.ArrayLike) -> Array:
    """The image as an array, checked to be one of floating-point intensities.

    Of 32 bits at least, since transforms take no less.

    Raises:
      ValueError: on integers, on complex numbers, or on another shape than (H, W, C).
    """
    numerics.check_real("image", image)
    image = jnp.asarray(image)
    numerics.check_grid("image", image.shape, axes=(3,))
    if not jnp.issubdtype(image.dtype, jnp.floating):
        raise ValueError(
            f"image: expected floating-point intensities, got {image.dtype}; "
            "try image / 255.0 for 8-bit images"
        )
    return numerics.at_least_single(image)


def as_values(
    linear_map: LinearMap, values: jax.typing.ArrayLike, shape: tuple[int, ...]
) -> Array:
    """The values as an array, checked to be what a map sees of images of a shape.

    Of 32 bits at least.

    Raises:
      ValueError: on another shape, or where they are not floating-point numbers.
    """
    numerics.check_real("values", values)
    values, expected = jnp.asarray(values), linear_map.output_shape(shape)
    if values.shape != expected:
        raise ValueError(
            f"values: expected shape {expected}, for images of shape "
            f"{tuple(shape)}, got {values.shape}"
        )
    if not jnp.issubdtype(values.dtype, jnp.floating):
        raise ValueError(f"values: expected floating-point numbers, got {values.dtype}")
    return numerics.at_least_single(values)
