"""The log evidence of what was seen, with derivatives by the hyperparameters.

The probability density of the n observed values y of a channel, an unknown level of
flat prior density 1 integrated out (Patterson and Thompson's restricted likelihood, up
to a constant):

    log p(y) = -1/2 [ y^T a + log|P G P| + log|L^T L| + (n - c) log 2 pi ],   G = K + D,

with L the c columns of what levels add to y, P the projection on contrasts, values that
no level changes, |P G P| over them, and a the weights of the posterior mean,
P G a = P y. Nothing changes with a constant in K. In a channel that is seen as it is L
is a column of ones, c = 1. Through a linear map A, G = A K A^T + D, the values of all
channels are one system, and L is what A makes of constant colours.

dense     by Cholesky's factor; exact.
torus     for an image seen in full in noise of one strength, whose opposite sides are
          neighbours: Whittle's likelihood, which is exact there. Through a blur H that
          goes around the same torus, too: a frequency has the variance |H|^2 S + v.
lanczos   log|P G P| by random signs and Lanczos' steps, by `dipgp.gp.log_volume`.
"""

import math
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np

from dipgp import devices, numerics
from dipgp.devices import Mesh
from dipgp.gp import dense, dense_through, log_volume, restricted
from dipgp.gp.colour import decorrelate
from dipgp.gp.contrasts_through import ContrastsThrough, contrasts_through
from dipgp.gp.seen import SeenThrough
from dipgp.gp.system import FEW_PIXELS, System
from dipgp.gp.toeplitz import half_spectrum_counts
from dipgp.gp.weights import Contrasts
from dipgp.kernels.stationary import Covariance, lag_grid
from dipgp.observations import LinearMap, Observation, seen_evenly

Array = jax.Array
Method = Literal["automatic", "dense", "torus", "lanczos"]

PROBES = 8
STEPS = 64


class Evidence(NamedTuple):
    """A log evidence, summed over channels, and how well it is known.

    Attributes:
      value: (), in natural units.
      standard_error: (), of the random signs; 0 for exact methods.
      truncation: (), the change of the value from the second half of the Lanczos steps;
        0 for exact methods.
      residual: (C,), relative residual of the weights' equations, one number where
        channels are one system; 0 where none was iterated.
    """

    value: Array
    standard_error: Array
    truncation: Array
    residual: Array


def estimate(
    system: System,
    key: Array | None,
    method: Method,
    probes: int,
    steps: int,
    mesh: Mesh | None = None,
) -> Evidence:
    """The evidence of a system; arguments as of `Posterior.log_evidence`."""
    numerics.check_choice("method", method, get_args(Method))
    if key is not None:
        numerics.check_key("key", key)
    if system.level_known:
        raise ValueError(
            "level: expected None for the evidence, which integrates it out, got a "
            "known one"
        )
    if method == "automatic":
        shape = system.image_shape or system.grid
        few = few_unknowns(system.observation, system.through, shape)
        method = "dense" if few or system.tori is None else "lanczos"
    if method == "dense":
        return _exact(_dense(system))
    if method == "torus":
        return _exact(_torus(system))
    if system.tori is None:
        raise ValueError(
            'method: expected "dense" where matrices are factorised, got "lanczos"'
        )
    if key is None:
        raise ValueError(
            "key: expected a key for the random signs, got None; try jax.random.key(0)"
        )
    for name, count in (("probes", probes), ("steps", steps)):
        numerics.check_whole_number(name, count, least=1)
        numerics.check_sizes(name, (count, *system.grid))
    if mesh is not None:
        devices.check_multiple("probes", probes, mesh)
    return _lanczos(system, key, probes, steps, mesh)


def few_unknowns(
    observation: Observation, through: LinearMap | None, shape: tuple[int, ...]
) -> bool:
    """Whether matrices take seconds.

    They are of the observed pixels; through a map, of the whole image of this shape.
    Without a known mask there are none.
    """
    if numerics.is_traced(observation.mask):
        return False
    seen = int(np.count_nonzero(np.asarray(observation.mask)))
    return (math.prod(shape) if through is not None else seen) <= FEW_PIXELS


def _exact(values: Array) -> Evidence:
    """From the log evidence of each channel."""
    zero = jnp.zeros((), values.dtype)
    return Evidence(jnp.sum(values), zero, zero, jnp.zeros_like(values))


def _combine(quadratic: Array, volume: Array, contrasts: Array | int) -> Array:
    """The formula at the top from y^T a, both determinants together, and n - c."""
    return -(quadratic + volume) / 2 - _constant(contrasts)


def _constant(contrasts: Array | int) -> Array | float:
    """(n - c) log sqrt(2 pi)."""
    return contrasts * math.log(2 * math.pi) / 2


