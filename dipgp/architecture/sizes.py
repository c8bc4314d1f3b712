"""Which sizes of a signal fit a network, and how large its output is.

A layer that reduces the resolution by a factor wants a multiple of it, and a reflected
border wants more pixels than it is wide. Both are read off the description beforehand.
"""

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from dipgp import architecture
from dipgp.architecture.layers import check_architecture, child_name


@dataclass(frozen=True)
class Sizes:
    """What a network asks of the number of pixels along an axis.

    Attributes:
      scale: pixels that come out for each one that goes in.
      multiple: of this, every layer sees whole numbers of pixels.
      smallest: with fewer, a reflected border would be wider than what it mirrors.
    """

    scale: Fraction
    multiple: int
    smallest: int

    def padded(self, size: int) -> int:
        """The least size that fits the network and is not below the one given."""
        wanted = max(size, self.smallest)
        return -(-wanted // self.multiple) * self.multiple

    def sources(self, size: int) -> np.ndarray:
        """Which pixel of the input stands at each pixel of the padded one.

        The input is continued behind its last pixel by its mirror image. The mirror
        stands at the pixels' outer edge, so that a single pixel is repeated.

        Returns:
          (padded(size),) integers.
        """
        missing = self.padded(size) - size
        return np.pad(np.arange(size), (0, missing), mode="symmetric")

    def output(self, size: int) -> int:
        """Pixels of the output that belong to this many of the input, rounded up."""
        return math.ceil(size * self.scale)


def sizes(net: architecture.Architecture) -> Sizes:
    """Reads off a description which sizes fit it.

    Raises:
      ValueError: where branches come out at different resolutions.
      TypeError: on something else than an `Architecture`.
    """
    check_architecture(net)
    return _follow(net.body, "body", Sizes(Fraction(1), 1, 1))


def _follow(layer: architecture.Layer, path: str, sizes: Sizes) -> Sizes:
    """What is asked after a layer, given what was before it."""
    match layer:
        case architecture.Convolution():
            needed = sizes.smallest
            if layer.padding == "reflect" and layer.kernel_size > 1:
                pixels = layer.kernel_size // 2 + 1
                needed = max(needed, math.ceil(pixels / sizes.scale))
            return _rescale(sizes, Fraction(1, layer.stride), needed)
        case architecture.Downsample():
            return _rescale(sizes, Fraction(1, layer.factor), sizes.smallest)
        case architecture.Upsample():
            return _rescale(sizes, Fraction(layer.factor), sizes.smallest)
        case architecture.Serial():
            for position, inner in enumerate(layer.layers):
                sizes = _follow(inner, f"{path}.{child_name(position, inner)}", sizes)
            return sizes
        case architecture.Sum() | architecture.Concat():
            return _join(
                [
                    _follow(branch, f"{path}.{child_name(position, branch)}", sizes)
                    for position, branch in enumerate(layer.branches)
                ],
                f"{type(layer).__name__} at {path}",
            )
    return sizes


def _rescale(sizes: Sizes, factor: Fraction, smallest: int) -> Sizes:
    scale = sizes.scale * factor
    multiple = math.lcm(sizes.multiple, scale.denominator)
    return Sizes(scale, multiple, smallest)


def _join(branches: list[Sizes], name: str) -> Sizes:
    scales = [branch.scale for branch in branches]
    if len(set(scales)) > 1:
        found = ", ".join(str(scale) for scale in scales)
        raise ValueError(
            f"net: the branches of the {name} come out at different resolutions, "
            f"{found} times the input's; add an Upsample or a Downsample"
        )
    multiple = math.lcm(*(branch.multiple for branch in branches))
    smallest = max(branch.smallest for branch in branches)
    return Sizes(scales[0], multiple, smallest)
