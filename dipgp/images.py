"""Picture files to arrays and back, sample photographs, and artificial damage.

An image is a numpy float32 array (H, W, C) of intensities in [0, 1], C being 1 (grey)
or 3 (red, green, blue). A mask is a boolean array (H, W), true where a pixel is
observed.
"""

import io
import os
from pathlib import Path

import imageio.v3 as iio
import jax
import numpy as np
from PIL import Image, UnidentifiedImageError

from dipgp import numerics
from dipgp.files import read_file, write_atomically

#: Photographs in scikit-image's wheel that are in the public domain or under CC0.
SAMPLE_IMAGES = (
    "astronaut",
    "brick",
    "camera",
    "cell",
    "chelsea",
    "clock",
    "coffee",
    "grass",
    "gravel",
    "horse",
    "hubble_deep_field",
    "microaneurysms",
    "retina",
    "rocket",
    "text",
)

_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP")
_EXPECTED = "a still picture (PNG, JPEG, TIFF, BMP, GIF or WebP)"
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "I;16", "I;16B", "F")
_COLOUR_MODES = ("RGB", "RGBA", "LA")


def load_image(path: str | os.PathLike[str]) -> np.ndarray:
    """Reads a picture file, upright, as intensities.

    Grey files give one channel and colour files three, whatever their colours. A fully
    opaque alpha channel is dropped.

    Args:
      path: an 8-bit picture, a 16-bit grey one, or a float one in [0, 1].

    Returns:
      (H, W, C) float32 in [0, 1], C being 1 or 3.

    Raises:
      ValueError: where the file cannot be read as such a picture without loss: absent,
        damaged, animated, transparent, 16-bit colour, CMYK, not finite.
    """
    content = read_file(path, _EXPECTED)
    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as picture:
            _check_lossless(picture, content)
        pixels = iio.imread(content, index=0, plugin="pillow", rotate=True)
    except UnidentifiedImageError as error:
        raise ValueError(f"{path}: expected {_EXPECTED}, got another kind") from error
    except Exception as error:  # decoders fail on damaged files in any way they like
        raise ValueError(f"{path}: expected {_EXPECTED}, got {error}") from error
    return _to_intensities(pixels, str(path))


def load_mask(path: str | os.PathLike[str]) -> np.ndarray:
    """Reads a mask file: white, or at least half grey, is observed.

    Args:
      path: a picture as for `load_image`, grey or with three equal channels.

    Returns:
      (H, W) bool, true where a pixel is observed.

    Raises:
      ValueError: where the file cannot be read, or has colours.
    """
    image = load_image(path)
    if (image != image[:, :, :1]).any():
        raise ValueError(f"{path}: expected a black and white mask, got colours")
    return image[:, :, 0] >= 0.5


def save_image(path: str | os.PathLike[str], image: np.ndarray) -> None:
    """Writes an image, clipped to [0, 1] and rounded to 8 bits, in one step.

    Args:
      path: the file; its ending names the format (`.png` keeps what is written).
      image: (H, W), (H, W, 1) or (H, W, 3) finite intensities.

    Raises:
      ValueError: on another shape, on numbers that are not finite, or on an ending that
        names no picture format.
      OSError: where the file cannot be written.
    """
    numerics.check_real(str(path), image)
    image = np.asarray(image)
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[:, :, 0]
    if image.size == 0 or (image.ndim != 2 and image.shape[2:] != (3,)):
        raise ValueError(
            f"{path}: expected shape (H, W), (H, W, 1) or (H, W, 3), got {image.shape}"
        )
    if not np.isfinite(image).all():
        raise ValueError(f"{path}: expected finite intensities, got NaN or infinity")
    pixels = np.round(np.clip(image, 0.0, 1.0) * 255.0).astype(np.uint8)
    ending = Path(path).suffix.lower()
    if ending not in Image.registered_extensions():
        raise ValueError(f"{path}: expected a picture's ending such as .png")
    content = iio.imwrite("<bytes>", pixels, extension=ending, plugin="pillow")
    write_atomically(path, content)


def sample_image(name: str = "astronaut") -> np.ndarray:
    """Gives a photograph in the public domain or under CC0.

    Args:
      name: one of `SAMPLE_IMAGES`.

    Returns:
      (H, W, C) float32 in [0, 1], C being 1 or 3; the astronaut is (512, 512, 3).

    Raises:
      ValueError: on another name.
      ImportError: where scikit-image, which brings the photographs, is not installed.
    """
    if not isinstance(name, str) or name not in SAMPLE_IMAGES:
        raise ValueError(
            f"name: expected one of {', '.join(SAMPLE_IMAGES)}; got {name}"
        )
    try:
        from skimage import data
    except ImportError as error:
        raise ImportError(
            "the sample photographs come with scikit-image; "
            'try pip install "dipgp[experiments]"'
        ) from error
    return _to_intensities(getattr(data, name)(), name)


