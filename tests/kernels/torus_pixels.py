"""All pairs of pixels of a torus, for comparisons with the stationary closed forms."""

import jax.numpy as jnp
import numpy as np

from dipgp import kernels


def periodic(period):
    """A smooth covariance with the period of a torus on each axis."""

    def covariance(lags):
        turns = jnp.cos(2 * jnp.pi * lags / period) - 1
        return 1.7 * jnp.exp(2.0 * jnp.sum(turns, axis=-1))

    return kernels.as_covariance(covariance)


def all_lags(count, dimensions):
    """The lag between each pair of `count` pixels, (count, count, dimensions)."""
    size = round(count ** (1 / dimensions))
    pixels = np.stack(np.indices((size,) * dimensions), axis=-1).reshape(count, -1)
    return (pixels[None] - pixels[:, None]).astype(float)
