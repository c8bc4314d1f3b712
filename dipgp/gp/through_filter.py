"""The posterior mean of an image that is seen through a filter, by way of weights.

y = M (A f) + noise, where A is one filter and one stride, blur and decimation, so that
channels stay as they are and constants stay constants. As for images that are seen as
they are (`dipgp.gp.weights`), with D the noise variances and P the projection on
weights that sum to zero, it solves

    P (A K A^T + D) P a = P y          and returns          m + K A^T a.

Away from borders A K A^T is stationary. It is preconditioned as if it were so up to the
borders, and these what the map makes them (`dipgp.gp.grid_inverse`); where everything
is seen a few steps do. In the field's coordinates the filter cannot be used as well:
the torus around the image, of which nothing is seen, spoils what it would bring.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dipgp.gp import conjugate_gradients, grid_inverse
from dipgp.gp.colour import decorrelate
from dipgp.gp.conjugate_gradients import Limits, MeanSolution
from dipgp.gp.seen import SeenThrough
from dipgp.gp.toeplitz import Torus
from dipgp.gp.weights import Contrasts, Values, contrasts_of
from dipgp.observations import LinearMap
from dipgp.observations.stationary_filter import goes_around, stationary_filter

Array = jax.Array


@jax.jit
def solve(seen: SeenThrough, data: Array, limits: Limits) -> MeanSolution:
    """Posterior means of N images whose channels have unknown levels.

    Args:
      seen: the images, through a map that `stationary_filter` knows.
      data: (N C, h, w) colours seen of each image in turn, zero where nothing is.
      limits: the tolerance is of the relative residual.

    Returns:
      (N C, H, W) independent channels, each solved by itself.
    """
    grid = data.shape[1], data.shape[2]
    images = jnp.moveaxis(data.reshape(-1, seen.shape[2], *grid), 1, -1)
    values = jax.vmap(decorrelate, (0, None))(images, seen.channels)
    values = values.reshape(data.shape)
    filtered = _Filtered(seen.tori, seen.through, seen.grid)
    contrasts = contrasts_of(seen)
    solution = filtered.invert(contrasts, values, limits)
    weights = contrasts.project(solution.value)
    field = filtered.field_of(weights)
    left = values - filtered.see(field) - contrasts.noise * weights
    level = contrasts.level(left) / stationary_filter(seen.through).taps.sum()
    return MeanSolution(
        field + level, level[:, 0, 0], solution.iterations, solution.residual
    )


@jax.jit
def apply_posterior_covariance(
    seen: SeenThrough, images: Array, limits: Limits
) -> MeanSolution:
    """The posterior's covariance matrix K - K A^T (A K A^T + D)^-1 A K times images.

    That of a known level: an unknown one adds no more than its own variance, which
    falls as one over the pixels.

    Args:
      seen: the images, through a map that `stationary_filter` knows.
      images: (N C, H, W), independent channels.
      limits: the tolerance is of the relative residual.

    Returns:
      The products (N C, H, W) as `mean`, and how the solves went.
    """
    filtered = _Filtered(seen.tori, seen.through, seen.grid)
    values = Values(seen.tori, seen.observation)
    prior = seen.tori.apply(images)
    solution = filtered.invert(values, filtered.see(prior), limits)
    left = prior - filtered.field_of(values.project(solution.value))
    levels = jnp.zeros(len(images), images.dtype)
    return MeanSolution(left, levels, solution.iterations, solution.residual)


class _Filtered(NamedTuple):
    """Processes seen through a filter.

    Attributes:
      tori: N covariances K.
      through: A.
      grid: (H, W) of an image.
    """

    tori: Torus
    through: LinearMap
    grid: tuple[int, int]

    def see(self, images: Array) -> Array:
        """A images (N, H, W)."""
        return jax.vmap(lambda image: self.through(image[:, :, None])[:, :, 0])(images)

    def field_of(self, weights: Array) -> Array:
        """K A^T weights (N, h, w)."""

        def spread(values: Array) -> Array:
            return self.through.adjoint(values[:, :, None], (*self.grid, 1))[:, :, 0]

        return self.tori.apply(jax.vmap(spread)(weights))

    def invert(
        self, contrasts: Contrasts, data: Array, limits: Limits
    ) -> conjugate_gradients.Solution:
        """Weights of data (N, h, w)."""
        still = jax.lax.stop_gradient(contrasts)
        nearly_inverse = grid_inverse.inverse(
            grid_inverse.covariances_seen(still.tori, stationary_filter(self.through)),
            still.average(still.noise),
            (data.shape[1], data.shape[2]),
            goes_around(self.through),
        )
        return conjugate_gradients.solve(
            contrasts.within(
                lambda a: self.see(self.field_of(a)) + contrasts.noise * a
            ),
            contrasts.project(data),
            contrasts.within(nearly_inverse),
            *limits,
        )