def add_noise(
    key: jax.Array, image: np.ndarray, noise_std: float, clip: bool = True
) -> np.ndarray:
    """Adds independent Gaussian noise to every pixel and channel.

    Args:
      key: a `jax.random.key`.
      image: (H, W, C) or (H, W) intensities.
      noise_std: standard deviation in the image's units, where white is 1.
      clip: whether to clip the result to [0, 1], as a file would.

    Returns:
      The noisy image, float32, of the image's shape.

    Raises:
      ValueError: where noise_std is negative or not finite.
    """
    numerics.check_key("key", key)
    numerics.check_real("image", image)
    numerics.check_not_negative("noise_std", noise_std, scalar=True)
    # The dtype is named so that a key gives the same noise with and without 64 bits.
    noise = np.asarray(jax.random.normal(key, np.shape(image), np.float32))
    noisy = np.asarray(image, np.float32) + np.float32(noise_std) * noise
    return np.clip(noisy, 0.0, 1.0) if clip else noisy


def drop_pixels(
    key: jax.Array, shape: tuple[int, int], drop_fraction: float
) -> np.ndarray:
    """Draws a mask that drops each pixel independently.

    Args:
      key: a `jax.random.key`.
      shape: (H, W).
      drop_fraction: the probability, inside (0, 1), that a pixel is not observed.

    Returns:
      (H, W) bool, true where a pixel is observed; at least one is.

    Raises:
      ValueError: where drop_fraction is outside (0, 1), or where the draw drops all.
    """
    numerics.check_key("key", key)
    numerics.check_grid("shape", shape, axes=(2,))
    numerics.check_between("drop_fraction", drop_fraction, 0, 1)
    # The dtype is named so that a key gives the same mask with and without 64 bits.
    draws = np.asarray(jax.random.uniform(key, shape, np.float32))
    mask = draws >= np.float32(drop_fraction)
    if not mask.any():
        raise ValueError(
            f"drop_fraction: {drop_fraction} left none of {shape[0]}x{shape[1]} "
            "pixels; try a smaller fraction"
        )
    return mask


def _check_lossless(picture: Image.Image, content: bytes) -> None:
    """Refuses what an (H, W, C) array would lose without a word."""
    frames = getattr(picture, "n_frames", 1)
    # A telephone's MPO is a JPEG photograph with previews or depth behind it.
    if frames > 1 and picture.format != "MPO":
        raise ValueError(f"{frames} frames or pages; try saving one of them")
    if picture.mode not in _MODES:
        raise ValueError(
            f"colour mode {picture.mode}; try converting it to RGB or grey"
        )
    if picture.mode in _COLOUR_MODES and _bits(picture, content) > 8:
        raise ValueError("16 bits a channel in colour; try converting it to 8")
    if picture.has_transparency_data and not _is_opaque(picture):
        raise ValueError("transparency; try flattening it")


def _bits(picture: Image.Image, content: bytes) -> int:
    """Bits a channel in the file; pillow cuts colour down to 8 without a word."""
    if picture.format == "PNG":
        return content[24]  # in the header, behind signature, length, name and size
    if picture.format == "TIFF":
        bits_per_sample = 258
        return max(picture.getexif().get(bits_per_sample, (8,)))
    return 8


def _is_opaque(picture: Image.Image) -> bool:
    if picture.mode.startswith("I;16"):
        return False  # one grey is declared transparent; pillow cannot say where it is
    lowest, _ = picture.convert("RGBA").getchannel("A").getextrema()
    return lowest == 255


def _to_intensities(pixels: np.ndarray, name: str) -> np.ndarray:
    if 0 in pixels.shape:
        raise ValueError(f"{name}: expected at least one pixel, got {pixels.shape}")
    integer = np.issubdtype(pixels.dtype, np.unsignedinteger)
    white = np.iinfo(pixels.dtype).max if integer else 1
    image = np.asarray(pixels, np.float32) / np.float32(white)
    if not ((image >= 0) & (image <= 1)).all():
        raise ValueError(
            f"{name}: expected float intensities in [0, 1], got others or NaN; "
            "try dividing by white's value"
        )
    if image.ndim == 2:
        image = image[:, :, None]
    # What is left of an alpha channel is opaque.
    return image[:, :, : 1 if image.shape[2] < 3 else 3]
