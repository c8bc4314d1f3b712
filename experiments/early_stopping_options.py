"""What the prediction of early stopping is told."""

import dataclasses

from absl import flags

from experiments import common, flag_values
from experiments.common import require

IMAGE_SIZE = flags.DEFINE_list(
    "image_size", ["128"], "Points of the signal, or height and width: 32,32."
)
NETWORK_WIDTHS = flags.DEFINE_list(
    "network_widths",
    ["32", "64", "128", "256", "512"],
    "Channels of the networks' hidden layers.",
)
NETWORKS = flags.DEFINE_integer(
    "networks", 8, "Networks of each width, each with a start and an input of its own."
)
HIDDEN_LAYERS = flags.DEFINE_integer("hidden_layers", 2, "ReLU layers.")
INPUT_SIGMA = flags.DEFINE_float(
    "input_sigma", 2.0, "Width of the filter that smooths the random input, in pixels."
)
INPUT_WIDTH = flags.DEFINE_integer("input_width", 512, "Channels of the random input.")
ADDED_NOISE = flags.DEFINE_float(
    "added_noise", 0.1, "Standard deviation of the noise, where white is 1."
)
RATE_FRACTION = flags.DEFINE_float(
    "rate_fraction", 0.25, "Learning rate, of the largest that is stable."
)

for _shared in ("seed", "output_dir"):
    flags.declare_key_flag(_shared)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EarlyStoppingConfig:
    """What a run is told.

    Attributes:
      output_dir: folder of the results.
      image_size: (L,) or (H, W).
      network_widths: of hidden layers.
      networks: of each width.
      hidden_layers: of ReLU.
      input_sigma: of the input's filter.
      input_width: channels of the input.
      added_noise: standard deviation.
      rate_fraction: of the largest stable learning rate.
      seed: of all draws.
    """

    output_dir: str
    image_size: tuple[int, ...] = (128,)
    network_widths: tuple[int, ...] = (32, 64, 128, 256, 512)
    networks: int = 8
    hidden_layers: int = 2
    input_sigma: float = 2.0
    input_width: int = 512
    added_noise: float = 0.1
    rate_fraction: float = 0.25
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises UserError, naming the flag, on a number out of range."""
        size = ",".join(map(str, self.image_size))
        accepted = len(self.image_size) in (1, 2) and min(self.image_size) >= 4
        require(accepted, "image_size", size, "one size or two, each of at least 4")
        widths = ",".join(map(str, self.network_widths))
        accepted = bool(self.network_widths) and min(self.network_widths) >= 1
        require(accepted, "network_widths", widths, "positive numbers")
        unique = len(set(self.network_widths)) == len(self.network_widths)
        require(unique, "network_widths", widths, "each number once")
        require(self.networks >= 2, "networks", self.networks, "at least 2")
        for name in ("hidden_layers", "input_width"):
            value = getattr(self, name)
            require(value >= 1, name, value, "a number of at least 1")
        # A covariance that does not fade within the torus is none there.
        widest = min(self.image_size) / 8
        sigma = self.input_sigma
        expected = f"from 0 to {widest:g}, an eighth of the torus"
        require(0 <= sigma <= widest, "input_sigma", sigma, expected)
        noise, fraction = self.added_noise, self.rate_fraction
        require(0 < noise <= 1, "added_noise", noise, "above 0, and up to 1")
        require(0 < fraction < 1, "rate_fraction", fraction, "between 0 and 1")
        common.require_seed(self.seed)


def config_from_flags() -> EarlyStoppingConfig:
    """Reads the flags.

    Raises:
      UserError: on bad input, or on a flag that only other binaries read.
    """
    common.refuse_unread_flags(__name__)
    return EarlyStoppingConfig(
        output_dir=common.OUTPUT_DIR.value or "runs/early_stopping",
        image_size=flag_values.numbers(IMAGE_SIZE, int),
        network_widths=flag_values.numbers(NETWORK_WIDTHS, int),
        networks=NETWORKS.value,
        hidden_layers=HIDDEN_LAYERS.value,
        input_sigma=INPUT_SIGMA.value,
        input_width=INPUT_WIDTH.value,
        added_noise=ADDED_NOISE.value,
        rate_fraction=RATE_FRACTION.value,
        seed=common.SEED.value,
    )
