"""Denoising: restores an image that is seen in full, in Gaussian noise.

Noise of 25 grey levels is added to the bundled photograph, clipped to [0, 1] as a file
would, and removed again:

  python -m experiments.denoise

Other pictures, and other noise; a pattern restores a data set and tabulates it:

  python -m experiments.denoise --image=house.png --noise_std=50 --seed=1
  python -m experiments.denoise --image='photos/*.png' --output_dir=runs/photos

Methods are told the noise, unless --noise_std=auto has them estimate what is added;
metrics.json sets the two side by side:

  python -m experiments.denoise --added_noise_std=25 --noise_std=auto

A picture that is noisy already, with no truth to score against; --noise_std says how
noisy, and is estimated (auto) where absent:

  python -m experiments.denoise --image=dusk.jpg --noisy --noise_std=12

Networks beside the Gaussian process, in one table and figure; --preset=smoke is for a
first look (a minute), and --resume goes on with what was interrupted:

  python -m experiments.denoise --method=gp,sgd,sgd_input_avg,psgld

Descents are read at --stop_at; rules that need no truth can say where instead, and
metrics.json has what each of them would have chosen:

  python -m experiments.denoise --method=sgd --stop_by=windowed_variance

Results in --output_dir, one folder an image where there are several, and the method's
name in the files where there are several:

  observed.png   what was observed, as pictured; truth.png, where it is known
  restored.png   the restoration, clipped to [0, 1]
  figure.png     what was observed, the restoration, the truth, the error
  metrics.json   scores, solver, configuration, versions
  trace.csv      of a network: loss, fit and PSNR by iteration
  uncertainty.*  of a sampler: the posterior's standard deviation, as picture and array

Scores: psnr and ssim of the restoration clipped to [0, 1] and not rounded,
psnr_unclipped before clipping, psnr_input of the noisy image. Exit status: 0 done, 1 a
method did not converge, 2 bad input, 130 interrupted.
"""

import dataclasses
import functools

import jax
import numpy as np
from absl import flags

from dipgp.summaries import psnr
from experiments import common, image_tasks, network_options, noise, processes
from experiments.gp_method import GPOptions

flags.adopt_module_key_flags(common)
flags.adopt_module_key_flags(network_options)
flags.adopt_module_key_flags(processes)

DEFAULT_NOISE_STD = 25.0  # grey levels of 255


@dataclasses.dataclass(frozen=True, kw_only=True)
class DenoiseConfig(image_tasks.TaskConfig):
    """What a denoising run is told.

    Attributes:
      options: the Gaussian process's. Unless the run says what to add, its noise_std is
        also that, and `DEFAULT_NOISE_STD` where it is to be estimated.
    """

    options: GPOptions = dataclasses.field(
        default_factory=lambda: GPOptions(
            noise_std=DEFAULT_NOISE_STD / common.GREY_LEVELS
        )
    )


def config_from_flags() -> DenoiseConfig:
    """Reads the flags."""
    shared = image_tasks.shared_settings("denoise")
    common.refuse_gp_flags(shared["methods"])
    default = None if common.NOISY.value else DEFAULT_NOISE_STD
    return DenoiseConfig(**shared, options=common.gp_options(default))


def run(config: DenoiseConfig) -> list[image_tasks.Record]:
    """Restores the images and writes the results.

    Args:
      config: what to restore, and how.

    Returns:
      What metrics.json holds, for each image and method.

    Raises:
      UserError: on bad input, before anything is written.
    """
    prepare = functools.partial(_prepare, config)
    return image_tasks.restore_images(config, "denoise", prepare, _assess)


def _prepare(config: DenoiseConfig, image: np.ndarray) -> image_tasks.Problem:
    if config.noisy:
        return image_tasks.Problem(image_tasks.observe_image(config, image), None)
    added = config.noise_to_add(DEFAULT_NOISE_STD)
    noisy = noise.add(jax.random.key(config.seed), image, added)
    observation = image_tasks.observe_image(config, noisy)
    return image_tasks.Problem(observation, image, added_noise_std=added)


def _assess(
    problem: image_tasks.Problem, mean: np.ndarray
) -> tuple[np.ndarray, dict[str, float | None]]:
    truth = problem.truth
    if truth is None:
        names = ("psnr", "psnr_input", "psnr_unclipped", "ssim")
        return mean, dict.fromkeys(names)
    shown = np.clip(mean, 0, 1)
    return mean, {
        "psnr": psnr(shown, truth),
        "psnr_input": psnr(np.asarray(problem.observation.values), truth),
        "psnr_unclipped": psnr(mean, truth),
        "ssim": image_tasks.ssim_or_none(shown, truth),
    }


def main() -> int:
    """Runs under the flags."""
    return image_tasks.exit_status(run(config_from_flags()))


if __name__ == "__main__":
    common.main(processes.together(main))
