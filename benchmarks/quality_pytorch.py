"""The reference protocol in PyTorch: Adam, noise on the input, an average of outputs.

It starts from the weights and the input of our `sgd_input`, in the faster of PyTorch's
memory layouts. Its loop does no more than the protocol says; scoring is left out of its
seconds.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

from benchmarks import throughput_pytorch
from benchmarks.baton import Turns
from benchmarks.quality_courses import Course, Problem, Settings, log_grid, spread
from benchmarks.throughput_cases import INPUT_CHANNELS, Data
from dipgp import networks
from dipgp.summaries import psnr
from experiments import network_method, network_run
from experiments.network_settings import NetworkSettings

NAMES = ("PyTorch", "PyTorch, averaged")


class Reference(throughput_pytorch.Program):
    """The protocol's loop; see `throughput_pytorch.Program` for its arguments.

    Args:
      settings: learning rate, noise on the input and decay of the average.
    """

    def __init__(
        self, *arguments: Any, settings: NetworkSettings, **others: Any
    ) -> None:
        super().__init__(*arguments, **others)
        self._settings = settings
        mask = np.asarray(arguments[2].observation.mask, np.float32)
        self._mask = torch.from_numpy(mask.copy()).to(self._device)
        self._optimiser = torch.optim.Adam(self.parameters, settings.learning_rate)
        self.output = torch.zeros_like(self._values)
        self._averaged: torch.Tensor | None = None

    def step(self) -> torch.Tensor:
        """Gradient, Adam's update and the average's."""
        noise = self._settings.input_noise * torch.randn_like(self._z)
        image, decay = self._function(self._z + noise), self._settings.average_decay
        loss = torch.nn.functional.mse_loss(
            image * self._mask, self._values * self._mask
        )
        self._optimiser.zero_grad()
        loss.backward()
        self._optimiser.step()
        self.output = image.detach()
        self._averaged = decay * self.average + (1 - decay) * self.output
        return loss.detach()

    @property
    def average(self) -> torch.Tensor:
        """Exponential average of the outputs; the first one counts in full."""
        return self.output if self._averaged is None else self._averaged


def work(
    settings: Settings, problem: Problem, device: torch.device
) -> Callable[[Turns], list[Course]]:
    """What `run_in_turn` runs."""
    case, told = settings.case, settings.network("sgd_input")
    key = jax.random.key(settings.seed)
    key_input = jax.random.fold_in(key, network_method.INPUT)
    z = networks.uniform_input(key_input, (case.size, case.size), INPUT_CHANNELS)
    key_weights = jax.random.fold_in(key, network_run.WEIGHTS)
    variables = case.network().init(jax.random.fold_in(key_weights, 0), z)
    data = Data(z, problem.observation, jnp.asarray(problem.truth))
    make = functools.partial(Reference, case, variables, data, device, settings=told)
    return functools.partial(_run, settings, told, problem, make)


def _run(
    settings: Settings,
    told: NetworkSettings,
    problem: Problem,
    make: Callable[..., Reference],
    turns: Turns,
) -> list[Course]:
    with turns.uncounted():
        layout = throughput_pytorch.faster_layout(make)
    torch.manual_seed(settings.seed)
    program = make(steps=1, layout=layout)
    piece = settings.piece_of(told.iterations)
    scored = log_grid(told.iterations)
    marks: list[float] = []
    scores: list[tuple[float, float]] = []
    for count in range(1, told.iterations + 1):
        program()
        if count in scored:
            with turns.uncounted():
                scores.append(
                    (
                        _score(program.output, problem.truth),
                        _score(program.average, problem.truth),
                    )
                )
        if count % piece == 0:
            marks.append(turns.seconds)
            turns.pass_on()
    start, seconds = spread(marks, piece)
    at = np.asarray(scored) - 1
    read_at = int(np.searchsorted(scored, told.stop_at, side="right")) - 1
    return [
        Course(name, seconds[at], np.array(values), start, told.iterations, read_at)
        for name, values in zip(NAMES, zip(*scores, strict=True), strict=True)
    ]


def _score(output: torch.Tensor, truth: np.ndarray) -> float:
    image = np.asarray(output[0].permute(1, 2, 0).cpu())
    return float(psnr(np.clip(image, 0, 1), truth))
