"""Covariances for tests: one with a prescribed variogram, and one of every kind."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from dipgp import kernels
from dipgp.architecture import (
    Architecture,
    BatchNorm,
    Convolution,
    Erf,
    LeakyReLU,
    Serial,
)
from dipgp.kernels.stationary import Covariance, Moments


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Ramp(Covariance):
    """K(r) = variance - |r|: the first lag is the variogram, exact to its last digit.

    It serves rules that act lag by lag, up to |r| = 2 variance (correlation -1).
    """

    variance: jax.typing.ArrayLike

    def evaluate(self, lags, at):
        lags = jnp.asarray(lags)
        level = jnp.asarray(self.variance, lags.dtype)
        return Moments(level, level, jnp.abs(lags[..., 0]))


def bell(lags):
    """A plain function: a Gaussian of width 1.5, for any number of axes."""
    return jnp.exp(-jnp.sum(jnp.square(lags), axis=-1) / 9)


def smooth():
    return kernels.gaussian(sigma=1.5)


def tangent(activation):
    """With batch norm on both sides of a non-linearity, which takes every rule."""
    layers = [Convolution(4), BatchNorm(0.1), activation, BatchNorm(0.1)]
    return kernels.ntk(Architecture(Serial([*layers, Convolution(1)])), smooth())


EXAMPLES = {
    "white": kernels.white(),
    "gaussian": smooth(),
    "matern 1/2": kernels.matern(0.5, 3.0),
    "matern 5/2": kernels.matern(2.5, 3.0),
    "constant": kernels.constant(0.7),
    "uniform": kernels.uniform(),
    "function": kernels.as_covariance(bell),
    "scale": kernels.scale(smooth(), 2.5),
    "normalize": kernels.normalize(kernels.uniform(0.0, 1.0)),
    "bias": kernels.bias(smooth(), 0.3),
    "add": kernels.add(kernels.white(), smooth(), kernels.constant(0.1)),
    "concat": kernels.concat([kernels.white(), smooth()], channels=[4, 128]),
    "batch norm": kernels.batch_norm(kernels.relu(bell), epsilon=0.1),
    "relu": kernels.relu(smooth()),
    "leaky relu": kernels.leaky_relu(smooth(), slope=0.2),
    "absolute value": kernels.leaky_relu(smooth(), slope=-1.0),
    "sign": kernels.erf(smooth()),
    "erf": kernels.erf(smooth(), scale=1.0),
    "down stride": kernels.downsample(smooth(), 3, method="stride"),
    "down average": kernels.downsample(kernels.white(), 3, "average"),
    "up ideal": kernels.upsample(smooth(), 2),
    "up nearest": kernels.upsample(smooth(), 2, method="nearest"),
    "up bilinear": kernels.upsample(kernels.relu(bell), 3, method="bilinear"),
    "deep erf": kernels.erf(kernels.erf(kernels.bias(smooth(), 0.3)), scale=2.0),
    "hourglass": kernels.concat(
        [
            smooth(),
            kernels.batch_norm(
                kernels.upsample(
                    kernels.leaky_relu(kernels.downsample(smooth(), 2, "average")),
                    2,
                    "bilinear",
                )
            ),
        ],
        channels=[4, 16],
    ),
    "tangent": tangent(LeakyReLU(0.2)),
    "tangent erf": tangent(Erf(1.5)),
}
