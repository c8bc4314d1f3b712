"""Colour images as independent channels: a rotation that decorrelates them.

Red, green and blue of a photograph rise and fall together. The model is a stationary
field times a channel covariance C, the intrinsic coregionalisation model:
Cov[x_c(t), x_d(t + r)] = C_cd K(r). Where all channels are seen at the same pixels in
noise of one strength, the channels V^T x, with C = V diag(variances) V^T, are
independent and can be restored one by one.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dipgp.observations import Observation
from dipgp.observations.observation import check_observation

Array = jax.Array


class ChannelModel(NamedTuple):
    """A channel covariance C = V diag(variances) V^T.

    Attributes:
      rotation: V, (C, C) orthonormal; each column is a direction in colour space.
      variances: (C,) positive, of the decorrelated channels.
    """

    rotation: Array | np.ndarray
    variances: Array | np.ndarray


def estimate_channels(observation: Observation) -> ChannelModel:
    """The channels' covariance over the observed pixels less the noise.

    Scaled to a mean variance of 1, so that a prior K C has the variance of K on average
    over the channels. With one channel this is 1.
    """
    check_observation(observation)
    values, mask, noise_std = observation
    if values.shape[-1] == 1:  # known, also where JAX traces the image
        return ChannelModel(np.ones((1, 1), values.dtype), np.ones(1, values.dtype))
    count = jnp.sum(mask)
    weights = mask[:, :, None]
    level = jnp.sum(values * weights, axis=(0, 1), keepdims=True) / count
    centred = weights * (values - level)
    covariance = jnp.einsum("hwc,hwd->cd", centred, centred, precision="highest")
    variances, rotation = jnp.linalg.eigh(covariance / count)
    noise = jnp.sum(mask * jnp.square(noise_std)) / count
    # A channel that drowns in the noise keeps a small share of the prior's variance.
    smallest = jnp.maximum(1e-4 * variances[-1], jnp.finfo(values.dtype).tiny)
    variances = jnp.maximum(variances - noise, smallest)
    return ChannelModel(rotation, variances / jnp.mean(variances))


def decorrelate(values: Array, channels: ChannelModel) -> Array:
    """Turns (H, W, C) colours into (C, H, W) independent channels."""
    return jnp.einsum("hwd,dc->chw", values, channels.rotation, precision="highest")


def correlate(values: Array, channels: ChannelModel) -> Array:
    """Turns (..., C, H, W) independent channels back into (..., H, W, C) colours."""
    return jnp.einsum(
        "...chw,dc->...hwd", values, channels.rotation, precision="highest"
    )
