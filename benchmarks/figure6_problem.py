"""The data of Figure 6, and how well it is restored."""

from typing import NamedTuple

import numpy as np

from dipgp.summaries import paste_observed, psnr


class Problem(NamedTuple):
    """A grey image of which some pixels are known.

    Attributes:
      image: (H, W) float32 in [0, 1].
      mask: (H, W), true where known.
    """

    image: np.ndarray
    mask: np.ndarray

    @property
    def observed(self) -> np.ndarray:
        """(n,) the known pixels, as numbers along the rows."""
        return np.flatnonzero(self.mask)

    @property
    def values(self) -> np.ndarray:
        """(n,) their intensities, float64."""
        return self.image[self.mask].astype(np.float64)

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
            image, mask = data["img_np"][0], data["img_mask_np"].reshape(64, 64)
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(f"--data={path}: expected Figure 6's .npz: {error}") from error
    return Problem(image.astype(np.float32), mask != 0)
