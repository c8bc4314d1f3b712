"""Small examples: the paper's signal, a photograph, and the points that are seen."""

import jax
import numpy as np
import skimage.color
import skimage.data
import skimage.transform

Array = jax.Array


def signal(points: int) -> np.ndarray:
    """0.3 sin(8 pi x) + 0.1 sin(32 pi x) at x = 0, 1 / points, ... below 1."""
    x = np.arange(points) / points
    return 0.3 * np.sin(8 * np.pi * x) + 0.1 * np.sin(32 * np.pi * x)


def choose_points(key: Array, points: int, fraction: float) -> np.ndarray:
    """(points,) true at a random subset: that fraction of all, one at least."""
    count = max(round(fraction * points), 1)
    chosen = jax.random.choice(key, points, (count,), replace=False)
    mask = np.zeros(points, bool)
    mask[np.asarray(chosen)] = True
    return mask


def example(grid: tuple[int, ...]) -> np.ndarray:
    """The signal of (L,) points, or the bundled cameraman at (H, W), of mean zero."""
    if len(grid) == 1:
        return signal(grid[0])
    photograph = skimage.data.camera() / 255.0
    small = skimage.transform.resize(photograph, grid, anti_aliasing=True)
    return small - small.mean()


def grey_square(image: np.ndarray, side: int) -> np.ndarray:
    """A picture's central square in grey, made smaller.

    Args:
      image: (H, W, C) intensities, C being 1 or 3.
      side: pixels to come, at most H and W.

    Returns:
      (side, side, 1) float32 intensities.
    """
    grey = image[:, :, 0] if image.shape[2] == 1 else skimage.color.rgb2gray(image)
    size = min(grey.shape)
    top, left = ((length - size) // 2 for length in grey.shape)
    square = grey[top : top + size, left : left + size]
    small = skimage.transform.resize(square, (side, side), anti_aliasing=True)
    return small.astype(np.float32)[:, :, None]
