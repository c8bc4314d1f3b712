"""How close an image is to the truth, in numpy's float64."""

import math

import numpy as np

from dipgp import numerics

_WINDOW = 11  # pixels: what a Gaussian of 1.5 pixels, cut at 3.5 of them, spans


def psnr(image: np.ndarray, truth: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Peak signal-to-noise ratio, -10 log10(mean squared error), for a peak of 1.

    The mean runs over all pixels and channels at once. Nothing is clipped.

    Args:
      image: (H, W) or (H, W, C) intensities.
      truth: the same shape.
      mask: (H, W), true or non-zero on the pixels that count; all by default.

    Returns:
      Decibels; infinity where the images are equal.

    Raises:
      ValueError: where shapes differ, or where no pixel counts.
    """
    image, truth = _pair(image, truth)
    errors = image - truth
    if mask is not None:
        numerics.check_real("mask", mask)
        mask = np.asarray(mask)
        if mask.shape != errors.shape[:2]:
            raise ValueError(
                f"mask: expected the image's {errors.shape[:2]}, got {mask.shape}"
            )
        errors = errors[mask != 0]
    if errors.size == 0:
        raise ValueError("mask: expected at least one pixel that counts, got none")
    mean_squared_error = float(np.mean(errors**2))
    if mean_squared_error == 0:
        return math.inf
    return -10 * math.log10(mean_squared_error)


def ssim(image: np.ndarray, truth: np.ndarray) -> float:
    """Structural similarity, averaged over pixels and channels, for a peak of 1.

    Args:
      image: (H, W) or (H, W, C) intensities, at least 11 pixels high and wide.
      truth: the same shape.

    Returns:
      A number up to 1, which equal images reach.

    Raises:
      ValueError: where shapes differ, or where the images are smaller than the window.
      ImportError: where scikit-image, which does the sums, is not installed.

    References:
      Wang et al., "Image quality assessment: from error visibility to structural
      similarity", IEEE Transactions on Image Processing, 2004.
    """
    image, truth = _pair(image, truth)
    height, width = image.shape[:2]
    if min(height, width) < _WINDOW:
        raise ValueError(
            f"image: SSIM needs at least {_WINDOW}x{_WINDOW} pixels, "
            f"got {height}x{width}"
        )
    try:
        from skimage.metrics import structural_similarity
    except ImportError as error:
        raise ImportError(
            'SSIM needs scikit-image; try pip install "dipgp[experiments]"'
        ) from error
    return float(
        structural_similarity(
            image,
            truth,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=1.0,
            channel_axis=-1 if image.ndim == 3 else None,
        )
    )


def paste_observed(
    image: np.ndarray, values: np.ndarray, mask: np.ndarray
) -> np.ndarray:
    """Keeps what was observed and takes only the rest from an image.

    Args:
      image: (H, W, C) or (H, W).
      values: the same shape; what was observed, anything where the mask is false.
      mask: (H, W), true or non-zero where a pixel is observed.

    Returns:
      The values where the mask is true and the image elsewhere, in the image's shape.

    Raises:
      ValueError: where shapes differ.
    """
    for name, array in (("image", image), ("values", values), ("mask", mask)):
        numerics.check_real(name, array)
    image, values, mask = np.asarray(image), np.asarray(values), np.asarray(mask)
    if values.shape != image.shape or mask.shape != image.shape[:2]:
        raise ValueError(
            f"expected values of the image's {image.shape} and a mask of its "
            f"{image.shape[:2]}, got {values.shape} and {mask.shape}"
        )
    observed = (mask != 0).reshape(mask.shape + (1,) * (image.ndim - 2))
    return np.where(observed, values, image)


def _pair(image: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    numerics.check_real("image", image)
    numerics.check_real("truth", truth)
    image, truth = np.asarray(image, np.float64), np.asarray(truth, np.float64)
    if image.ndim not in (2, 3) or image.shape != truth.shape:
        raise ValueError(
            "expected image and truth of one shape, (H, W) or (H, W, C), "
            f"got {image.shape} and {truth.shape}"
        )
    return image, truth
