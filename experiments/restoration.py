"""What a method is asked and hands back, so that tasks need not know methods."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np

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
    """

    observation: Observation
    shape: tuple[int, int, int]
    noise_known: bool
    truth: np.ndarray | None
    seed: int
    folder: Path | None
    report: Report
    forward: LinearMap = Identity()


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
