"""The layers of `dipgp.architecture` as flax modules that act on one signal.

Every module takes x (H, W, C) or (L, C), without a batch axis, and computes in x's
dtype, to which it rounds its parameters; batch norm computes in 32 bits at least. A
child is named after its kind and its place among its siblings, so that a parameter's
path can be read off the description:
`params["serial_1"]["convolution_0"]["weights"]`.

Modules say what parameters they read; `dipgp.networks.parameters` draws them, all at
once.
"""

import functools
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
from dipgp.networks.normalisation import Normalised, per_channel, value
from dipgp.networks.parameters import weight_shape, weight_std

Array = jax.Array
# Batch norm leaves its signal to what reads it.
Signal = Array | Normalised


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
    def __call__(self, signal: Signal) -> Array:
        """Convolves; see `dipgp.networks.convolution`."""
        layer = self.layer
        x = signal.x if isinstance(signal, Normalised) else signal
        shape = weight_shape(layer, x.shape[-1], x.ndim - 1)
        weights = self.read("weights", shape, x)
        if self.form.scaled:
            weights = weight_std(layer, shape) * weights
        convolved = functools.partial(
            convolve,
            stride=layer.stride,
            padding=layer.padding,
            forward_differentiable=self.form.forward_differentiable,
        )
        if isinstance(signal, Normalised):
            y = signal.read(convolved, weights)
        else:
            y = convolved(signal, weights)
        if layer.bias_variance > 0:
            biases = self.read("biases", (layer.channels,), x)
            if self.form.scaled:
                biases = math.sqrt(layer.bias_variance) * biases
            y = y + per_channel(biases, y)
        return y


class BatchNorm(Block):
    """Standardises each channel over its pixels, always by the signal at hand.

    With `affine`, gamma and beta (C,) follow. A channel without variance comes out as
    beta also where epsilon is 0.
    """

    layer: architecture.BatchNorm
    form: Form

    @nn.compact
    def __call__(self, signal: Signal) -> Normalised:
        """Subtracts the mean and divides by sqrt(variance + epsilon)."""
        x = value(signal)
        exact = numerics.at_least_single(x)
        shape = x.shape[-1:]
        gamma, beta = jnp.ones(shape, exact.dtype), jnp.zeros(shape, exact.dtype)
        if self.layer.affine:
            gamma, beta = (self.read(name, shape, exact) for name in ("gamma", "beta"))
        plain = self.form.forward_differentiable
        return Normalised(x, gamma, beta, self.layer.epsilon, (), plain)


class Activation(nn.Module):
    """A function of each number by itself."""

    layer: architecture.Activation

    def __call__(self, signal: Signal) -> Signal:
        """Applies it; at a kink the slope is that of the left side."""
        function = functools.partial(_activate, self.layer)
        if isinstance(signal, Normalised):
            return signal.then(function)
        return function(signal)


def _activate(layer: architecture.Activation, x: Array) -> Array:
    match layer:
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

    def __call__(self, signal: Signal) -> Array:
        """Resamples; see `dipgp.networks.resampling`."""
        x = value(signal)
        if isinstance(self.layer, architecture.Upsample):
            return resampling.upsample(x, self.layer.factor, self.layer.method)
        return resampling.downsample(x, self.layer.factor, self.layer.method)


class Serial(nn.Module):
    """Layers one after another."""

    layer: architecture.Serial
    form: Form

    @nn.compact
    def __call__(self, signal: Signal) -> Signal:
        """Applies them in order."""
        for position, inner in enumerate(self.layer.layers):
            signal = module(inner, self.form, child_name(position, inner))(signal)
        return signal


class Branches(nn.Module):
    """Branches that read the same input: a Sum, or a Concat of channels."""

    layer: architecture.Sum | architecture.Concat
    form: Form

    @nn.compact
    def __call__(self, signal: Signal) -> Array:
        """Applies them all, then adds them or lays their channels side by side."""
        # Once for all branches.
        x = value(signal)
        outputs = [
            value(module(branch, self.form, child_name(position, branch))(x))
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
            return BatchNorm(layer, form, name=name)
        case architecture.Serial():
            return Serial(layer, form, name=name)
        case architecture.Sum() | architecture.Concat():
            return Branches(layer, form, name=name)
        case architecture.Upsample() | architecture.Downsample():
            return Resampling(layer, name=name)
    return Activation(layer, name=name)
