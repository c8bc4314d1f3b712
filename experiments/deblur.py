"""Deblurring: restores a picture that is out of focus or was taken in motion.

The bundled photograph is blurred by a Gaussian of 1.6 pixels, noise of 2.55 grey levels
is added, and both are removed again:

  python -m experiments.deblur

Other pictures, blurs and methods, in one table and figure:

  python -m experiments.deblur --blur=motion --blur_length=9 --blur_angle=30
  python -m experiments.deblur --image='photos/*.png' --boundary=valid --method=gp,sgd

A picture that is blurred already, with no truth to score against; the flags say how:

  python -m experiments.deblur --image=hand.jpg --noisy --blur_std=2 --boundary=valid

Methods are told the noise, unless --noise_std=auto has them estimate what is added:

  python -m experiments.deblur --added_noise_std=5 --noise_std=auto

--boundary=valid knows nothing beyond the borders, as cameras do: the restoration is
wider than what is seen by the blur's kernel less a pixel. --boundary=circular takes the
opposite sides for neighbours, as is usual in comparisons. A picture that is blurred
already is "valid" unless it has been made for a comparison.

Results in --output_dir, one folder an image where there are several, and the method's
name in the files where there are several:

  observed.png   what was observed, as pictured; truth.png, where it is known
  restored.png   the restoration, clipped to [0, 1]
  figure.png     what was observed; the restorations, the truth
  metrics.json   scores, solver, configuration, versions
  trace.csv      of a network: loss, fit and PSNR by iteration
  uncertainty.*  of a sampler: the posterior's standard deviation, as picture and array

Scores, of pictures clipped to [0, 1] and of the pixels at which something was seen:
psnr of the restoration, psnr_input of the blurred picture, psnr_wiener of unsupervised
Wiener deconvolution (Orieux et al., J. Opt. Soc. Am. A 2010; it is told the blur and
takes opposite sides for neighbours), the one to beat; psnr_unclipped before clipping;
psnr_whole and ssim of the whole restoration. Exit status: 0 done, 1 a method did not
converge, 2 bad input, 130 interrupted.
"""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from skimage.restoration import unsupervised_wiener

from dipgp.observations import Blur, gaussian_blur, motion_blur
from dipgp.observations.blur import Boundary
from dipgp.summaries import psnr
from experiments import common, image_tasks, network_options, noise, processes
from experiments.common import require
from experiments.gp_method import GPOptions

flags.adopt_module_key_flags(common)
flags.adopt_module_key_flags(network_options)
flags.adopt_module_key_flags(processes)

BLUR = flags.DEFINE_enum(
    "blur", "gaussian", ["gaussian", "motion"], "Out of focus, or in motion."
)
BLUR_STD = flags.DEFINE_float(
    "blur_std", None, "Of the gaussian blur, in pixels; 1.6 by default."
)
BLUR_LENGTH = flags.DEFINE_float(
    "blur_length", None, "Of the motion, in pixels; 9 by default."
)
BLUR_ANGLE = flags.DEFINE_float(
    "blur_angle",
    None,
    "Of the motion, in degrees: 0, the default, from left to right, 90 upwards.",
)
BOUNDARY = flags.DEFINE_enum(
    "boundary",
    "circular",
    ["circular", "valid"],
    "What lies beyond a border: the opposite side, or what is not known.",
)

DEFAULT_NOISE_STD = 2.55  # grey levels of 255
DEFAULTS = {"blur_std": 1.6, "blur_length": 9.0, "blur_angle": 0.0}


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeblurConfig(image_tasks.TaskConfig):
    """What a deblurring run is told.

    Attributes:
      options: the Gaussian process's. Unless the run says what to add, its noise_std is
        also that, and `DEFAULT_NOISE_STD` where it is to be estimated.
      blur: what the picture was seen through.
    """

    options: GPOptions = dataclasses.field(
        default_factory=lambda: GPOptions(
            noise_std=DEFAULT_NOISE_STD / common.GREY_LEVELS
        )
    )
    blur: Blur = dataclasses.field(
        default_factory=lambda: gaussian_blur(DEFAULTS["blur_std"])
    )


def config_from_flags() -> DeblurConfig:
    """Reads the flags."""
    common.refuse_unread_flags(__name__)
    shared = image_tasks.shared_settings("deblur", "super_resolve")
    common.refuse_gp_flags(shared["methods"])
    return DeblurConfig(
        **shared, options=common.gp_options(DEFAULT_NOISE_STD), blur=_blur_from_flags()
    )


