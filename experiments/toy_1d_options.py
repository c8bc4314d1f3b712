"""What the example in one dimension is told: its flags and their checks."""

import dataclasses
import math

from absl import flags

from experiments import common, flag_values, network_options
from experiments.common import require

CASES = flags.DEFINE_list(
    "cases", ["2:1", "15:4"], "Pairs sigma:depth, as in --cases=2:1,15:4."
)
POINTS = flags.DEFINE_integer("points", 128, "Points of the signal.")
OBSERVED_FRACTION = flags.DEFINE_float(
    "observed_fraction", 0.1, "Share of the points that is seen."
)
WIDTH = flags.DEFINE_integer("width", 32, "Channels of the networks' hidden layers.")
OBSERVATION_STD = flags.DEFINE_float(
    "observation_std",
    0.05,
    "Standard deviation of the noise that posteriors allow for; the points have none.",
)
RESTARTS = flags.DEFINE_integer("restarts", 16, "Runs of descent, at least 2.")

for _shared in (
    "seed",
    "output_dir",
    "float64",
    "amplitude",
    "input_channels",
    "iterations",
    "burn_in",
    "chains",
    "step_size",
    "momentum",
    "stop_at",
    "learning_rate",
):
    flags.declare_key_flag(_shared)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ToyConfig:
    """What a run is told.

    Attributes:
      output_dir: folder of the results.
      cases: (sigma, depth) of each.
      points: of the signal.
      observed_fraction: share of them that is seen.
      width: channels of the hidden layers.
      input_channels: of the networks' random input.
      amplitude: standard deviation of the prior; None chooses it by the evidence.
      observation_std: standard deviation of the noise that is allowed for.
      restarts: of descent.
      stop_at: iterations of descent.
      learning_rate: of descent.
      chains: of Langevin dynamics.
      iterations: of each chain.
      burn_in: iterations of each chain that do not count; None for a quarter.
      step_size: eps of Langevin dynamics; None chooses it by the prior's stiffness.
      momentum: the part of the velocity that a step of Langevin dynamics keeps.
      seed: of all draws.
      float64: whether the networks compute in 64 bits; the Gaussian process does.
    """

    output_dir: str
    cases: tuple[tuple[float, int], ...] = ((2.0, 1), (15.0, 4))
    points: int = 128
    observed_fraction: float = 0.1
    width: int = 32
    input_channels: int = 128
    amplitude: float | None = None
    observation_std: float = 0.05
    restarts: int = 16
    stop_at: int = 2_000
    learning_rate: float = 0.001
    chains: int = 4
    iterations: int = 20_000
    burn_in: int | None = None
    step_size: float | None = None
    momentum: float = 0.9
    seed: int = 0
    float64: bool = False

    def __post_init__(self) -> None:
        """Raises UserError, naming the flag, on a number out of range."""
        accepted = 2 <= self.points <= 4096
        expected = "from 2 to 4096, whose covariance matrix is small"
        require(accepted, "points", self.points, expected)
        shown = ",".join(f"{sigma:g}:{depth}" for sigma, depth in self.cases)
        for sigma, depth in self.cases:
            accepted = 0 <= sigma <= self.points
            expected = f"sigma from 0 to the {self.points} points"
            require(accepted, "cases", shown, expected)
            require(1 <= depth <= 100, "cases", shown, "depth from 1 to 100")
        unique = len(set(self.cases)) == len(self.cases) > 0
        require(unique, "cases", shown, "one case at least, and each once")
        fraction = self.observed_fraction
        accepted = 0 < fraction <= 1
        require(accepted, "observed_fraction", fraction, "above 0, and up to 1")
        for name in ("width", "input_channels", "chains", "iterations", "stop_at"):
            value = getattr(self, name)
            require(value >= 1, name, value, "a number of at least 1")
        expected = "at least 2, whose spread makes the bands"
        require(self.restarts >= 2, "restarts", self.restarts, expected)
        for name in ("amplitude", "observation_std", "learning_rate", "step_size"):
            value = getattr(self, name)
            accepted = value is None or 0 < value < math.inf
            require(accepted, name, value, "a positive number")
        accepted = 0 <= self.momentum < 1
        require(accepted, "momentum", self.momentum, "at least 0, below 1")
        accepted = self.burn_in is None or 0 <= self.burn_in < self.iterations
        expected = f"from 0 to below the {self.iterations} iterations"
        require(accepted, "burn_in", self.burn_in, expected)
        common.require_seed(self.seed)


def config_from_flags() -> ToyConfig:
    """Reads the flags.

    Raises:
      UserError: on bad input, or on a flag that only other binaries read.
    """
    common.refuse_unread_flags(__name__)
    return ToyConfig(
        output_dir=common.OUTPUT_DIR.value or "runs/toy_1d",
        cases=flag_values.sigmas_and_depths(CASES),
        points=POINTS.value,
        observed_fraction=OBSERVED_FRACTION.value,
        width=WIDTH.value,
        amplitude=common.AMPLITUDE.value,
        observation_std=OBSERVATION_STD.value,
        restarts=RESTARTS.value,
        seed=common.SEED.value,
        float64=common.FLOAT64.value,
        **network_options.overrides_from_flags(),
    )
