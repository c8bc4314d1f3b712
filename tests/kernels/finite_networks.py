"""Random networks of finite width on a circle of pixels, and their second moments.

A plain reading of `dipgp.architecture`, independent of the closed forms: every layer
is drawn with its own weights and acts on signals (pixels, channels) with periodic ends.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import erf

from dipgp.architecture import (
    BatchNorm,
    Concat,
    Convolution,
    Downsample,
    Erf,
    LeakyReLU,
    Linear,
    ReLU,
    Serial,
    Sum,
    Upsample,
)


def apply(layer, key, x):
    """The layer's output for an input x (pixels, channels), with random weights."""
    match layer:
        case Convolution():
            return _convolve(layer, key, x)
        case Serial():
            for inner in layer.layers:
                key, key_layer = jax.random.split(key)
                x = apply(inner, key_layer, x)
            return x
        case Sum():
            return sum(_branches(layer, key, x))
        case Concat():
            return jnp.concatenate(_branches(layer, key, x), axis=-1)
        case ReLU():
            return jnp.maximum(x, 0)
        case LeakyReLU():
            return jnp.where(x > 0, x, layer.slope * x)
        case Erf():
            return jnp.sign(x) if np.isinf(layer.scale) else erf(layer.scale * x)
        case Linear():
            return x
        case BatchNorm():
            centred = x - x.mean(axis=0, keepdims=True)
            spread = jnp.square(centred).mean(axis=0, keepdims=True) + layer.epsilon
            return centred / jnp.sqrt(spread)
        case Downsample(method="average"):
            return x.reshape(-1, layer.factor, x.shape[-1]).mean(axis=1)
        case Upsample(factor=2, method="bilinear"):
            before, after = jnp.roll(x, 1, axis=0), jnp.roll(x, -1, axis=0)
            halves = jnp.stack([before + 3 * x, 3 * x + after], axis=1) / 4
            return halves.reshape(-1, x.shape[-1])
        case Upsample(method="nearest"):
            return jnp.repeat(x, layer.factor, axis=0)
    raise ValueError(f"layer: {layer} is not among those of these tests")


def _branches(layer, key, x):
    keys = jax.random.split(key, len(layer.branches))
    return [apply(b, k, x) for b, k in zip(layer.branches, keys, strict=True)]


def _convolve(layer, key, x):
    taps = [jnp.roll(x, -tap, axis=0) for tap in range(layer.kernel_size)]
    patches = jnp.concatenate(taps, axis=-1)[:: layer.stride]
    key_weights, key_biases = jax.random.split(key)
    fan_in = patches.shape[-1]
    weights = jax.random.normal(key_weights, (fan_in, layer.channels))
    biases = jax.random.normal(key_biases, (1, layer.channels))
    out = jnp.sqrt(layer.weight_variance / fan_in) * (patches @ weights)
    return out + jnp.sqrt(layer.bias_variance) * biases


def exact_input(covariance, pixels):
    """A signal of as many channels as pixels whose second moments are the covariance.

    On the circle the lags are the shorter way around.
    """
    lags = np.minimum(np.arange(pixels), pixels - np.arange(pixels))
    row = np.asarray(covariance(lags[:, None].astype(np.float32)), np.float64)
    spectrum = np.fft.fft(row).real
    assert spectrum.min() > -1e-5 * spectrum.max()
    root = np.fft.ifft(np.sqrt(np.maximum(spectrum, 0))).real
    shifts = (np.arange(pixels) - np.arange(pixels)[:, None]) % pixels
    return np.float32(np.sqrt(pixels) * root[shifts])


def moments(net, covariance, *, pixels, networks, reach, key):
    """Second moments of a network's last hidden layer, over many networks.

    The read-out that follows is linear, so its own weights are integrated out: the
    covariance of the output is the read-out's variances applied to these moments.

    Args:
      net: its body is a Serial that ends in a linear read-out.
      covariance: of the input.
      pixels: of the input's circle.
      networks: how many are drawn.
      reach: largest lag.
      key: of all draws.

    Returns:
      mean: (reach + 1,) covariances of the output by lag.
      error: (reach + 1,) their standard errors.
    """
    *hidden, read_out = net.body.layers
    x = jnp.asarray(exact_input(covariance, pixels))

    def by_lag(key):
        h = apply(Serial(hidden), key, x)
        products = [(h * jnp.roll(h, -r, axis=0)).mean() for r in range(reach + 1)]
        return jnp.stack(products)

    run = jax.jit(functools.partial(jax.lax.map, by_lag))
    drawn = np.asarray(run(jax.random.split(key, networks)), np.float64)
    drawn = read_out.weight_variance * drawn + read_out.bias_variance
    return drawn.mean(axis=0), drawn.std(axis=0, ddof=1) / np.sqrt(networks)
