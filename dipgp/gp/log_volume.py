"""The log determinant of a covariance that is known by its products.

log|P A P| is the mean of z^T log(P A P) z over random signs z, by Lanczos' tridiagonal
matrices (Ubaru, Chen and Saad, Fast estimation of tr(f(A)) via stochastic Lanczos
quadrature, SIAM J. Matrix Anal. Appl. 2017). Its derivative is the mean of
z^T A^-1 dA z.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from matfree import decomp

from dipgp import devices
from dipgp.devices import Mesh
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
    """Lanczos' steps, how the solves behind derivatives end, and who shares them.

    Attributes:
      steps: of each sign's iteration.
      tolerance: of the solves.
      max_iterations: of the solves.
      mesh: devices that divide the signs evenly; None for one.
    """

    steps: int
    tolerance: float
    max_iterations: int
    mesh: Mesh | None = None


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def estimate(
    contrasts: Contrasts, signs: Array, settings: Settings
) -> tuple[Array, Array]:
    """z^T log(P A P) z for signs (probes, N, ...), by all and by half of the steps."""
    return _volumes(contrasts, signs, settings)


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

    pulled = _pulled(contrasts, signs, settings)

    def traces(contrasts: Contrasts) -> Array:
        return _traces(contrasts, (signs, pulled), settings)

    volumes = estimate(contrasts, signs, settings)
    _, slopes = jax.jvp(traces, (contrasts,), (change,))
    return volumes, (slopes, slopes)


@functools.partial(jax.jit, static_argnames="settings")
def _volumes(
    contrasts: Contrasts, signs: Array, settings: Settings
) -> tuple[Array, Array]:
    def volumes(contrasts: Contrasts, images: Array) -> tuple[Array, Array]:
        found = [
            _quadrature(contrasts, index, image, settings.steps)
            for index, image in enumerate(images)
        ]
        wholes, halves = zip(*found, strict=True)
        return jnp.stack(wholes), jnp.stack(halves)

    return _for_each(volumes, contrasts, signs, settings.mesh)


@functools.partial(jax.jit, static_argnames="settings")
def _pulled(contrasts: Contrasts, signs: Array, settings: Settings) -> Array:
    """A^-1 z."""

    def pull(contrasts: Contrasts, images: Array) -> Array:
        solution = contrasts.invert(images, settings.tolerance, settings.max_iterations)
        return contrasts.project(solution.value)

    return _for_each(pull, contrasts, signs, settings.mesh)


@functools.partial(jax.jit, static_argnames="settings")
def _traces(
    contrasts: Contrasts, pairs: tuple[Array, Array], settings: Settings
) -> Array:
    """(A^-1 z)^T P A P z of signs and what they were pulled to."""

    def product(contrasts: Contrasts, pair: tuple[Array, Array]) -> Array:
        images, pulled = pair
        spread = pulled * contrasts.covariance(images)
        return jnp.sum(spread, axis=tuple(range(1, images.ndim)))

    return _for_each(product, contrasts, pairs, settings.mesh)


def _for_each(
    function: Callable[[Contrasts, Any], Any],
    contrasts: Contrasts,
    items: Any,
    mesh: Mesh | None,
) -> Any:
    """A function of each sign, one after the other, on each device its own."""

    def share(items: Any, contrasts: Contrasts) -> Any:
        return jax.lax.map(functools.partial(function, contrasts), items)

    everywhere = share if mesh is None else devices.on_shares(share, mesh)
    return everywhere(items, contrasts)


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
