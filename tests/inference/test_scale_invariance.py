"""Langevin dynamics of weights whose direction alone matters, as under batch norm.

The target on the plane is exp(KAPPA cos(angle)) times N(0, s^2 I). Its direction has
the von Mises density exp(KAPPA cos(angle)) / (2 pi I_0(KAPPA)), where the mean of
cos(n angle) is I_n(KAPPA) / I_0(KAPPA), whatever s is.
"""

import functools

import jax.numpy as jnp
import numpy as np
import pytest
from many_chains import LIMIT, mean_and_error, sample, wrong_langevin
from scipy.special import iv

from dipgp.inference import langevin

KAPPA = 1.0
CHAINS = 10_000
STEP_SIZE = 0.01


def target(prior_std):
    """Of parameters (n, 2), the log density of n independent pairs of weights."""

    def log_density(parameters, key):
        del key
        squares = jnp.sum(jnp.square(parameters), axis=-1)
        cosine = parameters[:, 0] / jnp.sqrt(squares)
        return jnp.sum(KAPPA * cosine - squares / (2 * prior_std**2)), cosine

    return log_density


def start(prior_std):
    """Draws of the prior: directions all round, radii as they will stay."""
    normal = np.random.default_rng(0).standard_normal((CHAINS, 2))
    return (prior_std * normal).astype(np.float32)


@functools.cache
def weights(prior_std):
    """Independent draws (CHAINS, 2), after six relaxation times, 2 s^2 / eps each."""
    method = langevin.sgld(target(prior_std), STEP_SIZE)
    steps = round(12 * prior_std**2 / STEP_SIZE)
    return np.asarray(sample(method, start(prior_std), steps, seed=1))


def direction_scores(draws):
    """Departures of the means of cos, sin, cos 2a, sin 2a, in standard errors."""
    angle, scores = np.arctan2(draws[:, 1], draws[:, 0]), []
    for n in (1, 2):
        for function, exact in ((np.cos, iv(n, KAPPA) / iv(0, KAPPA)), (np.sin, 0)):
            mean, error = mean_and_error(function(n * angle))
            scores.append((mean - exact) / error)
    return np.abs(scores)


@pytest.mark.parametrize("prior_std", [1.0, pytest.param(1.5, marks=pytest.mark.slow)])
class TestStationaryLaw:
    def test_directions_have_the_exact_posterior_whatever_the_prior(self, prior_std):
        assert direction_scores(weights(prior_std)).max() < LIMIT

    def test_radii_keep_the_prior(self, prior_std):
        """Their squares q over 2 s^2 are exponential, so exp(-q) is uniform."""
        squares = np.sum(weights(prior_std) ** 2, axis=1) / (2 * prior_std**2)
        uniform = np.exp(-squares)
        for power in (1, 2, 3):
            mean, error = mean_and_error(uniform**power)
            assert abs(mean - 1 / (power + 1)) < LIMIT * error

    def test_radii_do_not_depend_on_directions(self, prior_std):
        draws = weights(prior_std)
        radius = np.linalg.norm(draws, axis=1)
        correlation = np.corrcoef(radius, draws[:, 0] / radius)[0, 1]
        assert abs(correlation) < LIMIT / np.sqrt(CHAINS)


@pytest.mark.parametrize("wrong", [{"noise": 2**0.5}, {"drift": 2.0}])
@pytest.mark.slow
def test_the_check_of_directions_rejects_a_wrong_scale(wrong):
    method = wrong_langevin(target(1.0), STEP_SIZE, **wrong)
    samples = sample(method, start(1.0), 600, seed=1)
    assert direction_scores(samples).max() > LIMIT


def test_a_wider_prior_is_a_smaller_step_and_nothing_else():
    """With four times the step, twice the prior's std gives the same bits."""
    ends = [
        sample(langevin.sgld(target(s), 0.02 * s**2), start(s), 100, seed=2)
        for s in (0.5, 1.0, 4.0)
    ]
    np.testing.assert_array_equal(ends[0] / 0.5, ends[1])
    np.testing.assert_array_equal(ends[2] / 4.0, ends[1])
    assert np.ptp(np.arctan2(ends[1][:, 1], ends[1][:, 0])) > 3


def test_without_a_prior_noise_drives_the_radius_up():
    """By eps a weight and step: the gradient of the likelihood has no radial part."""
    step_size, steps = 0.1, 200
    first = 10 * start(1.0) / np.linalg.norm(start(1.0), axis=1, keepdims=True)
    method = langevin.sgld(target(np.inf), step_size)
    squares = np.sum(np.square(sample(method, first, steps, seed=3)), axis=1)
    mean, error = mean_and_error(squares)
    assert abs(mean - (100 + 2 * step_size * steps)) < LIMIT * error
