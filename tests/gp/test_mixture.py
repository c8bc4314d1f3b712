import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from stationary_fields import covariance_matrix, mask_with_hole, random_mask

from dipgp import gp, kernels
from dipgp.gp import mixture, toeplitz

SHAPE = (13, 11)
REACH = 40
CORE = kernels.matern(1.5, 2.0)
COVARIANCES = tuple(
    kernels.stretch(CORE, angle, along=3.0) for angle in (0.0, 0.8, 1.6)
)


def some_mixture(shape=SHAPE, seed=0):
    rng = np.random.default_rng(seed)
    return gp.Mixture(COVARIANCES, jnp.asarray(0.2 + rng.random((3, *shape))))


def matrix_of(prior, shape=SHAPE):
    """K between all pixels, by its definition."""
    total = np.zeros((np.prod(shape), np.prod(shape)))
    for covariance, weight in zip(prior.covariances, prior.weights, strict=True):
        local = np.ravel(weight)
        total += local[:, None] * covariance_matrix(covariance, shape) * local[None]
    return total


def krige(matrix, values, mask, noise_std):
    """Ordinary kriging by a Lagrange multiplier: the mean, and the level."""
    seen = np.flatnonzero(mask)
    noise = np.broadcast_to(np.square(noise_std), mask.shape).ravel()[seen]
    ones = np.ones((seen.size, 1))
    between = matrix[np.ix_(seen, seen)] + np.diag(noise)
    system = np.block([[between, ones], [ones.T, np.zeros((1, 1))]])
    solution = np.linalg.solve(system, np.append(values.ravel()[seen], 0))
    mean = matrix[:, seen] @ solution[:-1] + solution[-1]
    return mean.reshape(mask.shape), solution[-1]


def picture(seed=0):
    return 5 + np.random.default_rng(seed).standard_normal(SHAPE)


precise = functools.partial(gp.condition_mixture, tolerance=1e-12, reach=REACH)
MASKS = {
    "half": random_mask(SHAPE, 0.5),
    "a hole": mask_with_hole(SHAPE),
    "everything": np.ones(SHAPE, bool),
    "one pixel": random_mask(SHAPE, 1 / np.prod(SHAPE)),
}


def test_products_are_those_of_the_matrix(x64):
    prior = some_mixture()
    tori = toeplitz.embed(prior.covariances, SHAPE, REACH, np.float64)
    images = np.random.default_rng(1).standard_normal((2, *SHAPE))
    found = mixture.apply_covariance(tori, prior.weights, jnp.asarray(images))
    expected = images.reshape(2, -1) @ matrix_of(prior)
    np.testing.assert_allclose(found.reshape(2, -1), expected, atol=1e-7)


@pytest.mark.parametrize(
    "where",
    [
        "half",
        pytest.param("a hole", marks=pytest.mark.slow),
        pytest.param("everything", marks=pytest.mark.slow),
        pytest.param("one pixel", marks=pytest.mark.slow),
    ],
)
def test_the_mean_is_that_of_kriging_with_the_matrix(x64, where):
    mask = MASKS[where]
    noise = 0.05 + 0.1 * np.random.default_rng(2).random(SHAPE)
    found = precise(some_mixture(), np.where(mask, picture(), np.nan), mask, noise)
    mean, level = krige(matrix_of(some_mixture()), picture(), mask, noise)
    assert found.info.converged, found.info.advice
    np.testing.assert_allclose(found.mean, mean, atol=1e-8)
    assert float(found.level) == pytest.approx(level, abs=1e-8)


def test_one_process_of_weight_one_is_a_stationary_prior(x64):
    mask = MASKS["half"]
    prior = gp.Mixture(COVARIANCES[1:2], jnp.ones((1, *SHAPE)))
    found = precise(prior, picture(), mask, 0.1)
    expected = gp.condition(
        COVARIANCES[1], picture(), mask, 0.1, tolerance=1e-12, reach=REACH
    )
    np.testing.assert_allclose(found.mean, expected.mean, atol=1e-8)