def _blur_from_flags() -> Blur:
    idle = (BLUR_LENGTH, BLUR_ANGLE) if BLUR.value == "gaussian" else (BLUR_STD,)
    for flag in idle:
        expected = f"no such flag with --blur={BLUR.value}, which does not read it"
        require(flag.value is None, flag.name, flag.value, expected)
    std, length, angle = (
        DEFAULTS[flag.name] if flag.value is None else flag.value
        for flag in (BLUR_STD, BLUR_LENGTH, BLUR_ANGLE)
    )
    require(0 < std < math.inf, "blur_std", std, "a positive number of pixels")
    accepted = 0 < length < math.inf
    require(accepted, "blur_length", length, "a positive number of pixels")
    require(math.isfinite(angle), "blur_angle", angle, "a number of degrees")
    boundary: Boundary = "valid" if BOUNDARY.value == "valid" else "circular"
    if BLUR.value == "gaussian":
        return gaussian_blur(std, boundary)
    return motion_blur(length, angle, boundary)


def run(config: DeblurConfig) -> list[image_tasks.Record]:
    """Restores the images and writes the results.

    Args:
      config: what to restore, and how.

    Returns:
      What metrics.json holds, for each image and method.

    Raises:
      UserError: on bad input, before anything is written.
    """
    prepare = functools.partial(_prepare, config)
    assess = functools.partial(_assess, config)
    return image_tasks.restore_images(config, "deblur", prepare, assess)


def _prepare(config: DeblurConfig, image: np.ndarray) -> image_tasks.Problem:
    blur, added = config.blur, 0.0
    if config.noisy:
        (top, bottom), (left, right) = blur.margins
        height, width, channels = image.shape
        shape = (height + top + bottom, width + left + right, channels)
        seen, truth = image, None
    else:
        blurred = np.asarray(blur(jnp.asarray(image)))
        wide, least = max(np.shape(blur.kernel)), min(image.shape[:2])
        if wide > least:
            raise common.UserError(
                f"--{BLUR_STD.name}, --{BLUR_LENGTH.name}: expected a blur no wider "
                f"than the picture's {least} pixels, got one of {wide}"
            )
        added = config.noise_to_add(DEFAULT_NOISE_STD)
        seen = noise.add(jax.random.key(config.seed), blurred, added)
        shape, truth = image.shape, image
    return image_tasks.Problem(
        image_tasks.observe_image(config, seen),
        truth,
        shape=shape,
        forward=blur,
        shown=np.pad(seen, [*blur.margins, (0, 0)]),
        added_noise_std=added,
    )


def _assess(
    config: DeblurConfig, problem: image_tasks.Problem, mean: np.ndarray
) -> tuple[np.ndarray, dict[str, float | None]]:
    truth, seen = problem.truth, np.asarray(problem.observation.values)
    if truth is None:
        names = ("psnr", "psnr_input", "psnr_wiener", "psnr_unclipped", "psnr_whole")
        return mean, dict.fromkeys((*names, "ssim"))
    (top, _), (left, _) = config.blur.margins
    inner = slice(top, top + seen.shape[0]), slice(left, left + seen.shape[1])
    shown = np.clip(mean, 0, 1)
    wiener = _wiener(seen, np.asarray(config.blur.kernel), config.seed)
    return mean, {
        "psnr": psnr(shown[inner], truth[inner]),
        "psnr_input": psnr(seen, truth[inner]),
        "psnr_wiener": psnr(np.clip(wiener, 0, 1), truth[inner]),
        "psnr_unclipped": psnr(mean[inner], truth[inner]),
        "psnr_whole": psnr(shown, truth),
        "ssim": image_tasks.ssim_or_none(shown, truth),
    }


def _wiener(seen: np.ndarray, kernel: np.ndarray, seed: int) -> np.ndarray:
    """Each channel by itself; strengths of noise and image by Gibbs sampling."""
    channels = [
        unsupervised_wiener(channel, kernel, clip=False, rng=seed)[0]
        for channel in np.moveaxis(seen.astype(np.float64), -1, 0)
    ]
    return np.stack(channels, axis=-1)


def main() -> int:
    """Runs under the flags."""
    return image_tasks.exit_status(run(config_from_flags()))


if __name__ == "__main__":
    common.main(processes.together(main))
