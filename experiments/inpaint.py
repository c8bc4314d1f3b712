"""Inpainting: restores an image of which only some pixels are observed.

Half of the pixels of the bundled photograph go missing, each by its own coin:

  python -m experiments.inpaint

Other pictures, and other losses; a pattern restores a data set and tabulates it:

  python -m experiments.inpaint --image=house.png --drop_fraction=0.9 --seed=1
  python -m experiments.inpaint --image='photos/*.png' --output_dir=runs/photos

Words written over the picture, or a rectangle cut out of it, go missing instead:

  python -m experiments.inpaint --hole=text
  python -m experiments.inpaint --hole=region --drop_fraction=0.2

A mask file says what is observed (white) and what is missing (black), with the missing
pixels' truth still in the image for scoring, or, with --noisy, gone for good:

  python -m experiments.inpaint --image=kate.png --mask=text.png
  python -m experiments.inpaint --image=scratched.png --mask=scratches.png --noisy

The noise is estimated, unless --noise_std tells it; --added_noise_std adds some first.

A Gaussian process that has directions where it finds them, instead of a stationary one;
it is told the noise, 1 grey level by default:

  python -m experiments.inpaint --prior=oriented

Networks beside the Gaussian process, in one table and figure; --preset=smoke is for a
first look (a minute), and --resume goes on with what was interrupted:

  python -m experiments.inpaint --method=gp,sgd,sgd_input_avg,psgld

Descents are read at --stop_at; rules that need no truth can say where instead, and
metrics.json has what each of them would have chosen:

  python -m experiments.inpaint --method=sgd --stop_by=windowed_variance

Results in --output_dir, one folder an image where there are several, and the method's
name in the files where there are several:

  observed.png   what was observed, as pictured; truth.png, where it is known
  restored.png   observed pixels kept, missing ones restored; clipped to [0, 1]
  figure.png     what was observed, the restoration, the truth, the error
  metrics.json   scores, solver, configuration, versions
  trace.csv      of a network: loss, fit and PSNR by iteration
  uncertainty.*  of a sampler: the posterior's standard deviation, as picture and array

Scores, of intensities clipped to [0, 1] and not rounded: psnr keeps the observed
pixels, psnr_raw takes the method's values everywhere, psnr_missing counts the missing
pixels only, ssim is that of psnr's picture, psnr_unclipped is psnr before clipping.
psnr_biharmonic and psnr_tv are psnr of two fillings-in that know nothing of networks,
the smoothest surface and the image of least total variation: the ones to beat.
Exit status: 0 done, 1 a method did not converge, 2 bad input, 130 interrupted.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import jax
import numpy as np
from absl import flags

from dipgp.images import drop_pixels, load_mask
from dipgp.summaries import paste_observed, psnr
from experiments import (
    common,
    holes,
    image_tasks,
    interpolations,
    methods,
    network_options,
    noise,
    processes,
)
from experiments.automatic import AUTO
from experiments.common import UserError, require
from experiments.gp_method import GPOptions

flags.adopt_module_key_flags(common)
flags.adopt_module_key_flags(network_options)
flags.adopt_module_key_flags(processes)

# What can go missing, and which part of the picture by default.
DROP_FRACTIONS = {"pixels": 0.5, "text": 0.05, "region": 0.1}

MASK = flags.DEFINE_string("mask", None, "Picture file, white where observed.")
HOLE = flags.DEFINE_enum(
    "hole",
    "pixels",
    list(DROP_FRACTIONS),
    "What goes missing where there is no --mask: each pixel by its own coin; text, "
    "lines of words; or one region, a rectangle. The seed says where.",
)
DROP_FRACTION = flags.DEFINE_float(
    "drop_fraction",
    None,
    "How much of the picture that is, where there is no --mask; by default "
    + ", ".join(f"{part} of {hole}" for hole, part in DROP_FRACTIONS.items())
    + ".",
)
BASELINES = flags.DEFINE_list(
    "baselines",
    list(interpolations.BASELINES),
    "What is scored beside the methods: biharmonic (the smoothest surface) and tv "
    "(least total variation); seconds each. Nothing after = for none.",
)
PRIOR = flags.DEFINE_enum(
    "prior",
    "stationary",
    list(methods.PRIORS),
    "Of the Gaussian process: stationary, one covariance for the whole picture, or "
    "oriented, several that are stretched along directions, each where small windows "
    "find it probable. The latter reads --depth (16) and --sigma (2.8), and is told "
    "the noise: 1 grey level where neither noise flag is given.",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class InpaintConfig(image_tasks.TaskConfig):
    """What an inpainting run is told; exactly one of mask and drop_fraction.

    Attributes:
      mask: path of a picture of every image's size, white where observed.
      hole: key of `DROP_FRACTIONS`, what goes missing where there is no mask.
      drop_fraction: part, inside (0, 1), of the picture that goes missing.
      baselines: keys of `interpolations.BASELINES`, scored where a truth is known.
    """

    mask: str | None = None
    hole: str = "pixels"
    drop_fraction: float | None = None
    baselines: tuple[str, ...] = tuple(interpolations.BASELINES)

    def __post_init__(self) -> None:
        """Checks what can be checked without opening a file."""
        super().__post_init__()
        fraction, hole = self.drop_fraction, self.hole
        accepted = hole in DROP_FRACTIONS
        require(accepted, "hole", hole, f"one of {', '.join(DROP_FRACTIONS)}")
        accepted = self.mask is None or hole == "pixels"
        require(accepted, "hole", hole, "nothing beside --mask")
        accepted = self.mask is None or fraction is None
        require(accepted, "drop_fraction", fraction, "nothing beside --mask")
        accepted = not self.noisy or self.mask is not None
        require(accepted, "noisy", self.noisy, "--mask to tell what is damaged")
        accepted = self.mask is not None or fraction is not None
        require(accepted, "drop_fraction", fraction, "a number where --mask is absent")
        accepted = fraction is None or 0 < fraction < 1
        require(accepted, "drop_fraction", fraction, "a number between 0 and 1")
        names, known = self.baselines, interpolations.BASELINES
        accepted = set(names) <= set(known) and len(set(names)) == len(names)
        expected = f"a list, each once, among: {', '.join(known)}"
        require(accepted, "baselines", ",".join(names), expected)


def config_from_flags() -> InpaintConfig:
    """Reads the flags."""
    shared = image_tasks.shared_settings("inpaint")
    common.refuse_gp_flags(shared["methods"])
    fraction = DROP_FRACTION.value
    if fraction is None and MASK.value is None and not common.NOISY.value:
        fraction = DROP_FRACTIONS[HOLE.value]
    return InpaintConfig(
        **shared,
        options=_gp_options(shared["methods"]),
        mask=MASK.value,
        hole=HOLE.value,
        drop_fraction=fraction,
        baselines=tuple(BASELINES.value),
    )


def _gp_options(chosen: Sequence[str]) -> GPOptions:
    """Those of the flags, checked against --prior."""
    prior = PRIOR.value
    expected = "no such flag without --method=gp, which alone reads it"
    require("gp" in chosen or not PRIOR.present, "prior", prior, expected)
    if prior == "stationary":
        return common.gp_options()
    kernel, noise_std = common.KERNEL, common.NOISE_STD
    expected = f"dip, the only one with --prior={prior}"
    require(kernel.value == "dip", "kernel", kernel.value, expected)
    accepted = noise_std.value != AUTO
    expected = f"a number with --prior={prior}, which does not estimate it"
    require(accepted, "noise_std", noise_std.value, expected)
    expected = f"no such flag with --prior={prior}, which finds it window by window"
    amplitude = common.AMPLITUDE.value
    require(amplitude is None, "amplitude", amplitude, expected)
    return dataclasses.replace(common.gp_options(), prior=prior)


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
    # All methods share them; the loop takes one image at a time.
    baselines = functools.lru_cache(maxsize=1)(functools.partial(_baselines, config))
    assess = functools.partial(_assess, baselines)
    return image_tasks.restore_images(config, "inpaint", prepare, assess)


def _prepare(config: InpaintConfig, image: np.ndarray) -> image_tasks.Problem:
    key = jax.random.key(config.seed)
    mask = _mask(config, key, image.shape[:2])
    key_noise = jax.random.fold_in(key, 1)
    added = config.added_noise_std or 0.0
    seen = noise.add(key_noise, image, added)
    return image_tasks.Problem(
        image_tasks.observe_image(config, seen, mask),
        None if config.noisy else image,
        added_noise_std=added,
    )


def _mask(config: InpaintConfig, key: jax.Array, grid: tuple[int, int]) -> np.ndarray:
    if config.mask is None:
        assert config.drop_fraction is not None
        draw = {"pixels": drop_pixels, "text": holes.text, "region": holes.region}
        return draw[config.hole](key, grid, config.drop_fraction)
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


def _baselines(
    config: InpaintConfig, problem: image_tasks.Problem
) -> dict[str, float | None]:
    """Scores of the baselines, observed pixels kept; None of one without a result."""
    observation, truth = problem.observation, problem.truth
    mask = np.asarray(observation.mask) != 0
    scores: dict[str, float | None] = {}
    for name in config.baselines:
        score = f"psnr_{name}"
        if truth is None or mask.all():
            scores[score] = None
            continue
        fill = interpolations.BASELINES[name]
        picture = np.clip(fill(np.asarray(observation.values), mask), 0, 1)
        scores[score] = psnr(picture, truth) if np.isfinite(picture).all() else None
    return scores


def _assess(
    baselines: Callable[[image_tasks.Problem], dict[str, float | None]],
    problem: image_tasks.Problem,
    mean: np.ndarray,
) -> tuple[np.ndarray, dict[str, float | None]]:
    mask = np.asarray(problem.observation.mask) != 0
    picture = paste_observed(mean, np.asarray(problem.observation.values), mask)
    truth = problem.truth
    if truth is None:
        names = ("psnr", "psnr_raw", "psnr_missing", "psnr_unclipped", "ssim")
        return picture, dict.fromkeys(names) | baselines(problem)
    shown, raw = np.clip(picture, 0, 1), np.clip(mean, 0, 1)
    return picture, {
        "psnr": psnr(shown, truth),
        "psnr_raw": psnr(raw, truth),
        "psnr_missing": None if mask.all() else psnr(raw, truth, ~mask),
        **baselines(problem),
        "psnr_unclipped": psnr(picture, truth),
        "ssim": image_tasks.ssim_or_none(shown, truth),
    }


def main() -> int:
    """Runs under the flags."""
    return image_tasks.exit_status(run(config_from_flags()))


if __name__ == "__main__":
    common.main(processes.together(main))
