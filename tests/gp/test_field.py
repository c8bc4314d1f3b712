"""When the field's equations can be relied upon."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dipgp import gp, images, kernels
from dipgp.gp import field, toeplitz
from dipgp.observations import observe

SHAPE = (40, 40)
MATERN = kernels.matern(1.5, 4.0)
COVARIANCES = {"rough": MATERN, "smooth": kernels.gaussian(2.0)}


@pytest.fixture(scope="module")
def values():
    return images.sample_image("camera")[200:240, 200:240, 0].astype(np.float32)


@pytest.fixture(scope="module")
def mask():
    return np.asarray(images.drop_pixels(jax.random.key(0), SHAPE, 0.5))


@functools.cache
def exact(name, noise_std):
    with jax.enable_x64(True):
        wide = images.sample_image("camera")[200:240, 200:240, 0].astype(np.float64)
        mask = np.asarray(images.drop_pixels(jax.random.key(0), SHAPE, 0.5))
        dense = {"noise_std": noise_std, "method": "dense"}
        found = gp.condition(COVARIANCES[name], wide, mask, **dense)
        return np.asarray(found.mean)


def grey_levels_off(mean, name, noise_std):
    error = np.asarray(mean) - exact(name, noise_std)
    return 255 * np.sqrt(np.mean(np.square(error)))


@pytest.mark.parametrize("noise_std", [0.01, 0.001])
def test_the_posterior_mean_is_near_the_exact_one_however_weak_the_noise_is(
    values, mask, noise_std
):
    found = gp.condition(MATERN, values, mask, noise_std)
    assert found.info.converged
    assert grey_levels_off(found.mean, "rough", noise_std) < 0.1


@pytest.mark.parametrize("noise_std", [0.01, 0.001])
@pytest.mark.parametrize("name", COVARIANCES)
def test_who_claims_to_be_there_is_near(values, mask, name, noise_std):
    found = gp.condition(
        COVARIANCES[name], values, mask, noise_std, method="field", max_iterations=200
    )
    near = grey_levels_off(found.mean, name, noise_std) < 0.1
    assert near or not found.info.converged


def test_no_pixel_is_further_off_than_the_residual_says(x64, values, mask):
    values, mask, noise_std = values[:24, :24].astype(float), mask[:24, :24], 0.01
    best = gp.condition(MATERN, values, mask, noise_std, method="dense")
    std = np.sqrt(np.asarray(best.variance(method="dense").value))
    unit = float(field.error_unit(mask.sum(), mask.size))
    shares = []
    for steps in (3, 30):
        found = gp.condition(
            MATERN, values, mask, noise_std, method="field", max_iterations=steps
        )
        off = np.max(np.abs(np.asarray(found.mean) - np.asarray(best.mean)) / std)
        shares.append(off / (float(found.info.residual[0]) * unit))
    assert max(shares) <= 1
    # A bound that is a hundred times too large would be none.
    assert min(shares) > 0.01


def weak(values, mask, noise_std, dtype, tolerance=1e-2):
    observation = observe(values[:, :, None].astype(dtype), mask, noise_std=noise_std)
    tori = toeplitz.embed([MATERN], SHAPE, 40, dtype)
    return field.noise_is_weak(observation, tori, tolerance)


def test_noise_is_weak_where_rounding_hides_the_error(x64, values, mask):
    stds = (0.1, 0.01, 0.003, 0.001)
    single = [weak(values, mask, std, jnp.float32) for std in stds]
    assert single == [False, False, True, True]
    assert not any(weak(values, mask, std, jnp.float64) for std in stds)
    assert weak(values, mask, 0.01, jnp.float32, tolerance=1e-4)


def test_errors_spread_over_what_is_missing_and_never_over_more_than_is_seen():
    seen = jnp.asarray([900.0, 500.0, 100.0, 1000.0])
    units = np.square(field.error_unit(seen, 1000))
    np.testing.assert_allclose(units, [100, 500, 100, 1000 / 16], rtol=1e-6)
