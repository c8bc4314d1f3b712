"""What the comparison of covariances is told: its flags and their checks."""

import dataclasses

from absl import flags

from experiments import common, flag_values
from experiments.common import require

DEPTHS = flags.DEFINE_list(
    "depths", ["1", "2", "3", "4"], "ReLU layers of the plain networks at sigma = 2."
)
SIGMAS = flags.DEFINE_list(
    "sigmas",
    ["0", "10", "15", "60"],
    "Widths of the input's filter, in pixels, for plain networks of depth 2 and 4.",
)
AUTOENCODER_DEPTHS = flags.DEFINE_list(
    "autoencoder_depths",
    ["3", "4", "5", "6"],
    "Halvings, and then doublings, of the autoencoders at sigma = 2.",
)
HIDDEN_CHANNELS = flags.DEFINE_integer(
    "hidden_channels",
    64,
    "Channels of each hidden layer and of the input, an even number; networks of half "
    "as many are drawn too.",
)
DRAWS = flags.DEFINE_integer("draws", 20_000, "Random networks of either width.")

for _shared in ("seed", "output_dir"):
    flags.declare_key_flag(_shared)


@dataclasses.dataclass(frozen=True, kw_only=True)
class KernelsConfig:
    """What a run is told.

    Attributes:
      output_dir: folder of the results.
      depths: of plain networks at sigma = 2; none leaves that part out.
      sigmas: of plain networks of depth 2 and 4, likewise.
      autoencoder_depths: of autoencoders at sigma = 2, likewise.
      hidden_channels: of the wider networks, and channels of their input.
      draws: of networks of either width.
      seed: of all draws.
    """

    output_dir: str
    depths: tuple[int, ...] = (1, 2, 3, 4)
    sigmas: tuple[float, ...] = (0.0, 10.0, 15.0, 60.0)
    autoencoder_depths: tuple[int, ...] = (3, 4, 5, 6)
    hidden_channels: int = 64
    draws: int = 20_000
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises UserError, naming the flag, on a number out of range."""
        for name, largest in (("depths", 100), ("autoencoder_depths", 8)):
            depths = getattr(self, name)
            shown = ",".join(map(str, depths))
            accepted = all(1 <= depth <= largest for depth in depths)
            require(accepted, name, shown, f"whole numbers from 1 to {largest}")
            require(len(set(depths)) == len(depths), name, shown, "each number once")
        shown = ",".join(f"{sigma:g}" for sigma in self.sigmas)
        accepted = all(0 <= sigma <= 1000 for sigma in self.sigmas)
        require(accepted, "sigmas", shown, "numbers from 0 to 1000")
        unique = len(set(self.sigmas)) == len(self.sigmas)
        require(unique, "sigmas", shown, "each number once")
        some = bool(self.depths or self.sigmas or self.autoencoder_depths)
        expected = "a network in it, in --sigmas or in --autoencoder_depths"
        require(some, "depths", "", expected)
        channels = self.hidden_channels
        accepted = channels >= 2 and channels % 2 == 0
        expected = "an even number of at least 2"
        require(accepted, "hidden_channels", channels, expected)
        expected = "at least 2, whose spread makes the standard errors"
        require(self.draws >= 2, "draws", self.draws, expected)
        common.require_seed(self.seed)


def config_from_flags() -> KernelsConfig:
    """Reads the flags.

    Raises:
      UserError: on bad input, or on a flag that only other binaries read.
    """
    common.refuse_unread_flags(__name__)
    return KernelsConfig(
        output_dir=common.OUTPUT_DIR.value or "runs/kernels",
        depths=flag_values.numbers(DEPTHS, int),
        sigmas=flag_values.numbers(SIGMAS, float),
        autoencoder_depths=flag_values.numbers(AUTOENCODER_DEPTHS, int),
        hidden_channels=HIDDEN_CHANNELS.value,
        draws=DRAWS.value,
        seed=common.SEED.value,
    )
