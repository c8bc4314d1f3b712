"""What the comparison of networks with their Gaussian process is told."""

import dataclasses
import math

from absl import flags

from experiments import common, flag_values, network_options
from experiments.common import require

GRID = flags.DEFINE_list(
    "grid", ["128"], "Points of the signal, or height and width of the image: 24,24."
)
TASKS = flags.DEFINE_list(
    "tasks",
    ["inpaint", "denoise"],
    "inpaint sees a share of the points, denoise all of them; both in noise.",
)
WIDTHS = flags.DEFINE_list(
    "widths",
    ["16", "32", "64", "128", "256", "512"],
    "Channels of the networks' hidden layers.",
)
INPUTS = flags.DEFINE_integer(
    "inputs", 8, "Random inputs, each with a Gaussian process of its own."
)
LAYERS = flags.DEFINE_integer("relu_layers", 2, "ReLU layers.")
SMOOTHING = flags.DEFINE_float(
    "smoothing", 2.0, "Width sigma of the filter that smooths the random input."
)
NOISE_LEVEL = flags.DEFINE_float(
    "noise_level", 0.1, "Standard deviation of the noise, where white is 1."
)
SEEN = flags.DEFINE_float("seen", 0.25, "Share of the points that inpainting sees.")
SAMPLER = flags.DEFINE_enum(
    "sampler",
    "auto",
    ["auto", "slice", "nuts"],
    "Of the networks' posterior: ellipses through the prior, which wide networks "
    "follow, or the no-U-turn sampler; auto takes it below width 128.",
)
POSTERIOR_DRAWS = flags.DEFINE_integer(
    "posterior_draws", 1000, "Draws of each chain that count."
)
DRAWS_BEFORE = flags.DEFINE_integer(
    "draws_before", 200, "Draws of each chain before them that do not."
)
POSTERIOR_CHAINS = flags.DEFINE_integer(
    "posterior_chains", 4, "Chains for each width and input, at least 2."
)
LANGEVIN_WIDTHS = flags.DEFINE_list(
    "langevin_widths",
    ["16", "64"],
    "Widths at which Langevin dynamics of all weights samples the posterior of the "
    "first input too; empty for none.",
)
LANGEVIN_ITERATIONS = flags.DEFINE_integer(
    "langevin_iterations", 40_000, "Of each of its chains, of which a quarter burn in."
)

for _shared in ("seed", "output_dir", "input_channels", "resume"):
    flags.declare_key_flag(_shared)

# From this width on auto moves along ellipses (docs/results.md).
WIDE = 128


@dataclasses.dataclass(frozen=True, kw_only=True)
class EquivalenceConfig:
    """What a run is told.

    Attributes:
      output_dir: folder of the results.
      grid: (L,) or (H, W).
      tasks: of "inpaint" and "denoise".
      widths: of hidden layers.
      inputs: how many random inputs.
      relu_layers: of ReLU.
      smoothing: sigma of the input.
      input_channels: of the input.
      noise_level: of the data.
      seen: share of the points that inpainting sees.
      sampler: "auto", "slice" or "nuts".
      posterior_draws: of each chain.
      draws_before: of each chain, which do not count.
      posterior_chains: of each width and input.
      langevin_widths: at which Langevin dynamics runs too.
      langevin_iterations: of each of its chains.
      seed: of all draws.
      resume: whether to take what an earlier run of the same settings has computed.
    """

    output_dir: str
    grid: tuple[int, ...] = (128,)
    tasks: tuple[str, ...] = ("inpaint", "denoise")
    widths: tuple[int, ...] = (16, 32, 64, 128, 256, 512)
    inputs: int = 8
    relu_layers: int = 2
    smoothing: float = 2.0
    input_channels: int = 128
    noise_level: float = 0.1
    seen: float = 0.25
    sampler: str = "auto"
    posterior_draws: int = 1000
    draws_before: int = 200
    posterior_chains: int = 4
    langevin_widths: tuple[int, ...] = (16, 64)
    langevin_iterations: int = 40_000
    seed: int = 0
    resume: bool = False

    def __post_init__(self) -> None:
        """Raises UserError, naming the flag, on a number out of range."""
        accepted = len(self.grid) in (1, 2) and min(self.grid) >= 2
        expected = "one size or two, each of at least 2"
        require(accepted, "grid", _joined(self.grid), expected)
        pixels = math.prod(size + 2 * self.relu_layers for size in self.grid)
        expected = (
            f"at most 4096 pixels with {self.relu_layers} more on each side, whose "
            f"covariance is a matrix; got {pixels}"
        )
        require(pixels <= 4096, "grid", _joined(self.grid), expected)
        known = {"inpaint", "denoise"}
        accepted = 0 < len(self.tasks) == len(set(self.tasks) & known)
        require(accepted, "tasks", ",".join(self.tasks), "inpaint, denoise or both")
        for name in ("widths", "langevin_widths"):
            widths = getattr(self, name)
            accepted = all(width >= 1 for width in widths) and (
                len(set(widths)) == len(widths)
            )
            require(accepted, name, _joined(widths), "positive numbers, each once")
        require(bool(self.widths), "widths", "", "one at least")
        accepted = set(self.langevin_widths) <= set(self.widths)
        expected = f"some of --widths={_joined(self.widths)}, to compare with"
        require(accepted, "langevin_widths", _joined(self.langevin_widths), expected)
        for name in ("inputs", "relu_layers", "input_channels", "draws_before"):
            value = getattr(self, name)
            require(value >= 1, name, value, "a number of at least 1")
        value = self.posterior_chains
        expected = "at least 2, whose products have no bias"
        require(value >= 2, "posterior_chains", value, expected)
        for name in ("posterior_draws", "langevin_iterations"):
            value = getattr(self, name)
            require(value >= 4, name, value, "a number of at least 4")
        sigma, noise = self.smoothing, self.noise_level
        accepted = 0 <= sigma <= max(self.grid)
        require(accepted, "smoothing", sigma, f"from 0 to {max(self.grid)} pixels")
        require(0 < noise <= 1, "noise_level", noise, "above 0, and up to 1")
        require(0 < self.seen <= 1, "seen", self.seen, "above 0, and up to 1")
        common.require_seed(self.seed)


def config_from_flags() -> EquivalenceConfig:
    """Reads the flags.

    Raises:
      UserError: on bad input, or on a flag that only other binaries read.
    """
    common.refuse_unread_flags(__name__)
    channels = network_options.overrides_from_flags().get("input_channels", 128)
    return EquivalenceConfig(
        output_dir=common.OUTPUT_DIR.value or "runs/equivalence",
        grid=flag_values.numbers(GRID, int),
        tasks=tuple(TASKS.value),
        widths=flag_values.numbers(WIDTHS, int),
        inputs=INPUTS.value,
        relu_layers=LAYERS.value,
        smoothing=SMOOTHING.value,
        input_channels=channels,
        noise_level=NOISE_LEVEL.value,
        seen=SEEN.value,
        sampler=SAMPLER.value,
        posterior_draws=POSTERIOR_DRAWS.value,
        draws_before=DRAWS_BEFORE.value,
        posterior_chains=POSTERIOR_CHAINS.value,
        langevin_widths=flag_values.numbers(LANGEVIN_WIDTHS, int),
        langevin_iterations=LANGEVIN_ITERATIONS.value,
        seed=common.SEED.value,
        resume=network_options.RESUME.value,
    )


def _joined(numbers: tuple[int, ...]) -> str:
    return ",".join(map(str, numbers))