@pytest.mark.slow
def test_what_is_known_of_one_half_says_nothing_of_the_other(x64):
    """Where the processes take turns, the two parts share the level alone."""
    left = np.arange(SHAPE[1])[None] < 5
    halves = np.stack([np.broadcast_to(side, SHAPE) for side in (left, ~left)])
    prior = gp.Mixture(COVARIANCES[:2], jnp.asarray(halves, float))
    mask = MASKS["half"]
    found = precise(prior, picture(), mask, 0.1)
    level = float(found.level)
    for side, covariance in zip(halves, COVARIANCES[:2], strict=True):
        seen = np.flatnonzero(mask & side)
        matrix = covariance_matrix(covariance, SHAPE)
        between = matrix[np.ix_(seen, seen)] + 0.01 * np.eye(seen.size)
        weights = np.linalg.solve(between, picture().ravel()[seen] - level)
        alone = (matrix[:, seen] @ weights + level).reshape(SHAPE)
        np.testing.assert_allclose(found.mean[side], alone[side], atol=1e-8)


@pytest.mark.slow
def test_draws_of_a_mixture_are_restored_better_than_by_one_covariance(x64):
    """By its mean square error, over draws whose two halves run at right angles."""
    shape, noise = (16, 16), 0.05
    left = np.broadcast_to(np.arange(16)[None] < 8, shape)
    across = [kernels.stretch(CORE, angle, along=6.0) for angle in (0.0, np.pi / 2)]
    prior = gp.Mixture(tuple(across), jnp.asarray(np.stack([left, ~left]), float))
    root = np.linalg.cholesky(matrix_of(prior, shape) + 1e-9 * np.eye(256))
    mask = random_mask(shape, 0.4)
    rng = np.random.default_rng(3)
    average = kernels.scale(kernels.add(*across), 0.5)
    gains = []
    for _ in range(8):
        truth = (root @ rng.standard_normal(256)).reshape(shape)
        values = truth + noise * rng.standard_normal(shape)
        mixed = precise(prior, values, mask, noise).mean
        plain = gp.condition(average, values, mask, noise, reach=REACH).mean
        gains.append(np.mean((plain - truth) ** 2) - np.mean((mixed - truth) ** 2))
    # Three standard errors over the draws.
    assert np.mean(gains) > 3 * np.std(gains, ddof=1) / np.sqrt(len(gains))


def test_a_solve_that_was_cut_short_says_so(x64):
    found = gp.condition_mixture(
        some_mixture(), picture(), MASKS["half"], 1e-3, max_iterations=1, reach=REACH
    )
    assert not found.info.converged
    assert "max_iterations" in found.info.advice


def test_a_torus_that_is_too_small_is_told(x64):
    found = gp.condition_mixture(some_mixture(), picture(), None, 0.1, reach=2)
    assert "reach" in found.info.advice


@pytest.mark.slow
def test_single_precision_is_enough():
    prior = some_mixture()
    mask = MASKS["half"]
    found = gp.condition_mixture(
        prior, picture().astype(np.float32), mask, 0.1, reach=REACH
    )
    mean, _ = krige(matrix_of(prior), picture(), mask, 0.1)
    assert found.info.converged
    np.testing.assert_allclose(found.mean, mean, atol=2e-3)


class TestBadInput:
    def test_weights_of_another_shape(self):
        prior = some_mixture((5, 5))
        with pytest.raises(
            ValueError, match=r"mixture: .* \(3, 13, 11\).* \(3, 5, 5\)"
        ):
            gp.condition_mixture(prior, picture(), None, 0.1)

    def test_colours(self):
        values = np.zeros((*SHAPE, 3))
        with pytest.raises(ValueError, match=r"values: expected one channel.*11, 3"):
            gp.condition_mixture(some_mixture(), values, None, 0.1)

    def test_traced_masks(self):
        def solve(mask):
            return gp.condition_mixture(some_mixture(), picture(), mask, 0.1).mean

        with pytest.raises(ValueError, match="mask: expected known values"):
            jax.jit(solve)(jnp.ones(SHAPE))

    def test_tolerances_out_of_range(self):
        for stray in (2.0, None):
            with pytest.raises(ValueError, match="tolerance: expected"):
                gp.condition_mixture(
                    some_mixture(), picture(), None, 0.1, tolerance=stray
                )
