"""What is seen through a linear map, up to the levels of the image's colours.

All values (c, h, w) are one system, with the covariance G = A K A^T + D. What levels
add to them is spanned by A L, L constant colours; P projects on what is orthogonal to
that where the mask lets pixels through.
"""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp

from dipgp.gp import conjugate_gradients, through
from dipgp.gp.colour import ChannelModel, correlate, decorrelate
from dipgp.gp.field import inverse_noise
from dipgp.gp.toeplitz import Torus
from dipgp.observations import LinearMap, Observation

Array = jax.Array

# Corrections of a solution by its own residual: it is one of the field's equations,
# whose residual is small where that of the weights need not be.
CORRECTIONS = 1


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ContrastsThrough:
    """The contrasts of what is seen of one image, and their covariance P G P.

    Images are (1, c, h, w).

    Attributes:
      tori: one covariance an independent channel.
      observation: mask and noise.
      channels: directions of the independent channels.
      basis: (C, c, h, w), orthonormal, of A L behind the mask.
      level_volume: log|L^T A^T A L|, behind the mask.
      through: A.
      shape: (H, W, C) of the image.
    """

    tori: Torus
    observation: Observation
    channels: ChannelModel
    basis: Array
    level_volume: Array
    through: LinearMap = field(metadata={"static": True})
    shape: tuple[int, int, int] = field(metadata={"static": True})

    @property
    def degrees(self) -> Array:
        """How many contrasts there are."""
        colours, seen = self.basis.shape[:2]
        return seen * jnp.sum(self.observation.mask) - colours

    def project(self, images: Array) -> Array:
        """P: zero where nothing is observed, and orthogonal to what levels add."""
        visible = self.observation.mask[None, None] * images
        shares = jnp.einsum("kchw,nchw->nk", self.basis, visible, precision="highest")
        return visible - jnp.einsum(
            "kchw,nk->nchw", self.basis, shares, precision="highest"
        )

    def covariance(self, images: Array) -> Array:
        """P G P on the contrasts, the identity on their complement."""
        weights = self.project(images)
        spread = self.through.adjoint(jnp.moveaxis(weights[0], 0, -1), self.shape)
        fields = self.tori.apply(decorrelate(spread, self.channels))
        noise = jnp.square(self.observation.noise_std)[None, None]
        return self.project(self._see(fields) + noise * weights) + images - weights

    def invert(
        self, data: Array, tolerance: float, max_iterations: int
    ) -> conjugate_gradients.Solution:
        """Weights of data, W (y - A f) of the posterior mean f.

        Returns:
          With the relative residual of the weights' own equations, P G a = P y.
        """
        wanted = self.project(data)
        weights, iterations = jnp.zeros_like(wanted), jnp.zeros(1, int)
        rest = wanted
        for _ in range(1 + CORRECTIONS):
            found = through.solve(
                self.tori,
                rest[0],
                self.observation,
                self.channels,
                self.through,
                self.shape,
                tolerance,
                max_iterations,
            )
            missed = rest - self._see(found.mean)
            step = self.project(inverse_noise(self.observation)[None, None] * missed)
            weights, iterations = weights + step, iterations + found.iterations[:1]
            rest = wanted - self.covariance(weights)
        size = jnp.linalg.norm(wanted)
        residual = jnp.linalg.norm(rest) / jnp.where(size == 0, 1, size)
        return conjugate_gradients.Solution(weights, iterations, residual[None])

    def alone(self, index: int) -> "ContrastsThrough":
        """The one system that there is."""
        assert index == 0
        return self

    def _see(self, fields: Array) -> Array:
        """(1, c, h, w) of independent channels (C, H, W)."""
        return jnp.moveaxis(self.through(correlate(fields, self.channels)), -1, 0)[None]


def see_through(
    tori: Torus,
    observation: Observation,
    channels: ChannelModel,
    linear_map: LinearMap,
    shape: tuple[int, int, int],
) -> ContrastsThrough:
    """The contrasts of what is seen through a map; arguments as of `through.solve`."""
    count, dtype = shape[2], observation.mask.dtype
    colours = jnp.eye(count, dtype=dtype)[:, None, None]
    seen = jax.vmap(linear_map)(jnp.broadcast_to(colours, (count, *shape)))
    seen = jnp.moveaxis(seen * observation.mask[None, :, :, None], -1, 1)
    root = jnp.linalg.cholesky(
        jnp.einsum("achw,bchw->ab", seen, seen, precision="highest")
    )
    flat = seen.reshape(count, -1)
    basis = jax.scipy.linalg.solve_triangular(root, flat, lower=True)
    return ContrastsThrough(
        tori,
        observation,
        channels,
        basis.reshape(seen.shape),
        2 * jnp.sum(jnp.log(jnp.diagonal(root))),
        linear_map,
        shape,
    )
