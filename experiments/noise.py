"""Noise in what restorations see: added, told to the methods or not, and estimated."""

import math
from collections.abc import Mapping

import jax
import numpy as np

from dipgp.images import add_noise
from dipgp.observations import Observation, mean_squared_error
from experiments.restoration import Restoration

_WHITE = 255.0


def add(key: jax.Array, seen: np.ndarray, noise_std: float) -> np.ndarray:
    """Adds noise, and clips to [0, 1] as a file would.

    Args:
      key: a `jax.random.key`.
      seen: (H, W, C) intensities.
      noise_std: standard deviation, where white is 1; 0 leaves all as it is, unclipped.
    """
    if noise_std == 0:
        return seen
    return add_noise(key, seen, noise_std)


def account(
    told: float | None,
    restoration: Restoration,
    observation: Observation,
    added: float,
    clean: jax.Array | None,
) -> dict[str, float | None]:
    """What a method was told of the noise, what it found, and what is true.

    Args:
      told: standard deviation, where white is 1, as all that follow; None where it was
        to be estimated.
      restoration: by the method.
      observation: what it saw.
      added: to what it saw, before clipping.
      clean: (H, W, C) what it would have seen without, or None.

    Returns:
      `told`, `estimated`, `added`, and `left`, the root mean square of the noise as
      clipping left it; None for what is not known, or not asked of the method.
    """
    found = restoration.hyperparameters.get("noise_std")
    left = None
    if clean is not None:
        left = math.sqrt(float(mean_squared_error(observation, clean)))
    return {
        "told": told,
        "estimated": found if told is None and isinstance(found, float) else None,
        "added": None if clean is None else added,
        "left": left,
    }


def in_words(noise_std: object) -> list[str]:
    """An estimate beside what is true of it, in grey levels of 255.

    Args:
      noise_std: an `account`.

    Returns:
      One phrase, or none where nothing was estimated.
    """
    assert isinstance(noise_std, Mapping)
    estimated, added, left = (noise_std[key] for key in ("estimated", "added", "left"))
    if estimated is None:
        return []
    words = f"noise estimated at {_WHITE * estimated:.2f} grey levels"
    if added:
        words += f" ({_WHITE * added:.2f} added, {_WHITE * left:.2f} left by clipping)"
    return [words]