def _dense(system: System) -> Array:
    """(C,), or (1,) through a map, by factorising G.

    log|P G P| + log|L^T L| = log|G| + log|L^T G^-1 L|.
    """
    observation = system.observation
    if system.through is not None:
        assert system.image_shape is not None
        density, contrasts = dense_through.density_of_contrasts(
            system.covariances,
            observation,
            system.channels,
            system.through,
            system.image_shape,
        )
        return (density - _constant(contrasts))[None]
    rows, columns = dense.observed_pixels(observation)
    noise = jnp.diag(jnp.square(observation.noise_std)[rows, columns])
    height, width = observation.mask.shape

    def channel(covariance: Covariance, values: Array) -> Array:
        table = dense.lag_table(covariance, (height, width), values.dtype)
        matrix = dense.covariance_matrix(table, rows, columns)
        density = restricted.log_density(
            matrix + noise, values[rows, columns], jnp.ones((rows.size, 1), noise.dtype)
        )
        return density - _constant(rows.size - 1)

    data = decorrelate(observation.values, system.channels)
    pairs = zip(system.covariances, data, strict=True)
    return jnp.stack([channel(covariance, values) for covariance, values in pairs])


def _torus(system: System) -> Array:
    """(C,), by the Fourier transform of what was seen."""
    observation, seen_through = system.observation, system.filter
    if not seen_evenly(observation):
        raise ValueError(
            'method: expected another than "torus" where pixels are missing or the '
            "noise differs between them"
        )
    if seen_through is None or system.grid != observation.mask.shape:
        raise ValueError(
            'method: expected another than "torus" through a map that is no blur '
            f"around the borders, got {system.through!r}"
        )
    data = decorrelate(observation.values, system.channels)
    height, width = system.grid
    pixels = height * width
    counts = half_spectrum_counts((height, width))
    counts[0, 0] = 0  # which the level takes
    share = jnp.asarray(counts, data.dtype)
    power = jnp.asarray(seen_through.power((height, width)), data.dtype)
    level = jnp.log(pixels * power[0, 0])

    def channel(covariance: Covariance, values: Array) -> Array:
        moments = covariance.moments(lag_grid((height, width), values.dtype))
        spectrum = jnp.fft.rfft2(moments.sill - moments.variogram).real
        noise = jnp.square(observation.noise_std[0, 0])
        expected = power * jnp.maximum(spectrum, 0) + noise
        found = jnp.square(jnp.abs(jnp.fft.rfft2(values))) / pixels
        quadratic = jnp.sum(share * found / expected)
        volume = jnp.sum(share * jnp.log(expected)) + level
        return _combine(quadratic, volume, pixels - 1)

    pairs = zip(system.covariances, data, strict=True)
    return jnp.stack([channel(covariance, values) for covariance, values in pairs])


def _lanczos(
    system: System, key: Array, probes: int, steps: int, mesh: Mesh | None
) -> Evidence:
    """By random signs and conjugate gradients."""
    seen = system.seen
    contrasts: Contrasts | ContrastsThrough
    data = system.data(system.observation.values)
    if isinstance(seen, SeenThrough):
        contrasts, data = contrasts_through(seen), data[None]
    else:
        contrasts = Contrasts(seen.tori, seen.observation)
    if not numerics.is_traced(contrasts.degrees):
        # As many as there are contrasts; the complement has nothing to find.
        steps = max(min(steps, int(contrasts.degrees)), 1)
    tolerance = system.tolerance_of("weights" if system.through is None else "field")
    settings = log_volume.Settings(steps, tolerance, system.max_iterations, mesh)
    still = jax.lax.stop_gradient(contrasts)
    solution = still.invert(
        jax.lax.stop_gradient(data), settings.tolerance, settings.max_iterations
    )
    weights = still.project(solution.value)
    # The value of y^T G^-1 y, and its derivatives by y and by G.
    quadratic = jnp.sum(
        2 * weights * data - weights * contrasts.covariance(weights),
        axis=tuple(range(1, data.ndim)),
    )
    shape = (probes, *data.shape)
    signs = jax.vmap(still.project)(jax.random.rademacher(key, shape, data.dtype))
    # Within a program that is compiled around it, nothing is moved by hand.
    if mesh is None or numerics.is_traced((contrasts, signs)):
        wholes, halves = log_volume.estimate(contrasts, signs, settings)
    else:
        placed = devices.replicate(contrasts, mesh), devices.place(signs, mesh)
        found = devices.gather(log_volume.estimate(*placed, settings))
        wholes, halves = map(jnp.asarray, found)
    error = jnp.zeros((), data.dtype)
    if probes > 1:
        sums = jax.lax.stop_gradient(jnp.sum(wholes, axis=1))
        error = jnp.std(sums, ddof=1) / math.sqrt(probes) / 2
    truncation = jnp.abs(jnp.sum(jnp.mean(wholes - halves, axis=0))) / 2
    volume = jnp.mean(wholes, axis=0) + contrasts.level_volume
    value = jnp.sum(_combine(quadratic, volume, contrasts.degrees))
    return Evidence(value, error, jax.lax.stop_gradient(truncation), solution.residual)
