"""The posterior mean by way of its weights, one for each observed pixel.

Solves P (K + D) P a = P y, where P projects on weights that sum to zero and D holds the
noise variances, and returns m + K a. Preconditioned by (K + mean(D))^-1 of the torus,
which is nearly exact where everything is observed or what is missing lies together. Two
products with the torus a step: four FFTs.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dipgp.gp import conjugate_gradients
from dipgp.gp.conjugate_gradients import Limits, MeanSolution, Operator
from dipgp.gp.seen import Seen
from dipgp.gp.toeplitz import Torus
from dipgp.observations import Observation

Array = jax.Array


@jax.jit
def solve(seen: Seen, data: Array, limits: Limits) -> MeanSolution:
    """Posterior means of independent channels with an unknown level each.

    Args:
      seen: the channels, and what they were seen through.
      data: (C, H, W), zero where nothing is observed.
      limits: the tolerance is of the relative residual.
    """
    contrasts = contrasts_of(seen)
    solution = contrasts.invert(data, *limits)
    weights = contrasts.project(solution.value)
    field = seen.tori.apply(weights)
    level = contrasts.level(data - field - contrasts.noise * weights)
    return MeanSolution(
        field + level, level[:, 0, 0], solution.iterations, solution.residual
    )


class Contrasts(NamedTuple):
    """The observed values up to a constant, and their covariance P (K + D) P.

    Attributes:
      tori: one covariance a channel.
      observation: mask and noise.
    """

    tori: Torus
    observation: Observation

    @property
    def mask(self) -> Array:
        """(1, H, W)."""
        return self.observation.mask[None]

    @property
    def noise(self) -> Array:
        """(1, H, W), the noise variances, zero where nothing is observed."""
        return self.mask * jnp.square(self.observation.noise_std)[None]

    @property
    def degrees(self) -> Array:
        """How many contrasts a channel has."""
        return jnp.sum(self.mask) - 1

    @property
    def level_volume(self) -> Array:
        """The log of the squared length of what a level adds, 1 at each pixel."""
        return jnp.log(jnp.sum(self.mask))

    def alone(self, index: int) -> "Contrasts":
        """Those of one channel."""
        spectrum = self.tori.spectrum[index : index + 1]
        return self._replace(tori=Torus(spectrum, self.tori.error, self.tori.size))

    def level(self, images: Array) -> Array:
        """(C, 1, 1) of what is left of data where weights explain them."""
        return self.average(images)

    def average(self, images: Array) -> Array:
        """Mean over the observed pixels."""
        pixels = jnp.sum(self.mask)
        return jnp.sum(self.mask * images, axis=(1, 2), keepdims=True) / pixels

    def project(self, images: Array) -> Array:
        """P: zero where nothing is observed, and zero on average."""
        return self.mask * (images - self.average(images))

    def covariance(self, images: Array) -> Array:
        """P (K + D) P on the contrasts, the identity on their complement.

        It is invertible there too, and data have no part in it.
        """
        return self.within(self.spread)(images)

    def spread(self, weights: Array) -> Array:
        """K + D times weights (C, H, W)."""
        return self.tori.apply(weights) + self.noise * weights

    def within(self, operator: Operator) -> Operator:
        """P operator P on the contrasts, the identity on their complement."""

        def product(images: Array) -> Array:
            weights = self.project(images)
            return self.project(operator(weights)) + images - weights

        return product

    def invert(
        self, data: Array, tolerance: float, max_iterations: int
    ) -> conjugate_gradients.Solution:
        """Weights of data (C, H, W)."""
        response = 1 / (self.tori.spectrum + self.average(self.noise))

        return conjugate_gradients.solve(
            self.covariance,
            self.project(data),
            self.within(lambda residuals: self.tori.filter(residuals, response)),
            tolerance,
            max_iterations,
        )


class Values(Contrasts):
    """The observed values themselves, and K + D, where the level is known to be 0."""

    def level(self, images: Array) -> Array:
        """(C, 1, 1) zeros."""
        return jnp.zeros((len(images), 1, 1), images.dtype)

    def project(self, images: Array) -> Array:
        """Zero where nothing is observed."""
        return self.mask * images


def contrasts_of(seen: Seen) -> Contrasts:
    """What tells of channels: values where their levels are known to be 0."""
    kind = Values if seen.level_known else Contrasts
    return kind(seen.tori, seen.observation)
