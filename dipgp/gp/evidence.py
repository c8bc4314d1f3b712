"""The log evidence of what was seen, with derivatives by the hyperparameters.

The probability density of the n observed values of a channel, an unknown level of flat
prior density 1 integrated out (Patterson and Thompson's restricted likelihood, up to a
constant):

    log p(y) = -1/2 [ y^T a + log|P A P| + log n + (n - 1) log 2 pi ],    A = K + D,

with P the projection on contrasts, values that sum to zero, |.| over them, and a the
weights of the posterior mean, P A a = P y. Nothing changes with a constant in K.

dense     by Cholesky's factor; exact.
torus     for an image seen in full in noise of one strength, whose opposite sides are
          neighbours: Whittle's likelihood, which is exact there.
lanczos   log|P A P| as the mean of z^T log(P A P) z over random signs z, by Lanczos'
          tridiagonal matrices (Ubaru, Chen and Saad, Fast estimation of tr(f(A)) via
          stochastic Lanczos quadrature, SIAM J. Matrix Anal. Appl. 2017). Its
          derivative is the mean of z^T A^-1 dA z.
"""

import functools
import math
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
from matfree import decomp

from dipgp import numerics
from dipgp.architecture.layers import check_positive_integer
from dipgp.gp import dense
from dipgp.gp.colour import decorrelate
from dipgp.gp.system import FEW_PIXELS, System
from dipgp.gp.toeplitz import Torus, half_spectrum_counts
from dipgp.gp.weights import Contrasts
from dipgp.kernels.stationary import Covariance, lag_grid
from dipgp.observations import Observation, seen_evenly

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
      residual: (C,), relative residual of the weights' equations; 0 where none was
        iterated.
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
) -> Evidence:
    """The evidence of a system; arguments as of `Posterior.log_evidence`."""
    if method not in get_args(Method):
        known = ", ".join(get_args(Method))
        raise ValueError(f"method: expected one of {known}, got {method!r}")
    if system.through is not None:
        raise ValueError(
            f"through: expected None for the evidence, got {system.through!r}; try "
            "gp.select(..., through=...), which weighs covariances through a map"
        )
    observation = system.observation
    data = decorrelate(observation.values, system.channels)
    if method == "automatic":
        small = system.tori is None or observation.mask.size <= FEW_PIXELS
        known_mask = not numerics.is_traced(observation.mask)
        method = "dense" if small and known_mask else "lanczos"
    if method == "dense":
        return _exact(_dense(system.covariances, data, observation))
    if method == "torus":
        return _exact(_torus(system.covariances, data, observation))
    if system.tori is None:
        raise ValueError(
            'method: expected "dense" where matrices are factorised, got "lanczos"'
        )
    if key is None:
        raise ValueError(
            "key: expected a key for the random signs, got None; try jax.random.key(0)"
        )
    check_positive_integer("probes", probes)
    check_positive_integer("steps", steps)
    return _lanczos(system, data, key, probes, steps)


def _exact(values: Array) -> Evidence:
    """From the log evidence of each channel."""
    zero = jnp.zeros((), values.dtype)
    return Evidence(jnp.sum(values), zero, zero, jnp.zeros_like(values))


def _combine(quadratic: Array, volume: Array, pixels: Array | int) -> Array:
    """The formula at the top from its parts."""
    constant = jnp.log(pixels) + (pixels - 1) * math.log(2 * math.pi)
    return -(quadratic + volume + constant) / 2


def _dense(
    covariances: tuple[Covariance, ...], data: Array, observation: Observation
) -> Array:
    """(C,), by factorising A; log|P A P| = log|A| + log(1^T A^-1 1) - log n."""
    rows, columns = dense.observed_pixels(observation)
    noise = jnp.diag(jnp.square(observation.noise_std)[rows, columns])
    height, width = observation.mask.shape

    def channel(covariance: Covariance, values: Array) -> Array:
        table = dense.lag_table(covariance, (height, width), values.dtype)
        matrix = dense.covariance_matrix(table, rows, columns)
        root = jnp.linalg.cholesky(matrix + noise)
        observed = values[rows, columns]
        both = jnp.stack([observed, jnp.ones_like(observed)], axis=1)
        whitened = jax.scipy.linalg.solve_triangular(root, both, lower=True)
        (square, cross), (_, ones) = whitened.T @ whitened
        volume = 2 * jnp.sum(jnp.log(jnp.diagonal(root))) + jnp.log(ones)
        quadratic = square - cross**2 / ones
        return _combine(quadratic, volume - math.log(rows.size), rows.size)

    pairs = zip(covariances, data, strict=True)
    return jnp.stack([channel(covariance, values) for covariance, values in pairs])


