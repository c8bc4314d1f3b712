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

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from dipgp.gp import conjugate_gradients, field
from dipgp.gp.colour import ChannelModel, correlate, decorrelate
from dipgp.gp.conjugate_gradients import MeanSolution
from dipgp.gp.toeplitz import Torus
from dipgp.observations import LinearMap, Observation

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
      data: (N c, h, w) colours seen of each image in turn, zero where nothing is.
      observation: mask and noise of these data.
      channels: directions of the independent channels.
      through: A.
      shape: (H, W, C) of each image.
      tolerance: bound on the error to stop at, in the norm of the posterior over
        `field.error_unit`.
      max_iterations: at most so many steps.
      level_known: whether the levels are 0.

    Returns:
      (N C, H, W) independent channels. Those of an image share one system, hence its
      steps and its residual.
    """
    count = len(tori.spectrum) // shape[2]
    values = jnp.moveaxis(data.reshape(count, -1, *data.shape[1:]), 1, -1)
    moments, weighted = _flat_moments(observation, through, shape)
    products = jnp.einsum("ahwc,nhwc->na", weighted, values, precision="highest")
    start = jnp.linalg.solve(moments, products.T).T  # (N, C), the nearest flat images
    if level_known:
        start = jnp.zeros_like(start)
    rest = values - jax.vmap(through)(
        jnp.broadcast_to(start[:, None, None], (count, *shape))
    )
    weighed = field.inverse_noise(observation)[None, :, :, None] * rest
    spread = jax.vmap(lambda values: through.adjoint(values, shape))(weighed)
    found = _invert(
        tori,
        jax.vmap(decorrelate, (0, None))(spread, channels).reshape(-1, *shape[:2]),
        observation,
        channels,
        through,
        shape,
        tolerance,
        max_iterations,
        level_known,
        field.error_unit(
            values.shape[-1] * jnp.sum(observation.mask), math.prod(shape)
        ),
    )
    turned = jnp.matmul(start, channels.rotation, precision="highest")  # V^T m
    return found._replace(
        mean=found.mean + turned.reshape(-1, 1, 1), level=found.level + turned.ravel()
    )


@functools.partial(
    jax.jit, static_argnames=("through", "shape", "max_iterations", "level_known")
)
def apply_posterior_covariance(
    tori: Torus,
    images: Array,
    observation: Observation,
    channels: ChannelModel,
    through: LinearMap,
    shape: tuple[int, int, int],
    tolerance: float,
    max_iterations: int,
    level_known: bool = False,
) -> MeanSolution:
    """The posterior's covariance matrix (A^T W A + K^-1)^-1 times images.

    Args:
      tori: N C covariances, those of each image's independent channels in turn.
      images: (N C, H, W) independent channels.
      observation: mask and noise that the posterior is conditioned on.
      channels: directions of the independent channels.
      through: A.
      shape: (H, W, C) of each image.
      tolerance: bound on the error to stop at, relative to the product, both in the
        norm of the posterior.
      max_iterations: at most so many steps.
      level_known: whether the levels are 0.

    Returns:
      The products (N C, H, W) as `mean`, and how the solves went.
    """
    return _invert(
        tori,
        images,
        observation,
        channels,
        through,
        shape,
        tolerance,
        max_iterations,
        level_known,
        np.inf,
    )


def _invert(
    tori: Torus,
    images: Array,
    observation: Observation,
    channels: ChannelModel,
    through: LinearMap,
    shape: tuple[int, int, int],
    tolerance: float,
    max_iterations: int,
    level_known: bool,
    unit: jax.typing.ArrayLike,
) -> MeanSolution:
    """Solves (A^T W A + K^-1) f = images on the torus around the images."""
    height, width, colours = shape
    count = len(tori.spectrum) // colours
    noise_free = field.inverse_noise(observation)[None, :, :, None]
    see = jax.vmap(through)
    spread = jax.vmap(lambda values: through.adjoint(values, shape))
    to_colours = jax.vmap(correlate, (0, None))
    to_channels = jax.vmap(decorrelate, (0, None))

    def normal(images: Array) -> Array:
        """A^T W A."""
        return spread(noise_free * see(images))

    moments, _ = _flat_moments(observation, through, shape)
    size = jnp.max(field.inverse_noise(observation))  # which the moments lack
    typical = size * jnp.trace(moments) / math.prod(shape)
    around = field.coordinates(
        tori, jax.lax.stop_gradient(typical), (height, width), level_known
    )
    together = (count, colours, *around.prior.shape[1:])

    def to_images(coefficients: Array) -> Array:
        each = coefficients.reshape(-1, *coefficients.shape[2:])
        return around.to_images(each).reshape(count, colours, height, width)

    def to_coefficients(fields: Array) -> Array:
        each = fields.reshape(-1, height, width)
        return around.to_coefficients(each).reshape(count, colours, 2, *together[2:])

    def operator(coefficients: Array) -> Array:
        seen = normal(to_colours(to_images(coefficients), channels))
        prior = around.prior.reshape(together)[:, :, None]
        return prior * coefficients + to_coefficients(to_channels(seen, channels))

    def metric(residuals: Array) -> Array:
        return around.largest.reshape(together)[:, :, None] * residuals

    solution = conjugate_gradients.solve(
        operator,
        to_coefficients(images),
        lambda coefficients: coefficients,
        tolerance,
        max_iterations,
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
