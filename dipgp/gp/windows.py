"""Windows of what is seen of an image, and the contrasts in them that see no level.

For maps that see pixels one by one, each value some colours of its own pixel, as a
mosaic's: y = sum_c a_c f_c(t) + noise. What is seen is cut into windows side by side.
Those that see alike, as all windows of a mosaic do, stand in one group and share every
matrix.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg

from dipgp.kernels.stationary import Covariance
from dipgp.observations import LinearMap, Observation

Array = jax.Array

SIDE = 12  # pixels; even, so that the windows of a mosaic are alike
MAX_GROUPS = 24

# A variogram's rounding in 32 bits may leave matrices indefinite. White noise of this
# share of its mean drowns it.
NUGGET = 1e-6


class Group(NamedTuple):
    """W windows that see alike, n values in each.

    Attributes:
      rows: (n,) of the values' pixels, from the window's upper edge.
      columns: (n,) of the values' pixels, from the window's left edge.
      weights: (n, C) what each value sees of the colours of its pixel.
      noise: (n,) variances.
      basis: (n, m) orthonormal; the contrasts are those combinations of a window's
        values that no colour's level changes.
      contrasts: (W, m).
    """

    rows: np.ndarray
    columns: np.ndarray
    weights: np.ndarray
    noise: np.ndarray
    basis: np.ndarray
    contrasts: np.ndarray


def cut(
    observation: Observation, through: LinearMap, shape: tuple[int, int, int]
) -> list[Group]:
    """Cuts what is seen into windows of `SIDE` pixels, or one where it is smaller.

    What fills no window at the lower and right border is left out. Of more than
    `MAX_GROUPS` groups, as behind a random mask, that many are taken, evenly spread.

    Args:
      observation: what was seen.
      through: a map that sees pixels one by one.
      shape: (H, W, C) of the image.

    Raises:
      ValueError: on another map, or where no window has a contrast.
    """
    weights = _weights(through, shape, observation.values.dtype)
    values, mask, noise_std = (np.asarray(part, np.float64) for part in observation)
    height, width = (min(SIDE, size) for size in shape[:2])
    alike: dict[bytes, list[np.ndarray]] = {}
    views: dict[bytes, tuple[np.ndarray, ...]] = {}
    for top in range(0, shape[0] - height + 1, height):
        for left in range(0, shape[1] - width + 1, width):
            part = np.s_[top : top + height, left : left + width]
            pixels = np.nonzero(mask[part])
            seen, noise = weights[part][pixels], noise_std[part][pixels] ** 2
            view = (*pixels, seen, noise)
            key = b"".join(array.tobytes() for array in view)
            views[key] = view
            alike.setdefault(key, []).append(values[part][pixels].ravel())
    groups = [
        _group(views[key], np.stack(windows))
        for key, windows in alike.items()
        if views[key][0].size > 0
    ]
    groups = [group for group in groups if group.contrasts.shape[1] > 0]
    if not groups:
        raise ValueError(
            "mask: expected a window of pixels that tell more than their levels, got "
            f"{int(np.count_nonzero(mask))} of {mask.size} pixels; try a ChannelModel "
            "from a similar image"
        )
    if len(groups) > MAX_GROUPS:
        spread = np.linspace(0, len(groups) - 1, MAX_GROUPS).astype(int)
        groups = [groups[index] for index in spread]
    return groups


def components(covariance: Covariance, group: Group) -> np.ndarray:
    """What each entry of a channel covariance adds to the contrasts' covariance.

    The contrasts of a field K C have the covariance sum_cd C_cd B_cd, with
    B_cd = Z^T (a_c a_d^T o K) Z, o entry by entry and Z the basis.

    Args:
      covariance: K, of which only the variogram is read.
      group: the windows.

    Returns:
      (C, C, m, m); B_cd + B_dc is symmetric.
    """
    down = group.rows[:, None] - group.rows[None, :]
    right = group.columns[:, None] - group.columns[None, :]
    far_down, far_right = down.max(), right.max()
    axes = [np.arange(-far, far + 1, dtype=np.float32) for far in (far_down, far_right)]
    lags = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    variogram = np.asarray(covariance.moments(lags).variogram, np.float64)
    # A constant in K is a level, which contrasts do not see.
    between = -variogram[down + far_down, right + far_right]
    between[np.diag_indices_from(between)] += NUGGET * variogram.mean()
    basis, weights = group.basis, group.weights
    each = weights.T[:, :, None] * basis  # (C, n, m)
    return np.einsum("cnk,dnl->cdkl", each, between @ each, optimize=True)


def noise_component(group: Group) -> np.ndarray:
    """(m, m): the contrasts' covariance by the noise."""
    return (group.basis.T * group.noise) @ group.basis


def _group(view: tuple[np.ndarray, ...], windows: np.ndarray) -> Group:
    rows, columns, seen, noise = view
    count = seen.shape[1]  # values a pixel
    rows, columns, noise = (np.repeat(part, count) for part in (rows, columns, noise))
    weights = seen.reshape(-1, seen.shape[2])
    basis = scipy.linalg.null_space(weights.T)
    return Group(rows, columns, weights, noise, basis, windows @ basis)


def _weights(
    through: LinearMap, shape: tuple[int, int, int], dtype: np.typing.DTypeLike
) -> np.ndarray:
    """(H, W, c, C): what each value sees of the colours of its pixel.

    Raises:
      ValueError: on a map that sees other pixels, too.
    """
    flat = np.broadcast_to(np.eye(shape[2])[:, None, None], (shape[2], *shape))
    seen = np.moveaxis(
        np.asarray(jax.vmap(through)(jnp.asarray(flat.astype(dtype))), np.float64),
        0,
        -1,
    )
    if seen.shape[:2] == shape[:2]:
        image = np.random.default_rng(0).standard_normal(shape)
        expected = np.einsum("hwkc,hwc->hwk", seen, image)
        found = np.asarray(through(jnp.asarray(image.astype(dtype))))
        if np.allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max()):
            return seen
    raise ValueError(
        "through: expected a map that sees pixels one by one, as BayerMosaic, got "
        f"{through!r}; try channels= from a similar image"
    )
