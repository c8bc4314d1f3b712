"""The hourglass of the deep image prior in PyTorch, written from its description.

Five scales of halving and doubling with skips; reflection padding, batch norm in
training mode, leaky ReLU 0.2, bilinear or nearest doubling, sigmoid.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from dipgp.networks.parameters import Parameter


class Convolved(nn.Module):
    """Convolution with a mirrored border, then batch norm and leaky ReLU."""

    def __init__(
        self, channels_in: int, channels_out: int, kernel_size: int, stride: int = 1
    ) -> None:
        super().__init__()
        self.border = nn.ReflectionPad2d(kernel_size // 2)
        self.convolution = nn.Conv2d(channels_in, channels_out, kernel_size, stride)
        self.norm = nn.BatchNorm2d(channels_out)
        self.activation = nn.LeakyReLU(0.2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """From (N, channels_in, H, W) to (N, channels_out, H / stride, W / stride)."""
        return self.activation(self.norm(self.convolution(self.border(x))))


class Scale(nn.Module):
    """One halving with what is below it, its skip, and their merger."""

    def __init__(
        self,
        channels: int,
        down: Sequence[int],
        up: Sequence[int],
        skip: Sequence[int],
        mode: str,
    ) -> None:
        super().__init__()
        width = up[1] if len(up) > 1 else down[0]
        self.skip = Convolved(channels, skip[0], 1) if skip[0] else None
        self.halve = Convolved(channels, down[0], 3, stride=2)
        self.second = Convolved(down[0], down[0], 3)
        self.below = None
        if len(down) > 1:
            self.below = Scale(down[0], down[1:], up[1:], skip[1:], mode)
        level = {"align_corners": False} if mode == "bilinear" else {}
        self.doubling = nn.Upsample(scale_factor=2, mode=mode, **level)
        self.norm = nn.BatchNorm2d(skip[0] + width)
        self.join = Convolved(skip[0] + width, up[0], 3)
        self.mix = Convolved(up[0], up[0], 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """From (N, channels, H, W) to (N, up[0], H, W)."""
        deep = self.second(self.halve(x))
        if self.below is not None:
            deep = self.below(deep)
        deep = self.doubling(deep)
        if self.skip is not None:
            deep = torch.cat([self.skip(x), deep], dim=1)
        return self.mix(self.join(self.norm(deep)))


class Hourglass(nn.Module):
    """From (N, channels, H, W), multiples of 2^scales, to (N, 3, H, W) in (0, 1)."""

    def __init__(
        self,
        channels: int,
        down: Sequence[int],
        up: Sequence[int],
        skip: Sequence[int],
        mode: str = "bilinear",
    ) -> None:
        super().__init__()
        self.body = Scale(channels, down, up, skip, mode)
        self.read_out = nn.Conv2d(up[0], 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The images."""
        return torch.sigmoid(self.read_out(self.body(x)))


def ordered_parameters(network: nn.Module) -> list[nn.Parameter]:
    """Weights, then biases, of the layers in the order in which a signal meets them.

    That is the order of `dipgp.networks.parameters.parameters`, where batch norm's
    gamma and beta are what PyTorch calls its weight and bias.
    """
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.BatchNorm2d)]
    return [values for layer in layers for values in layer.parameters()]


def copy_parameters(
    network: nn.Module, variables: dict[str, Any], found: Sequence[Parameter]
) -> None:
    """Gives the network the parameters of one of `dipgp.networks`.

    Args:
      network: where to.
      variables: as `init` returns them, with the initialisation "reference".
      found: as `dipgp.networks.parameters.parameters` lists them.
    """
    with torch.no_grad():
        for own, one in zip(ordered_parameters(network), found, strict=True):
            own.copy_(to_torch(at(variables["params"], one)))


def at(tree: Any, parameter: Parameter) -> Any:
    """The array of a parameter in a tree nested by the names of layers."""
    for name in parameter.path:
        tree = tree[name]
    return tree


def to_torch(array: Any) -> torch.Tensor:
    """Channels last to channels first, an image's (H, W, C) or a kernel's."""
    array = np.asarray(array)
    order = {1: (0,), 3: (2, 0, 1), 4: (3, 2, 0, 1)}[array.ndim]
    return torch.from_numpy(array.transpose(order).copy())
