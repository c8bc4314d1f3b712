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

import functools

import jax
import jax.numpy as jnp

from dipgp.gp import conjugate_gradients, grid_inverse
from dipgp.gp.colour import ChannelModel, decorrelate
from dipgp.gp.conjugate_gradients import MeanSolution
from dipgp.gp.toeplitz import Torus
from dipgp.gp.weights import Contrasts, Values
from dipgp.observations import LinearMap, Observation
from dipgp.observations.stationary_filter import goes_around, stationary_filter

Array = jax.Array


@functools.partial(
    jax.jit, static_argnames=("through", "shape", "max_iterations", "level_known")
)
def solve(
    tori: Torus,
    data: Array,
    observation: Observation,
    channels: ChannelModel,
    through: LinearMap,
    shape: tuple[int, int, int],
    tolerance: float,
    max_iterations: int,
    level_known: bool = False,
) -> MeanSolution:
    """Posterior means of N images whose channels have unknown levels.

    Args:
      tori: N C covariances, those of each image's independent channels in turn.
      data: (N C, h, w) colours seen of each image in turn, zero where nothing is.
      observation: mask and noise of these data.
      channels: directions of the independent channels.
      through: A, a map that `stationary_filter` knows.
      shape: (H, W, C) of each image.
      tolerance: relative residual to stop at.
      max_iterations: at most so many steps.
      level_known: whether the levels are 0.

    Returns:
      (N C, H, W) independent channels, each solved by itself.
    """
    height, width, colours = shape
    grid = data.shape[1], data.shape[2]
    filtered = stationary_filter(through)

    def see(images: Array) -> Array:
        return jax.vmap(lambda image: through(image[:, :, None])[:, :, 0])(images)

    def field_of(weights: Array) -> Array:
        """K A^T weights."""

        def spread(values: Array) -> Array:
            return through.adjoint(values[:, :, None], (height, width, 1))[:, :, 0]

        return tori.apply(jax.vmap(spread)(weights))

    images = jnp.moveaxis(data.reshape(-1, colours, *grid), 1, -1)
    values = jax.vmap(decorrelate, (0, None))(images, channels).reshape(data.shape)

    contrasts = (Values if level_known else Contrasts)(tori, observation)
    still = jax.lax.stop_gradient(contrasts)
    nearly_inverse = grid_inverse.inverse(
        grid_inverse.covariances_seen(still.tori, filtered),
        still.average(still.noise),
        grid,
        goes_around(through),
    )
    solution = conjugate_gradients.solve(
        contrasts.within(lambda a: see(field_of(a)) + contrasts.noise * a),
        contrasts.project(values),
        contrasts.within(nearly_inverse),
        tolerance,
        max_iterations,
    )
    weights = contrasts.project(solution.value)
    field = field_of(weights)
    left = values - see(field) - contrasts.noise * weights
    level = contrasts.level(left) / filtered.taps.sum()
    return MeanSolution(
        field + level, level[:, 0, 0], solution.iterations, solution.residual
    )
