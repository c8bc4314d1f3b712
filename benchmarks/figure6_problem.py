"""The data of Figure 6, or a stand-in for it, and how well it is restored."""

from typing import NamedTuple

import jax
import numpy as np

from dipgp import images
from dipgp.summaries import paste_observed, psnr

PAPER = "Figure 6 of the paper"
SIDE = 64


class Problem(NamedTuple):
    """A grey image of which some pixels are known.

    Attributes:
      image: (H, W) float32 in [0, 1].
      mask: (H, W), true where known.
      name: what it is; `PAPER` where the paper's numbers are of the same pixels.
    """

    image: np.ndarray
    mask: np.ndarray
    name: str = PAPER

    @property
    def observed(self) -> np.ndarray:
        """(n,) the known pixels, as numbers along the rows."""
        return np.flatnonzero(self.mask)

    @property
    def values(self) -> np.ndarray:
        """(n,) their intensities, float64."""
        return self.image[self.mask].astype(np.float64)

    def middle(self, side: int) -> "Problem":
        """The same of so many pixels a side, around the centre."""
        tops = [(size - side) // 2 for size in self.image.shape]
        inside = tuple(slice(top, top + side) for top in tops)
        name = f"The middle of {self.name}"
        return Problem(self.image[inside], self.mask[inside], name)

    def score(self, restored: np.ndarray) -> float:
        """PSNR in dB with known pixels kept, of the picture clipped to [0, 1]."""
        picture = np.asarray(restored).reshape(self.image.shape)
        kept = paste_observed(picture, self.image, self.mask)
        return psnr(np.clip(kept, 0, 1), self.image)


def load(path: str) -> Problem:
    """The (64, 64) image and its mask.

    Args:
      path: of an .npz file with `img_np` (1, 64, 64) in [0, 1] and `img_mask_np`, which
        is not 0 where a pixel is known.

    Raises:
      ValueError: where the file is not such a one.
    """
    try:
        with np.load(path, allow_pickle=False) as data:
            image, mask = data["img_np"][0], data["img_mask_np"].reshape(SIDE, SIDE)
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(f"--data={path}: expected Figure 6's .npz: {error}") from error
    return Problem(image.astype(np.float32), mask != 0)


def stand_in() -> Problem:
    """A photograph of as many pixels, half of them known, for want of the data."""
    grey = images.sample_image("astronaut").mean(axis=-1)
    blocks = grey.reshape(SIDE, grey.shape[0] // SIDE, SIDE, -1)
    mask = images.drop_pixels(jax.random.key(0), (SIDE, SIDE), 0.5)
    name = "a photograph in the place of Figure 6"
    return Problem(blocks.mean(axis=(1, 3)), mask, name)
