"""Small pictures in files, and how far others are from them."""

import numpy as np
import png


def noisy(truth: np.ndarray, std: float, seed: int = 1) -> np.ndarray:
    """With noise, clipped."""
    noise = np.random.default_rng(seed).normal(scale=std, size=truth.shape)
    return np.clip(truth + noise, 0, 1)


def save(path, image: np.ndarray, bits: int = 8) -> np.ndarray:
    """Writes a PNG by pypng and gives its samples."""
    height, width, channels = image.shape
    samples = np.round(image * (2**bits - 1)).astype(f"uint{bits}")
    writer = png.Writer(
        width, height, greyscale=channels < 3, alpha=channels % 2 == 0, bitdepth=bits
    )
    with path.open("wb") as file:
        writer.write(file, samples.reshape(height, -1).tolist())
    return samples


def load(path) -> tuple[np.ndarray, int]:
    """Samples of a PNG (H, W, C), and their bits."""
    width, height, rows, facts = png.Reader(bytes=path.read_bytes()).read()
    samples = np.vstack(list(map(np.array, rows)))
    return samples.reshape(height, width, facts["planes"]), facts["bitdepth"]


def error(samples: np.ndarray, bits: int, truth: np.ndarray) -> float:
    """Root mean square, where white is 1."""
    return float(np.sqrt(np.mean(np.square(samples / (2**bits - 1) - truth))))
