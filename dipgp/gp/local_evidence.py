"""Which covariance holds where, by the evidence of small windows.

Windows overlap and cover the image. For each of them and each candidate K_m, in the
matrix v (K_m + ratio I) between the window's observed pixels, the restricted likelihood
is exact, with the window's level integrated out and its variance v at the maximum; the
ratio is that of the noise to the variance which the window shows. The posterior
probabilities p_m of the candidates, all alike beforehand, then make the local variance
of process m in a `Mixture`,

    a_m^2 = p_m v_m,

smoothed over neighbouring windows, since independent processes that take turns
abruptly would forget at each turn what they saw, and interpolated linearly between the
windows' centres. This is empirical Bayes: what is
seen chooses its own prior, and the truth is never asked.

The factorisations run in float64 on the host, as those of `dipgp.gp.blocks`.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.ndimage

from dipgp import numerics
from dipgp.gp import arguments
from dipgp.gp.dense import lag_table
from dipgp.gp.mixture import Mixture
from dipgp.kernels.layers import batch_norm
from dipgp.kernels.stationary import Covariance, CovarianceLike, as_covariance

Array = jax.Array
Report = Callable[[str], None]

# Sides of a window and steps between windows, in pixels. The side is that of a window
# with half of its pixels missing; it grows with what is missing.
SIDE = 8
STEP = 4
# Bounds on the noise variance over the sill of a window. No photograph follows a smooth
# covariance closer than the smallest.
SMALLEST_RATIO, LARGEST_RATIO = 1e-3, 1.0
# Fewer observed pixels do not tell covariances apart; neighbouring windows then do.
FEWEST_PIXELS = 6
# Standard deviation of the smoothing, in steps between windows.
SMOOTHING = 0.7
# Windows that are factorised together, which bounds the memory.
WINDOWS_AT_ONCE = 1024


class Windows(NamedTuple):
    """Overlapping windows of an image, those with few pixels left out.

    Attributes:
      tops: of the lattice of windows.
      lefts: likewise.
      side: of each, in pixels.
      chosen: (W,) flat indices into the lattice of windows that see enough.
      lags: (W, n, n) of each pair of observed pixels, as flat indices into a
        `lag_table`; n is that of the window that sees most.
      seen: (W, n), whether there is such a pixel.
      values: (W, n), less the window's mean.
      ratios: (W, n), noise variance over the window's sill, 1 where there is no pixel.
    """

    tops: np.ndarray
    lefts: np.ndarray
    side: int
    chosen: np.ndarray
    lags: np.ndarray
    seen: np.ndarray
    values: np.ndarray
    ratios: np.ndarray


def localise(
    candidates: Sequence[CovarianceLike],
    values: jax.typing.ArrayLike,
    mask: jax.typing.ArrayLike | None = None,
    noise_std: jax.typing.ArrayLike | None = None,
    *,
    report: Report = lambda message: None,
) -> Mixture:
    """A mixture of candidates, each where windows find it probable.

    Args:
      candidates: covariances, of which only the shape (K - K(inf)) / sill counts.
      values: (H, W) intensities; what the mask leaves out is not read.
      mask: (H, W), true where a pixel is observed; everything by default.
      noise_std: standard deviation of the noise in the values' units, scalar or (H, W).
      report: is told how far the work is.

    Raises:
      ValueError: where there is no candidate, where arguments do not fit together or
        are traced by JAX, or where no window has enough observed pixels.
    """
    observation, grey = arguments.read_observation(None, values, mask, noise_std)
    arguments.check_candidates(candidates)
    if not grey:
        raise ValueError(
            "values: expected one channel, (H, W), got "
            f"{tuple(observation.values.shape)}; try each channel by itself"
        )
    if numerics.is_traced(observation):
        raise ValueError(
            "values, mask: expected known values, got some that JAX traces"
        )
    shapes = tuple(batch_norm(as_covariance(candidate)) for candidate in candidates)
    image = np.asarray(observation.values[:, :, 0], np.float64)
    noise = np.square(np.asarray(observation.noise_std, np.float64))
    windows = cut(image, np.asarray(observation.mask) != 0, noise)
    evidence, variances = [], []
    for index, shape in enumerate(shapes):
        report(f"local evidence of covariance {index + 1} of {len(shapes)}")
        height, variance = weigh(shape, windows)
        evidence.append(height)
        variances.append(variance)
    likelihood = np.exp(np.array(evidence) - np.max(evidence, axis=0))
    share = likelihood / likelihood.sum(axis=0)
    local = _interpolate(share * np.array(variances), windows, image.shape)
    return Mixture(shapes, jnp.asarray(np.sqrt(local), observation.values.dtype))


def cut(image: np.ndarray, mask: np.ndarray, noise: np.ndarray) -> Windows:
    """Cuts overlapping windows out of an image.

    Args:
      image: (H, W).
      mask: (H, W), true where observed.
      noise: (H, W), its variances.

    Raises:
      ValueError: where no window has `FEWEST_PIXELS` observed pixels.
    """
    side = round(SIDE * float(np.sqrt(0.5 / max(mask.mean(), 1e-3))))
    side = min(max(side, STEP), *mask.shape)
    tops, lefts = (_starts(size, side) for size in mask.shape)
    views = np.lib.stride_tricks.sliding_window_view(mask, (side, side))
    flat = views[np.ix_(tops, lefts)].reshape(-1, side * side)
    counts = flat.sum(axis=1)
    chosen = np.flatnonzero(counts >= FEWEST_PIXELS)
    if not chosen.size:
        raise ValueError(
            f"mask: expected {FEWEST_PIXELS} observed pixels in some window of {side}x"
            f"{side} to choose covariances by, got {int(mask.sum())} of {mask.size}"
        )
    flat, most = flat[chosen], counts.max()
    pixels = np.argsort(~flat, axis=1, kind="stable")[:, :most]
    seen = np.take_along_axis(flat, pixels, axis=1)

    def gather(whole: np.ndarray) -> np.ndarray:
        views = np.lib.stride_tricks.sliding_window_view(whole, (side, side))
        parts = views[np.ix_(tops, lefts)].reshape(-1, side * side)[chosen]
        return seen * np.take_along_axis(parts, pixels, axis=1)

    count = seen.sum(axis=1, keepdims=True)
    values = gather(image)
    values = seen * (values - values.sum(axis=1, keepdims=True) / count)
    noises = gather(noise)
    spread = np.sum(values**2 - noises, axis=1, keepdims=True) / count
    sill = np.maximum(spread, noises.sum(axis=1, keepdims=True) / count)
    ratios = np.where(seen, np.clip(noises / sill, SMALLEST_RATIO, LARGEST_RATIO), 1)
    rows, columns = np.divmod(pixels, side)
    down = rows[:, :, None] - rows[:, None, :] + side - 1
    right = columns[:, :, None] - columns[:, None, :] + side - 1
    lags = (down * (2 * side - 1) + right).astype(np.int32)
    return Windows(tops, lefts, side, chosen, lags, seen, values, ratios)


def _starts(size: int, side: int) -> np.ndarray:
    return np.unique(np.append(np.arange(0, size - side + 1, STEP), size - side))


def weigh(covariance: Covariance, windows: Windows) -> tuple[np.ndarray, np.ndarray]:
    """Restricted log-likelihood of each window, (W,), and its variance.

    Args:
      covariance: K with a sill of 1.
      windows: of the image.
    """
    shape = (windows.side, windows.side)
    table = np.asarray(lag_table(covariance, shape, "float32"), np.float64).ravel()
    parts = [
        _factorise(table, *(a[i : i + WINDOWS_AT_ONCE] for a in windows[4:]))
        for i in range(0, len(windows.chosen), WINDOWS_AT_ONCE)
    ]
    log_determinant, quadratic = map(np.concatenate, zip(*parts, strict=True))
    freedom = windows.seen.sum(axis=1) - 1
    smallest = np.finfo(np.float32).eps ** 2  # a window of one value has no variance
    variance = np.maximum(quadratic / freedom, smallest)
    fit = quadratic / variance + freedom * np.log(variance)
    return -(fit + log_determinant) / 2, variance


def _factorise(
    table: np.ndarray,
    lags: np.ndarray,
    seen: np.ndarray,
    values: np.ndarray,
    ratios: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Log determinants, the level's included, and y^T P y of windows.

    One factorisation of [[A, b], [b^T, big]] for b = (1, y) gives b^T L^-T besides L.
    """
    size = seen.shape[1]
    matrix = np.zeros((len(seen), size + 2, size + 2))
    pixels, both = np.arange(size), seen[:, :, None] & seen[:, None, :]
    matrix[:, :size, :size] = np.where(both, table[lags], 0)
    matrix[:, pixels, pixels] += ratios
    matrix[:, size, :size] = seen
    matrix[:, size + 1, :size] = values
    big = 1e3 * (1 + np.sum(seen + values**2, axis=1)) / SMALLEST_RATIO
    matrix[:, size, size] = matrix[:, size + 1, size + 1] = big
    factor = np.linalg.cholesky(matrix)
    ones, signal = factor[:, size, :size], factor[:, size + 1, :size]
    level = np.sum(ones**2, axis=1)
    quadratic = np.sum(signal**2, axis=1) - np.sum(ones * signal, axis=1) ** 2 / level
    diagonal = np.diagonal(factor, axis1=1, axis2=2)[:, :size]
    return 2 * np.sum(np.log(diagonal), axis=1) + np.log(level), quadratic


