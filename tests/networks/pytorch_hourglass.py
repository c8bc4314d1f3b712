"""The hourglass of the deep image prior in PyTorch, written from its description.

Five scales of halving and doubling with skips; reflection padding, batch norm in
training mode, leaky ReLU 0.2, bilinear or nearest doubling, sigmoid.
"""

import torch
from torch import nn


class Convolved(nn.Module):
    """Convolution with a mirrored border, then batch norm and leaky ReLU."""

    def __init__(self, channels_in, channels_out, kernel_size, stride=1):
        super().__init__()
        self.border = nn.ReflectionPad2d(kernel_size // 2)
        self.convolution = nn.Conv2d(channels_in, channels_out, kernel_size, stride)
        self.norm = nn.BatchNorm2d(channels_out)
        self.activation = nn.LeakyReLU(0.2)

    def forward(self, x):
        return self.activation(self.norm(self.convolution(self.border(x))))


class Scale(nn.Module):
    """One halving with what is below it, its skip, and their merger."""

    def __init__(self, channels, down, up, skip, mode):
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

    def forward(self, x):
        deep = self.second(self.halve(x))
        if self.below is not None:
            deep = self.below(deep)
        deep = self.doubling(deep)
        if self.skip is not None:
            deep = torch.cat([self.skip(x), deep], dim=1)
        return self.mix(self.join(self.norm(deep)))


class Hourglass(nn.Module):
    """From (N, channels, H, W), multiples of 2^scales, to (N, 3, H, W) in (0, 1)."""

    def __init__(self, channels, down, up, skip, mode="bilinear"):
        super().__init__()
        self.body = Scale(channels, down, up, skip, mode)
        self.read_out = nn.Conv2d(up[0], 3, 1)

    def forward(self, x):
        return torch.sigmoid(self.read_out(self.body(x)))


def layers_with_parameters(network):
    """Convolutions and batch norms in the order in which a signal meets them."""
    return [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.BatchNorm2d)]
