"""A process and what was seen of it, the given side of every solver's equations."""

import math
from dataclasses import dataclass, field

import jax

from dipgp.gp.colour import ChannelModel
from dipgp.gp.toeplitz import Torus
from dipgp.observations import LinearMap, Observation


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Seen:
    """Independent channels that are seen as they are.

    Attributes:
      tori: covariances of N channels, those of each image in turn.
      observation: mask and noise, the same for all of them.
      level_known: whether the levels are 0.
    """

    tori: Torus
    observation: Observation
    level_known: bool = field(metadata={"static": True})


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SeenThrough(Seen):
    """Images of C independent channels that are seen through a linear map A.

    Attributes:
      channels: directions of the independent channels in colour space.
      through: A.
      shape: (H, W, C) of each image.
    """

    channels: ChannelModel
    through: LinearMap = field(metadata={"static": True})
    shape: tuple[int, int, int] = field(metadata={"static": True})

    @property
    def grid(self) -> tuple[int, int]:
        """(H, W) of an image."""
        return self.shape[:2]

    @property
    def count(self) -> int:
        """How many images there are."""
        return len(self.tori.spectrum) // self.shape[2]

    @property
    def unknowns(self) -> int:
        """Of an image."""
        return math.prod(self.shape)
