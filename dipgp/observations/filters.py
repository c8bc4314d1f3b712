"""Filters that images go through before samples are taken of them, along one axis.

A filter says how much a pixel counts for a sample, by the distance between the two; the
weights are divided by their sum where they are used. Distances are in samples: behind a
factor of 4, pixels lie 1/4 apart.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from dipgp import numerics


@runtime_checkable
class Filter(Protocol):
    """A symmetric weight by distance; hashable."""

    @property
    def reach(self) -> float:
        """Distance in samples from which on the weight is 0."""

    def __call__(self, distance: np.ndarray) -> np.ndarray:
        """Weights, up to a constant.

        Args:
          distance: of any shape, in samples, of an absolute value below the reach.

        Returns:
          Of the same shape.
        """


@dataclass(frozen=True)
class Lanczos:
    """Near the ideal low pass: w(t) = sinc(t) sinc(t / lobes) for |t| < lobes.

    It keeps the most detail, and rings a little beside edges.

    Attributes:
      lobes: half width in samples; more make it sharper and ring more.

    References:
      Duchon, "Lanczos filtering in one and two dimensions", Journal of Applied
      Meteorology, 1979.
    """

    lobes: int = 2

    def __post_init__(self) -> None:
        """Raises ValueError, naming the argument, on numbers out of range."""
        numerics.check_whole_number("lobes", self.lobes, least=1, most=1024)

    @property
    def reach(self) -> float:
        """Half width in samples."""
        return float(self.lobes)

    def __call__(self, distance: np.ndarray) -> np.ndarray:
        """Weights by distance in samples; see `Filter`."""
        return np.sinc(distance) * np.sinc(distance / self.lobes)


@dataclass(frozen=True)
class Box:
    """The mean over a sample's own block: w(t) = 1 for |t| < 1/2.

    What a sensor does whose coarse pixels cover the fine ones.
    """

    @property
    def reach(self) -> float:
        """Half width in samples."""
        return 0.5

    def __call__(self, distance: np.ndarray) -> np.ndarray:
        """Weights by distance in samples; see `Filter`."""
        return np.ones_like(distance)


@dataclass(frozen=True)
class Bilinear:
    """A triangle that reaches to the next samples: w(t) = 1 - |t| for |t| < 1.

    What picture libraries call bilinear down-sampling, with antialiasing.
    """

    @property
    def reach(self) -> float:
        """Half width in samples."""
        return 1.0

    def __call__(self, distance: np.ndarray) -> np.ndarray:
        """Weights by distance in samples; see `Filter`."""
        return 1.0 - np.abs(distance)
