"""The posterior mean by way of its weights, one for each observed pixel.

Solves P (K + D) P a = P y, where P projects on weights that sum to zero and D holds the
noise variances, and returns m + K a. Preconditioned by (K + mean(D))^-1 of the torus,
which is nearly exact where everything is observed or what is missing lies together. Two
products with the torus a step: four FFTs.
"""

import functools

import jax
import jax.numpy as jnp

from dipgp.gp import conjugate_gradients
from dipgp.gp.conjugate_gradients import MeanSolution
from dipgp.gp.toeplitz import Torus
from dipgp.observations import Observation

Array = jax.Array


@functools.partial(jax.jit, static_argnames=("max_iterations",))
def solve(
    tori: Torus,
    data: Array,
    observation: Observation,
    tolerance: float,
    max_iterations: int,
) -> MeanSolution:
    """Posterior means of independent channels with an unknown level each.

    Args:
      tori: one covariance a channel.
      data: (C, H, W), zero where nothing is observed.
      observation: mask and noise of these data.
      tolerance: relative residual to stop at.
      max_iterations: at most so many steps.
    """
    mask = observation.mask[None]
    noise = mask * jnp.square(observation.noise_std)[None]
    pixels = jnp.sum(mask)

    def average(images: Array) -> Array:
        return jnp.sum(mask * images, axis=(1, 2), keepdims=True) / pixels

    def project(images: Array) -> Array:
        return mask * (images - average(images))

    # On the complement of the weights that sum to zero both act as the identity, so
    # that they are invertible there too; the data have no part in it.
    def operator(images: Array) -> Array:
        weights = project(images)
        return project(tori.apply(weights) + noise * weights) + images - weights

    response = 1 / (tori.spectrum + jnp.sum(noise) / pixels)

    def preconditioner(images: Array) -> Array:
        residuals = project(images)
        return project(tori.filter(residuals, response)) + images - residuals

    solution = conjugate_gradients.solve(
        operator, project(data), preconditioner, tolerance, max_iterations
    )
    weights = project(solution.value)
    field = tori.apply(weights)
    level = average(data - field - noise * weights)
    return MeanSolution(
        field + level, level[:, 0, 0], solution.iterations, solution.residual
    )
