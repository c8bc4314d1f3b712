"""The stationary covariance that is nearest to a matrix between all pixels."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from dipgp import kernels

Array = jax.Array
Shape = tuple[int, int]


def mean_by_lag(
    covariance: np.ndarray, shape: Shape, reach: float
) -> kernels.Covariance:
    """The stationary covariance that a matrix has away from the borders.

    The mean over all pairs of inner pixels of each lag; beyond three quarters of the
    inner pixels' width, where few pairs are left, the mean over all of those.
    Frequencies at which the result would be negative are set to 0.

    Args:
      covariance: (P, P) between all pixels.
      shape: (H, W) of them.
      reach: pixels from the border on that are not inner ones, as `networks.interior`
        says; a third of the image at most.
    """
    sizes = np.array(shape)
    margins = np.minimum(reach, (sizes - 1) // 3).astype(int)
    inner = tuple(slice(m, n - m) for m, n in zip(margins, shape, strict=True))
    pairs = covariance.reshape(shape + shape)[inner + inner]
    height, width = pairs.shape[:2]
    rows, columns = (axis.ravel() for axis in np.indices((height, width)))
    down = rows[None, :] - rows[:, None] + height - 1
    right = columns[None, :] - columns[:, None] + width - 1
    grid = (2 * height - 1, 2 * width - 1)
    lags = (down * grid[1] + right).ravel()
    total = np.bincount(lags, pairs.ravel(), np.prod(grid)).reshape(grid)
    count = np.bincount(lags, minlength=np.prod(grid)).reshape(grid)
    longest = 3 * np.array([height, width]) // 4
    down, right = np.indices(grid) - np.array([height, width])[:, None, None] + 1
    far = (abs(down) > longest[0]) | (abs(right) > longest[1])
    limit = total[far].sum() / count[far].sum()
    # On a torus on which no lag of the image goes around.
    table = np.zeros(2 * sizes)
    table[down[~far], right[~far]] = (total / count)[~far] - limit
    spectrum = np.maximum(np.fft.rfft2(table).real, 0)
    table = np.fft.irfft2(spectrum, s=table.shape)
    return kernels.as_covariance(_looked_up(table, float(limit), shape))


def _looked_up(
    table: np.ndarray, limit: float, shape: Shape
) -> Callable[[Array], Array]:
    """A function of whole lags: the limit plus what a table on a torus says."""

    def function(lags: Array) -> Array:
        # Lags outside the table, however long, are beyond all reach.
        steps = jnp.clip(jnp.round(lags), -max(shape), max(shape)).astype(int)
        down, right = steps[..., 0], steps[..., 1]
        near = (abs(down) < shape[0]) & (abs(right) < shape[1])
        values = jnp.asarray(table, lags.dtype)
        found = values[down % (2 * shape[0]), right % (2 * shape[1])]
        return limit + jnp.where(near, found, 0)

    return function
