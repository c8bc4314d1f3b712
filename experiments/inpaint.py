"""Inpainting: restores an image of which only some pixels are observed.

Half of the pixels of the bundled photograph go missing, each by its own coin:

  python -m experiments.inpaint

Other pictures, and other losses; a pattern restores a data set and tabulates it:

  python -m experiments.inpaint --image=house.png --drop_fraction=0.9 --seed=1
  python -m experiments.inpaint --image='photos/*.png' --output_dir=runs/photos

A mask file says what is observed (white) and what is missing (black), with the missing
pixels' truth still in the image for scoring, or, with --noisy, gone for good:

  python -m experiments.inpaint --image=kate.png --mask=text.png
  python -m experiments.inpaint --image=scratched.png --mask=scratches.png --noisy

Networks beside the Gaussian process, in one table and figure; --preset=smoke is for a
first look (a minute), and --resume goes on with what was interrupted:

  python -m experiments.inpaint --method=gp,sgd,sgd_input_avg,psgld

Descents are read at --stop_at; rules that need no truth can say where instead, and
metrics.json has what each of them would have chosen:

  python -m experiments.inpaint --method=sgd --stop_by=windowed_variance

Results in --output_dir, one folder an image where there are several, and the method's
name in the files where there are several:

  restored.png   observed pixels kept, missing ones restored; clipped to [0, 1]
  figure.png     what was observed, the restoration, the truth, the error
  metrics.json   scores, solver, configuration, versions
  trace.csv      of a network: loss, fit and PSNR by iteration
  uncertainty.*  of a sampler: the posterior's standard deviation, as picture and array

Scores, of intensities clipped to [0, 1] and not rounded: psnr keeps the observed
pixels, psnr_raw takes the method's values everywhere, psnr_missing counts the missing
pixels only, ssim is that of psnr's picture, psnr_unclipped is psnr before clipping.
Exit status: 0 done, 1 a method did not converge, 2 bad input, 130 interrupted.
"""

import dataclasses
import functools

import jax
import numpy as np
from absl import flags

from dipgp.images import drop_pixels, load_mask
from dipgp.summaries import paste_observed, psnr
from experiments import common, image_tasks, network_options
from experiments.common import UserError, require

flags.adopt_module_key_flags(common)
flags.adopt_module_key_flags(network_options)

MASK = flags.DEFINE_string("mask", None, "Picture file, white where observed.")
DROP_FRACTION = flags.DEFINE_float(
    "drop_fraction",
    None,
    "Probability that a pixel goes missing; 0.5 where there is no --mask.",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class InpaintConfig(image_tasks.TaskConfig):
    """What an inpainting run is told; exactly one of mask and drop_fraction.

    Attributes:
      mask: path of a picture of every image's size, white where observed.
      drop_fraction: probability, inside (0, 1), that a pixel goes missing.
    """

    mask: str | None = None
    drop_fraction: float | None = None

    def __post_init__(self) -> None:
        """Checks what can be checked without opening a file."""
        super().__post_init__()
        fraction = self.drop_fraction
        accepted = self.mask is None or fraction is None
        require(accepted, "drop_fraction", fraction, "nothing beside --mask")
        accepted = not self.noisy or self.mask is not None
        require(accepted, "noisy", self.noisy, "--mask to tell what is damaged")
        accepted = self.mask is not None or fraction is not None
        require(accepted, "drop_fraction", fraction, "a number where --mask is absent")
        accepted = fraction is None or 0 < fraction < 1
        require(accepted, "drop_fraction", fraction, "a number between 0 and 1")


def config_from_flags() -> InpaintConfig:
    """Reads the flags."""
    fraction = DROP_FRACTION.value
    if fraction is None and MASK.value is None and not common.NOISY.value:
        fraction = 0.5
    return InpaintConfig(
        **image_tasks.shared_settings("inpaint"),
        options=common.gp_options(),
        mask=MASK.value,
        drop_fraction=fraction,
    )


def run(config: InpaintConfig) -> list[image_tasks.Record]:
    """Restores the images and writes the results.

    Args:
      config: what to restore, and how.

    Returns:
      What metrics.json holds, for each image and method.

    Raises:
      UserError: on bad input, before anything is written.
    """
    prepare = functools.partial(_prepare, config)
    return image_tasks.restore_images(config, "inpaint", prepare, _assess)


def _prepare(config: InpaintConfig, image: np.ndarray) -> image_tasks.Problem:
    mask = _mask(config, image.shape[:2])
    observation = image_tasks.observe_image(config, image, mask)
    return image_tasks.Problem(observation, None if config.noisy else image)


def _mask(config: InpaintConfig, grid: tuple[int, int]) -> np.ndarray:
    if config.mask is None:
        assert config.drop_fraction is not None
        return drop_pixels(jax.random.key(config.seed), grid, config.drop_fraction)
    try:
        mask = load_mask(config.mask)
    except ValueError as error:
        raise UserError(f"--mask={error}") from error
    expected = f"the image's {_size(grid)} pixels, got {_size(mask.shape)}"
    require(mask.shape == grid, "mask", config.mask, expected)
    require(bool(mask.any()), "mask", config.mask, "some white, got nothing observed")
    return mask


def _size(grid: tuple[int, ...]) -> str:
    return f"{grid[1]}x{grid[0]}"  # width first, as image viewers say it


def _assess(
    problem: image_tasks.Problem, mean: np.ndarray
) -> tuple[np.ndarray, dict[str, float | None]]:
    mask = np.asarray(problem.observation.mask) != 0
    picture = paste_observed(mean, np.asarray(problem.observation.values), mask)
    truth = problem.truth
    if truth is None:
        names = ("psnr", "psnr_raw", "psnr_missing", "psnr_unclipped", "ssim")
        return picture, dict.fromkeys(names)
    shown, raw = np.clip(picture, 0, 1), np.clip(mean, 0, 1)
    return picture, {
        "psnr": psnr(shown, truth),
        "psnr_raw": psnr(raw, truth),
        "psnr_missing": None if mask.all() else psnr(raw, truth, ~mask),
        "psnr_unclipped": psnr(picture, truth),
        "ssim": image_tasks.ssim_or_none(shown, truth),
    }


if __name__ == "__main__":
    common.main(lambda: image_tasks.exit_status(run(config_from_flags())))
