"""What a colour sensor sees: one colour a pixel, through a mosaic of colour filters."""

from dataclasses import dataclass
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np

from dipgp import numerics
from dipgp.observations.linear_map import as_image, as_values, image_shape

Array = jax.Array
Pattern = Literal["RGGB", "BGGR", "GRBG", "GBRG"]


@dataclass(frozen=True)
class BayerMosaic:
    """Each pixel sees the one of three colours that its filter lets through.

    Filters repeat in blocks of 2x2 pixels, in which green comes twice; odd sizes end in
    the middle of a block. It is a `LinearMap`.

    Attributes:
      pattern: the block's colours row by row from its upper left: "RGGB", "BGGR",
        "GRBG" or "GBRG".

    References:
      Bayer, "Color imaging array", US patent 3,971,065, 1976.
    """

    pattern: Pattern = "RGGB"

    def __post_init__(self) -> None:
        """Raises ValueError, naming the argument, on other patterns."""
        numerics.check_choice("pattern", self.pattern, get_args(Pattern))

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, int, int]:
        """(H, W, 1), of images with three channels; see `LinearMap`."""
        height, width, channels = image_shape(shape)
        if channels != 3:
            raise ValueError(
                "shape: expected three channels, red, green and blue, got "
                f"{channels} in {tuple(shape)}"
            )
        return height, width, 1

    def __call__(self, image: Array) -> Array:
        """The seen colour of each pixel; see `LinearMap`."""
        image = as_image(image)
        self.output_shape(image.shape)
        seen = jnp.where(self._seen(image.shape), image, 0)
        return jnp.sum(seen, axis=2, keepdims=True)

    def adjoint(self, values: Array, shape: tuple[int, ...]) -> Array:
        """The values in the colours that they are of, 0 elsewhere; see `LinearMap`."""
        return jnp.where(self._seen(shape), as_values(self, values, shape), 0)

    def _seen(self, shape: tuple[int, ...]) -> np.ndarray:
        """(H, W, 3) bool, true for the colour that a pixel sees."""
        block = np.reshape(["RGB".index(colour) for colour in self.pattern], (2, 2))
        rows, columns = np.indices(shape[:2]) % 2
        return block[rows, columns][:, :, None] == np.arange(3)
