"""What `benchmarks.throughput` times: hourglasses, their data, and the runs' numbers.

The runs are those of `python -m experiments.denoise`: `--method=sgd` and
`--method=psgld`.
"""

import functools
from dataclasses import dataclass
from typing import NamedTuple

import jax

from dipgp import architecture, networks
from dipgp.networks.build import ComputeDtype
from dipgp.networks.parameters import Initialisation, Parameter, parameters
from dipgp.observations import Observation, observe

Array = jax.Array

# Channels from the finest scale on: the papers', those of `--preset=light`, and some to
# see that all works.
CHANNELS = {
    "paper": (128, 128, 128, 128, 128),
    "light": (16, 32, 64, 128, 128),
    "tiny": (8, 8),
}
SKIP_CHANNELS = 4
INPUT_CHANNELS = 32

NOISE_STD = 25 / 255
LEARNING_RATE = 0.01


@dataclass(frozen=True)
class Langevin:
    """Preconditioned Langevin dynamics; see `dipgp.inference.langevin`.

    The preconditioner is frozen early, so that what is timed is a step of the long part
    of a run, when it stays as it is.
    """

    step_size: float = 0.0045
    temperature: float = 1.0
    momentum: float = 0.95
    frozen_after: int = 4
    decay: float = 0.99
    epsilon: float = 1e-5
    maximum: float = 1.0


SAMPLER = Langevin()


@dataclass(frozen=True)
class Case:
    """A network and the size of its image.

    Attributes:
      name: a key of `CHANNELS`.
      size: height and width in pixels, a multiple of 2^scales.
    """

    name: str
    size: int

    def __str__(self) -> str:
        return f"{self.name} {self.size}x{self.size}"

    @property
    def channels(self) -> tuple[int, ...]:
        """At each scale, from the finest, down and up alike."""
        return CHANNELS[self.name]

    @functools.cached_property
    def architecture(self) -> architecture.Architecture:
        """The network's description."""
        return architecture.skip_net(
            len(self.channels),
            channels_down=self.channels,
            channels_up=self.channels,
            channels_skip=SKIP_CHANNELS,
            input_channels=INPUT_CHANNELS,
        )

    def network(
        self,
        initialisation: Initialisation = "reference",
        compute_dtype: ComputeDtype | None = None,
    ) -> networks.Network:
        """The network itself."""
        return networks.build(
            self.architecture,
            initialisation=initialisation,
            compute_dtype=compute_dtype,
        )

    @property
    def parameters(self) -> list[Parameter]:
        """Shapes and prior of the weights as they stand in the network's function."""
        return parameters(self.architecture, "reference")


def read_case(text: str) -> Case:
    """Reads NAME:SIZE.

    Raises:
      ValueError: on anything else.
    """
    name, _, size = text.partition(":")
    if name not in CHANNELS or not size.isdigit():
        known = ", ".join(CHANNELS)
        raise ValueError(
            f"--hourglasses={text}: expected NAME:SIZE with a name among {known}, such "
            "as light:256"
        )
    found = Case(name, int(size))
    # The coarsest scale has two pixels at least, which a mirrored border needs.
    multiple = 2 ** len(found.channels)
    if found.size < 2 * multiple or found.size % multiple:
        raise ValueError(
            f"--hourglasses={text}: expected a size of {2 * multiple} at least that is "
            f"a multiple of {multiple}"
        )
    return found


class Data(NamedTuple):
    """The arrays of a run, arguments of its program.

    Attributes:
      z: (H, W, input channels) the network's fixed input.
      observation: what was seen: all pixels, in noise.
      truth: (H, W, 3).
    """

    z: Array
    observation: Observation
    truth: Array


def draw_data(case: Case, key: Array) -> Data:
    """Data of the right shapes; what the picture shows does not change the time."""
    key_z, key_truth, key_noise = jax.random.split(key, 3)
    grid = (case.size, case.size)
    truth = jax.random.uniform(key_truth, (*grid, 3))
    noise = NOISE_STD * jax.random.normal(key_noise, truth.shape)
    observation = observe(truth + noise, noise_std=NOISE_STD)
    z = networks.uniform_input(key_z, grid, INPUT_CHANNELS)
    return Data(z, observation, truth)
