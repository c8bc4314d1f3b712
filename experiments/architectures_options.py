"""What the comparison of architectures is told: its flags and their checks."""

import dataclasses
from pathlib import Path

from absl import flags

from experiments import common, flag_values, network_options, priors
from experiments.common import require
from experiments.network_settings import NetworkSettings, Running

HALVINGS = flags.DEFINE_list(
    "halvings",
    ["1", "2", "3", "4", "5", "6"],
    "Depths of the hourglasses: how often each halves the resolution.",
)
PRIOR_WIDENING = flags.DEFINE_integer(
    "prior_widening",
    2,
    "How many times the channels of the fitted networks those have that are drawn from "
    "the prior, skips included.",
)

# Those of restorations that are read here, too.
_SETTINGS = (
    "channels",
    "skip_channels",
    "input_channels",
    "iterations",
    "stop_at",
    "learning_rate",
)
_RUNNING = ("log_every", "checkpoint_minutes", "resume")
_SHARED = ("seed", "output_dir", "image", "noise_std", "side")
for _name in (*_SHARED, *_SETTINGS, *_RUNNING):
    flags.declare_key_flag(_name)

DEFAULT_NOISE_STD = 25.0  # grey levels of 255


@dataclasses.dataclass(frozen=True)
class Case:
    """An hourglass among others.

    Attributes:
      halvings: of the resolution.
      skip_channels: of each skip branch, or 0.
    """

    halvings: int
    skip_channels: int

    def __str__(self) -> str:
        """Its name in tables and files."""
        skips = f"{self.skip_channels or 'no'} skip channels"
        return f"{depth_in_words(self.halvings)}, {skips}"


def depth_in_words(halvings: int) -> str:
    """1 halving, 2 halvings."""
    return f"{halvings} halving{'s' if halvings > 1 else ''}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ArchitecturesConfig:
    """What a run is told.

    Attributes:
      output_dir: folder of the results.
      image: a picture file; None for the bundled photograph.
      side: of the picture's central square, in pixels.
      halvings: of the hourglasses.
      channels: at each scale of the deepest, from the finest.
      skip_channels: of those with skips.
      input_channels: of the networks.
      noise_std: added to the picture, where white is 1.
      prior_widening: see the flag.
      iterations: of each descent.
      stop_at: iteration at which it is read.
      learning_rate: of Adam.
      seed: of all draws.
      running: what does not change numbers.
    """

    output_dir: str
    image: str | None = None
    side: int = 128
    halvings: tuple[int, ...] = (1, 2, 3, 4, 5, 6)
    channels: tuple[int, ...] = (8, 16, 32, 32, 32, 32)
    skip_channels: int = 4
    input_channels: int = 32
    noise_std: float = DEFAULT_NOISE_STD / common.GREY_LEVELS
    prior_widening: int = 2
    iterations: int = 1000
    stop_at: int = 400
    learning_rate: float = 0.01
    seed: int = 0
    running: Running = dataclasses.field(default_factory=Running)

    def __post_init__(self) -> None:
        """Raises UserError, naming the flag, on a number out of range."""
        shown = ",".join(map(str, self.halvings))
        accepted = all(1 <= depth <= 8 for depth in self.halvings)
        require(accepted, "halvings", shown, "numbers from 1 to 8")
        accepted = 0 < len(set(self.halvings)) == len(self.halvings)
        require(accepted, "halvings", shown, "one depth at least, and each once")
        shown, deepest = ",".join(map(str, self.channels)), max(self.halvings)
        accepted = len(self.channels) >= deepest
        expected = f"one number a scale, {deepest} at least"
        require(accepted, "channels", shown, expected)
        expected = "at least 1, to be set beside networks without skips"
        require(self.skip_channels >= 1, "skip_channels", self.skip_channels, expected)
        accepted = 16 <= self.side <= 1024
        require(accepted, "side", self.side, "from 16 to 1024 pixels")
        levels = self.noise_std * common.GREY_LEVELS
        accepted = 0 < self.noise_std <= 1
        require(accepted, "noise_std", levels, "grey levels above 0 and up to 255")
        accepted = 1 <= self.prior_widening <= 16
        require(accepted, "prior_widening", self.prior_widening, "from 1 to 16")
        common.require_seed(self.seed)
        for case in self.cases:
            self.settings(case)  # which checks the others

    @property
    def cases(self) -> list[Case]:
        """By depth, without skips and with them."""
        kinds = (0, self.skip_channels)
        return [Case(depth, skips) for depth in self.halvings for skips in kinds]

    def settings(self, case: Case) -> NetworkSettings:
        """Of a case's network."""
        return NetworkSettings(
            channels=self.channels[: case.halvings],
            skip_channels=case.skip_channels,
            input_channels=self.input_channels,
            iterations=self.iterations,
            stop_at=self.stop_at,
            stopping=("discrepancy",),
            learning_rate=self.learning_rate,
        )


def config_from_flags() -> ArchitecturesConfig:
    """Reads the flags.

    Raises:
      UserError: on bad input, or on a flag that only other binaries read.
    """
    common.refuse_unread_flags(__name__)
    images = list(common.expand_images(common.IMAGE.value).values())
    expected = "one picture, or none for the bundled one"
    require(len(images) == 1, "image", ",".join(common.IMAGE.value), expected)
    asked = network_options.overrides_from_flags()
    if "iterations" in asked and "stop_at" not in asked:
        asked["stop_at"] = max(asked["iterations"] // 3, 1)
    noise_std = common.told_noise_std(DEFAULT_NOISE_STD / common.GREY_LEVELS)
    expected = "a number, which is also what is added"
    require(noise_std is not None, "noise_std", common.AUTO, expected)
    assert noise_std is not None
    return ArchitecturesConfig(
        output_dir=common.OUTPUT_DIR.value or "runs/architectures",
        image=_text(images[0]),
        side=priors.SIDE.value,
        halvings=flag_values.numbers(HALVINGS, int),
        noise_std=noise_std,
        prior_widening=PRIOR_WIDENING.value,
        seed=common.SEED.value,
        running=Running(
            log_every=network_options.LOG_EVERY.value,
            checkpoint_minutes=network_options.CHECKPOINT_MINUTES.value,
            resume=network_options.RESUME.value,
        ),
        **asked,
    )


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
