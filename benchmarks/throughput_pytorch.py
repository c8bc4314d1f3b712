"""PyTorch's side of `benchmarks.throughput`: the same steps in an eager loop."""

import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch

from benchmarks.pytorch_hourglass import (
    Hourglass,
    copy_parameters,
    ordered_parameters,
    to_torch,
)
from benchmarks.throughput_cases import (
    INPUT_CHANNELS,
    LEARNING_RATE,
    NOISE_STD,
    SAMPLER,
    SKIP_CHANNELS,
    Case,
    Data,
    Langevin,
)
from dipgp.networks.parameters import Parameter

Precision = Literal["float32", "bfloat16"]
LAYOUTS = {
    "channels last": torch.channels_last,
    "channels first": torch.contiguous_format,
}


def device_for(platform: str) -> torch.device | None:
    """PyTorch's name of the device that JAX computes on; None where it sees none."""
    if platform == "cpu":
        return torch.device("cpu")
    if platform == "gpu" and torch.cuda.is_available():
        return torch.device("cuda")
    return None


def describe(device: torch.device) -> str:
    """Version and device, as PyTorch calls them."""
    where = f"{torch.get_num_threads()} threads"
    if device.type == "cuda":
        where = torch.cuda.get_device_name(device)
    return f"PyTorch {torch.__version__} on {where}"


def prepare() -> None:
    """Lets PyTorch look for the fastest convolutions, in the precision that JAX has."""
    torch.backends.cudnn.benchmark = True
    allow_tf32(True)


def allow_tf32(allowed: bool) -> None:
    """Whether GPUs may round what they multiply to TF32, as JAX's default lets them."""
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    torch.backends.cudnn.allow_tf32 = allowed


def build(case: Case, variables: Any, device: torch.device) -> Hourglass:
    """The network with the parameters of ours."""
    skip = (SKIP_CHANNELS,) * len(case.channels)
    network = Hourglass(INPUT_CHANNELS, case.channels, case.channels, skip)
    copy_parameters(network, variables, case.parameters)
    return network.to(device).train()


class Program:
    """A loop of so many steps on one network.

    Attributes:
      parameters: in the order of ours.
    """

    def __init__(
        self,
        case: Case,
        variables: Any,
        data: Data,
        device: torch.device,
        steps: int,
        *,
        layout: str,
        precision: Precision = "float32",
        compiled: bool = False,
        graphed: bool = False,
    ) -> None:
        form = LAYOUTS[layout]
        self._steps, self._device, self._precision = steps, device, precision
        self._before = self._allocated()
        # PyTorch's annotations do not know of its memory formats here.
        network: Any = build(case, variables, device)
        self._network: Hourglass = network.to(memory_format=form)
        self.parameters: list[torch.Tensor] = [*ordered_parameters(self._network)]
        self._z, self._values = (
            to_torch(array)[None].to(device).contiguous(memory_format=form)
            for array in (data.z, data.observation.values)
        )
        self._function: Callable[[torch.Tensor], torch.Tensor] = self._network
        if compiled:
            self._function = torch.compile(self._network)
        self._graphed = graphed
        self._replay: Callable[[], torch.Tensor] | None = None

    def __call__(self) -> float:
        """Makes the steps; returns the last one's loss, when the device is done."""
        if self._graphed and self._replay is None:
            self._replay = _capture(self.step)
        step = self._replay or self.step
        for _ in range(self._steps):
            loss = step()
        return loss.item()

    def step(self) -> torch.Tensor:
        """One step; gives the loss where it began."""
        raise NotImplementedError

    def image(self) -> torch.Tensor:
        """The network's output, in single precision."""
        half = self._precision == "bfloat16"
        with torch.autocast(self._device.type, torch.bfloat16, enabled=half):
            image = self._function(self._z)
        return image.float()

    def mebibytes(self) -> float | None:
        """Largest memory of a call, and of all that it is given.

        None on CPUs, and of a graph, which has a store of its own.
        """
        if self._device.type != "cuda" or self._graphed:
            return None
        torch.cuda.reset_peak_memory_stats()
        self()
        return (torch.cuda.max_memory_allocated() - self._before) / 2**20

    def _allocated(self) -> int:
        return torch.cuda.memory_allocated() if self._device.type == "cuda" else 0


