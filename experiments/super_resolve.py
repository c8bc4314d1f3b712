"""Super-resolution: enlarges an image by the picture that a coarser camera saw.

The bundled photograph is down-sampled by 4 with a Lanczos-2 filter, enlarged again by
preconditioned Langevin dynamics on a network's weights, and scored:

  python -m experiments.super_resolve

Other pictures, factors and methods, in one table and figure; a pattern restores a data
set, --preset=smoke takes seconds, and --resume goes on with what was interrupted:

  python -m experiments.super_resolve --image=zebra.png --factor=8 --method=sgd_input
  python -m experiments.super_resolve --image='photos/*.png' --method=gp,sgd_input

A picture that is small already, with no truth to score against, is enlarged:

  python -m experiments.super_resolve --image=thumbnail.png --noisy --factor=4

--filter says how the small picture was made: lanczos, box (the mean of each block) or
bilinear. Of a picture that is small already it is a guess.

Nothing is added to what is observed, and it is neither clipped nor rounded, unless
--added_noise_std asks for noise. A posterior needs a noise all the same: --noise_std
says which, by default 1 grey level, about what a file's rounding and a camera leave, or
has it estimated (auto). sgd methods do not read it. The Gaussian process
(gp) chooses its hyperparameters by the evidence of the small picture, of which it
reckons what the filter makes of each covariance.

--preset=paper reads descents at iteration 2,000 with input noise 0.03 (sgd_input), and
for factors above 4 at 4,000 with 0.05.

Results in --output_dir, one folder an image where there are several, and the method's
name in the files where there are several:

  observed.png   what was observed, as pictured; truth.png, where it is known
  restored.png   the restoration at full size, clipped to [0, 1]
  figure.png     what was observed, each pixel as a block; restorations, the truth
  metrics.json   scores, solver, configuration, versions
  trace.csv      by iteration: loss, fit to the small picture, PSNR as in psnr_rgb but
                 before clipping
  uncertainty.*  of a sampler: the posterior's standard deviation, as picture and array

Scores: psnr is that of super-resolution papers, of the luma Y (ITU-R BT.601, from 16
to 235 of 255 as in MATLAB's rgb2ycbcr) of the restoration clipped to [0, 1], less a
border of 4 pixels; psnr_bicubic the same of bicubic interpolation, the one to beat;
psnr_unclipped the same before clipping; psnr_rgb is of all channels and pixels, as is
ssim. A grey picture counts as a colour one with three equal channels. Exit status: 0
done, 1 a method did not converge, 2 bad input, 130 interrupted.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from skimage.color import rgb2ycbcr

from dipgp.observations import Bilinear, Box, Decimation, Filter, Lanczos
from dipgp.summaries import psnr
from experiments import common, image_tasks, network_options, noise, processes
from experiments.common import UserError, require
from experiments.gp_method import GPOptions

flags.adopt_module_key_flags(common)
flags.adopt_module_key_flags(network_options)
flags.adopt_module_key_flags(processes)

FACTOR = flags.DEFINE_integer(
    "factor",
    4,
    "How many times higher and wider the restoration is; 4 and 8 are usual.",
)

FILTER = flags.DEFINE_enum(
    "filter",
    "lanczos",
    ["lanczos", "box", "bilinear"],
    "What the picture goes through before it is sampled: lanczos (2 lobes) keeps most "
    "detail, box is the mean of each block, as in a camera of larger pixels, bilinear "
    "a triangle twice as wide. With --noisy: the filter that made the small picture. "
    "One softer than the true one sharpens too much, one sharper too little.",
)

DEFAULT_METHODS = ("psgld",)
ASSUMED_NOISE_STD = 1.0  # grey levels of 255
BORDER = 4  # pixels at each side that do not count
FILTERS: dict[str, Filter] = {
    "lanczos": Lanczos(),
    "box": Box(),
    "bilinear": Bilinear(),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class SuperResolveConfig(image_tasks.TaskConfig):
    """What a super-resolution run is told.

    Attributes:
      factor: how many times higher and wider the restoration is.
      filter: key of `FILTERS`, what the picture goes through before it is sampled.
      options: the Gaussian process's; its noise_std is what all posteriors assume.
    """

    methods: tuple[str, ...] = DEFAULT_METHODS
    options: GPOptions = dataclasses.field(
        default_factory=lambda: GPOptions(
            noise_std=ASSUMED_NOISE_STD / common.GREY_LEVELS
        )
    )
    factor: int = 4
    filter: str = "lanczos"

    def __post_init__(self) -> None:
        """Checks what can be checked without opening a file."""
        super().__post_init__()
        expected = "a whole number of at least 2"
        require(self.factor >= 2, "factor", self.factor, expected)
        known = f"one of {', '.join(FILTERS)}"
        require(self.filter in FILTERS, "filter", self.filter, known)


def config_from_flags() -> SuperResolveConfig:
    """Reads the flags."""
    common.refuse_unread_flags(__name__)
    factor = FACTOR.value
    protocol = "super_resolve" if factor <= 4 else "super_resolve_x8"
    shared = image_tasks.shared_settings("super_resolve", protocol, DEFAULT_METHODS)
    common.refuse_gp_flags(shared["methods"])
    return SuperResolveConfig(
        **shared,
        options=common.gp_options(ASSUMED_NOISE_STD),
        factor=factor,
        filter=FILTER.value,
    )


def run(config: SuperResolveConfig) -> list[image_tasks.Record]:
    """Restores the images and writes the results.

    Args:
      config: what to restore, and how.

    Returns:
      What metrics.json holds, for each image and method.

    Raises:
      UserError: on bad input, before anything is written.
    """
    prepare = functools.partial(_prepare, config)
    assess = functools.partial(_assess, config.factor)
    return image_tasks.restore_images(config, "super_resolve", prepare, assess)


def _prepare(config: SuperResolveConfig, image: np.ndarray) -> image_tasks.Problem:
    forward = Decimation(config.factor, FILTERS[config.filter])
    height, width, channels = image.shape
    added = 0.0
    if config.noisy:
        small, truth = image, None
        shape = (config.factor * height, config.factor * width, channels)
    else:
        _check_size(config.factor, height, width)
        small = np.asarray(forward(jnp.asarray(image)))
        added = config.added_noise_std or 0.0
        small = noise.add(jax.random.key(config.seed), small, added)
        truth, shape = image, image.shape
    return image_tasks.Problem(
        image_tasks.observe_image(config, small),
        truth,
        shape=shape,
        forward=forward,
        shown=_blocks(small, config.factor, shape),
        added_noise_std=added,
    )


def _check_size(factor: int, height: int, width: int) -> None:
    """Raises UserError on a picture of which too little would be left."""
    size = f"{width}x{height}"  # width first, as image viewers say it
    expected = f"at most the sides of the picture, which has {size} pixels"
    require(factor <= min(height, width), "factor", factor, expected)
    if min(height, width) <= 2 * BORDER:
        raise UserError(
            f"expected a picture higher and wider than {2 * BORDER} pixels, since "
            f"{BORDER} at each side are not scored, got {size}; --noisy enlarges "
            "without scores"
        )


def _assess(
    factor: int, problem: image_tasks.Problem, mean: np.ndarray
) -> tuple[np.ndarray, dict[str, float | None]]:
    truth = problem.truth
    if truth is None:
        names = ("psnr", "psnr_bicubic", "psnr_rgb", "psnr_unclipped", "ssim")
        return mean, dict.fromkeys(names)
    shown = np.clip(mean, 0, 1)
    bicubic = _bicubic(np.asarray(problem.observation.values), factor, truth.shape)
    return mean, {
        "psnr": _psnr_of_luma(shown, truth),
        "psnr_bicubic": _psnr_of_luma(np.clip(bicubic, 0, 1), truth),
        "psnr_rgb": psnr(shown, truth),
        "psnr_unclipped": _psnr_of_luma(mean, truth),
        "ssim": image_tasks.ssim_or_none(shown, truth),
    }


def _psnr_of_luma(image: np.ndarray, truth: np.ndarray) -> float:
    """PSNR of Y, for a peak of 255 levels, less the border."""
    inner = slice(BORDER, -BORDER)
    return psnr(_luma(image)[inner, inner], _luma(truth)[inner, inner])


def _luma(image: np.ndarray) -> np.ndarray:
    """(H, W) Y of ITU-R BT.601 over 255: from 16 / 255 for black to 235 / 255."""
    colour = np.broadcast_to(image, (*image.shape[:2], 3)).astype(np.float64)
    return rgb2ycbcr(colour)[:, :, 0] / common.GREY_LEVELS


def _bicubic(small: np.ndarray, factor: int, shape: tuple[int, ...]) -> np.ndarray:
    """Keys' interpolation (a = -1/2), samples in the middle of their blocks."""
    height, width, channels = small.shape
    whole = (factor * height, factor * width, channels)
    enlarged = jax.image.resize(small, whole, "cubic", antialias=False)
    return np.asarray(enlarged)[: shape[0], : shape[1]]


def _blocks(small: np.ndarray, factor: int, shape: tuple[int, ...]) -> np.ndarray:
    """The small picture at full size, each pixel a block of equal ones."""
    rows = np.repeat(small, factor, axis=0)[: shape[0]]
    return np.repeat(rows, factor, axis=1)[:, : shape[1]]


def main() -> int:
    """Runs under the flags."""
    return image_tasks.exit_status(run(config_from_flags()))


if __name__ == "__main__":
    common.main(processes.together(main))
