"""An image seen through a linear map, by matrices: what is left open, and evidence.

For small images only: A is multiplied out, and time grows with the cube of pixels and
channels.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dipgp.gp import dense, restricted
from dipgp.gp.colour import ChannelModel
from dipgp.kernels.stationary import Covariance
from dipgp.observations import LinearMap, Observation

Array = jax.Array


def posterior_covariance(
    covariances: Sequence[Covariance],
    observation: Observation,
    channels: ChannelModel,
    through: LinearMap,
    shape: tuple[int, int, int],
) -> Array:
    """Covariance of what is left open between all pixels and colours of an image.

    With K the covariance of the colours, L the levels' columns (1 where a row is of
    their colour), G = A K A^T + D, and R = L - K A^T G^-1 A L,

        K - K A^T G^-1 A K + R [(A L)^T G^-1 A L]^-1 R^T

    (universal kriging; Cressie, Statistics for Spatial Data, 1993, section 3.4).

    Args:
      covariances: of the independent channels.
      observation: mask and noise of what was seen.
      channels: directions of the independent channels.
      through: A.
      shape: (H, W, C) of the image.

    Returns:
      (C H W, C H W), colour by colour, pixels row by row.

    Raises:
      ValueError: where the matrices would take more than `dense.MEMORY_LIMIT_GIB`, or
        while the mask is traced by JAX.
    """
    parts = _multiply_out(
        covariances, observation, channels, through, shape, 'method="probing"'
    )
    size = len(parts.prior)
    root = jnp.linalg.cholesky(parts.seen_twice)
    both = jax.scipy.linalg.solve_triangular(
        root, jnp.concatenate([parts.cross, parts.seen_levels], 1), lower=True
    )
    gains, known = both[:, :size], both[:, size:]
    untold = parts.levels.T - known.T @ gains
    left = jnp.linalg.solve(known.T @ known, untold)
    return parts.prior - gains.T @ gains + untold.T @ left


def density_of_contrasts(
    covariances: Sequence[Covariance],
    observation: Observation,
    channels: ChannelModel,
    through: LinearMap,
    shape: tuple[int, int, int],
) -> tuple[Array, int]:
    """What the log evidence is made of; arguments as of `posterior_covariance`.

    Returns:
      The restricted log density of what was seen, and the number of contrasts.
    """
    parts = _multiply_out(
        covariances, observation, channels, through, shape, 'method="lanczos"'
    )
    values = observation.values.ravel()[parts.seen]
    density = restricted.log_density(parts.seen_twice, values, parts.seen_levels)
    return density, parts.seen.size - shape[2]


class _Parts(NamedTuple):
    """Matrices of an image in rows, colour by colour, and of what is seen of it.

    Attributes:
      prior: K of the colours.
      levels: L.
      cross: A K.
      seen_levels: A L.
      seen_twice: G.
      seen: indices of the values seen, in an array (h, w, c) that is laid flat.
    """

    prior: Array
    levels: Array
    cross: Array
    seen_levels: Array
    seen_twice: Array
    seen: np.ndarray


def _multiply_out(
    covariances: Sequence[Covariance],
    observation: Observation,
    channels: ChannelModel,
    through: LinearMap,
    shape: tuple[int, int, int],
    instead: str,
) -> _Parts:
    """The matrices, unless they are too large; then it is told what to do instead."""
    mask, values = observation.mask, observation.values
    dense.check_mask_is_known(observation)
    dense.check_memory(math.prod(shape), observation, instead)
    every = np.broadcast_to(np.asarray(mask)[:, :, None] != 0, values.shape)
    (seen,) = np.nonzero(every.ravel())
    noise = jnp.broadcast_to(jnp.square(observation.noise_std)[:, :, None], every.shape)

    each = jnp.stack([dense.all_pairs(k, shape[:2], mask.dtype) for k in covariances])
    rotation, size = channels.rotation, math.prod(shape)
    prior = jnp.einsum("dc,ec,cij->diej", rotation, rotation, each, precision="highest")
    prior = prior.reshape(size, size)
    levels = jnp.repeat(jnp.eye(shape[2], dtype=mask.dtype), size // shape[2], axis=0)

    def see(columns: Array) -> Array:
        """A and the mask on images that are columns (C H W, n)."""
        images = columns.T.reshape(-1, shape[2], *shape[:2])
        pictures = jax.vmap(through)(jnp.moveaxis(images, 1, -1))
        return pictures.reshape(len(images), -1)[:, seen].T

    cross = see(prior)
    gram = see(cross.T) + jnp.diag(noise.ravel()[seen])
    return _Parts(prior, levels, cross, see(levels), (gram + gram.T) / 2, seen)
