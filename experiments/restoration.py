"""What every restoration method hands back, so that tasks need not know methods."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Restoration:
    """An image that a method restored, and how the method fared.

    Attributes:
      mean: (H, W, C) restored intensities; neither clipped nor pasted.
      seconds: wall time of the method, compilation included.
      iterations: steps that its solver took.
      residual: relative residual that its solver reached.
      hyperparameters: what the method was told or estimated, by name; JSON values.
      message: what became of the solver, and advice where it failed.
      converged: whether the mean is what the method promises.
    """

    mean: np.ndarray
    seconds: float
    iterations: int
    residual: float
    hyperparameters: dict[str, object]
    message: str
    converged: bool
