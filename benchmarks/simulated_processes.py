"""Simulated truths among a Gaussian process's posterior draws; see `rank_statistics`.

The unknown level has a flat prior, from which nothing can be drawn. It need not be:
whatever the truth's level, ranks of functions that move along with it (pixels, means,
maxima) or that do not see it (differences) are uniform, since the posterior given data
moved by a constant is the posterior moved by that constant.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats

from benchmarks import rank_statistics
from dipgp import architecture, gp, kernels
from dipgp.gp import variance
from dipgp.gp.arguments import Method
from dipgp.observations import Decimation, LinearMap, gaussian_blur

Array = jax.Array

GRID = (8, 8)
LEVEL = 0.5
# The covariances below have levelled off there.
REACH = 16
TOLERANCE = 1e-3


class Process(NamedTuple):
    """A prior, what is seen of it, and how the posterior is computed.

    Attributes:
      name: of all that.
      covariance: of the prior.
      mask: true where something is seen.
      noise_std: of the noise, in the mask's shape.
      method: of `gp.condition`.
      through: what the image is seen through, or None.
      told: what the noise's standard deviation is multiplied by before it is told; 1
        where the posterior is right.
    """

    name: str
    covariance: kernels.Covariance
    mask: np.ndarray
    noise_std: np.ndarray
    method: Method
    through: LinearMap | None = None
    told: float = 1.0


def right_processes() -> list[Process]:
    """Every form of the equations, masks at random and with a hole, and maps."""
    deep = kernels.covariance(architecture.conv_net(2), kernels.gaussian(1.0))
    rough = kernels.matern(1.5, 2.0)
    noise_std = np.linspace(0.1, 0.6, GRID[0] * GRID[1]).reshape(GRID)
    noise_std = noise_std.astype(np.float32)
    random = np.random.default_rng(0).random(GRID) < 0.5
    hole = np.ones(GRID, bool)
    hole[2:6, 2:7] = False
    half = (GRID[0] // 2, GRID[1] // 2)
    return [
        Process("field, half missing", rough, random, noise_std, "field"),
        Process("weights, a hole", rough, hole, noise_std, "weights"),
        Process("dense, a hole", deep, hole, noise_std, "dense"),
        Process(
            "weights, blurred, half missing",
            deep,
            random,
            noise_std,
            "weights",
            gaussian_blur(0.8, radius=2),
        ),
        Process(
            "weights, half the size",
            deep,
            np.ones(half, bool),
            np.full(half, 0.2, np.float32),
            "weights",
            Decimation(2),
        ),
    ]


def wrong_processes() -> list[Process]:
    """Posteriors that are told another noise than there is."""
    right = right_processes()[0]
    return [
        right._replace(name=f"{right.name}, told noise times {factor:g}", told=factor)
        for factor in (0.5, 2.0)
    ]


def process_ranks(
    process: Process, key: Array, simulations: int, draws: int
) -> dict[str, np.ndarray]:
    """Ranks of functions of the truth among draws of `Posterior.sample`.

    Args:
      process: truths and data are drawn from it.
      key: of everything.
      simulations: N, number of truths.
      draws: L of each posterior.

    Returns:
      (N,) ranks by the name of the function.

    Raises:
      RuntimeError: where a solve did not converge.
    """
    key_data, key_draws = jax.random.split(key)
    truth, data = simulate(process, key_data, simulations)

    def sample(values: Array, key: Array) -> tuple[Array, Array]:
        found = _condition(process, values).sample(key, draws, batch=draws)
        return found.values.reshape(draws, *GRID), found.info.code

    samples, codes = _each(process, sample, data, key_draws)
    _check(process, codes)
    return {
        name: rank_statistics.ranks(function(truth), function(samples))
        for name, function in functions().items()
    }


def variance_p_values(
    process: Process, key: Array, simulations: int, method: variance.Method, solves: int
) -> dict[str, float]:
    """Whether truths are off by the standard deviations that posteriors tell.

    Each pixel's truth less mean, over the standard deviation of `Posterior.variance`,
    is standard normal where the variance is exact, and has Student's law where it is
    the mean square of `solves` draws. Pixels of one image depend on each other, so
    that each is looked at by itself, over simulations.

    Args:
      process: truths and data are drawn from it.
      key: of everything.
      simulations: number of truths.
      method: of `Posterior.variance`.
      solves: of that method.

    Returns:
      By the names of a seen and of a hidden pixel, where there is one, p values of
      Kolmogorov and Smirnov's test.

    Raises:
      RuntimeError: where a solve did not converge.
    """
    key_data, key_draws = jax.random.split(key)
    truth, data = simulate(process, key_data, simulations)

    def predict(values: Array, key: Array) -> tuple[tuple[Array, Array], Array]:
        posterior = _condition(process, values)
        found = posterior.variance(key, method=method, solves=solves)
        code = jnp.maximum(found.info.code, posterior.info.code)
        told = (posterior.mean.reshape(GRID), found.value.reshape(GRID))
        return told, code

    (means, variances), codes = _each(process, predict, data, key_draws)
    _check(process, codes)
    law = scipy.stats.t(solves) if method == "samples" else scipy.stats.norm()
    scores = (truth - means) / np.sqrt(variances)
    return {
        name: float(scipy.stats.kstest(scores[:, row, column], law.cdf).pvalue)
        for name, (row, column) in pixels(process).items()
    }


def simulate(
    process: Process, key: Array, simulations: int
) -> tuple[np.ndarray, Array]:
    """Truths (N, H, W) and what is seen of them, (N, h, w)."""
    key_field, key_noise = jax.random.split(key)
    fields = LEVEL + gp.draw_prior(key_field, process.covariance, GRID, simulations)
    seen = fields[..., None]
    if process.through is not None:
        seen = jax.vmap(process.through)(seen)
    noise = jax.random.normal(key_noise, seen.shape[:3])
    return np.asarray(fields), seen[..., 0] + process.noise_std[None] * noise


def functions() -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Of images (..., H, W); two pixels, and what takes all of them."""

    def roughness(images: np.ndarray) -> np.ndarray:
        down, right = np.diff(images, axis=-2), np.diff(images, axis=-1)
        return np.sum(down**2, (-2, -1)) + np.sum(right**2, (-2, -1))

    return {
        "corner": lambda images: images[..., 0, 0],
        "centre": lambda images: images[..., GRID[0] // 2, GRID[1] // 2],
        "mean": lambda images: np.mean(images, (-2, -1)),
        "maximum": lambda images: np.max(images, (-2, -1)),
        "roughness": roughness,
    }


def pixels(process: Process) -> dict[str, tuple[int, int]]:
    """One that is seen and one that is not; of an image seen as it is."""
    found = {"seen": process.mask, "hidden": ~process.mask}
    return {
        name: tuple(np.argwhere(where)[len(np.argwhere(where)) // 2])
        for name, where in found.items()
        if where.any()
    }


def _condition(process: Process, values: Array) -> gp.Posterior:
    seen_through = process.through is not None
    return gp.condition(
        process.covariance,
        values[..., None] if seen_through else values,
        process.mask,
        process.told * process.noise_std,
        through=process.through,
        image_shape=(*GRID, 1) if seen_through else None,
        method=process.method,
        tolerance=TOLERANCE,
        reach=None if process.method == "dense" else REACH,
    )


def _each(
    process: Process,
    function: Callable[[Array, Array], tuple],
    data: Array,
    key: Array,
) -> tuple:
    """A function of data and key for each simulation, as NumPy arrays."""
    keys = jax.random.split(key, len(data))
    if process.method == "dense":  # whose masks must be known, not traced
        results = [function(*pair) for pair in zip(data, keys, strict=True)]
        return jax.tree.map(lambda *parts: np.stack(parts), *results)
    run = jax.jit(functools.partial(jax.lax.map, lambda pair: function(*pair)))
    return jax.tree.map(np.asarray, run((data, keys)))


def _check(process: Process, codes: np.ndarray) -> None:
    if codes.any():
        raise RuntimeError(
            f"{process.name}: {np.sum(codes != 0)} of {len(codes)} solves did not "
            "converge"
        )
