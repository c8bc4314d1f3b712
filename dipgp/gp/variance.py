"""The posterior's variance at every pixel, exact or estimated.

dense       the diagonal of the posterior's covariance matrix; for small grids.
stationary  where everything is seen in noise of variance v, through a filter H or as it
            is, H = 1: the mean over the torus's frequencies of v S / (v + |H|^2 S).
            Exact on a torus, and in an image except within the covariance's and the
            filter's range of its borders, where less is known.
probing     from products of the posterior's covariance with random signs, by
            `dipgp.gp.probing`; near where that covariance falls off fast.
samples     the mean square of draws, with a relative error of sqrt(2 / draws) anywhere.

Through a linear map that couples channels, as a mosaic does, "dense" is of one matrix,
and probing takes its colours one by one.

`python -m benchmarks.gp_variance` measures all of them against the dense matrices.
"""

import math
from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np

from dipgp import devices, numerics
from dipgp.devices import Mesh
from dipgp.gp import conditional_draws, dense, dense_through, probing
from dipgp.gp.colour import ChannelModel, correlate
from dipgp.gp.forms import WIDEST_GAP
from dipgp.gp.system import FEW_PIXELS, SolveInfo, System
from dipgp.observations import seen_evenly
from dipgp.observations.observation import gaps_are_narrow

Array = jax.Array
Report = Callable[[str], None]
Method = Literal["automatic", "dense", "stationary", "probing", "samples"]

SOLVES = 32


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
    mesh: Mesh | None = None,
) -> Variance:
    """The variances of a posterior; arguments as of `Posterior.variance`.

    Returns:
      (H, W, C), in the image's own colours.
    """
    numerics.check_choice("method", method, get_args(Method))
    if key is not None:
        numerics.check_key("key", key)
    if method == "automatic":
        method = choose(system)
    if method in ("dense", "stationary"):
        value = _dense(system) if method == "dense" else _stationary(system)
        info = system.info(conditional_draws.factorised(system, value))
        return _in_colours(system.directions, value, jnp.zeros_like(value), info)
    if key is None:
        raise ValueError(
            f"key: expected a key for the random method {method!r}, got None; try "
            "jax.random.key(0)"
        )
    if method == "probing" and system.tori is None:
        raise ValueError(
            'method: expected "dense" or "samples" where matrices are factorised, got '
            '"probing"'
        )
    least = 2 if method == "samples" else probing.least_solves(system)
    numerics.check_whole_number("solves", solves, least)
    if method == "samples":
        return _sampled(system, key, solves, batch, report, mesh)
    found = probing.estimate(system, key, solves, batch, report, mesh)
    return _in_colours(system.directions, *found)


def choose(system: System) -> Literal["dense", "stationary", "probing", "samples"]:
    """The estimator with the least error for its time."""
    mask, noise_std = system.observation.mask, system.observation.noise_std
    if numerics.is_traced((mask, noise_std)):
        return "samples"
    # Matrices are for levels that are not known.
    dense_pays = not system.level_known and system.unknowns <= FEW_PIXELS
    if system.through is not None:
        if dense_pays:
            return "dense"
        whole = system.image_shape == system.observation.values.shape
        if whole and system.filter is not None and seen_evenly(system.observation):
            return "stationary"
        return "probing" if gaps_are_narrow(mask, WIDEST_GAP) else "samples"
    if system.tori is None or dense_pays:
        return "dense"
    if seen_evenly(system.observation):
        return "stationary"
    # What is seen everywhere, but in uneven noise, is drawn.
    gaps = not bool(np.asarray(mask).all())
    narrow = system.form == "field" or (gaps and gaps_are_narrow(mask, WIDEST_GAP))
    return "probing" if narrow else "samples"


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
    if system.level_known:
        raise ValueError(
            'method: expected another than "dense" where the level is known'
        )
    if system.through is not None:
        assert system.image_shape is not None
        matrix = dense_through.posterior_covariance(
            system.covariances,
            system.observation,
            system.channels,
            system.through,
            system.image_shape,
        )
        count, rotation = len(system.covariances), system.directions.rotation
        pairs = matrix.reshape(count, -1, count, matrix.shape[0] // count)
        pairs = jnp.diagonal(pairs, axis1=1, axis2=3)  # (C, C, pixels)
        each = jnp.einsum(
            "cdi,ce,de->ei", pairs, rotation, rotation, precision="highest"
        )
        return each.reshape(-1, *system.grid)
    matrices = dense.posterior_covariance(system.covariances, system.observation)
    return jnp.diagonal(matrices, axis1=1, axis2=2).reshape(-1, *system.grid)


def _stationary(system: System) -> Array:
    """(C, H, W), the same at all pixels."""
    seen_through = system.filter
    if (
        seen_through is None
        or not seen_evenly(system.observation)
        or system.tori is None
    ):
        raise ValueError(
            'method: expected another than "stationary" where pixels are missing, the '
            "noise differs between them, matrices are factorised, or the map is not "
            "one filter of stride 1"
        )
    noise = jnp.square(system.observation.noise_std[0, 0])
    spectrum = system.tori.spectrum
    power = jnp.asarray(seen_through.power(system.tori.size), spectrum.dtype)[None]
    left = noise * spectrum / (noise + power * spectrum)
    if not system.level_known:
        # It is a process of infinite variance at frequency zero.
        left = left.at[:, 0, 0].set(noise / power[:, 0, 0])
    mean = jnp.fft.irfft2(left, s=system.tori.size)[:, :1, :1]
    return jnp.broadcast_to(mean, (len(spectrum), *system.grid))


def _sampled(
    system: System,
    key: Array,
    count: int,
    batch: int,
    report: Report,
    mesh: Mesh | None,
) -> Variance:
    """From draws, of which only the sum of squares is kept."""
    total, solutions = jnp.zeros((), system.observation.values.dtype), []
    keys = jax.random.split(key, count)
    if mesh is None:
        parts = conditional_draws.in_batches(system, keys, batch, report)
        for drawn, solution in parts:
            total = total + _sum_of_squares(drawn, system)
            solutions.append(solution)
    else:
        everywhere = devices.replicate(system, mesh)
        parts = conditional_draws.in_shared_batches(system, keys, batch, report, mesh)
        for drawn, solution in parts:
            squares = devices.map_shares(_share_of_squares, drawn, everywhere, mesh)
            total = total + devices.total(squares, mesh)
            solutions.append(devices.gather(solution))
    value = total / count
    info = conditional_draws.worst(system, solutions)
    error = value * math.sqrt(2 / count)
    return _in_colours(system.directions, value, error, info)


def _sum_of_squares(drawn: Array, system: System) -> Array:
    """(C, H, W) along `System.directions`, of draws (N, C, H, W)."""
    if system.couples_channels:
        drawn = jnp.moveaxis(correlate(drawn, system.channels), -1, 1)
    return jnp.sum(jnp.square(drawn), axis=0)


def _share_of_squares(drawn: Array, system: System) -> Array:
    return _sum_of_squares(drawn[0], system)[None]
