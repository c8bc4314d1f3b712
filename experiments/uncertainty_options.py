"""What a run of `experiments.uncertainty` is told: flags and configuration."""

import dataclasses

from absl import flags

from experiments import common, image_tasks, inpaint, network_options
from experiments.common import require
from experiments.gp_method import GPOptions
from experiments.network_method import SAMPLERS

WITHHELD_FRACTION = flags.DEFINE_float(
    "withheld_fraction",
    0.1,
    "Share of the observed pixels that no method sees: a half of them recalibrates, "
    "the other is scored. On draws from the prior all of them are scored.",
)
CROP = flags.DEFINE_integer(
    "crop", None, "Takes the central square of so many pixels of each picture."
)
VARIANCE_SOLVES = flags.DEFINE_integer(
    "variance_solves",
    32,
    "Linear systems a channel by which the Gaussian process estimates its variances "
    "where they are not exact, as they are on up to 2304 pixels.",
)
PRIOR_SAMPLES = flags.DEFINE_integer(
    "prior_samples",
    0,
    "Scores the Gaussian process on so many draws from its own prior, not on pictures.",
)
PRIOR_SIDE = flags.DEFINE_integer(
    "prior_side", 32, "Height and width of such draws in pixels."
)
DROP_FRACTION = inpaint.DROP_FRACTION
flags.declare_key_flag(DROP_FRACTION.name)
flags.adopt_module_key_flags(common)
flags.adopt_module_key_flags(network_options)

DEFAULT_NOISE_STD = 2.55  # grey levels of 255
# Of the prior that is drawn from, where flags do not tell.
PRIOR = {"depth": 4, "sigma": 2.0, "amplitude": 0.2}


@dataclasses.dataclass(frozen=True, kw_only=True)
class UncertaintyConfig(image_tasks.TaskConfig):
    """What a run is told; the options' noise_std is also what is added.

    Attributes:
      options: the Gaussian process's; without noise_std only where noisy is set. Those
        of the prior that is drawn from are complete.
      drop_fraction: probability that a pixel goes missing; 0 for none.
      withheld_fraction: share of the other pixels that no method sees.
      crop: side of the central square that is taken of pictures, in pixels.
      prior_samples: number of draws from the prior; 0 for pictures.
      prior_side: of the draws.
    """

    options: GPOptions = dataclasses.field(
        default_factory=lambda: GPOptions(
            noise_std=DEFAULT_NOISE_STD / common.GREY_LEVELS, variance_solves=32
        )
    )
    drop_fraction: float = 0.5
    withheld_fraction: float = 0.1
    crop: int | None = None
    prior_samples: int = 0
    prior_side: int = 32

    def __post_init__(self) -> None:
        """Checks what can be checked without opening a file."""
        super().__post_init__()
        fitting = ("gp", *SAMPLERS)
        accepted = set(self.methods) <= set(fitting)
        expected = f"some of {', '.join(fitting)}, which have a standard deviation"
        require(accepted, "method", ",".join(self.methods), expected)
        for name, least in (("drop_fraction", True), ("withheld_fraction", False)):
            value = getattr(self, name)
            accepted = 0 < value < 1 or (least and value == 0)
            require(accepted, name, value, "a number between 0 and 1")
        solves = self.options.variance_solves
        require(solves >= 2, "variance_solves", solves, "at least 2")
        known = self.noisy or self.options.noise_std is not None
        require(known, "noise_std", "auto", "a number, or pictures that are --noisy")
        crop, samples = self.crop, self.prior_samples
        require(crop is None or crop >= 16, "crop", crop, "at least 16 pixels")
        require(
            samples == 0 or samples >= 2, "prior_samples", samples, "0, or 2 and more"
        )
        require(
            self.prior_side >= 16, "prior_side", self.prior_side, "at least 16 pixels"
        )
        kept = self.running.samples
        require(kept == 0, "samples", kept, "no such flag: samples are not written")
        if samples:
            self._check_prior()

    def _check_prior(self) -> None:
        expected = "no such flag with --prior_samples, which draws its own pictures"
        for name, idle in (("image", not self.images), ("crop", self.crop is None)):
            value = ",".join(self.images) if name == "image" else self.crop
            require(idle, name, value, expected)
        require(not self.noisy, "noisy", self.noisy, expected)
        methods = ",".join(self.methods)
        require(self.methods == ("gp",), "method", methods, "gp with --prior_samples")
        kernel = self.options.kernel
        require(kernel == "dip", "kernel", kernel, "dip with --prior_samples")
        for name in PRIOR:
            value = getattr(self.options, name)
            require(value is not None, name, value, "a number with --prior_samples")


def config_from_flags() -> UncertaintyConfig:
    """Reads the flags.

    Raises:
      UserError: on bad input, or on a flag that this run does not read.
    """
    common.refuse_unread_flags(__name__)
    shared = image_tasks.shared_settings("uncertainty", "inpaint")
    common.refuse_gp_flags(shared["methods"])
    added = common.ADDED_NOISE_STD
    expected = "no such flag: methods are told what is added, --noise_std"
    require(added.value is None, added.name, added.value, expected)
    options = common.gp_options(None if common.NOISY.value else DEFAULT_NOISE_STD)
    options = dataclasses.replace(options, variance_solves=VARIANCE_SOLVES.value)
    if PRIOR_SAMPLES.value:
        asked = {name: getattr(options, name) for name in PRIOR}
        given = {name: value for name, value in asked.items() if value is not None}
        options = dataclasses.replace(options, **(PRIOR | given))
    elif PRIOR_SIDE.present:
        expected = "no such flag without --prior_samples, which alone reads it"
        require(False, "prior_side", PRIOR_SIDE.value, expected)
    drop_fraction = DROP_FRACTION.value
    return UncertaintyConfig(
        **shared,
        options=options,
        drop_fraction=0.5 if drop_fraction is None else drop_fraction,
        withheld_fraction=WITHHELD_FRACTION.value,
        crop=CROP.value,
        prior_samples=PRIOR_SAMPLES.value,
        prior_side=PRIOR_SIDE.value,
    )
