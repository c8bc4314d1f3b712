"""What a run of a network is told, and which numbers it accepts."""

import dataclasses
import math

from dipgp.networks.build import ComputeDtype
from dipgp.networks.parameters import Gamma, Initialisation
from experiments.common import require

# Rules that choose when to stop a descent, without the truth.
STOPPING = {
    "windowed_variance": "where the last outputs vary least",
    "exponential_variance": "the same by a moving average, in less memory",
    "discrepancy": "where the misfit is as large as the known noise",
    "held_out": "where observed pixels that are kept from the fit are met best",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworkSettings:
    """All numbers of one run of a network's weights.

    Attributes:
      channels: of the hourglass at each scale, from the finest, down and up alike.
      skip_channels: of each skip branch; 0 leaves the skips out.
      input_channels: of the fixed input, uniform on [0, 0.1].
      initialisation: of the weights, "reference" or "gaussian_process".
      gamma: of batch norm at the start, "ones" or "uniform".
      compute_dtype: of the network's layers, "float32" or "bfloat16"; None for that of
        the image.
      iterations: steps taken.
      stop_at: iteration whose output a descent returns.
      stop_by: what decides that instead: "iteration" for stop_at, or a rule's name.
      stopping: rules that say when they would stop a descent, keys of `STOPPING`; None
        for windowed_variance, and discrepancy where the noise is known.
      window: iterations in the window of windowed_variance.
      patience: iterations without a better score after which a rule stops.
      held_out_fraction: of the observed pixels, which a descent with the rule held_out
        does not see.
      learning_rate: of Adam.
      weight_decay: of Adam, added to the gradient.
      input_noise: standard deviation of the noise on the input, drawn at each step.
      average_decay: of the exponential average of outputs.
      roll_back: fall of the fit to the data, in dB, that puts the run back.
      step_size: eps of Langevin dynamics; None for the method's own, which for sgld
        depends on noise and number of the observed values.
      momentum: the part of the velocity that a step of Langevin dynamics keeps.
      step_power: eps falls as (1 + t / step_offset)^-step_power; 0 keeps it.
      step_offset: see step_power.
      frozen_after: iterations after which the preconditioner stays as it is; 0 lets
        it adapt for ever, at the price of a bias (`dipgp.inference.langevin`).
      largest_scale: of the preconditioner.
      temperature: of the posterior; 1 is Bayes' rule.
      least_noise_std: that Langevin dynamics allows for where the noise is estimated,
        where white is 1. A network of this size does not meet pixels without noise
        exactly, and small noise makes for small steps.
      burn_in: iterations before samples count.
      thinning: iterations from one counted sample to the next.
      chains: independent chains, pooled.
    """

    channels: tuple[int, ...]
    skip_channels: int = 4
    input_channels: int = 32
    initialisation: Initialisation = "reference"
    gamma: Gamma = "ones"
    compute_dtype: ComputeDtype | None = None
    iterations: int
    stop_at: int
    stop_by: str = "iteration"
    stopping: tuple[str, ...] | None = None
    window: int = 100
    patience: int = 1000
    held_out_fraction: float = 0.05
    learning_rate: float = 0.01
    weight_decay: float = 0.0
    input_noise: float = 0.0
    average_decay: float = 0.99
    roll_back: float = 5.0
    step_size: float | None = None
    momentum: float = 0.0
    step_power: float = 0.0
    step_offset: float = 1000.0
    frozen_after: int = 0
    largest_scale: float = 1.0
    temperature: float = 1.0
    least_noise_std: float = 0.0
    burn_in: int = 0
    thinning: int = 1
    chains: int = 1

    def __post_init__(self) -> None:
        """Raises UserError, naming the flag, on a number out of range."""
        channels = ",".join(map(str, self.channels))
        accepted = bool(self.channels) and min(self.channels) > 0
        require(accepted, "channels", channels, "positive numbers, one a scale")
        for name in (
            "input_channels",
            "iterations",
            "stop_at",
            "patience",
            "thinning",
            "chains",
        ):
            value = getattr(self, name)
            require(value >= 1, name, value, "a number of at least 1")
        require(self.window >= 2, "window", self.window, "a number of at least 2")
        for name in (
            "learning_rate",
            "step_offset",
            "roll_back",
            "largest_scale",
        ):
            value = getattr(self, name)
            require(0 < value < math.inf, name, value, "a positive number")
        step_size = self.step_size
        accepted = step_size is None or 0 < step_size < math.inf
        require(accepted, "step_size", step_size, "a positive number")
        for name in (
            "skip_channels",
            "weight_decay",
            "input_noise",
            "temperature",
            "least_noise_std",
            "frozen_after",
        ):
            value = getattr(self, name)
            require(0 <= value < math.inf, name, value, "a number of at least 0")
        for name in ("average_decay", "momentum"):
            value = getattr(self, name)
            require(0 <= value < 1, name, value, "at least 0, below 1")
        fraction = self.held_out_fraction
        accepted = 0 < fraction < 1
        require(accepted, "held_out_fraction", fraction, "a number between 0 and 1")
        rules, known = self.stopping or (), ", ".join(STOPPING)
        accepted = set(rules) <= set(STOPPING) and len(set(rules)) == len(rules)
        expected = f"a list, each once, among: {known}"
        require(accepted, "stopping", ",".join(rules), expected)
        accepted = self.stop_by in ("iteration", *STOPPING)
        require(accepted, "stop_by", self.stop_by, f"iteration, {known}")
        accepted = self.step_power == 0 or 0.5 < self.step_power <= 1
        expected = "0, or above 0.5 and up to 1"
        require(accepted, "step_power", self.step_power, expected)
        accepted = 0 <= self.burn_in < self.iterations
        expected = f"from 0 to below the {self.iterations} iterations"
        require(accepted, "burn_in", self.burn_in, expected)
        accepted = self.stop_at <= self.iterations
        expected = f"at most the {self.iterations} iterations"
        require(accepted, "stop_at", self.stop_at, expected)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Running:
    """What does not change a run's numbers.

    Attributes:
      log_every: iterations in one compiled program, after which the host hears of them.
      checkpoint_minutes: from one checkpoint to the next; 0 writes none.
      resume: whether to go on from a checkpoint.
      samples: posterior samples of each chain to keep, evenly spaced.
      on_divergence: "roll_back" to the last good state, or "stop" there.
      devices: that chains and right-hand sides are spread over, at most; None for all.
    """

    log_every: int = 50
    checkpoint_minutes: float = 2.0
    resume: bool = False
    samples: int = 0
    on_divergence: str = "roll_back"
    devices: int | None = None

    def __post_init__(self) -> None:
        """Raises UserError, naming the flag, on a number out of range."""
        expected = "a number of at least 1"
        require(self.log_every >= 1, "log_every", self.log_every, expected)
        minutes = self.checkpoint_minutes
        accepted = 0 <= minutes < math.inf
        require(accepted, "checkpoint_minutes", minutes, "a number of at least 0")
        require(self.samples >= 0, "samples", self.samples, "a number of at least 0")
        accepted = self.devices is None or self.devices >= 1
        require(accepted, "devices", self.devices, "all, or a number of at least 1")
