"""What a method is asked and hands back, so that tasks need not know methods."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np

from dipgp import devices
from dipgp.devices import Mesh
from dipgp.observations import Identity, LinearMap, Observation
from dipgp.progress import Report


@dataclasses.dataclass(frozen=True)
class Request:
    """An image to restore, and what every method may want to know.

    Attributes:
      observation: what was seen.
      shape: (H, W, C) of the image to restore.
      noise_known: whether the observation's noise_std was given; otherwise it is to be
        estimated.
      truth: the shape's intensities, or None. Methods score themselves against it along
        the way and decide nothing by it.
      seed: of all random draws.
      folder: for what is needed to go on after an interruption; None keeps nothing.
      report: is told how far the work is.
      forward: from an image to what the observation sees of it, before the mask.
      devices: that chains and right-hand sides are spread over, at most; None for all.
      shared: whether all processes work on this image together.
    """

    observation: Observation
    shape: tuple[int, int, int]
    noise_known: bool
    truth: np.ndarray | None
    seed: int
    folder: Path | None
    report: Report
    forward: LinearMap = Identity()
    devices: int | None = None
    shared: bool = False

    def mesh_for(self, items: int) -> Mesh | None:
        """The most devices that divide a number of items evenly; None for one alone.

        Args:
          items: chains, or linear systems.

        Raises:
          ValueError: where all processes work on the image, and do not divide them.
        """
        processes = jax.process_count() if self.shared else 1
        most = processes * jax.local_device_count()
        if self.devices is not None:
            most = min(most, self.devices)
        fitting = [n for n in range(processes, most + 1, processes) if items % n == 0]
        if not fitting:
            raise ValueError(
                f"expected chains or linear systems that {processes} processes on at "
                f"most {most} devices can share evenly, got {items}"
            )
        if fitting[-1] == 1:
            return None
        return devices.make_mesh(fitting[-1], local=not self.shared)


@dataclasses.dataclass(frozen=True)
class Restoration:
    """An image that a method restored, and how the method fared.

    Attributes:
      mean: (H, W, C) restored intensities; neither clipped nor pasted.
      seconds: wall time of the method, compilation included.
      iterations: steps that its solver took.
      residual: relative residual that its solver reached, or the root of the mean
        squared misfit to the observed pixels for a network.
      hyperparameters: what the method was told or estimated, by name; JSON values.
      message: what became of the solver, and advice where it failed.
      converged: whether the mean is what the method promises.
      std: (H, W, C) standard deviations of the posterior, or None.
      trace: by name, (iterations,) numbers along the way.
      facts: more of what the method found, by name; JSON values.
      samples: (chains, draws, H, W, C) draws from the posterior, or None.
    """

    mean: np.ndarray
    seconds: float
    iterations: int
    residual: float
    hyperparameters: dict[str, object]
    message: str
    converged: bool
    std: np.ndarray | None = None
    trace: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    facts: Mapping[str, object] = dataclasses.field(default_factory=dict)
    samples: np.ndarray | None = None


class Interrupted(Exception):
    """A run was asked to end before it was over.

    Attributes:
      iteration: where it stopped.
      iterations: in all.
      saved: whether a checkpoint lets it go on.
    """

    def __init__(self, iteration: int, iterations: int, saved: bool) -> None:
        advice = "add --resume to go on" if saved else "nothing was kept"
        super().__init__(f"stopped after {iteration} of {iterations}; {advice}")
        self.iteration = iteration
        self.iterations = iterations
        self.saved = saved
