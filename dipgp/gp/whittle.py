"""How probable a covariance makes a fully observed image, in Fourier space.

The image is cut into overlapping tiles under a smooth window; the mean over tiles of
their squared Fourier coefficients is compared with what the covariance leads one to
expect of them, frequency by frequency:

    log p ~ -sum_k [ I(k) / E(k) + log E(k) ] / 2

E(k) is the exact expectation under window and finite tile (the transform of K times the
window's autocorrelation), not the spectral density that Whittle put in its place: with
it the estimate is consistent on finite grids (Guillaumin, Rajala, Sykulski et al., The
debiased spatial Whittle likelihood, JRSS B 2022). What remains approximate is that the
frequencies are treated as independent and each coefficient as Gaussian. The window
keeps the jump between opposite borders from leaking into the high frequencies; the
tiles bound the cost and the longest lag that is looked at.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dipgp.gp.toeplitz import half_spectrum_counts
from dipgp.kernels.stationary import Covariance, Moments, lag_grid

Array = jax.Array

TILE = 128
FISHER_STEPS = 30
# Power that a channel has at least where the search begins, in parts of the noise's.
LEAST = 1e-6


class Periodogram(NamedTuple):
    """Squared Fourier coefficients of windowed tiles.

    Attributes:
      power: (C, T1, T2 // 2 + 1), mean over the tiles.
      window: (2 T1, 2 T2) autocorrelation of the window, in the order of `lag_grid`.
      counts: (T1, T2 // 2 + 1) coefficients of the full transform that each entry
        stands for; 0 at frequency zero, which the unknown level takes up.
    """

    power: Array
    window: Array
    counts: Array


class Fit(NamedTuple):
    """A covariance's amplitude and noise at the maximum of Whittle's likelihood.

    Attributes:
      evidence: approximate log-likelihood for each pixel.
      amplitude: standard deviation by which the covariance is to be scaled.
      noise_std: standard deviation of white noise.
    """

    evidence: Array
    amplitude: Array
    noise_std: Array


def periodogram(values: Array, tile: int = TILE) -> Periodogram:
    """Averages the periodograms of half-overlapping tiles under a sine window.

    Args:
      values: (C, H, W), observed everywhere.
      tile: side of the tiles in pixels; smaller images are one tile.
    """
    height, width = values.shape[1:]
    down, right = min(tile, height), min(tile, width)
    window = _window(down)[:, None] * _window(right)[None, :]
    places = [(0, i, j) for i in _starts(height, down) for j in _starts(width, right)]
    power = _mean_power(values, jnp.asarray(window, values.dtype), jnp.asarray(places))
    transform = np.abs(np.fft.rfft2(window, s=(2 * down, 2 * right))) ** 2
    autocorrelation = np.fft.irfft2(transform, s=(2 * down, 2 * right))
    counts = half_spectrum_counts((down, right))
    counts[0, 0] = 0
    dtype = values.dtype
    return Periodogram(
        power, jnp.asarray(autocorrelation, dtype), jnp.asarray(counts, dtype)
    )


@jax.jit
def _mean_power(values: Array, window: Array, places: Array) -> Array:
    """Squared coefficients (C, T1, T2 // 2 + 1), mean over tiles that begin at places.

    One tile at a time: all of them take several times the image's memory.
    """
    level = jnp.mean(values, axis=(1, 2), keepdims=True)
    shape = (len(values), *window.shape)

    def add(total: Array, place: Array) -> tuple[Array, None]:
        tile = jax.lax.dynamic_slice(values, place, shape) - level
        return total + jnp.square(jnp.abs(jnp.fft.rfft2(window[None] * tile))), None

    start = jnp.zeros((*shape[:2], shape[2] // 2 + 1), values.dtype)
    total, _ = jax.lax.scan(add, start, places)
    return total / len(places)


def _window(size: int) -> np.ndarray:
    return np.sin(np.pi * (np.arange(size) + 0.5) / size)


def _starts(size: int, tile: int) -> list[int]:
    """Half-overlapping tiles, the last one flush with the border."""
    return sorted({*range(0, size - tile + 1, max(tile // 2, 1)), size - tile})


def expected_power(covariance: Covariance, data: Periodogram) -> Array:
    """What a periodogram's power is on average under a covariance.

    Frequency zero, which depends on the unknown level, is not to be relied on.
    """
    double = (data.window.shape[0], data.window.shape[1])
    return _fold(covariance.moments(lag_grid(double, data.window.dtype)), data.window)


@jax.jit
def _fold(moments: Moments, window: Array) -> Array:
    seen = (moments.sill - moments.variogram) * window
    height, width = window.shape[0] // 2, window.shape[1] // 2
    # Sampling the transform at the tile's own frequencies folds the lags once around.
    folded = seen.reshape(2, height, 2, width).sum(axis=(0, 2))
    power = jnp.fft.rfft2(folded).real
    return jnp.maximum(power, jnp.finfo(power.dtype).eps * jnp.max(power))


@functools.partial(jax.jit, static_argnames=("estimate_noise",))
def fit(
    shape: Array, data: Periodogram, noise_std: Array, estimate_noise: bool = False
) -> Fit:
    """Maximises the likelihood over amplitude and, if asked, noise by Fisher scoring.

    Args:
      shape: `expected_power` of a covariance.
      data: of the image; each channel is fitted by itself.
      noise_std: of white noise in the values' units, known or a first guess.
      estimate_noise: whether it is a first guess.

    Returns:
      The fit, (C,) each.
    """
    white = data.window[0, 0]
    total = jnp.sum(data.counts)

    def fit_channel(power: Array) -> Fit:
        def model(logs: Array) -> tuple[Array, Array]:
            parts = jnp.stack([jnp.exp(logs[0]) * shape, jnp.exp(logs[1]) * white_part])
            mean = jnp.sum(parts, axis=0)
            return mean, parts / mean[None]

        def scoring(_: int, logs: Array) -> Array:
            mean, shares = model(logs)
            gradient = jnp.sum(
                data.counts[None] * shares * (power / mean - 1)[None], (1, 2)
            )
            information = jnp.einsum("hw,ihw,jhw->ij", data.counts, shares, shares)
            ridge = 1e-6 * jnp.trace(information) * jnp.eye(2, dtype=logs.dtype)
            both = jnp.linalg.solve(information + ridge, gradient)
            one = jnp.stack([gradient[0] / information[0, 0], jnp.zeros_like(both[1])])
            return logs + jnp.clip(both if estimate_noise else one, -1, 1)

        white_part = jnp.full_like(shape, 1.0) * white
        noise = jnp.square(jnp.asarray(noise_std))
        # Of a channel that does not vary, which has no logarithm, next to nothing.
        seen = jnp.sum(data.counts * jnp.maximum(power, LEAST * noise * white))
        ratio = seen / jnp.sum(data.counts * shape)
        start = jnp.stack([jnp.log(ratio), jnp.log(noise)])
        logs = jax.lax.fori_loop(0, FISHER_STEPS, scoring, start)
        mean, _ = model(logs)
        likelihood = -jnp.sum(data.counts * (power / mean + jnp.log(mean))) / (
            2 * total
        )
        return Fit(likelihood, jnp.exp(logs[0] / 2), jnp.exp(logs[1] / 2))

    return jax.vmap(fit_channel)(data.power)
