"""The posterior mean of an image that is seen through a linear map A.

y = M (A f) + noise. With W the inverse noise variances of what is seen, 0 where the
mask M hides it, the mean solves

    (A^T W A + K^-1) f = A^T W y

on the torus around the image, in the coordinates u = f sqrt(w + 1 / S) of
`dipgp.gp.field`, the case A = 1. A may mix colours, as a mosaic does: the channels of
an image are one system, turned into independent ones for K and into colours for A.

Any positive w gives the same mean. It is what A^T W A makes of flat images, on average
over pixels and colours: 1 / (3 noise_std^2) behind a mosaic, which shows a third of the
numbers. Most of the system's eigenvalues are then near 1, where the largest eigenvalue
of A^T W A would leave them near 1 / 3.

Maps that are filters have a form that takes far fewer steps (`through_filter`).
"""

import jax
import jax.numpy as jnp
import numpy as np

from dipgp.gp import conjugate_gradients, field
from dipgp.gp.colour import correlate, decorrelate
from dipgp.gp.conjugate_gradients import Limits, MeanSolution
from dipgp.gp.coordinates import coordinates
from dipgp.gp.seen import SeenThrough
from dipgp.observations import LinearMap, Observation

Array = jax.Array


@jax.jit
def solve(seen: SeenThrough, data: Array, limits: Limits) -> MeanSolution:
    """Posterior means of N images whose channels have unknown levels.

    Args:
      seen: the images.
      data: (N c, h, w) colours seen of each image in turn, zero where nothing is.
      limits: the tolerance is of the error, in the norm of the posterior over
        `field.error_unit`.

    Returns:
      (N C, H, W) independent channels. Those of an image share one system, hence its
      steps and its residual.
    """
    shape, count = seen.shape, seen.count
    values = jnp.moveaxis(data.reshape(count, -1, *data.shape[1:]), 1, -1)
    moments, weighted = _flat_moments(seen.observation, seen.through, shape)
    products = jnp.einsum("ahwc,nhwc->na", weighted, values, precision="highest")
    start = jnp.linalg.solve(moments, products.T).T  # (N, C), the nearest flat images
    if seen.level_known:
        start = jnp.zeros_like(start)
    rest = values - jax.vmap(seen.through)(
        jnp.broadcast_to(start[:, None, None], (count, *shape))
    )
    weighed = field.inverse_noise(seen.observation)[None, :, :, None] * rest
    spread = jax.vmap(lambda values: seen.through.adjoint(values, shape))(weighed)
    pixels = values.shape[-1] * jnp.sum(seen.observation.mask)
    found = _invert(
        seen,
        jax.vmap(decorrelate, (0, None))(spread, seen.channels).reshape(-1, *seen.grid),
        limits,
        field.error_unit(pixels, seen.unknowns),
    )
    turned = jnp.matmul(start, seen.channels.rotation, precision="highest")  # V^T m
    return found._replace(
        mean=found.mean + turned.reshape(-1, 1, 1), level=found.level + turned.ravel()
    )


@jax.jit
def apply_posterior_covariance(
    seen: SeenThrough, images: Array, limits: Limits
) -> MeanSolution:
    """The posterior's covariance matrix (A^T W A + K^-1)^-1 times images.

    Args:
      seen: the images, with the mask and noise of the posterior.
      images: (N C, H, W) independent channels.
      limits: the tolerance is of the error relative to the product, both in the norm
        of the posterior.

    Returns:
      The products (N C, H, W) as `mean`, and how the solves went.
    """
    return _invert(seen, images, limits, np.inf)


def _invert(
    seen: SeenThrough, images: Array, limits: Limits, unit: jax.typing.ArrayLike
) -> MeanSolution:
    """Solves (A^T W A + K^-1) f = images on the torus around the images."""
    height, width, colours = seen.shape
    count = seen.count
    precision = field.inverse_noise(seen.observation)
    see = jax.vmap(seen.through)
    spread = jax.vmap(lambda values: seen.through.adjoint(values, seen.shape))
    to_colours = jax.vmap(correlate, (0, None))
    to_channels = jax.vmap(decorrelate, (0, None))

    def normal(images: Array) -> Array:
        """A^T W A."""
        return spread(precision[None, :, :, None] * see(images))

    moments, _ = _flat_moments(seen.observation, seen.through, seen.shape)
    size = jnp.max(precision)  # which the moments lack
    typical = size * jnp.trace(moments) / seen.unknowns
    around = coordinates(seen, jax.lax.stop_gradient(typical), seen.grid)
    together = (count, colours, *around.prior.shape[1:])

    def to_images(coefficients: Array) -> Array:
        each = coefficients.reshape(-1, *coefficients.shape[2:])
        return around.to_images(each).reshape(count, colours, height, width)

    def to_coefficients(fields: Array) -> Array:
        each = fields.reshape(-1, height, width)
        return around.to_coefficients(each).reshape(count, colours, 2, *together[2:])

    def operator(coefficients: Array) -> Array:
        left = normal(to_colours(to_images(coefficients), seen.channels))
        prior = around.prior.reshape(together)[:, :, None]
        return prior * coefficients + to_coefficients(to_channels(left, seen.channels))

    def metric(residuals: Array) -> Array:
        return around.largest.reshape(together)[:, :, None] * residuals

    solution = conjugate_gradients.solve(
        operator,
        to_coefficients(images),
        lambda coefficients: coefficients,
        *limits,
        metric,
        unit,
    )
    each = solution.value.reshape(-1, *solution.value.shape[2:])
    return MeanSolution(
        around.to_images(each),
        around.levels(each),
        jnp.repeat(solution.iterations, colours),
        jnp.repeat(solution.residual, colours),
    )


def check(
    observation: Observation, through: LinearMap, shape: tuple[int, int, int]
) -> None:
    """Raises ValueError where an image cannot be told from what is seen of it.

    Namely where the map makes something else of images of this shape than what is
    there, or where the level of a colour leaves no trace in what is seen.
    """
    given = tuple(observation.values.shape)
    if through.output_shape(shape) != given:
        raise ValueError(
            f"image_shape: expected one of which {type(through).__name__} sees "
            f"{given}, the shape of the values, got {tuple(shape)}, of which it sees "
            f"{through.output_shape(shape)}"
        )
    moments, _ = _flat_moments(observation, through, shape)
    if isinstance(moments, jax.core.Tracer):
        return
    sizes = np.linalg.eigvalsh(np.asarray(moments, np.float64))
    rounding = np.finfo(observation.values.dtype).eps * len(sizes)
    if not sizes[0] > rounding * sizes[-1]:
        raise ValueError(
            "mask: expected pixels that tell the level of each colour, got a mask and "
            f"a map, {type(through).__name__}, that leave one unseen"
        )


def _flat_moments(
    observation: Observation, through: LinearMap, shape: tuple[int, int, int]
) -> tuple[Array, Array]:
    """What is seen of flat images, one a colour, weighted by W / max W.

    Returns:
      Its products with what is seen, (C, C), and itself, (C, h, w, c).
    """
    dtype = observation.mask.dtype
    flat = jnp.broadcast_to(
        jnp.eye(shape[2], dtype=dtype)[:, None, None], (shape[2], *shape)
    )
    weight = field.inverse_noise(observation)
    weight = weight / jnp.max(weight)
    seen = jax.vmap(through)(flat)
    weighted = weight[None, :, :, None] * seen
    return jnp.einsum("ahwc,bhwc->ab", weighted, seen, precision="highest"), weighted
