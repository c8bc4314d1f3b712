"""Whether our network and PyTorch's are one function, before they are timed."""

from collections.abc import Sequence
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from benchmarks import throughput_jax
from benchmarks.throughput_cases import Case, Data

# Relative differences that single precision accounts for: batch norm divides by small
# deviations, and gradients pass thirty of them.
OUTPUT_TOLERANCE, GRADIENT_TOLERANCE = 1e-3, 1e-2


class PyTorch(NamedTuple):
    """PyTorch, where it is there and sees our device.

    Attributes:
      module: `benchmarks.throughput_pytorch`.
      device: PyTorch's.
      description: its version and device.
    """

    module: ModuleType
    device: Any
    description: str


class Agreement(NamedTuple):
    """|ours - theirs| / |theirs| in Euclidean norm.

    Attributes:
      output: of the image.
      gradients: of the mean squared misfit, all parameters as one vector.
    """

    output: float
    gradients: float

    @property
    def good(self) -> bool:
        """Whether rounding accounts for it; not where it is NaN."""
        return self.output < OUTPUT_TOLERANCE and self.gradients < GRADIENT_TOLERANCE


def load(platform: str) -> PyTorch | str:
    """PyTorch on the platform that JAX computes on, or why it is not there."""
    try:
        from benchmarks import throughput_pytorch as module
    except (ImportError, OSError) as error:
        return f"PyTorch could not be loaded ({error}): ours is timed alone."
    device = module.device_for(platform)
    if device is None:
        version = module.torch.__version__
        return f"PyTorch {version} sees no {platform}: ours is timed alone."
    module.prepare()
    return PyTorch(module, device, module.describe(device))


def compare(case: Case, variables: Any, data: Data, pytorch: PyTorch) -> Agreement:
    """Both on the same weights and data, in full single precision."""
    from benchmarks.pytorch_hourglass import at, to_torch

    (_, image), slopes = throughput_jax.loss_and_gradients(case, variables, data)
    module = pytorch.module
    module.allow_tf32(False)
    try:
        program = module.Descent(
            case, variables, data, pytorch.device, 1, layout="channels first"
        )
        program.loss().backward()
        their_image = program.image()[0]
    finally:
        module.allow_tf32(True)
    gradients = [
        (to_torch(at(slopes["params"], one)), parameter.grad)
        for one, parameter in zip(case.parameters, program.parameters, strict=True)
    ]
    return Agreement(
        _difference([(to_torch(image), their_image)]), _difference(gradients)
    )


def _difference(pairs: Sequence[tuple[Any, Any]]) -> float:
    own, other = (
        np.concatenate([np.ravel(each.detach().cpu().numpy()) for each in side])
        for side in zip(*pairs, strict=True)
    )
    return float(np.linalg.norm(own - other) / np.linalg.norm(other))
