"""The log determinant of a covariance that is known by its products.

log|P A P| is the mean of z^T log(P A P) z over random signs z, by Lanczos' tridiagonal
matrices (Ubaru, Chen and Saad, Fast estimation of tr(f(A)) via stochastic Lanczos
quadrature, SIAM J. Matrix Anal. Appl. 2017). Its derivative is the mean of
z^T A^-1 dA z.
"""

import functools
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
from matfree import decomp

from dipgp.gp import conjugate_gradients

Array = jax.Array


class Contrasts(Protocol):
    """What is seen up to unknown levels, of N independent systems; a pytree.

    Images (N, ...) are shaped like the data. P leaves contrasts as they are and takes
    to zero what is not seen, and levels.
    """

    def project(self, images: Array) -> Array:
        """P."""

    def covariance(self, images: Array) -> Array:
        """P A P on the contrasts, the identity on their complement."""

    def invert(
        self, data: Array, tolerance: float, max_iterations: int
    ) -> conjugate_gradients.Solution:
        """Contrasts that the covariance takes to those of data, before P."""

    def alone(self, index: int) -> "Contrasts":
        """One of the systems."""


class Settings(NamedTuple):
    """Lanczos' steps, and how the solves behind derivatives end."""

    steps: int
    tolerance: float
    max_iterations: int


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def estimate(
    contrasts: Contrasts, signs: Array, settings: Settings
) -> tuple[Array, Array]:
    """z^T log(P A P) z for signs (probes, N, ...), by all and by half of the steps."""

    def probe(images: Array) -> tuple[Array, Array]:
        volumes = [
            _quadrature(contrasts, index, image, settings.steps)
            for index, image in enumerate(images)
        ]
        wholes, halves = zip(*volumes, strict=True)
        return jnp.stack(wholes), jnp.stack(halves)

    return jax.lax.map(probe, signs)


@estimate.defjvp
def _estimate_jvp(
    settings: Settings,
    primals: tuple[Contrasts, Array],
    tangents: tuple[Contrasts, Array],
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """The derivative of log|A| is the trace of A^-1 dA: no need to go through Lanczos.

    Only who asks for derivatives pays for the solves.
    """
    contrasts, signs = primals
    change, _ = tangents

    def pull(images: Array) -> Array:
        solution = contrasts.invert(images, settings.tolerance, settings.max_iterations)
        return contrasts.project(solution.value)

    pulled = jax.lax.map(pull, signs)

    def traces(contrasts: Contrasts) -> Array:
        spread = jax.lax.map(contrasts.covariance, signs)
        return jnp.sum(pulled * spread, axis=tuple(range(2, signs.ndim)))

    volumes = estimate(contrasts, signs, settings)
    _, slopes = jax.jvp(traces, (contrasts,), (change,))
    return volumes, (slopes, slopes)


def _quadrature(
    contrasts: Contrasts, index: int, image: Array, steps: int
) -> tuple[Array, Array]:
    """z^T log(P A P) z of one system, by all the steps and by half of them."""
    alone = contrasts.alone(index)

    def product(flat: Array) -> Array:
        return alone.covariance(flat.reshape(1, *image.shape)).ravel()

    size = jnp.linalg.norm(image)
    decompose = decomp.tridiag_sym(steps, custom_vjp=False)
    tridiagonal = decompose(product, image.ravel() / size)[1]

    def integrate(matrix: Array) -> Array:
        values, vectors = jnp.linalg.eigh(matrix)
        # Rounding may leave an eigenvalue below zero that is zero.
        floor = jnp.finfo(values.dtype).eps * values[-1]
        logs = jnp.log(jnp.maximum(values, floor))
        return jnp.square(size) * jnp.sum(jnp.square(vectors[0]) * logs)

    part = max(steps // 2, 1)
    return integrate(tridiagonal), integrate(tridiagonal[:part, :part])
