"""When the field's equations can be relied upon."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dipgp import gp, images, kernels
from dipgp.gp import field, toeplitz
from dipgp.observations import observe

SHAPE = (64, 64)


@pytest.fixture(scope="module")
def values():
    return images.sample_image("camera")[200:264, 200:264, 0].astype(np.float32)


@pytest.fixture(scope="module")
def mask():
    return np.asarray(images.drop_pixels(jax.random.key(0), SHAPE, 0.5))


@pytest.mark.parametrize("noise_std", [0.01, 0.001])
def test_the_posterior_mean_is_near_the_exact_one_however_weak_the_noise_is(
    values, mask, noise_std
):
    covariance = kernels.matern(1.5, 4.0)
    found = gp.condition(covariance, values, mask, noise_std)
    with jax.enable_x64(True):
        wide = values.astype(np.float64)
        exact = gp.condition(covariance, wide, mask, noise_std, method="dense").mean
    assert found.info.converged
    error = np.sqrt(np.mean((np.asarray(found.mean) - np.asarray(exact)) ** 2))
    assert error < 0.5 / 255


def test_strong_noise_is_left_to_the_field_and_weak_to_the_weights(values, mask):
    covariance = kernels.matern(1.5, 4.0)
    tori = toeplitz.embed([covariance], SHAPE, None, jnp.float32)
    weak = [
        field.noise_is_weak(
            observe(values[:, :, None], mask=mask, noise_std=noise_std), tori
        )
        for noise_std in (0.1, 0.01, 0.003, 0.001)
    ]
    assert weak == [False, False, True, True]
