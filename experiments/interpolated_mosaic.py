"""Colours behind a Bayer mosaic by interpolation: what demosaicing is held against.

Pixels beyond a border are those before it, mirrored at the outermost, which keeps the
order of colours.
"""

import jax.numpy as jnp
import numpy as np
import scipy.ndimage

from dipgp.observations import BayerMosaic

RED, GREEN, BLUE = range(3)

# Means of the nearest pixels of a colour, where it stands on a checkerboard or on every
# other row and column.
_CHECKERED = np.array([[0, 1, 0], [1, 4, 1], [0, 1, 0]]) / 4
_SPARSE = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 4

# Malvar, He and Cutler's filters, in eighths: a colour's nearest pixels, corrected by
# how the colour that is seen differs there from its own neighbours.
_GREEN_AT_OTHERS = np.array(
    [
        [0, 0, -1, 0, 0],
        [0, 0, 2, 0, 0],
        [-1, 2, 4, 2, -1],
        [0, 0, 2, 0, 0],
        [0, 0, -1, 0, 0],
    ]
)
_FROM_THE_SIDES = np.array(
    [
        [0, 0, 0.5, 0, 0],
        [0, -1, 0, -1, 0],
        [-1, 4, 5, 4, -1],
        [0, -1, 0, -1, 0],
        [0, 0, 0.5, 0, 0],
    ]
)
_FROM_THE_CORNERS = np.array(
    [
        [0, 0, -1.5, 0, 0],
        [0, 2, 0, 2, 0],
        [-1.5, 0, 6, 0, -1.5],
        [0, 2, 0, 2, 0],
        [0, 0, -1.5, 0, 0],
    ]
)


def bilinear(seen: np.ndarray, mosaic: BayerMosaic) -> np.ndarray:
    """Each colour by the mean of its nearest pixels.

    Args:
      seen: (H, W, 1) intensities, at least two pixels high and wide.
      mosaic: what they were seen through.

    Returns:
      (H, W, 3), in 64 bits.
    """
    apart = np.where(_colours(mosaic, seen.shape), seen.astype(np.float64), 0)
    filters = {RED: _SPARSE, GREEN: _CHECKERED, BLUE: _SPARSE}
    return np.stack([_filter(apart[:, :, c], filters[c]) for c in filters], axis=-1)


def gradient_corrected(seen: np.ndarray, mosaic: BayerMosaic) -> np.ndarray:
    """High-quality linear interpolation, by filters of 5x5 pixels.

    Args:
      seen: (H, W, 1) intensities, at least three pixels high and wide.
      mosaic: what they were seen through.

    Returns:
      (H, W, 3), in 64 bits.

    References:
      Malvar, He and Cutler, "High-quality linear interpolation for demosaicing of
      Bayer-patterned color images", ICASSP 2004.
    """
    colours = _colours(mosaic, seen.shape)
    image = seen[:, :, 0].astype(np.float64)
    green = _filter(image, _GREEN_AT_OTHERS / 8)
    beside = _filter(image, _FROM_THE_SIDES / 8)
    above = _filter(image, _FROM_THE_SIDES.T / 8)
    corners = _filter(image, _FROM_THE_CORNERS / 8)
    found = [image] * 3
    found[GREEN] = np.where(colours[:, :, GREEN], image, green)
    for colour, other in ((RED, BLUE), (BLUE, RED)):
        in_row = np.any(colours[:, :, colour], axis=1, keepdims=True)
        at_green = np.where(in_row, beside, above)
        elsewhere = np.where(colours[:, :, other], corners, at_green)
        found[colour] = np.where(colours[:, :, colour], image, elsewhere)
    return np.stack(found, axis=-1)


def _colours(mosaic: BayerMosaic, shape: tuple[int, ...]) -> np.ndarray:
    """(H, W, 3), whether a colour is seen at a pixel."""
    spread = mosaic.adjoint(jnp.ones((*shape[:2], 1)), (*shape[:2], 3))
    return np.asarray(spread) > 0


def _filter(image: np.ndarray, taps: np.ndarray) -> np.ndarray:
    return scipy.ndimage.correlate(image, taps, mode="mirror")
