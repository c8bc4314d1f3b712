"""The field's equations at open pixels, beside the matrix of the whole torus."""

import jax.numpy as jnp
import numpy as np
import pytest
from stationary_fields import random_mask

from dipgp import kernels
from dipgp.gp import field, open_pixels, toeplitz
from dipgp.gp.coordinates import coordinates
from dipgp.gp.seen import Seen
from dipgp.observations import observe

GRID, COUNT = (7, 6), 2


def setting(noise_std, level_known):
    mask = random_mask(GRID, 0.6)
    observation = observe(np.zeros(GRID), mask, noise_std=noise_std)
    tori = toeplitz.embed([kernels.matern(1.5, 2.0)] * COUNT, GRID, 6, np.float64)
    seen = Seen(tori, observation, level_known)
    precision = field.inverse_noise(observation)
    return coordinates(seen, jnp.max(precision), GRID), precision


def matrix(around, precision):
    """That of all coefficients of one image, by its columns, as images of the torus."""
    height, width = (p - n for p, n in zip(around.size, GRID, strict=True))
    whole = np.pad(np.asarray(precision), ((0, height), (0, width)))
    units = np.eye(whole.size).reshape(-1, *around.size)
    # 1 / S = w P / (1 - P).
    prior = np.asarray(around.prior[0])
    stiffness = float(around.weight) * prior / (1 - prior)
    spread = np.fft.irfft2(stiffness * np.fft.rfft2(units), s=around.size)
    return (spread + whole * units).reshape(whole.size, -1)


EVEN, UNEVEN = 0.1, np.random.default_rng(0).uniform(0.1, 0.5, GRID)


@pytest.mark.parametrize("level_known", [False, True], ids=["level", "no level"])
@pytest.mark.parametrize("noise_std", [EVEN, UNEVEN], ids=["even", "uneven"])
def test_it_solves_the_equations_of_the_torus(x64, noise_std, level_known):
    around, precision = setting(noise_std, level_known)
    images = np.random.default_rng(1).standard_normal((COUNT, *GRID))
    wanted = around.to_coefficients(jnp.asarray(images))
    found, steps = open_pixels.solve(
        around, precision, wanted, jnp.full(COUNT, 1e-9), 500
    )
    margins = [(0, p - n) for p, n in zip(around.size, GRID, strict=True)]
    sides = np.pad(images, [(0, 0), *margins]).reshape(COUNT, -1)
    expected = np.linalg.solve(matrix(around, precision), sides.T).T
    found = np.asarray(around.to_torus(found)).reshape(COUNT, -1)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)
    assert np.all(steps < 500)


def test_no_more_steps_are_taken_than_allowed(x64):
    around, precision = setting(EVEN, False)
    wanted = around.to_coefficients(jnp.ones((COUNT, *GRID)))
    for most in (1, open_pixels.EVERY + 1):
        _, steps = open_pixels.solve(
            around, precision, wanted, jnp.full(COUNT, 1e-12), most
        )
        np.testing.assert_array_equal(steps, most)


def test_a_guess_that_is_the_solution_is_kept(x64):
    around, precision = setting(UNEVEN, False)
    images = np.random.default_rng(2).standard_normal((COUNT, *GRID))
    given = around, precision, around.to_coefficients(jnp.asarray(images))
    target = jnp.full(COUNT, 1e-8)
    found, _ = open_pixels.solve(*given, target / 10, 500)
    again, steps = open_pixels.solve(*given, target, 500, around.to_torus(found))
    np.testing.assert_array_equal(steps, 0)
    np.testing.assert_allclose(again, found, rtol=0, atol=1e-9)
