"""Posterior means of fields whose covariance changes from place to place.

    f = m + sum_m a_m(x) g_m(x),     K(x, x') = sum_m a_m(x) K_m(x - x') a_m(x')

with g_m independent stationary processes around 0 and a_m known images, their local
standard deviations: here one process dominates, there another. (A spatial mixture of
stationary processes: Fuentes, Spectral methods for nonstationary spatial processes,
Biometrika 2002.) A product with K takes a pair of FFTs for each of the M processes, and
the posterior mean is that of any Gaussian process: with A = K + D between the observed
pixels and m the level by generalised least squares,

    m = 1^T A^-1 y / 1^T A^-1 1,      mean = m + K A^-1 (y - m 1)

by conjugate gradients, preconditioned by nearest neighbours (`dipgp.gp.neighbours`).
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dipgp import numerics
from dipgp.gp import arguments, conjugate_gradients, neighbours, toeplitz
from dipgp.gp.conjugate_gradients import MeanSolution
from dipgp.gp.neighbours import Neighbours
from dipgp.gp.system import SolveInfo, result_code
from dipgp.gp.toeplitz import Torus
from dipgp.kernels.stationary import Covariance

Array = jax.Array

NEIGHBOURS = 20
# Photographs are then within 0.01 dB of the limit.
TOLERANCE = 1e-4


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Mixture:
    """A prior K(x, x') = sum_m a_m(x) K_m(x - x') a_m(x').

    Attributes:
      covariances: K_m, each taken without its value far away, K_m - K_m(inf).
      weights: a, (M, H, W), in units of the image where K_m has variance 1.
    """

    covariances: tuple[Covariance, ...]
    weights: Array


class MixturePosterior(NamedTuple):
    """What the observed pixels say of all pixels.

    Attributes:
      mean: (H, W).
      level: the constant m by generalised least squares.
      info: how the solve went; look at `info.converged`.
    """

    mean: Array
    level: Array
    info: SolveInfo


def condition_mixture(
    mixture: Mixture,
    values: jax.typing.ArrayLike,
    mask: jax.typing.ArrayLike | None = None,
    noise_std: jax.typing.ArrayLike | None = None,
    *,
    tolerance: float = TOLERANCE,
    max_iterations: int = 1000,
    reach: int | tuple[int, int] | None = None,
) -> MixturePosterior:
    """Conditions a mixture of stationary processes on the observed pixels of an image.

    Args:
      mixture: the prior.
      values: (H, W) intensities; what the mask leaves out is not read.
      mask: (H, W), true where a pixel is observed; everything by default.
      noise_std: standard deviation of the noise in the values' units, scalar or (H, W).
      tolerance: relative residual at which the iteration stops.
      max_iterations: conjugate-gradient steps at most.
      reach: distance in pixels from which on all K_m are constant, as in `condition`.

    Returns:
      The posterior mean, in the values' dtype.

    Raises:
      ValueError: on arguments that do not fit together, or a mask that JAX traces. An
        iteration that does not converge is no error: it is reported by `info`.
    """
    observation, grey = arguments.read_observation(None, values, mask, noise_std)
    numerics.check_between("tolerance", tolerance, 0, 1)
    arguments.check_controls("weights", tolerance, max_iterations)
    grid = (observation.mask.shape[0], observation.mask.shape[1])
    if not grey:
        raise ValueError(
            "values: expected one channel, (H, W), got "
            f"{tuple(observation.values.shape)}; try each channel by itself"
        )
    numerics.check_instance("mixture", mixture, Mixture)
    if not isinstance(mixture.covariances, Sequence):
        raise TypeError(
            "covariances: expected several of a mixture, got "
            f"{numerics.brief(mixture.covariances)}"
        )
    numerics.check_finite("weights", mixture.weights)
    expected = (len(mixture.covariances), *grid)
    if not mixture.covariances or np.shape(mixture.weights) != expected:
        raise ValueError(
            f"mixture: expected weights of shape {expected}, one image (H, W) for each "
            f"of at least one covariance, got {np.shape(mixture.weights)}"
        )
    if numerics.is_traced(observation.mask):
        raise ValueError(
            "mask: expected known values, whose neighbours are sought, got one that "
            "JAX traces"
        )
    dtype = observation.values.dtype
    tori = toeplitz.embed(mixture.covariances, grid, reach, dtype)
    near = neighbours.find(np.asarray(observation.mask) != 0, NEIGHBOURS)
    solution = _solve(
        tori,
        jnp.asarray(mixture.weights, dtype),
        observation.values[:, :, 0],
        jnp.square(observation.noise_std),
        near,
        tolerance,
        max_iterations,
    )
    code = result_code(solution, jnp.max(tori.error), tolerance)
    info = SolveInfo(solution.iterations, solution.residual, jnp.max(tori.error), code)
    return MixturePosterior(solution.mean[0], solution.level[0], info)


def apply_covariance(tori: Torus, weights: Array, images: Array) -> Array:
    """K times images (N, H, W), one process after the other, which saves memory."""

    def add(total: Array, process: tuple[Array, Array]) -> tuple[Array, None]:
        spectrum, weight = process[0], process[1][None]
        return total + weight * tori.filter(weight * images, spectrum), None

    processes = (tori.spectrum, weights)
    return jax.lax.scan(add, jnp.zeros_like(images), processes)[0]


@functools.partial(jax.jit, static_argnames=("max_iterations",))
def _solve(
    tori: Torus,
    weights: Array,
    values: Array,
    noise: Array,
    near: Neighbours,
    tolerance: float,
    max_iterations: int,
) -> MeanSolution:
    """The mean (1, H, W) of values (H, W) in noise of variances (H, W)."""
    grid = (values.shape[0], values.shape[1])
    root = neighbours.inverse_root(tori, weights, noise, near)
    noise = near.gather(noise)

    def operator(vectors: Array) -> Array:
        fields = apply_covariance(tori, weights, near.spread(vectors, grid))
        return near.gather(fields) + noise[None] * vectors

    observed = near.gather(values)
    start = jnp.mean(observed)
    data = jnp.stack([observed - start, jnp.ones_like(observed)])
    solution = conjugate_gradients.solve(
        operator,
        data,
        functools.partial(neighbours.apply_inverse, root, near),
        tolerance,
        max_iterations,
    )
    of_values, of_ones = solution.value
    level = jnp.sum(of_values) / jnp.sum(of_ones)
    found = near.spread((of_values - level * of_ones)[None], grid)
    mean = apply_covariance(tori, weights, found) + level + start
    return MeanSolution(
        mean,
        (level + start)[None],
        jnp.max(solution.iterations)[None],
        jnp.max(solution.residual)[None],
    )
