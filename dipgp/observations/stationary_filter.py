"""Linear maps as one filter and one stride: what they do to stationary fields.

Away from borders, blur, decimation and what is composed of them see
y(m) = sum_n h(n) f(s m + n) in every channel.
"""

from typing import NamedTuple

import numpy as np
import scipy  # loads scipy.signal, which is slow, where it is first read

from dipgp.observations.blur import Blur
from dipgp.observations.decimation import Decimation
from dipgp.observations.linear_map import Composition, Identity, LinearMap


class StationaryFilter(NamedTuple):
    """What every sample sees of its surroundings.

    Attributes:
      taps: h, (K, L), up to where it stands.
      stride: s, pixels between samples along each axis.
    """

    taps: np.ndarray
    stride: int

    def power(self, size: tuple[int, int]) -> np.ndarray:
        """|H|^2, by how much the filter changes the power of each frequency of a torus.

        Args:
          size: (P1, P2) of the torus in pixels. Taps that are further apart go around
            it.

        Returns:
          (P1, P2 // 2 + 1), in the order of `numpy.fft.rfft2`.
        """
        rows, columns = (
            np.arange(taps) % pixels
            for taps, pixels in zip(self.taps.shape, size, strict=True)
        )
        torus = np.zeros(size)
        np.add.at(torus, (rows[:, None], columns[None, :]), self.taps)
        return np.square(np.abs(np.fft.rfft2(torus)))


def stationary_filter(linear_map: LinearMap) -> StationaryFilter:
    """The filter that a map is, in 64 bits.

    Raises:
      ValueError: on maps that are none, as mosaics, which treat pixels unlike.
    """
    match linear_map:
        case Identity():
            return StationaryFilter(np.ones((1, 1)), 1)
        case Blur():
            # A sample sees to its right what a bright pixel sends to the left.
            return StationaryFilter(np.asarray(linear_map.kernel)[::-1, ::-1], 1)
        case Decimation():
            taps = linear_map.taps
            return StationaryFilter(np.outer(taps, taps), linear_map.factor)
        case Composition():
            both = stationary_filter(Identity())
            for each in linear_map.maps:
                both = _after(stationary_filter(each), both)
            return both
    raise ValueError(
        "through, linear_map: expected blur, decimation or compositions of these, "
        f"which see all pixels and channels alike, got {linear_map!r}"
    )


def is_stationary(linear_map: LinearMap) -> bool:
    """Whether `stationary_filter` knows the map as one filter and one stride."""
    match linear_map:
        case Identity() | Blur() | Decimation():
            return True
        case Composition():
            return all(map(is_stationary, linear_map.maps))
    return False


def goes_around(linear_map: LinearMap) -> bool:
    """Whether opposite sides of what is seen are neighbours, by the last blur."""
    match linear_map:
        case Blur():
            return linear_map.boundary == "circular"
        case Composition():
            flat = [each for each in _flat(linear_map) if isinstance(each, Blur)]
            return bool(flat) and goes_around(flat[-1])
    return False


def _flat(linear_map: LinearMap) -> list[LinearMap]:
    """The maps of a composition, and of the compositions in it, one by one."""
    if isinstance(linear_map, Composition):
        return [part for each in linear_map.maps for part in _flat(each)]
    return [linear_map]


def _after(second: StationaryFilter, first: StationaryFilter) -> StationaryFilter:
    """One filter for two: the second's taps lie the first's stride apart."""
    rows, columns = second.taps.shape
    step = first.stride
    apart = np.zeros(((rows - 1) * step + 1, (columns - 1) * step + 1))
    apart[::step, ::step] = second.taps
    # What the second reads to its right is taken there by the first.
    taps = scipy.signal.convolve(apart, first.taps, method="direct")
    return StationaryFilter(taps, step * second.stride)
