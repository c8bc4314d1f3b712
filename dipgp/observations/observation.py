"""What was seen of an image: y = A f + noise, where A keeps the pixels of a mask.

The joint between pictures and priors: Gaussian-process posteriors and network
posteriors both condition on an `Observation`, so that they can be compared on the same
data.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.ndimage

from dipgp import numerics

Array = jax.Array


class Observation(NamedTuple):
    """Pixels seen through a mask, in Gaussian noise.

    Attributes:
      values: (H, W, C) intensities, finite everywhere; zero where nothing is observed.
      mask: (H, W) of the values' dtype, 1 where a pixel is observed and 0 elsewhere.
      noise_std: (H, W) standard deviation of the noise, positive, in the values' units.
    """

    values: Array
    mask: Array
    noise_std: Array


def observe(
    values: jax.typing.ArrayLike,
    mask: jax.typing.ArrayLike | None = None,
    *,
    noise_std: jax.typing.ArrayLike,
) -> Observation:
    """Checks what was seen of an image and puts it in the form that posteriors read.

    Values outside the mask are never looked at and may be NaN.

    Args:
      values: (H, W) or (H, W, C) intensities, usually in [0, 1].
      mask: (H, W), true or non-zero where a pixel is observed; everything by default.
      noise_std: standard deviation of the noise in the values' units: a scalar, or
        (H, W) for one value a pixel. Must be positive where the mask is.

    Returns:
      The observation, in float32 or in the values' own float64; halves become float32.

    Raises:
      ValueError: on a wrong shape, on a mask with nothing observed, on observed values
        that are not finite, or on a noise standard deviation that is not positive.
        Only shapes are checked while JAX traces the arguments.
    """
    numerics.check_real("values", values)
    values = jnp.asarray(values)
    if values.ndim not in (2, 3):
        raise ValueError(
            f"values: expected shape (H, W) or (H, W, C), got {values.shape}"
        )
    if 0 in values.shape:
        raise ValueError(f"values: expected at least one pixel, got {values.shape}")
    if not jnp.issubdtype(values.dtype, jnp.floating):
        raise ValueError(
            f"values: expected floating-point intensities, got {values.dtype}; "
            "try values / 255.0 for 8-bit images"
        )
    if values.dtype.itemsize < 4:  # too coarse to solve for
        values = values.astype(jnp.float32)
    if values.ndim == 2:
        values = values[:, :, None]
    grid = values.shape[:2]
    if mask is None:
        mask = np.ones(grid, bool)
    numerics.check_real("mask", mask)
    mask = jnp.asarray(mask)
    if mask.shape != grid:
        raise ValueError(f"mask: expected the image's {grid}, got {mask.shape}")
    _check_finite("mask", mask)
    mask = mask != 0
    numerics.check_real("noise_std", noise_std)
    noise_std = jnp.asarray(noise_std, values.dtype)
    if noise_std.shape not in ((), grid):
        raise ValueError(
            f"noise_std: expected a scalar or the image's {grid}, got {noise_std.shape}"
        )
    noise_std = jnp.broadcast_to(noise_std, grid)
    values = jnp.where(mask[:, :, None], values, 0.0)
    noise_std = jnp.where(mask, noise_std, 1.0)
    _check_observed(values, mask, noise_std)
    return Observation(values, mask.astype(values.dtype), noise_std)


def log_likelihood(observation: Observation, image: Array) -> Array:
    """log p(values | image), a sum over the observed pixels and channels.

    -1/2 sum ((values - image) / noise_std)^2 - sum log(noise_std sqrt(2 pi))

    Args:
      observation: what was seen.
      image: (H, W, C) intensities.

    Returns:
      () in natural units.

    Raises:
      ValueError: on an image of another shape.
    """
    _check_image(observation, image)
    residual = (observation.values - image) / observation.noise_std[:, :, None]
    constant = jnp.log(observation.noise_std) + 0.5 * math.log(2 * math.pi)
    weight = observation.mask[:, :, None]
    return -jnp.sum(weight * (0.5 * residual**2 + constant[:, :, None]))


def mean_squared_error(observation: Observation, image: Array) -> Array:
    """Mean of (values - image)^2 over the observed pixels and all channels.

    Args:
      observation: what was seen.
      image: (H, W, C) intensities.

    Returns:
      () in squared intensities.

    Raises:
      ValueError: on an image of another shape.
    """
    _check_image(observation, image)
    weight = observation.mask[:, :, None]
    errors = jnp.sum(weight * (observation.values - image) ** 2)
    return errors / (jnp.sum(observation.mask) * image.shape[-1])


def seen_evenly(observation: Observation) -> bool:
    """Whether everything is seen in noise of one strength, if it is known.

    What JAX traces is taken to be so.
    """
    check_observation(observation)
    mask, noise_std = observation.mask, observation.noise_std
    if numerics.is_traced((mask, noise_std)):
        return True
    return bool(np.asarray(mask).all() and np.ptp(np.asarray(noise_std)) == 0)


def widest_gap(mask: jax.typing.ArrayLike) -> float:
    """How far the pixel furthest from any observed one is away from it, in pixels.

    Args:
      mask: (H, W), not 0 where a pixel is observed; known, not traced by JAX.

    Raises:
      ValueError: on another shape, or a mask with nothing observed.
    """
    numerics.check_real("mask", mask)
    if np.ndim(mask) != 2 or not np.any(mask):
        raise ValueError(
            "mask: expected shape (H, W) with at least one observed pixel, got "
            f"{np.shape(mask)}"
        )
    gaps = scipy.ndimage.distance_transform_edt(np.asarray(mask) == 0)
    return float(np.max(gaps))


def gaps_are_narrow(mask: jax.typing.ArrayLike, width: float) -> bool:
    """Whether `widest_gap` is less than a width of a few pixels, in less time.

    Args:
      mask: (H, W), not 0 where a pixel is observed; known, not traced by JAX.
      width: in pixels, positive.
    """
    seen = np.asarray(mask) != 0
    reach = int(np.ceil(width)) - 1
    around = np.pad(seen, reach)
    near = np.zeros_like(seen)
    height, length = seen.shape
    for down, right in np.ndindex(2 * reach + 1, 2 * reach + 1):
        if np.hypot(down - reach, right - reach) < width:
            near |= around[down : down + height, right : right + length]
    return bool(near.all())


def _check_finite(name: str, array: Array) -> None:
    if isinstance(array, jax.core.Tracer):
        return
    if not np.isfinite(np.asarray(array, np.float64)).all():
        raise ValueError(f"{name}: expected finite numbers, got NaN or infinity")


def _check_observed(values: Array, mask: Array, noise_std: Array) -> None:
    if any(isinstance(array, jax.core.Tracer) for array in (values, mask, noise_std)):
        return
    if not np.asarray(mask).any():
        raise ValueError("mask: expected at least one observed pixel, got none")
    _check_finite("values", values)
    _check_finite("noise_std", noise_std)
    smallest = float(np.asarray(noise_std).min())
    if smallest <= 0:
        raise ValueError(f"noise_std: expected positive numbers, got {smallest:g}")
    numerics.check_positive("noise_std", noise_std)
    numerics.check_finite("values", values)


def check_observation(observation: object) -> None:
    """Raises TypeError, naming the argument, on anything but an `Observation`."""
    numerics.check_instance(
        "observation", observation, Observation, "observe(values, noise_std=0.1)"
    )


def _check_image(observation: Observation, image: Array) -> None:
    check_observation(observation)
    numerics.check_real("image", image)
    if np.shape(image) != observation.values.shape:
        raise ValueError(
            f"image: expected the observation's shape {observation.values.shape}, got "
            f"{np.shape(image)}"
        )
