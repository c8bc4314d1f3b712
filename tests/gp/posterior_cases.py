"""Priors, masks and a picture that posteriors are tried on, small and in two forms."""

import numpy as np
from stationary_fields import deep_prior, hourglass, mask_with_hole, random_mask

from dipgp import gp, kernels

FORMS = ("weights", "field")
GRID = (13, 11)
NOISE = 0.05

PRIORS = {
    "white": kernels.white(),
    "smooth": kernels.gaussian(1.5),
    "rough": kernels.matern(0.5, 3.0),
    "depth 1": deep_prior(1, sigma=1.0),
    "depth 4": deep_prior(4),
    "depth 12": deep_prior(12),
    "hourglass": hourglass(),
}


def photograph(shape, seed=0):
    """Something with a level, a slope, and grain."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices(shape[:2]) / max(shape)
    slope = 0.2 + 0.5 * rows + 0.1 * np.sin(9 * columns)
    if len(shape) == 3:
        slope = slope[:, :, None] * np.linspace(1.0, 0.6, shape[2])
    return slope + 0.1 * rng.standard_normal(shape)


def single_pixel(shape):
    mask = np.zeros(shape, bool)
    mask[shape[0] // 2, shape[1] // 3] = True
    return mask


MASKS = {
    "everything": lambda shape: np.ones(shape, bool),
    "half": lambda shape: random_mask(shape, 0.5),
    "a tenth": lambda shape: random_mask(shape, 0.1),
    "a hole": mask_with_hole,
    "one pixel": single_pixel,
}


def precise(k, values, mask=None, noise_std=NOISE, **settings):
    """The posterior to nearly all digits, on the torus that all priors fit into."""
    shared = {"tolerance": 1e-11, "max_iterations": 5000, "reach": 26}
    settings = shared | settings
    return gp.condition(k, values, mask, noise_std, **settings)


def usual(k, values, mask=None, noise_std=NOISE, **settings):
    """The posterior to the default tolerance, on the same torus."""
    settings = {"max_iterations": 5000, "reach": 26} | settings
    return gp.condition(k, values, mask, noise_std, **settings)


def assert_near(found, expected, scale=1.0):
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-7 * scale)