def _torus(
    covariances: tuple[Covariance, ...], data: Array, observation: Observation
) -> Array:
    """(C,), by the Fourier transform of the image itself."""
    if not seen_evenly(observation):
        raise ValueError(
            'method: expected another than "torus" where pixels are missing or the '
            "noise differs between them"
        )
    height, width = observation.mask.shape
    pixels = height * width
    counts = half_spectrum_counts((height, width))
    counts[0, 0] = 0  # which the level takes
    share = jnp.asarray(counts, data.dtype)

    def channel(covariance: Covariance, values: Array) -> Array:
        moments = covariance.moments(lag_grid((height, width), values.dtype))
        spectrum = jnp.fft.rfft2(moments.sill - moments.variogram).real
        expected = jnp.maximum(spectrum, 0) + jnp.square(observation.noise_std[0, 0])
        power = jnp.square(jnp.abs(jnp.fft.rfft2(values))) / pixels
        quadratic = jnp.sum(share * power / expected)
        return _combine(quadratic, jnp.sum(share * jnp.log(expected)), pixels)

    pairs = zip(covariances, data, strict=True)
    return jnp.stack([channel(covariance, values) for covariance, values in pairs])


def _lanczos(
    system: System, data: Array, key: Array, probes: int, steps: int
) -> Evidence:
    """By random signs and conjugate gradients."""
    tori, observation = system.tori, system.observation
    assert tori is not None
    pixels = jnp.sum(observation.mask)
    if not numerics.is_traced(pixels):
        # As many as there are contrasts; the complement has nothing to find.
        steps = max(min(steps, int(pixels) - 1), 1)
    settings = _Settings(steps, system.tolerance, system.max_iterations)
    contrasts = Contrasts(tori, observation)
    still = jax.lax.stop_gradient(contrasts)
    solution = still.invert(
        jax.lax.stop_gradient(data), settings.tolerance, settings.max_iterations
    )
    weights = still.project(solution.value)
    # The value of y^T A^-1 y, and its derivatives by y and by A.
    quadratic = jnp.sum(
        2 * weights * data - weights * contrasts.covariance(weights), axis=(1, 2)
    )
    shape = (probes, *data.shape)
    signs = jax.vmap(still.project)(jax.random.rademacher(key, shape, data.dtype))
    wholes, halves = _log_volumes(contrasts, signs, settings)
    error = jnp.zeros((), data.dtype)
    if probes > 1:
        sums = jax.lax.stop_gradient(jnp.sum(wholes, axis=1))
        error = jnp.std(sums, ddof=1) / math.sqrt(probes) / 2
    truncation = jnp.abs(jnp.sum(jnp.mean(wholes - halves, axis=0))) / 2
    value = jnp.sum(_combine(quadratic, jnp.mean(wholes, axis=0), pixels))
    return Evidence(value, error, jax.lax.stop_gradient(truncation), solution.residual)


class _Settings(NamedTuple):
    steps: int
    tolerance: float
    max_iterations: int


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def _log_volumes(
    contrasts: Contrasts, signs: Array, settings: _Settings
) -> tuple[Array, Array]:
    """z^T log(P A P) z for signs (probes, C, H, W), by all and by half of the steps."""

    def probe(images: Array) -> tuple[Array, Array]:
        volumes = [
            _quadrature(contrasts, channel, image, settings.steps)
            for channel, image in enumerate(images)
        ]
        wholes, halves = zip(*volumes, strict=True)
        return jnp.stack(wholes), jnp.stack(halves)

    return jax.lax.map(probe, signs)


@_log_volumes.defjvp
def _log_volumes_jvp(
    settings: _Settings,
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
        return jnp.sum(pulled * spread, axis=(2, 3))

    volumes = _log_volumes(contrasts, signs, settings)
    _, slopes = jax.jvp(traces, (contrasts,), (change,))
    return volumes, (slopes, slopes)


def _quadrature(
    contrasts: Contrasts, channel: int, image: Array, steps: int
) -> tuple[Array, Array]:
    """z^T log(P A P) z of one channel, by all the steps and by half of them."""
    tori = contrasts.tori
    spectrum = tori.spectrum[channel : channel + 1]
    alone = contrasts._replace(tori=Torus(spectrum, tori.error, tori.size))

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