def _capture(step: Callable[[], torch.Tensor]) -> Callable[[], torch.Tensor]:
    """The step as one CUDA graph, which saves the launch of each kernel by Python."""
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    # Libraries choose their kernels and allocate what they keep, which cannot be
    # captured.
    with torch.cuda.stream(aside):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = step()

    def replay() -> torch.Tensor:
        graph.replay()
        return loss

    return replay


class Descent(Program):
    """Adam on the mean squared misfit, as the reference program writes it."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        # Its counter of steps on the device, where a graph is captured.
        self._optimiser = torch.optim.Adam(
            self._network.parameters(), LEARNING_RATE, capturable=self._graphed
        )

    def loss(self) -> torch.Tensor:
        """Mean squared misfit."""
        return torch.nn.functional.mse_loss(self.image(), self._values)

    def step(self) -> torch.Tensor:
        """Gradient and Adam's update."""
        self._optimiser.zero_grad()
        loss = self.loss()
        loss.backward()
        self._optimiser.step()
        return loss.detach()


class Sampler(Program):
    """`dipgp.inference.langevin.sgld` with its preconditioner, floored, and momentum.

    Ours moves standard normal weights v that the network multiplies by their standard
    deviation s. Here w = mean + s v is moved, by s times the change of v, so that both
    chains have one law. All arrays go through PyTorch's fused list operations.
    """

    def __init__(
        self, *arguments: Any, sampler: Langevin = SAMPLER, **settings: Any
    ) -> None:
        super().__init__(*arguments, **settings)
        self._sampler, self._iteration = sampler, 0
        found: Sequence[Parameter] = arguments[0].parameters
        self._means, self._stds = [p.mean for p in found], [p.std for p in found]
        self._mean_square, self._velocity = (
            [torch.zeros_like(p) for p in self.parameters] for _ in range(2)
        )
        self._strides = [torch.zeros_like(p) for p in self.parameters]

    def step(self) -> torch.Tensor:
        """Gradient of the negative log density, and the update."""
        self._network.zero_grad()
        misfit = (self.image() - self._values) / NOISE_STD
        potential = misfit.square().sum() / 2
        potential.backward()
        with torch.no_grad():
            self._move()
        return potential.detach()

    def _move(self) -> None:
        sampler, here = self._sampler, self.parameters
        slopes = [p.grad for p in here if p.grad is not None]
        gradients = torch._foreach_mul(slopes, self._stds)
        prior = torch._foreach_sub(here, self._means)
        torch._foreach_div_(prior, self._stds)
        torch._foreach_add_(gradients, prior)
        if self._iteration < sampler.frozen_after:
            rate = max(1 - sampler.decay, 1 / (self._iteration + 1))
            squares = torch._foreach_mul(gradients, gradients)
            torch._foreach_lerp_(self._mean_square, squares, rate)
            self._strides = [self._stride(v) for v in self._mean_square]
        kicks = torch._foreach_mul(self._strides, gradients)
        torch._foreach_mul_(kicks, 0.5)
        torch._foreach_sub_(self._velocity, kicks)
        torch._foreach_mul_(self._velocity, sampler.momentum)
        torch._foreach_sub_(self._velocity, kicks)
        noise = [torch.randn_like(p) for p in here]
        heat = ((1 - sampler.momentum**2) * sampler.temperature) ** 0.5
        torch._foreach_add_(self._velocity, noise, alpha=heat)
        change = torch._foreach_mul(self._strides, self._velocity)
        torch._foreach_mul_(change, self._stds)
        torch._foreach_add_(here, change)
        self._iteration += 1

    def _stride(self, mean_square: torch.Tensor) -> torch.Tensor:
        """Square root of step size and preconditioner."""
        floored = torch.maximum(mean_square, mean_square.mean())
        scale = 1 / (self._sampler.epsilon + floored.sqrt())
        return (self._sampler.step_size * scale.clamp(max=self._sampler.maximum)).sqrt()


def faster_layout(make: Callable[..., Program]) -> str:
    """The memory layout in which a program is the faster.

    A mirrored border may bring a network back to channels first at each convolution.
    """
    seconds = {}
    for layout in LAYOUTS:
        program = make(steps=3, layout=layout)
        program()
        begun = time.perf_counter()
        program()
        seconds[layout] = time.perf_counter() - begun
    return min(seconds, key=lambda layout: seconds[layout])
