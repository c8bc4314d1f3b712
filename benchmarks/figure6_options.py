"""What the benchmark of Figure 6 is told."""

import dataclasses

from absl import flags

from benchmarks import figure6_networks, timing
from benchmarks.figure6_problem import SIDE
from benchmarks.figure6_processes import DEPTHS
from experiments import common, flag_values, network_options
from experiments.common import require

DATA = flags.DEFINE_string(
    "data",
    None,
    "The .npz file of Figure 6; without it a photograph of the same size takes its "
    "place.",
)
FIGURE6_SIDE = flags.DEFINE_integer(
    "figure6_side", SIDE, "Side of the part in the middle that is restored."
)
FIGURE6_DEPTHS = flags.DEFINE_list(
    "figure6_depths",
    [str(depth) for depth in DEPTHS],
    "Layers of the ReLU networks that are compared.",
)
EXACT_HOURGLASS = flags.DEFINE_boolean(
    "exact_hourglass",
    True,
    "Whether the hourglass's covariance between all pairs of pixels is computed.",
)
KERNEL_WIDTHS = flags.DEFINE_list(
    "kernel_widths",
    ["128", "1024"],
    "Channels of the random networks whose covariance is estimated; empty for none.",
)
KERNEL_NETWORKS = flags.DEFINE_list(
    "kernel_networks",
    ["1000", "30"],
    "How many of each width, a digit and zeros; one number, or one a width.",
)
KERNEL_INPUT = flags.DEFINE_enum(
    "kernel_input",
    "uniform",
    list(figure6_networks.INPUTS),
    "Their input: "
    + "; ".join(f"{name}, {text}" for name, text in figure6_networks.INPUTS.items())
    + ".",
)
DESCENT_WIDTHS = flags.DEFINE_list(
    "descent_widths",
    ["16", "32", "64", "128", "256"],
    "Channels of the networks whose weights are descended; empty for none.",
)
DESCENT_ITERATIONS = flags.DEFINE_integer(
    "descent_iterations", 500, "Of Adam, for each of them."
)
DESCENT_RUNS = flags.DEFINE_integer(
    "descent_runs", 3, "Runs of each width, with inputs and weights of their own."
)

# Of less, the hourglass's inner pixels would tell nothing.
SMALLEST_SIDE = 16

for _shared in ("seed", "output_dir", "resume", timing.RESULTS_DIR.name):
    flags.declare_key_flag(_shared)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Figure6Config:
    """What a run is told.

    Attributes:
      data: path of the image and its mask; None for a photograph.
      figure6_side: of the part of them that is restored.
      output_dir: folder of what is kept to go on with.
      results_dir: folder of the report.
      figure6_depths: of the ReLU networks that are compared.
      exact_hourglass: whether the matrices of all pairs of pixels are.
      kernel_widths: of random networks whose covariance is estimated.
      kernel_networks: how many of each width.
      kernel_input: what they read, a key of `figure6_networks.INPUTS`.
      descent_widths: of networks whose weights are descended.
      descent_iterations: of each of them.
      descent_runs: of each width.
      seed: of all draws.
      resume: whether to take what an earlier run of the same settings has computed.
    """

    data: str | None
    output_dir: str
    results_dir: str
    figure6_side: int = SIDE
    figure6_depths: tuple[int, ...] = DEPTHS
    exact_hourglass: bool = True
    kernel_widths: tuple[int, ...] = (128, 1024)
    kernel_networks: tuple[int, ...] = (1000, 30)
    kernel_input: str = "uniform"
    descent_widths: tuple[int, ...] = (16, 32, 64, 128, 256)
    descent_iterations: int = 500
    descent_runs: int = 3
    seed: int = 0
    resume: bool = False

    def __post_init__(self) -> None:
        """Raises UserError, naming the flag, on a number out of range."""
        side = self.figure6_side
        expected = f"a number from {SMALLEST_SIDE} to {SIDE}"
        accepted = SMALLEST_SIDE <= side <= SIDE
        require(accepted, FIGURE6_SIDE.name, side, expected)
        depths, known = self.figure6_depths, ", ".join(map(str, DEPTHS))
        accepted = bool(depths) and set(depths) <= {*DEPTHS}
        accepted = accepted and len(set(depths)) == len(depths)
        expected = f"a list, each once, among: {known}"
        require(accepted, FIGURE6_DEPTHS.name, _joined(depths), expected)
        for name in ("kernel_widths", "descent_widths"):
            widths = getattr(self, name)
            accepted = all(width >= 1 for width in widths)
            accepted = accepted and len(set(widths)) == len(widths)
            require(accepted, name, _joined(widths), "positive numbers, each once")
        counts = self.kernel_networks
        accepted = len(counts) == len(self.kernel_widths)
        expected = f"one number, or one for each of {len(self.kernel_widths)} widths"
        require(accepted, "kernel_networks", _joined(counts), expected)
        accepted = all(count >= 1 and not str(count)[1:].strip("0") for count in counts)
        expected = "a digit and zeros, such as 300"
        require(accepted, "kernel_networks", _joined(counts), expected)
        for name in ("descent_iterations", "descent_runs"):
            value = getattr(self, name)
            require(value >= 1, name, value, "a number of at least 1")
        common.require_seed(self.seed)


def config_from_flags() -> Figure6Config:
    """Reads the flags.

    Raises:
      UserError: on bad input, and on a flag that only other binaries read.
    """
    common.refuse_unread_flags(__name__)
    widths = flag_values.numbers(KERNEL_WIDTHS, int)
    counts = flag_values.numbers(KERNEL_NETWORKS, int)
    return Figure6Config(
        data=DATA.value,
        output_dir=common.OUTPUT_DIR.value or "runs/figure6",
        results_dir=timing.RESULTS_DIR.value,
        figure6_side=FIGURE6_SIDE.value,
        figure6_depths=flag_values.numbers(FIGURE6_DEPTHS, int),
        exact_hourglass=EXACT_HOURGLASS.value,
        kernel_widths=widths,
        kernel_networks=counts * len(widths) if len(counts) == 1 else counts,
        kernel_input=KERNEL_INPUT.value,
        descent_widths=flag_values.numbers(DESCENT_WIDTHS, int),
        descent_iterations=DESCENT_ITERATIONS.value,
        descent_runs=DESCENT_RUNS.value,
        seed=common.SEED.value,
        resume=network_options.RESUME.value,
    )


def _joined(numbers: tuple[int, ...]) -> str:
    return ",".join(map(str, numbers))
