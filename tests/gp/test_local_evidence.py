import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from scipy.stats import multivariate_normal
from stationary_fields import covariance_matrix, random_mask

from dipgp import gp, kernels
from dipgp.gp import local_evidence

CORE = kernels.matern(1.5, 2.0)
RIGHT, DOWN = (kernels.stretch(CORE, angle, along=5.0) for angle in (0.0, np.pi / 2))


def two_directions(shape=(24, 40), seed=0):
    """A draw that runs to the right in its left half and down in its right half."""
    rng, size = np.random.default_rng(seed), np.prod(shape)
    halves = [
        np.linalg.cholesky(covariance_matrix(k, shape) + 1e-6 * np.eye(size))
        @ rng.standard_normal(size)
        for k in (RIGHT, DOWN)
    ]
    left = np.arange(shape[1])[None] < shape[1] // 2
    return np.where(left, *(half.reshape(shape) for half in halves))


def test_a_window_is_weighed_by_the_density_of_its_contrasts(x64):
    """All contrasts of a window, at the variance that makes them most probable."""
    rng = np.random.default_rng(0)
    image, mask = 3 + rng.standard_normal((6, 6)), random_mask((6, 6), 0.6)
    windows = local_evidence.cut(image, mask, np.full((6, 6), 0.2))
    found = {k: local_evidence.weigh(k, windows) for k in (RIGHT, DOWN)}
    expected = {RIGHT: [], DOWN: []}
    shape = (windows.side, windows.side)
    corners = itertools.product(windows.tops, windows.lefts)
    for top, left in corners:
        part = np.s_[top : top + windows.side, left : left + windows.side]
        pixels = np.flatnonzero(mask[part])
        part = image[part].ravel()[pixels]
        contrasts = scipy.linalg.null_space(np.ones((1, pixels.size))).T
        spread = max(np.var(part) - 0.2, 0.2)
        for k, heights in expected.items():
            matrix = covariance_matrix(k, shape)[np.ix_(pixels, pixels)]
            matrix = contrasts @ (matrix + 0.2 / spread * np.eye(pixels.size))
            matrix, values = matrix @ contrasts.T, contrasts @ part
            variance = values @ np.linalg.solve(matrix, values) / len(values)
            law = multivariate_normal(cov=variance * matrix)
            heights.append((law.logpdf(values), variance))
    for k, heights in expected.items():
        np.testing.assert_allclose(found[k][1], np.array(heights)[:, 1], rtol=1e-4)
    # Constants that candidates share are left out.
    difference = np.array(expected[RIGHT])[:, 0] - np.array(expected[DOWN])[:, 0]
    np.testing.assert_allclose(found[RIGHT][0] - found[DOWN][0], difference, atol=1e-3)


def test_each_half_of_a_picture_finds_its_direction(x64):
    values = two_directions()
    mask = random_mask(values.shape, 0.5)
    found = gp.localise([RIGHT, DOWN], np.where(mask, values, np.nan), mask, 0.01)
    share = np.square(found.weights[0]) / np.sum(np.square(found.weights), axis=0)
    assert np.mean(share[:, :16]) > 0.85
    assert np.mean(share[:, 24:]) < 0.15


@pytest.mark.slow
def test_the_mixture_found_restores_better_than_one_covariance():
    values = two_directions().astype(np.float32)
    mask = random_mask(values.shape, 0.5)
    found = gp.localise([RIGHT, DOWN], values, mask, 0.01)
    mixed = gp.condition_mixture(found, values, mask, 0.01, reach=60)
    assert mixed.info.converged
    both = kernels.add(RIGHT, DOWN)
    plain = gp.condition(both, values, mask, 0.01, reach=60).mean
    error, other = (np.mean((mean - values) ** 2) for mean in (mixed.mean, plain))
    assert error < 0.8 * other


def test_one_candidate_keeps_the_local_variance():
    rng = np.random.default_rng(1)
    loud = np.where(np.arange(64)[None] < 32, 3.0, 1.0)
    values = loud * rng.standard_normal((48, 64))
    found = gp.localise([kernels.white()], values, None, 1e-3)
    for half, std in ((np.s_[:, :24], 3.0), (np.s_[:, 40:], 1.0)):
        # A window's variance has 63 degrees of freedom; a half has some 18 apart.
        error = std**2 * np.sqrt(2 / 63 / 18)
        level = float(np.mean(np.square(found.weights[0][half])))
        assert level == pytest.approx(std**2, abs=5 * error)


def test_holes_take_the_weights_of_what_is_next_to_them():
    values = two_directions().astype(np.float32)
    mask = np.ones(values.shape, bool)
    mask[:, 28:] = False
    found = np.asarray(gp.localise([RIGHT, DOWN], values, mask, 0.01).weights)
    assert np.all(np.isfinite(found))
    last = np.broadcast_to(found[:, :, -1:], (2, 24, 4))
    np.testing.assert_allclose(found[:, :, -4:], last, atol=1e-5)
    assert np.all(found[1, :, -4:] > 0.1)


def test_units_of_the_candidates_and_levels_of_the_image_do_not_count(x64):
    values = two_directions((12, 16))
    louder = [kernels.bias(kernels.scale(k, 7.0), 2.0) for k in (RIGHT, DOWN)]
    plain = gp.localise([RIGHT, DOWN], values, None, 0.1).weights
    other = gp.localise(louder, values + 4, None, 0.1).weights
    np.testing.assert_allclose(other, plain, rtol=1e-4, atol=1e-6)


class TestBadInput:
    def test_no_candidate(self):
        with pytest.raises(ValueError, match="candidates: expected at least one"):
            gp.localise([], np.zeros((8, 8)), None, 0.1)

    def test_colours(self):
        with pytest.raises(ValueError, match=r"values: expected one channel"):
            gp.localise([CORE], np.zeros((8, 8, 3)), None, 0.1)

    def test_too_few_pixels_in_every_window(self):
        with pytest.raises(ValueError, match=r"mask: expected 6 observed pixels"):
            gp.localise([CORE], np.eye(8), np.eye(8) * (np.arange(8) < 3), 0.1)

    def test_traced_values(self):
        with pytest.raises(ValueError, match="expected known values"):
            jax.jit(lambda v: gp.localise([CORE], v, None, 0.1).weights)(
                jnp.zeros((8, 8))
            )
