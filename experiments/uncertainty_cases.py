"""What methods are shown of a picture, and what is kept from them to judge them by."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from dipgp import gp, kernels
from dipgp.images import add_noise, drop_pixels
from dipgp.inference.stopping import hold_out
from dipgp.observations import Observation
from dipgp.summaries import calibration
from dipgp.summaries.calibration import Residuals
from experiments import image_tasks
from experiments.common import require
from experiments.restoration import Restoration
from experiments.uncertainty_options import UncertaintyConfig

# Along the shorter side of an image; the spread over blocks tells errors.
_BLOCKS = 8
_FEWEST_WITHHELD = 20
# Keys are folded from the seed's by their use.
_NOISE, _WITHHOLD, _HALVES, _PRIOR = range(200, 204)
# Of the pictures drawn from the prior, on which nothing depends.
_PRIOR_LEVEL = 0.5


@dataclasses.dataclass(frozen=True)
class Case:
    """A picture and its pixels' parts.

    Attributes:
      observation: what a method may see.
      values: (H, W, C) what was observed, withheld pixels included.
      truth: (H, W, C) intensities, or None where they are unknown.
      recalibrating: (H, W) the withheld pixels that laws are estimated by, or None.
      scored: (H, W) the withheld pixels that are scored.
    """

    observation: Observation
    values: np.ndarray
    truth: np.ndarray | None
    recalibrating: np.ndarray | None
    scored: np.ndarray

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C)."""
        height, width, channels = self.values.shape
        return height, width, channels

    def residuals(
        self, restoration: Restoration
    ) -> tuple[Residuals, Residuals | None] | None:
        """Those of the scored and of the recalibrating pixels.

        The values have noise, so that the variance predicted for them is the
        posterior's and that of the noise which the method was told or found.

        Returns:
          Both, or None where the method has no finite mean or standard deviation.
        """
        mean, std = restoration.mean, restoration.std
        if std is None or not np.isfinite([mean, std]).all():
            return None
        noise_std = restoration.hyperparameters["noise_std"]
        assert isinstance(noise_std, float)
        predicted = np.hypot(np.asarray(std, np.float64), noise_std)
        block_size = -(-min(self.shape[:2]) // _BLOCKS)
        scored, recalibrating = (
            None
            if mask is None
            else calibration.residuals(self.values, mean, predicted, mask, block_size)
            for mask in (self.scored, self.recalibrating)
        )
        assert scored is not None
        return scored, recalibrating


def make_case(
    config: UncertaintyConfig, picture: np.ndarray, draw: int | None = None
) -> Case:
    """Draws noise, drops pixels, and withholds some of those that are left.

    Args:
      config: the run's.
      picture: (H, W, C) intensities.
      draw: number of a draw from the prior, which has noise of its own. The pixels
        dropped and withheld are the same for all, so that they share compiled programs.

    Raises:
      UserError: where too few pixels would be withheld.
    """
    key = jax.random.key(config.seed)
    truth, values, noise_std = None, picture, config.options.noise_std
    if not config.noisy:
        assert noise_std is not None
        key_noise = jax.random.fold_in(key, _NOISE)
        if draw is not None:
            key_noise = jax.random.fold_in(key_noise, draw)
        # Not clipped: what is to be judged is the model of the image, not of the noise.
        truth = picture
        values = add_noise(key_noise, picture, noise_std, clip=False)
    grid = picture.shape[:2]
    mask = np.ones(grid, bool)
    if config.drop_fraction:
        mask = drop_pixels(key, (grid[0], grid[1]), config.drop_fraction)
    expected = f"a share of {mask.sum()} pixels that withholds {_FEWEST_WITHHELD}"
    fraction = config.withheld_fraction
    accepted = fraction * mask.sum() >= _FEWEST_WITHHELD
    require(accepted, "withheld_fraction", fraction, expected)
    key_withhold = jax.random.fold_in(key, _WITHHOLD)
    seen, withheld = hold_out(key_withhold, jnp.asarray(mask), fraction)
    recalibrating, scored = None, withheld
    if not config.prior_samples:
        key_halves = jax.random.fold_in(key, _HALVES)
        recalibrating, scored = hold_out(key_halves, withheld, 0.5)
    return Case(
        image_tasks.observe_image(config, values, np.asarray(seen)),
        values,
        truth,
        None if recalibrating is None else np.asarray(recalibrating),
        np.asarray(scored),
    )


def crop(config: UncertaintyConfig, picture: np.ndarray) -> np.ndarray:
    """The central square that was asked for, of (H, W, C).

    Raises:
      UserError: where the picture is smaller.
    """
    size = config.crop
    if size is None:
        return picture
    expected = f"at most the {min(picture.shape[:2])} pixels of the shorter side"
    require(size <= min(picture.shape[:2]), "crop", size, expected)
    top, left = ((length - size) // 2 for length in picture.shape[:2])
    return picture[top : top + size, left : left + size]


def draw_pictures(config: UncertaintyConfig) -> np.ndarray:
    """(prior_samples, H, W, 1) draws from the prior that the options describe."""
    options = config.options
    depth, sigma, amplitude = options.depth, options.sigma, options.amplitude
    assert depth is not None
    assert sigma is not None
    assert amplitude is not None
    # In units of its own spread around the level, as `gp.select` takes it.
    shape = kernels.batch_norm(kernels.plain_network(depth, sigma))
    side = config.prior_side
    draws = gp.draw_prior(
        jax.random.fold_in(jax.random.key(config.seed), _PRIOR),
        kernels.scale(shape, amplitude**2),
        (side, side),
        config.prior_samples,
    )
    return np.asarray(_PRIOR_LEVEL + draws)[..., None]
