"""The recursion of second moments in NumPy, with one matrix for each linear map.

Slow and plain: pixels are in one row, every tap of a convolution and every resampling
is a matrix of all pixels, read off what np.pad, np.repeat, np.interp and SciPy do to
the pixels' numbers. Networks are lists of layers with one kind of channels.
"""

import itertools

import numpy as np
import scipy.signal

from dipgp.architecture import (
    BatchNorm,
    Convolution,
    Downsample,
    Erf,
    LeakyReLU,
    ReLU,
    Sum,
    Upsample,
)

MODES = {"reflect": "reflect", "circular": "wrap", "zeros": "constant"}


def moments(layers, moments, shape):
    """Second moments (pixels, pixels) after the layers, and the shape of the image."""
    for layer in layers:
        moments, shape = step(layer, moments, shape)
    return moments, shape


def step(layer, c, shape):
    match layer:
        case Convolution():
            maps, after = taps(layer, shape)
            mean = sum(s @ c @ s.T for s in maps) / len(maps)
            return layer.weight_variance * mean + layer.bias_variance, after
        case Upsample() | Downsample():
            operator, after = resampling(layer, shape)
            return operator @ c @ operator.T, after
        case ReLU():
            return rectify(c, 0.0), shape
        case LeakyReLU():
            return rectify(c, layer.slope), shape
        case Erf():
            grown = c + 0.5 / layer.scale**2 * np.eye(len(c))
            ratio = np.clip(c / scales(grown), -1, 1)
            # The root of a square is not always the number that was squared.
            np.fill_diagonal(ratio, np.diag(c) / np.diag(grown))
            return 2 / np.pi * np.arcsin(ratio), shape
        case BatchNorm():
            centre = np.eye(len(c)) - 1 / len(c)
            c = centre @ c @ centre
            return c / (np.trace(c) / len(c) + layer.epsilon), shape
        case Sum():
            parts = [moments(branch.layers, c, shape) for branch in layer.branches]
            return sum(part[0] for part in parts), parts[0][1]
    raise ValueError(f"layer: {layer} is not among those of these tests")


def scales(c):
    std = np.sqrt(np.diag(c))
    return np.outer(std, std)


def rectify(c, slope):
    correlation = np.clip(c / scales(c), -1, 1)
    sine = np.sqrt((1 - correlation) * (1 + correlation))
    bend = scales(c) * (sine + correlation * np.arcsin(correlation))
    return ((1 + slope) / 2) ** 2 * c + (1 - slope) ** 2 / (2 * np.pi) * bend


def taps(layer, shape):
    """One (pixels after, pixels before) matrix of zeros and ones a tap."""
    before, behind = (layer.kernel_size - 1) // 2, layer.kernel_size // 2
    # Pixel numbers from 1 on; 0 is what zeros are padded with.
    numbers = 1 + np.arange(np.prod(shape)).reshape(shape)
    numbers = np.pad(numbers, (before, behind), MODES[layer.padding])
    identity = np.concatenate([np.zeros((1, np.prod(shape))), np.eye(np.prod(shape))])
    maps = []
    for corner in itertools.product(range(layer.kernel_size), repeat=len(shape)):
        window = tuple(
            slice(start, start + size, layer.stride)
            for start, size in zip(corner, shape, strict=True)
        )
        maps.append(identity[numbers[window].ravel()])
    return maps, numbers[window].shape


def resampling(layer, shape):
    """(pixels after, pixels before), and the shape after."""
    pixels = np.prod(shape)
    images = np.eye(pixels).reshape(*shape, pixels)
    for axis in range(len(shape)):
        images = np.apply_along_axis(lambda v: resampled(layer, v), axis, images)
    return images.reshape(-1, pixels), images.shape[:-1]


def resampled(layer, values):
    match layer:
        case Downsample(method="average"):
            return values.reshape(-1, layer.factor).mean(axis=1)
        case Downsample():
            return values[:: layer.factor]
        case Upsample(method="nearest"):
            return np.repeat(values, layer.factor)
        case Upsample(method="bilinear"):
            positions = (np.arange(values.size * layer.factor) + 0.5) / layer.factor
            return np.interp(positions - 0.5, np.arange(values.size), values)
    return scipy.signal.resample(values, layer.factor * values.size)
