"""Langevin dynamics with momentum: the same law, reached in fewer steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from many_chains import (
    COVARIANCE,
    LIMIT,
    MEAN,
    PRECISION,
    START,
    TARGET,
    farthest,
    gaussian,
    run,
    sample,
    stationary_covariance,
)

from dipgp.inference import langevin
from dipgp.inference.langevin import RootMeanSquare


@pytest.mark.parametrize("momentum", [0.5, 0.9])
def test_a_gaussian_is_sampled_with_the_bias_of_the_step_whatever_the_momentum(
    momentum,
):
    method = langevin.sgld(TARGET, 0.4, momentum=momentum)
    samples = sample(method, START, 150, seed=20)
    exact = stationary_covariance(PRECISION, 0.4)
    assert farthest(samples, MEAN, exact) < LIMIT
    assert farthest(samples, MEAN, COVARIANCE) > LIMIT


@pytest.mark.slow
def test_temperature_and_preconditioner_act_as_without_momentum():
    settings = RootMeanSquare(frozen_after=300, decay=0.9, maximum=10.0)
    method = langevin.sgld(
        TARGET, 0.3, temperature=2.0, preconditioner=settings, momentum=0.8
    )
    one = run(method, method.init(START[:1]), 300, jax.random.key(21))
    many = one._replace(
        parameters=jnp.repeat(one.parameters, len(START), axis=0),
        memory=jax.tree.map(lambda leaf: jnp.repeat(leaf, len(START), 0), one.memory),
    )
    samples = run(method, many, 250, jax.random.key(22)).parameters
    scale = np.asarray(settings.scale(one.memory.mean_square)[0], np.float64)
    assert scale.max() > 1.3 * scale.min()
    exact = stationary_covariance(PRECISION, 0.3, temperature=2.0, scale=scale)
    assert farthest(samples, MEAN, exact) < LIMIT


def test_without_temperature_it_forgets_its_start_19_times_as_fast_at_0_9():
    wide, steps = gaussian(np.zeros(1), 0.01 * np.eye(1)), 400

    def distance(momentum):
        method = langevin.sgld(wide, 0.1, temperature=0.0, momentum=momentum)
        return float(sample(method, jnp.ones((1, 1)), steps, seed=23)[0, 0])

    ratio = np.log(distance(0.9)) / np.log(distance(0.0))
    # Some ten of the 400 steps go into gathering speed.
    assert 0.9 * 19 < ratio < 1.1 * 19


def test_the_velocity_is_standard_normal_at_rest():
    method = langevin.sgld(TARGET, 0.05, momentum=0.7)
    state = run(method, method.init(START), 150, jax.random.key(24))
    # Half a kick lies between velocity and parameters: a bias of eps H / 4.
    bias = 1 + 0.05 * np.linalg.eigvalsh(PRECISION).max() / 4
    variances = np.var(np.asarray(state.memory.velocity), axis=0)
    error = np.sqrt(2 / len(START))
    assert (variances > 1 - LIMIT * error).all()
    assert (variances < bias + LIMIT * error).all()


@pytest.mark.slow
def test_noise_of_the_gradient_heats_more_by_1_plus_a_over_1_minus_a():
    """Target N(0, 1), gradients with an extra variance of s^2, independent."""
    step_size, spread, momentum = 0.1, 2.0, 0.6

    def log_density(parameters, key):
        noise = spread * jax.random.normal(key, parameters.shape)
        return jnp.sum(noise * parameters - 0.5 * parameters**2), parameters

    method = langevin.sgld(log_density, step_size, momentum=momentum)
    samples = sample(method, START, 200, seed=25)
    heating = (1 + momentum) / (1 - momentum) * step_size / 4 * spread**2
    exact = (1 + heating) * stationary_covariance(np.eye(4), step_size)
    assert farthest(samples, np.zeros(4), exact) < LIMIT


def test_no_memory_of_a_velocity_is_held_without_momentum():
    memory = langevin.sgld(TARGET, 0.1).init(START[:1]).memory
    assert not jax.tree.leaves(memory)
