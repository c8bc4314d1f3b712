"""How the covariance of a network falls with the lag, in two numbers."""

from typing import NamedTuple

import jax
import numpy as np

from dipgp import kernels

# The range ends where this part of the fall from 1 is left.
_LEFT = 0.01


class Fall(NamedTuple):
    """How a covariance falls with the lag.

    Attributes:
      lags: (L,) whole pixels along an axis, from 0 on.
      cosine: (L,) cos theta = K(r) / K(0).
      far: the cosine at endless lags.
      half: lag at which the cosine has fallen half-way from 1 to that.
      range: lag from which on it stays within 1 % of the fall from that.
    """

    lags: np.ndarray
    cosine: np.ndarray
    far: float
    half: float
    range: float

    @property
    def shape(self) -> np.ndarray:
        """(L,) from 1 at zero lag to 0 far away."""
        return (self.cosine - self.far) / (1 - self.far)


def fall(process: kernels.Covariance, halvings: int) -> Fall:
    """Follows a covariance to where it has levelled off.

    White noise stays white on the way down, and a doubling takes a field whose
    covariance is constant from s coarse pixels on to one of 2 s + 2: after all of them
    it is constant from 3 * 2^halvings - 2 pixels on. The lags therefore are all whole
    pixels up to 4 * 2^halvings, between which the covariance is taken for linear.

    Args:
      process: of a network on white noise.
      halvings: of the network, or of a deeper one whose lags are to be shared.

    Returns:
      In 64 bits.
    """
    reach = np.arange(4 * 2**halvings + 1)
    lags = np.stack([np.zeros_like(reach), reach], axis=-1).astype(np.float64)
    with jax.enable_x64(True):
        moments = process.moments(lags)
        variance, sill = float(moments.variance), float(moments.sill)
        variogram = np.asarray(moments.variogram)
    left = 1 - variogram / sill
    # The first passage below 1/2, and the last one of either bound.
    below = int(np.argmax(left <= 0.5))
    outside = int(np.flatnonzero(np.abs(left) > _LEFT)[-1])
    return Fall(
        lags=reach,
        cosine=1 - variogram / variance,
        far=1 - sill / variance,
        half=_crossing(reach, left, below - 1, 0.5),
        range=_crossing(reach, np.abs(left), outside, _LEFT),
    )


def _crossing(x: np.ndarray, y: np.ndarray, index: int, level: float) -> float:
    """Where the line from one point, above the level, to the next meets it."""
    part = (y[index] - level) / (y[index] - y[index + 1])
    return float(x[index] + part * (x[index + 1] - x[index]))
