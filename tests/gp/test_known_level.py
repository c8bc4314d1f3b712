"""Posteriors of processes whose level is known: simple kriging, by matrices of ours."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from stationary_fields import random_mask

from dipgp import gp, kernels
from dipgp.kernels import lag_grid
from dipgp.observations import gaussian_blur, observe

GRID, NOISE, LEVEL = (9, 8), 0.1, 0.4
COVARIANCE = kernels.matern(1.5, 2.0)
BLUR = gaussian_blur(0.6, boundary="valid")
EXACT = {"tolerance": 1e-11, "noise_std": NOISE}


def between_pixels(grid):
    """K between all pixels of a grid, by its values at lags."""
    double = np.asarray(COVARIANCE(lag_grid((2 * grid[0], 2 * grid[1]), np.float64)))
    rows, columns = (axis.ravel() for axis in np.indices(grid))
    down, right = (axis[:, None] - axis[None, :] for axis in (rows, columns))
    return double[down % (2 * grid[0]), right % (2 * grid[1])]


def simple_kriging(map_matrix, values, level):
    """Mean and variances of all pixels, for values that a matrix makes of them."""
    prior = between_pixels(GRID)
    cross = map_matrix @ prior
    seen = cross @ map_matrix.T + NOISE**2 * np.eye(len(values))
    gains = np.linalg.solve(seen, cross).T
    mean = level + gains @ (values - map_matrix @ np.full(len(prior), level))
    left = np.diag(prior) - np.sum(gains * cross.T, axis=1)
    return mean.reshape(GRID), left.reshape(GRID)


def matrix_of(linear_map):
    units = np.eye(np.prod(GRID)).reshape(-1, *GRID, 1)
    return np.stack([np.asarray(linear_map(unit)).ravel() for unit in units], axis=1)


@pytest.fixture
def image():
    return 0.5 + 0.3 * np.random.default_rng(0).standard_normal(GRID)


@pytest.mark.parametrize("method", ["weights", "field"])
def test_the_mean_is_that_of_simple_kriging(x64, image, method):
    mask = random_mask(GRID, 0.5)
    found = gp.condition(COVARIANCE, image, mask, level=LEVEL, method=method, **EXACT)
    seen = np.eye(mask.size)[mask.ravel()]
    mean, variance = simple_kriging(seen, image[mask], LEVEL)
    np.testing.assert_allclose(found.mean, mean, atol=1e-9)
    assert found.level == LEVEL
    again = found.given(found.system.observation)
    np.testing.assert_array_equal(again.mean, found.mean)
    if method == "field":
        # One pixel at a time, so that no sign is random.
        left = found.variance(jax.random.key(0), method="probing", solves=2 * 9**2)
        np.testing.assert_allclose(left.value, variance, rtol=1e-2)


@pytest.mark.parametrize("method", ["weights", "field"])
def test_so_is_that_of_an_image_seen_through_a_blur(x64, image, method):
    blurred = np.asarray(BLUR(image[:, :, None]))
    through = {"through": BLUR, "image_shape": (*GRID, 1), "method": method}
    found = gp.condition(COVARIANCE, blurred, level=LEVEL, **through, **EXACT)
    mean, variance = simple_kriging(matrix_of(BLUR), blurred.ravel(), LEVEL)
    np.testing.assert_allclose(found.mean[:, :, 0], mean, atol=1e-8)
    # What is left open, as a matrix, has the variances on its diagonal.
    pixels = np.zeros((2, *GRID))
    pixels[0, 2, 3] = pixels[1, 0, 0] = 1
    columns = found.system.apply_posterior_covariance(jnp.asarray(pixels)).mean
    assert columns[0, 2, 3] == pytest.approx(variance[2, 3], abs=1e-8)
    assert columns[1, 0, 0] == pytest.approx(variance[0, 0], abs=1e-8)
    assert columns[0, 0, 0] == pytest.approx(float(columns[1, 2, 3]), abs=1e-8)


@pytest.mark.parametrize("where", ["as it is", "half missing", "through a blur"])
def test_the_same_process_is_conditioned_on_something_else(x64, image, where):
    images = [np.stack([each, each**2], axis=2) for each in (image, image[::-1])]
    mask = random_mask(GRID, 0.5) if where == "half missing" else None
    settings = {}
    if where == "through a blur":
        settings = {"through": BLUR, "image_shape": (*GRID, 2)}
        images = [np.asarray(BLUR(each)) for each in images]
    one, other = (observe(each, mask, noise_std=NOISE) for each in images)
    settings |= {
        "channels": gp.estimate_channels(one),
        "level": [0.4, 0.3],
        "tolerance": 1e-10,
    }
    first = gp.condition(COVARIANCE, observation=one, **settings)
    expected = gp.condition(COVARIANCE, observation=other, **settings)
    found = first.given(other)
    np.testing.assert_allclose(found.mean, expected.mean, atol=1e-9)
    np.testing.assert_allclose(found.level, [0.4, 0.3])
    with pytest.raises(ValueError, match="observation: expected values of shape"):
        first.given(observe(images[0][1:], noise_std=NOISE))


def test_the_closed_form_of_the_variance_knows_the_level(x64):
    # Far from borders, where the level of a small image is hardly known otherwise.
    values = np.random.default_rng(1).standard_normal((64, 64))
    weak = kernels.scale(COVARIANCE, 1e-3)
    known, unknown = (
        gp.condition(weak, values, noise_std=1.0, level=level) for level in (0.0, None)
    )
    after, before = (
        each.variance(method="stationary").value for each in (known, unknown)
    )
    # In so much noise nearly all of the prior is left.
    np.testing.assert_allclose(after, 1e-3, rtol=0.03)
    frequencies = np.prod(unknown.system.tori.size)
    assert before[0, 0] - after[0, 0] == pytest.approx(1 / frequencies, rel=0.1)


@pytest.mark.parametrize(
    ("level", "settings", "message"),
    [
        pytest.param([0.1, 0.2], {}, "level: expected one number", id="shape"),
        pytest.param(np.nan, {}, "level: expected finite numbers", id="nan"),
        pytest.param("low", {}, "level: expected", id="words"),
        pytest.param(0.1, {"method": "dense"}, "method: expected", id="dense"),
    ],
)
def test_mistakes_are_named(image, level, settings, message):
    with pytest.raises(ValueError, match=message):
        gp.condition(COVARIANCE, image, noise_std=NOISE, level=level, **settings)


def test_what_a_known_level_does_not_have_is_refused(image):
    posterior = gp.condition(COVARIANCE, image, noise_std=NOISE, level=LEVEL)
    with pytest.raises(ValueError, match="level: expected None for the evidence"):
        posterior.log_evidence()
    with pytest.raises(ValueError, match='another than "dense"'):
        posterior.variance(method="dense")
