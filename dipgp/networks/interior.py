"""Where in a network's output no border is seen, and how often its law repeats.

Both are read off the description. In an interior pixel, and averaged over the phases of
up-sampling, a network with a stationary input is what `dipgp.kernels` describes.
"""

import math
from dataclasses import dataclass

from dipgp import architecture
from dipgp.architecture.layers import check_architecture


@dataclass(frozen=True)
class Interior:
    """How a network's output depends on where a pixel is.

    Attributes:
      reach: pixels of the output at each end that may depend on what stands beyond the
        border; infinite behind band-limited up-sampling, whose filter has no end. The
        statistics of batch norm, which are those of all pixels, are left out.
      period: shifted by so many pixels, the output of a stationary input has the same
        law again.
    """

    reach: float
    period: int


def interior(net: architecture.Architecture) -> Interior:
    """Reads off a description what its borders reach, and the period of its phases.

    Raises:
      TypeError: on something else than an `Architecture`.
    """
    check_architecture(net)
    return _follow(net.body, Interior(0, 1))


def _follow(layer: architecture.Layer, before: Interior) -> Interior:
    match layer:
        case architecture.Convolution():
            seen = Interior(before.reach + layer.kernel_size // 2, before.period)
            return _decimate(seen, layer.stride)
        case architecture.Downsample():
            return _decimate(before, layer.factor)
        case architecture.Upsample(factor, method):
            beyond = {"nearest": 0, "bilinear": factor // 2, "ideal": math.inf}[method]
            if factor == 1:
                return before
            return Interior(factor * before.reach + beyond, factor * before.period)
        case architecture.Serial():
            for inner in layer.layers:
                before = _follow(inner, before)
            return before
        case architecture.Sum() | architecture.Concat():
            branches = [_follow(branch, before) for branch in layer.branches]
            return Interior(
                max(branch.reach for branch in branches),
                math.lcm(*(branch.period for branch in branches)),
            )
    return before


def _decimate(before: Interior, factor: int) -> Interior:
    """A block counts as reached where one of its pixels is."""
    reach = before.reach
    reach = reach if math.isinf(reach) else -(-int(reach) // factor)
    return Interior(reach, before.period // math.gcd(before.period, factor))
