"""The posterior's variance at every pixel, exact or estimated.

dense       the diagonal of the posterior's covariance matrix; for small grids.
stationary  where everything is seen in noise of variance v, the mean over the torus's
            frequencies of v S / (v + S): exact on a torus, and in an image except
            within the covariance's range of its borders, where less is known.
probing     with P the posterior's covariance and z random signs on every s-th row and
            column, z (P z) there is P(t, t) plus random-signed covariances with pixels
            s and more away; s^2 solves see every pixel once (Bekas, Kokiopoulou and
            Saad, An estimator for the diagonal of a matrix, Appl. Numer. Math. 2007).
            Its error falls as fast as the posterior's covariance does with distance.
samples     the mean square of draws, with a relative error of sqrt(2 / draws) anywhere.

An image that is seen through a linear map has "dense", in which its channels are one
matrix, and "samples".

`python -m benchmarks.gp_variance` measures all of them against the dense matrices.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp

from dipgp import numerics
from dipgp.gp import conditional_draws, dense, dense_through, field
from dipgp.gp.colour import ChannelModel, correlate
from dipgp.gp.conjugate_gradients import MeanSolution
from dipgp.gp.system import FEW_PIXELS, SolveInfo, System
from dipgp.observations import seen_evenly

Array = jax.Array
Report = Callable[[str], None]
Method = Literal["automatic", "dense", "stationary", "probing", "samples"]

SOLVES = 32
# Each pattern of signs is drawn twice, and the two tell the error.
REPEATS = 2
# Relative residual of probing's solves, which then weigh less than its own error.
PROBING_TOLERANCE = 1e-3


class Variance(NamedTuple):
    """Variances, and how well they are known.

    Attributes:
      value: (H, W) or (H, W, C) in squared units of the image, not negative.
      standard_error: of the estimator, in the same shape; 0 where nothing was drawn.
        For probing it is one number for all observed and one for all missing pixels.
      info: how the solves went, the worst of each channel.
    """

    value: Array
    standard_error: Array
    info: SolveInfo


def estimate(
    system: System,
    key: Array | None,
    method: Method,
    solves: int,
    batch: int,
    report: Report,
) -> Variance:
    """The variances of a posterior; arguments as of `Posterior.variance`.

    Returns:
      (H, W, C), in the image's own colours.
    """
    if method not in get_args(Method):
        known = ", ".join(get_args(Method))
        raise ValueError(f"method: expected one of {known}, got {method!r}")
    if method == "automatic":
        method = choose(system)
    if system.through is not None and method in ("stationary", "probing"):
        raise ValueError(
            'method: expected "samples", or "dense" for small images, where an image '
            f"is seen through a linear map, got {method!r}"
        )
    if method in ("dense", "stationary"):
        value = _dense(system) if method == "dense" else _stationary(system)
        info = system.info(conditional_draws.factorised(system, value))
        return _in_colours(system.directions, value, jnp.zeros_like(value), info)
    if key is None:
        raise ValueError(
            f"key: expected a key for the random method {method!r}, got None; try "
            "jax.random.key(0)"
        )
    least = 2 if method == "samples" else REPEATS
    if solves < least:
        raise ValueError(f"solves: expected at least {least}, got {solves!r}")
    if method == "samples":
        return _sampled(system, key, solves, batch, report)
    return _probed(system, key, solves, batch, report)


def choose(system: System) -> Literal["dense", "stationary", "probing", "samples"]:
    """The estimator with the least error for its time."""
    mask, noise_std = system.observation.mask, system.observation.noise_std
    if numerics.is_traced((mask, noise_std)):
        return "samples"
    if system.through is not None:
        unknowns = math.prod(system.grid) * len(system.covariances)
        return "dense" if unknowns <= FEW_PIXELS else "samples"
    if system.tori is None or mask.size <= FEW_PIXELS:
        return "dense"
    if seen_evenly(system.observation):
        return "stationary"
    return "probing" if system.form == "field" else "samples"


def _in_colours(
    channels: ChannelModel, value: Array, standard_error: Array, info: SolveInfo
) -> Variance:
    """Variances (C, H, W) of independent channels as those of their mixtures."""
    shares = jnp.square(channels.rotation)

    def mix(variances: Array, weights: Array) -> Array:
        return jnp.einsum("chw,dc->hwd", variances, weights, precision="highest")

    error = jnp.sqrt(mix(jnp.square(standard_error), jnp.square(shares)))
    return Variance(jnp.maximum(mix(value, shares), 0), error, info)


def _dense(system: System) -> Array:
    """(C, H, W) along `System.directions`, the diagonals of the matrices."""
    if system.through is not None:
        assert system.image_shape is not None
        matrix = dense_through.posterior_covariance(
            system.covariances,
            system.observation,
            system.channels,
            system.through,
            system.image_shape,
        )
        return jnp.diagonal(matrix).reshape(-1, *system.grid)
    matrices = dense.posterior_covariance(system.covariances, system.observation)
    return jnp.diagonal(matrices, axis1=1, axis2=2).reshape(-1, *system.grid)


def _stationary(system: System) -> Array:
    """(C, H, W), the same at all pixels."""
    if not seen_evenly(system.observation) or system.tori is None:
        raise ValueError(
            'method: expected another than "stationary" where pixels are missing, the '
            "noise differs between them, or matrices are factorised"
        )
    noise = jnp.square(system.observation.noise_std[0, 0])
    spectrum = system.tori.spectrum
    left = noise * spectrum / (noise + spectrum)
    # The unknown level is a process of infinite variance at frequency zero.
    left = left.at[:, 0, 0].set(noise)
    mean = jnp.fft.irfft2(left, s=system.tori.size)[:, :1, :1]
    return jnp.broadcast_to(mean, (len(spectrum), *system.grid))


def _sampled(
    system: System, key: Array, count: int, batch: int, report: Report
) -> Variance:
    """From draws, of which only the sum of squares is kept."""
    total, solutions = jnp.zeros((), system.observation.values.dtype), []
    keys = jax.random.split(key, count)
    for drawn, solution in conditional_draws.in_batches(system, keys, batch, report):
        if system.through is not None:
            drawn = jnp.moveaxis(correlate(drawn, system.channels), -1, 1)
        total = total + jnp.sum(jnp.square(drawn), axis=0)
        solutions.append(solution)
    value = total / count
    info = conditional_draws.worst(system, solutions)
    error = value * math.sqrt(2 / count)
    return _in_colours(system.directions, value, error, info)


def _probed(
    system: System, key: Array, solves: int, batch: int, report: Report
) -> Variance:
    """From products of the posterior's covariance with patterns of random signs."""
    if system.tori is None:
        raise ValueError(
            'method: expected "dense" or "samples" where matrices are factorised, got '
            '"probing"'
        )
    tolerance = max(system.tolerance, PROBING_TOLERANCE)
    system = replace(system, form="field", tolerance=tolerance)
    height, width = system.grid
    spacing = max(math.isqrt(solves // REPEATS), 1)
    down, right = min(spacing, height), min(spacing, width)
    patterns = [(i, j) for i in range(down) for j in range(right)]
    keys = jax.random.split(key, REPEATS)
    runs, solutions = [], []
    for repeat, key_signs in enumerate(keys):
        value = jnp.zeros((len(system.covariances), *system.grid))
        for first, last in conditional_draws.batches(len(patterns), batch):
            done = repeat * len(patterns) + first
            report(f"posterior variance: {done} of {len(patterns) * REPEATS} solves")
            offsets = jnp.asarray(patterns[first:last])
            part, solution = _probe(system, key_signs, offsets, (down, right))
            value = value + part
            solutions.append(solution)
        runs.append(value)
    both = jnp.stack(runs)
    mask = system.observation.mask[None]
    half = jnp.square((both[0] - both[1]) / 2)
    error = jnp.zeros_like(half)
    for part in (mask, 1 - mask):
        count = jnp.maximum(jnp.sum(part), 1)
        typical = jnp.sqrt(jnp.sum(part * half, axis=(1, 2), keepdims=True) / count)
        error = error + part * typical
    info = conditional_draws.worst(system, solutions)
    return _in_colours(system.channels, jnp.mean(both, axis=0), error, info)


@jax.jit
def _probe(
    system: System, key: Array, offsets: Array, spacing: tuple[int, int]
) -> tuple[Array, MeanSolution]:
    """The diagonal at the pixels of some patterns, zero elsewhere."""
    assert system.tori is not None
    height, width = system.grid
    channels, dtype = len(system.covariances), system.observation.mask.dtype
    signs = jax.random.rademacher(key, (channels, height, width), dtype)
    rows = jnp.arange(height)[None, :] % spacing[0] == offsets[:, :1]
    columns = jnp.arange(width)[None, :] % spacing[1] == offsets[:, 1:]
    chosen = (rows[:, :, None] & columns[:, None, :])[:, None].astype(dtype)
    probes = chosen * signs[None]
    stacked = system.stacked(len(offsets))
    solution = field.apply_posterior_covariance(
        stacked.tori,
        probes.reshape(-1, height, width),
        system.observation,
        system.tolerance,
        system.max_iterations,
    )
    products = probes * solution.mean.reshape(probes.shape)
    return jnp.sum(products, axis=0), solution