def _interpolate(
    chosen: np.ndarray, windows: Windows, shape: tuple[int, ...]
) -> np.ndarray:
    """(M, H, W): numbers of windows (M, W), smoothed, linearly between their centres.

    Windows that saw too little have the numbers of the nearest that did not.
    """
    lattice = (len(windows.tops), len(windows.lefts))
    known = np.zeros(lattice, bool)
    known.flat[windows.chosen] = True
    where = np.full(lattice, -1)
    where.flat[windows.chosen] = np.arange(windows.chosen.size)
    nearest = scipy.ndimage.distance_transform_edt(
        ~known, return_distances=False, return_indices=True
    )
    numbers = chosen[:, where[tuple(nearest)]]
    spread = (0, SMOOTHING, SMOOTHING)
    numbers = scipy.ndimage.gaussian_filter(numbers, spread, mode="nearest")
    half = (windows.side - 1) / 2
    down, right = (
        _hats(starts + half, size)
        for starts, size in zip((windows.tops, windows.lefts), shape, strict=True)
    )
    return np.einsum("yt,mtl,xl->myx", down, numbers, right, optimize=True)


def _hats(centres: np.ndarray, size: int) -> np.ndarray:
    """(size, centres): linear interpolation from centres to pixels, constant beyond."""
    pixels = np.arange(size)
    return np.stack([np.interp(pixels, centres, e) for e in np.eye(len(centres))], 1)
