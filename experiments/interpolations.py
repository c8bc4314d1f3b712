"""What inpainting is compared with: fillings-in that know nothing of networks."""

from collections.abc import Callable

import numpy as np
from skimage.restoration import inpaint_biharmonic

from experiments import total_variation

Array = np.ndarray


def biharmonic(values: Array, mask: Array) -> Array:
    """The smoothest surface through what is seen (Damelin and Hoang, 2018).

    Args:
      values: (H, W, C) intensities; what the mask leaves out is not read.
      mask: (H, W) bool, true where observed.

    Returns:
      (H, W, C) intensities, within the range of those seen.
    """
    seen = np.where(mask[:, :, None], values, 0).astype(np.float64)
    return np.asarray(inpaint_biharmonic(seen, ~mask, channel_axis=-1))


def least_variation(values: Array, mask: Array) -> Array:
    """The image of least total variation; `experiments.total_variation`.

    Args:
      values: (H, W, C) intensities; what the mask leaves out is not read.
      mask: (H, W) bool, true where observed.

    Returns:
      (H, W, C) intensities; NaN where the iteration did not arrive.
    """
    found = total_variation.inpaint(values, mask)
    return found.image if found.converged else np.full_like(found.image, np.nan)


BASELINES: dict[str, Callable[[Array, Array], Array]] = {
    "biharmonic": biharmonic,
    "tv": least_variation,
}
