"""The layers of `dipgp.architecture` as flax modules that act on one signal.

Every module takes x (H, W, C) or (L, C), without a batch axis, and computes in x's
dtype, to which it rounds its parameters; batch norm computes in 32 bits at least. A
child is named after its kind and its place among its siblings, so that a parameter's
path can be read off the description:
`params["serial_1"]["convolution_0"]["weights"]`.

Modules say what parameters they read; `dipgp.networks.parameters` draws them, all at
once.
"""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from dipgp import architecture, numerics
from dipgp.architecture.layers import child_name
from dipgp.networks import resampling
from dipgp.networks.convolution import convolve
from dipgp.networks.parameters import weight_shape, weight_std

Array = jax.Array


@dataclass(frozen=True)
class Form:
    """Of the same function of the same field, which form is computed.

    Attributes:
      scaled: whether standard normal parameters are expected, which the function
        multiplies by the description's standard deviations.
      forward_differentiable: whether forward-mode derivatives are there, at the price
        of speed on CPUs.
    """

    scaled: bool
    forward_differentiable: bool


class Block(nn.Module):
    """What the modules with parameters share."""

    def read(self, name: str, shape: tuple[int, ...], x: Array) -> Array:
        """A parameter in x's dtype; flax refuses one of another shape."""
        return self.param(name, nn.initializers.zeros, shape, x.dtype).astype(x.dtype)


class Convolution(Block):
    """A convolution with weights, and with biases if their variance is positive."""

    layer: architecture.Convolution
    form: Form

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Convolves; see `dipgp.networks.convolution`."""
        layer = self.layer
        shape = weight_shape(layer, x.shape[-1], x.ndim - 1)
        weights = self.read("weights", shape, x)
        if self.form.scaled:
            weights = weight_std(layer, shape) * weights
        y = convolve(
            x,
            weights,
            layer.stride,
            layer.padding,
            forward_differentiable=self.form.forward_differentiable,
        )
        if layer.bias_variance > 0:
            biases = self.read("biases", (layer.channels,), x)
            if self.form.scaled:
                biases = math.sqrt(layer.bias_variance) * biases
            y = y + _per_channel(biases, y)
        return y


class BatchNorm(Block):
    """Standardises each channel over its pixels, always by the signal at hand.

    With `affine`, gamma and beta (C,) follow. A channel without variance comes out as
    beta also where epsilon is 0.
    """

    layer: architecture.BatchNorm

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Subtracts the mean and divides by sqrt(variance + epsilon)."""
        return self._normalise(numerics.at_least_single(x)).astype(x.dtype)

    def _normalise(self, x: Array) -> Array:
        pixels = tuple(range(x.ndim - 1))
        centred = x - x.mean(pixels, keepdims=True)
        variance = jnp.square(centred).mean(pixels, keepdims=True)
        std = numerics.safe_sqrt(variance + self.layer.epsilon)
        factor = numerics.safe_divide(jnp.ones_like(std), std)
        if not self.layer.affine:
            return centred * factor
        gamma = _per_channel(self.read("gamma", x.shape[-1:], x), x)
        beta = _per_channel(self.read("beta", x.shape[-1:], x), x)
        return centred * (factor * gamma) + beta


class Activation(nn.Module):
    """A function of each number by itself."""

    layer: architecture.Activation

    def __call__(self, x: Array) -> Array:
        """Applies it; at a kink the slope is that of the left side."""
        match self.layer:
            case architecture.ReLU():
                return jnp.where(x > 0, x, 0)
            case architecture.LeakyReLU(slope):
                return jnp.where(x > 0, x, slope * x)
            case architecture.Erf(scale):
                return jnp.sign(x) if math.isinf(scale) else lax.erf(scale * x)
            case architecture.Sigmoid():
                return jax.nn.sigmoid(x)
        return x


class Resampling(nn.Module):
    """Up- or down-sampling."""

    layer: architecture.Upsample | architecture.Downsample

    def __call__(self, x: Array) -> Array:
        """Resamples; see `dipgp.networks.resampling`."""
        if isinstance(self.layer, architecture.Upsample):
            return resampling.upsample(x, self.layer.factor, self.layer.method)
        return resampling.downsample(x, self.layer.factor, self.layer.method)


class Serial(nn.Module):
    """Layers one after another."""

    layer: architecture.Serial
    form: Form

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Applies them in order."""
        for position, inner in enumerate(self.layer.layers):
            x = module(inner, self.form, child_name(position, inner))(x)
        return x


class Branches(nn.Module):
    """Branches that read the same input: a Sum, or a Concat of channels."""

    layer: architecture.Sum | architecture.Concat
    form: Form

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Applies them all, then adds them or lays their channels side by side."""
        outputs = [
            module(branch, self.form, child_name(position, branch))(x)
            for position, branch in enumerate(self.layer.branches)
        ]
        if isinstance(self.layer, architecture.Concat):
            return jnp.concatenate(outputs, axis=-1)
        total = outputs[0]
        for output in outputs[1:]:
            total = total + output
        return total


def module(layer: architecture.Layer, form: Form, name: str | None = None) -> nn.Module:
    """The flax module of a layer.

    Args:
      layer: its description.
      form: of the computation.
      name: under which the layer above keeps its parameters.
    """
    match layer:
        case architecture.Convolution():
            return Convolution(layer, form, name=name)
        case architecture.BatchNorm():
            return BatchNorm(layer, name=name)
        case architecture.Serial():
            return Serial(layer, form, name=name)
        case architecture.Sum() | architecture.Concat():
            return Branches(layer, form, name=name)
        case architecture.Upsample() | architecture.Downsample():
            return Resampling(layer, name=name)
    return Activation(layer, name=name)


def _per_channel(values: Array, x: Array) -> Array:
    """Values (C,) with as many axes as x."""
    return values.reshape((1,) * (x.ndim - 1) + values.shape)
