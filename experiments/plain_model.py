"""A plain network on a small grid, read as a covariance and as a function of weights.

Depth times (convolution of 3 along each axis, ReLU) and a linear read-out, without
biases. The exact Gaussian process of a small grid is at hand to compare with.

Scale. Without biases, other variances of the weights only multiply a ReLU network's
output, and each ReLU halves a variance. With the weight variance

    w = (amplitude^2 2^depth)^(1 / (depth + 1))

in the description an output has variance amplitude^2, in both readings.

Border. The network is computed on `depth` more pixels on every side, which are cut off:
what is left has seen no padding, as after "valid" convolutions.
"""

import functools
import math
from dataclasses import dataclass

import jax
import numpy as np

from dipgp import architecture, kernels, networks
from dipgp.networks.build import Variables
from dipgp.networks.read_out import split_read_out

Array = jax.Array


@dataclass(frozen=True, kw_only=True)
class Model:
    """A prior on signals or images, in both of its readings.

    Attributes:
      shape: (L,) of a signal or (H, W) of an image.
      sigma: width of the filter that smooths the network's random input, in pixels.
      depth: number of ReLU layers.
      width: channels of the hidden layers.
      input_channels: of the random input.
      amplitude: standard deviation of an output.
    """

    shape: tuple[int, ...]
    sigma: float
    depth: int
    width: int = 32
    input_channels: int = 128
    amplitude: float = 1.0

    @property
    def pixels(self) -> int:
        """How many the grid has."""
        return math.prod(self.shape)

    @property
    def grid(self) -> tuple[int, int]:
        """(H, W) of the outputs as images; a signal is one of a single row."""
        return self.pixels // self.shape[-1], self.shape[-1]

    @property
    def weight_variance(self) -> float:
        """Of every convolution."""
        return (self.amplitude**2 * 2**self.depth) ** (1 / (self.depth + 1))

    @functools.cached_property
    def description(self) -> architecture.Architecture:
        """What both readings read."""
        return architecture.conv_net(
            self.depth,
            channels=self.width,
            weight_variance=self.weight_variance,
            input_channels=self.input_channels,
            dimensions=len(self.shape),
        )

    @functools.cached_property
    def network(self) -> networks.Network:
        """The reading of finite width, with standard normal weights."""
        return networks.build(self.description, initialisation="gaussian_process")

    @functools.cached_property
    def hidden(self) -> networks.Network:
        """The network without its read-out: (..., width) features."""
        features, _ = split_read_out(self.description)
        return networks.build(features, initialisation="gaussian_process")

    def features(self, hidden: Variables, z: Array) -> Array:
        """What the read-out adds up, scaled: outputs are features times N(0, I).

        Args:
          hidden: weights of `hidden`.
          z: the input.

        Returns:
          (pixels, width).
        """
        features = self.crop(self.hidden.apply(hidden, z)).reshape(-1, self.width)
        return math.sqrt(self.weight_variance / self.width) * features

    def covariance(self) -> np.ndarray:
        """The reading of infinite width: (pixels, pixels), in 64 bits.

        Averaged over inputs, or of an input of infinitely many channels.
        """
        k = kernels.covariance(self.description, kernels.gaussian(self.sigma))
        axes = [np.arange(size, dtype=np.float64) for size in self.shape]
        positions = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(
            self.pixels, -1
        )
        with jax.enable_x64(True):
            return np.asarray(k(positions[:, None] - positions))

    def draw_input(self, key: Array) -> Array:
        """The input, of variance 1: the shape plus 2 depth an axis, and channels."""
        grid = tuple(size + 2 * self.depth for size in self.shape)
        return networks.gaussian_input(key, grid, self.input_channels, self.sigma)

    def output(self, variables: Variables, z: Array) -> Array:
        """The part of the network's output that no border reaches, of the shape."""
        return self.crop(self.network.apply(variables, z)[..., 0])

    def image(self, variables: Variables, z: Array) -> Array:
        """The output as (H, W, 1), of the model's grid."""
        return self.output(variables, z).reshape(*self.grid, 1)

    def crop(self, wide: Array) -> Array:
        """What of a grid as wide as the input is left, (*shape, ...)."""
        inner = (slice(self.depth, self.depth + size) for size in self.shape)
        return wide[tuple(inner)]

    def crop_pairs(self, wide: Array) -> Array:
        """(pixels, pixels) of what belongs to pairs of pixels of the whole input."""
        inner = tuple(slice(self.depth, self.depth + size) for size in self.shape)
        return wide[inner + inner].reshape(self.pixels, self.pixels)

    def draw_networks(self, key: Array, count: int) -> np.ndarray:
        """Outputs of random networks, each of an input of its own: (count, *shape)."""

        def draw(key: Array) -> Array:
            key_input, key_weights = jax.random.split(key)
            z = self.draw_input(key_input)
            return self.output(self.network.init(key_weights, z), z)

        return np.asarray(jax.lax.map(draw, jax.random.split(key, count)))
