"""The posterior mean of an image that is seen through a linear map A.

y = M (A f) + noise. With W the inverse noise variances of what is seen, 0 where the
mask M hides it, the mean solves

    (A^T W A + K^-1) f = A^T W y

on the torus around the image, in the coordinates u = f sqrt(w + 1 / S) of
`dipgp.gp.field`, the case A = 1. A may mix colours, as a mosaic does: the channels of
an image are one system, turned into independent ones for K and into colours for A.

Any positive w gives the same mean. The largest eigenvalue of A^T W A leaves those of
the system between 1 / (1 + w max S) and 1. A few power iterations come close enough to
it and take nothing but products with A, where row and column sums need its entries.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from dipgp.gp import conjugate_gradients, field
from dipgp.gp.colour import ChannelModel, correlate, decorrelate
from dipgp.gp.conjugate_gradients import MeanSolution
from dipgp.gp.toeplitz import Torus
from dipgp.observations import LinearMap, Observation

Array = jax.Array

POWER_ITERATIONS = 8


@functools.partial(jax.jit, static_argnames=("through", "shape", "max_iterations"))
def solve(
    tori: Torus,
    data: Array,
    observation: Observation,
    channels: ChannelModel,
    through: LinearMap,
    shape: tuple[int, int, int],
    tolerance: float,
    max_iterations: int,
) -> MeanSolution:
    """Posterior means of N images whose channels have unknown levels.

    Args:
      tori: N C covariances, those of each image's independent channels in turn.
      data: (N c, h, w) colours seen of each image in turn, zero where nothing is.
      observation: mask and noise of these data.
      channels: directions of the independent channels.
      through: A.
      shape: (H, W, C) of each image.
      tolerance: relative residual to stop at, in the coordinates u.
      max_iterations: at most so many steps.

    Returns:
      (N C, H, W) independent channels. Those of an image share one system, hence its
      steps and its residual.
    """
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

    values = jnp.moveaxis(data.reshape(count, -1, *data.shape[1:]), 1, -1)
    start = _levels(values, observation, through, shape)
    rest = values - see(jnp.broadcast_to(start[:, None, None], (count, *shape)))
    right_hand_sides = spread(noise_free * rest)

    largest = jax.lax.stop_gradient(_largest_eigenvalue(normal, right_hand_sides))
    around = field.coordinates(tori, largest, (height, width))
    together = (count, colours, *around.prior.shape[1:])

    def to_images(coefficients: Array) -> Array:
        each = coefficients.reshape(-1, *coefficients.shape[2:])
        return around.to_images(each).reshape(count, colours, height, width)

    def to_coefficients(images: Array) -> Array:
        each = to_channels(images, channels).reshape(-1, height, width)
        return around.to_coefficients(each).reshape(count, colours, 2, *together[2:])

    def operator(coefficients: Array) -> Array:
        seen = normal(to_colours(to_images(coefficients), channels))
        prior = around.prior.reshape(together)[:, :, None]
        return prior * coefficients + to_coefficients(seen)

    solution = conjugate_gradients.solve(
        operator,
        to_coefficients(right_hand_sides),
        lambda coefficients: coefficients,
        tolerance,
        max_iterations,
    )
    turned = jnp.matmul(start, channels.rotation, precision="highest")  # V^T m
    each = solution.value.reshape(-1, *solution.value.shape[2:])
    return MeanSolution(
        around.to_images(each) + turned.reshape(-1, 1, 1),
        around.levels(each) + turned.ravel(),
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
    moments, _ = _level_equations(observation.values[None], observation, through, shape)
    if isinstance(moments, jax.core.Tracer):
        return
    sizes = np.linalg.eigvalsh(np.asarray(moments, np.float64))
    rounding = np.finfo(observation.values.dtype).eps * len(sizes)
    if not sizes[0] > rounding * sizes[-1]:
        raise ValueError(
            "mask: expected pixels that tell the level of each colour, got a mask and "
            f"a map, {type(through).__name__}, that leave one unseen"
        )


def _levels(
    values: Array,
    observation: Observation,
    through: LinearMap,
    shape: tuple[int, int, int],
) -> Array:
    """(N, C): the constant images nearest to values (N, h, w, c)."""
    moments, products = _level_equations(values, observation, through, shape)
    return jnp.linalg.solve(moments, products.T).T


def _level_equations(
    values: Array,
    observation: Observation,
    through: LinearMap,
    shape: tuple[int, int, int],
) -> tuple[Array, Array]:
    """Normal equations of least squares: (C, C) and right-hand sides (N, C)."""
    dtype = observation.mask.dtype
    flat = jnp.broadcast_to(
        jnp.eye(shape[2], dtype=dtype)[:, None, None], (shape[2], *shape)
    )
    weight = field.inverse_noise(observation)
    weight = weight / jnp.max(weight)
    seen = jax.vmap(through)(flat)
    weighted = weight[None, :, :, None] * seen
    moments = jnp.einsum("ahwc,bhwc->ab", weighted, seen, precision="highest")
    products = jnp.einsum("ahwc,nhwc->na", weighted, values, precision="highest")
    return moments, products


def _largest_eigenvalue(operator: conjugate_gradients.Operator, like: Array) -> Array:
    """By power iterations on one image (1, H, W, C), from below.

    Where A has no negative entries, constant images have a part in the direction of
    the largest eigenvalue (Perron and Frobenius), and by the check of levels A does
    not take them to zero.
    """
    image = jnp.ones_like(like[:1])
    image = image / jnp.linalg.norm(image)

    def proceed(_: int, state: tuple[Array, Array]) -> tuple[Array, Array]:
        product = operator(state[0])
        size = jnp.linalg.norm(product)
        return product / size, size

    zero = jnp.zeros((), like.dtype)
    return jax.lax.fori_loop(0, POWER_ITERATIONS, proceed, (image, zero))[1]
