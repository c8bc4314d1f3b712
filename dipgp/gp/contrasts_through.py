"""What is seen through a linear map, up to the levels of the image's colours.

All values (c, h, w) are one system, with the covariance G = A K A^T + D. What levels
add to them is spanned by A L, L constant colours; P projects on what is orthogonal to
that where the mask lets pixels through.
"""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp

from dipgp.gp import conjugate_gradients, through
from dipgp.gp.colour import correlate, decorrelate
from dipgp.gp.field import inverse_noise
from dipgp.gp.seen import SeenThrough

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
      seen: the image.
      basis: (C, c, h, w), orthonormal, of A L behind the mask.
      level_volume: log|L^T A^T A L|, behind the mask.
    """

    seen: SeenThrough
    basis: Array
    level_volume: Array

    @property
    def degrees(self) -> Array:
        """How many contrasts there are."""
        colours, values = self.basis.shape[:2]
        return values * jnp.sum(self.seen.observation.mask) - colours

    def project(self, images: Array) -> Array:
        """P: zero where nothing is observed, and orthogonal to what levels add."""
        visible = self.seen.observation.mask[None, None] * images
        shares = jnp.einsum("kchw,nchw->nk", self.basis, visible, precision="highest")
        return visible - jnp.einsum(
            "kchw,nk->nchw", self.basis, shares, precision="highest"
        )

    def covariance(self, images: Array) -> Array:
        """P G P on the contrasts, the identity on their complement."""
        weights = self.project(images)
        seen, values = self.seen, jnp.moveaxis(weights[0], 0, -1)
        spread = seen.through.adjoint(values, seen.shape)
        fields = seen.tori.apply(decorrelate(spread, seen.channels))
        noise = jnp.square(seen.observation.noise_std)[None, None]
        return self.project(self._see(fields) + noise * weights) + images - weights

    def invert(
        self, data: Array, tolerance: float, max_iterations: int
    ) -> conjugate_gradients.Solution:
        """Weights of data, W (y - A f) of the posterior mean f.

        Returns:
          With the relative residual of the weights' own equations, P G a = P y.
        """
        limits = conjugate_gradients.Limits(tolerance, max_iterations)
        precision = inverse_noise(self.seen.observation)[None, None]
        wanted = self.project(data)
        weights, iterations = jnp.zeros_like(wanted), jnp.zeros(1, int)
        rest = wanted
        for _ in range(1 + CORRECTIONS):
            found = through.solve(self.seen, rest[0], limits)
            missed = rest - self._see(found.mean)
            step = self.project(precision * missed)
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
        values = self.seen.through(correlate(fields, self.seen.channels))
        return jnp.moveaxis(values, -1, 0)[None]


def contrasts_through(seen: SeenThrough) -> ContrastsThrough:
    """The contrasts of one image, whatever is known of its levels."""
    mask, count = seen.observation.mask, seen.shape[2]
    colours = jnp.eye(count, dtype=mask.dtype)[:, None, None]
    images = jnp.broadcast_to(colours, (count, *seen.shape))
    flat = jax.vmap(seen.through)(images) * mask[None, :, :, None]
    flat = jnp.moveaxis(flat, -1, 1)
    root = jnp.linalg.cholesky(
        jnp.einsum("achw,bchw->ab", flat, flat, precision="highest")
    )
    rows = flat.reshape(count, -1)
    basis = jax.scipy.linalg.solve_triangular(root, rows, lower=True)
    return ContrastsThrough(
        replace(seen, level_known=False),
        basis.reshape(flat.shape),
        2 * jnp.sum(jnp.log(jnp.diagonal(root))),
    )
