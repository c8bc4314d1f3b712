"""Demosaicing: all colours of a picture of which each pixel saw but one.

The bundled photograph is seen through a Bayer mosaic of colour filters, noise of 2.55
grey levels is added, and what the filters hid is restored:

  python -m experiments.demosaic

Other pictures, mosaics and methods, in one table and figure:

  python -m experiments.demosaic --image='photos/*.png' --pattern=GRBG --method=gp,sgd
  python -m experiments.demosaic --image=photo.png --channel_covariance=independent

What a sensor recorded, a grey picture with one colour a pixel; --pattern says which:

  python -m experiments.demosaic --image=raw.png --noisy --pattern=BGGR --noise_std=1

The Gaussian process chooses its covariance in space, and that between the colours, by
the evidence of the mosaic itself, so that colours tell of each other where only one of
them was seen. --channel_covariance=independent does without that.

Results in --output_dir, one folder an image where there are several, and the method's
name in the files where there are several:

  observed.png   what was observed, as pictured; truth.png, where it is known
  restored.png   the restoration, clipped to [0, 1]
  figure.png     what was observed, in the filters' colours; the restorations, the truth
  metrics.json   scores, solver, configuration, versions
  trace.csv      of a network: loss, fit and PSNR by iteration
  uncertainty.*  of a sampler: the posterior's standard deviation, as picture and array

Scores, of pictures clipped to [0, 1], of all pixels and colours: psnr and ssim of the
restoration; psnr_bilinear of linear interpolation within each colour; psnr_malvar of
gradient-corrected interpolation (Malvar, He and Cutler, ICASSP 2004), the one to beat;
psnr_unclipped before clipping. Exit status: 0 done, 1 a method did not converge, 2 bad
input, 130 interrupted.
"""

import dataclasses
import functools
from typing import cast, get_args

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from dipgp.observations import BayerMosaic
from dipgp.observations.mosaic import Pattern
from dipgp.summaries import psnr
from experiments import (
    common,
    image_tasks,
    interpolated_mosaic,
    network_options,
    noise,
    processes,
)
from experiments.common import UserError, require
from experiments.gp_method import GPOptions

flags.adopt_module_key_flags(common)
flags.adopt_module_key_flags(network_options)
flags.adopt_module_key_flags(processes)

PATTERN = flags.DEFINE_enum(
    "pattern",
    "RGGB",
    get_args(Pattern),
    "Colours of the mosaic's blocks of 2x2 pixels, row by row from the upper left.",
    case_sensitive=False,
)
CHANNEL_COVARIANCE = flags.DEFINE_enum(
    "channel_covariance",
    "evidence",
    ["evidence", "independent"],
    "What red, green and blue have to do with each other in the Gaussian process: what "
    "the mosaic's evidence says, or nothing.",
)

DEFAULT_NOISE_STD = 2.55  # grey levels of 255

# Within 0.005 dB of the limit on a photograph, in a fifth fewer steps than usual.
DEFAULT_TOLERANCE = 2e-2


@dataclasses.dataclass(frozen=True, kw_only=True)
class DemosaicConfig(image_tasks.TaskConfig):
    """What a demosaicing run is told.

    Attributes:
      options: the Gaussian process's. Unless the run says what to add, its noise_std is
        also that, and `DEFAULT_NOISE_STD` where it is to be estimated.
      mosaic: what the picture was seen through.
    """

    options: GPOptions = dataclasses.field(
        default_factory=lambda: GPOptions(
            noise_std=DEFAULT_NOISE_STD / common.GREY_LEVELS,
            tolerance=DEFAULT_TOLERANCE,
        )
    )
    mosaic: BayerMosaic = dataclasses.field(default_factory=BayerMosaic)

    def __post_init__(self) -> None:
        """Checks what can be checked without opening a file."""
        super().__post_init__()
        amplitude = self.options.amplitude
        expected = "no such flag, since each direction of colour has its own"
        require(amplitude is None, "amplitude", amplitude, expected)


def config_from_flags() -> DemosaicConfig:
    """Reads the flags."""
    common.refuse_unread_flags(__name__)
    shared = image_tasks.shared_settings("demosaic", "super_resolve")
    common.refuse_gp_flags(shared["methods"])
    accepted = "gp" in shared["methods"] or not CHANNEL_COVARIANCE.present
    expected = "no such flag without --method=gp, which alone reads it"
    require(accepted, "channel_covariance", CHANNEL_COVARIANCE.value, expected)
    options = common.gp_options(DEFAULT_NOISE_STD)
    options = dataclasses.replace(
        options,
        tolerance=options.tolerance or DEFAULT_TOLERANCE,
        independent_channels=CHANNEL_COVARIANCE.value == "independent",
    )
    return DemosaicConfig(
        **shared, options=options, mosaic=BayerMosaic(cast(Pattern, PATTERN.value))
    )


def run(config: DemosaicConfig) -> list[image_tasks.Record]:
    """Restores the images and writes the results.

    Args:
      config: what to restore, and how.

    Returns:
      What metrics.json holds, for each image and method.

    Raises:
      UserError: on bad input, before anything is written.
    """
    prepare = functools.partial(_prepare, config)
    assess = functools.partial(_assess, config.mosaic)
    return image_tasks.restore_images(config, "demosaic", prepare, assess)


def _prepare(config: DemosaicConfig, image: np.ndarray) -> image_tasks.Problem:
    mosaic, added = config.mosaic, 0.0
    height, width, channels = image.shape
    if min(height, width) < 2:
        raise UserError(f"expected at least 2x2 pixels, got {width}x{height}")
    if config.noisy:
        expected = "a grey picture, in which each pixel is of one colour"
        require(channels == 1, "noisy", True, f"{expected}, got {channels} channels")
        seen, truth = image, None
    else:
        require(channels == 3, "noisy", False, "a picture in colour, got a grey one")
        colours = np.asarray(mosaic(jnp.asarray(image)))
        added = config.noise_to_add(DEFAULT_NOISE_STD)
        seen = noise.add(jax.random.key(config.seed), colours, added)
        truth = image
    shape = (height, width, 3)
    return image_tasks.Problem(
        image_tasks.observe_image(config, seen),
        truth,
        shape=shape,
        forward=mosaic,
        shown=np.asarray(mosaic.adjoint(jnp.asarray(seen), shape)),
        added_noise_std=added,
    )


def _assess(
    mosaic: BayerMosaic, problem: image_tasks.Problem, mean: np.ndarray
) -> tuple[np.ndarray, dict[str, float | None]]:
    truth, seen = problem.truth, np.asarray(problem.observation.values)
    if truth is None:
        names = ("psnr", "psnr_bilinear", "psnr_malvar", "psnr_unclipped", "ssim")
        return mean, dict.fromkeys(names)
    shown = np.clip(mean, 0, 1)
    bilinear = interpolated_mosaic.bilinear(seen, mosaic)
    corrected = interpolated_mosaic.gradient_corrected(seen, mosaic)
    return mean, {
        "psnr": psnr(shown, truth),
        "psnr_bilinear": psnr(np.clip(bilinear, 0, 1), truth),
        "psnr_malvar": psnr(np.clip(corrected, 0, 1), truth),
        "psnr_unclipped": psnr(mean, truth),
        "ssim": image_tasks.ssim_or_none(shown, truth),
    }


def main() -> int:
    """Runs under the flags."""
    return image_tasks.exit_status(run(config_from_flags()))


if __name__ == "__main__":
    common.main(processes.together(main))
