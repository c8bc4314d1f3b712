"""Langevin dynamics: its stationary law is the posterior, up to a known bias."""

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
    mean_and_error,
    sample,
    stationary_covariance,
    wrong_langevin,
)

from dipgp.inference import langevin, schedules


class TestStationaryLaw:
    @pytest.mark.parametrize("step_size", [0.1, 0.4])
    def test_a_gaussian_is_sampled_with_the_known_bias_of_the_step(self, step_size):
        samples = sample(
            langevin.sgld(TARGET, step_size), START, int(24 / step_size), seed=0
        )
        exact = stationary_covariance(PRECISION, step_size)
        assert farthest(samples, MEAN, exact) < LIMIT
        # The bias itself is seen, not lost in the errors.
        assert farthest(samples, MEAN, COVARIANCE) > LIMIT

    def test_in_64_bits_too(self, x64):
        start = START.astype(np.float64)
        samples = sample(langevin.sgld(TARGET, 0.3), start, 80, seed=1)
        assert samples.dtype == jnp.float64
        assert farthest(samples, MEAN, stationary_covariance(PRECISION, 0.3)) < LIMIT

    def test_the_same_check_rejects_a_wrong_scale_of_noise_or_drift(self):
        exact = stationary_covariance(PRECISION, 0.3)

        @jax.jit
        def draw(drift, noise):
            method = wrong_langevin(TARGET, 0.3, drift=drift, noise=noise)
            return sample(method, START, 100, seed=0)

        assert farthest(draw(1.0, 1.0), MEAN, exact) < LIMIT  # the right one
        for drift, noise in (
            (1.0, 2**0.5),
            (1.0, 0.3**0.5),  # a standard deviation of eps
            (2.0, 1.0),
            (0.5, 1.0),
            (1.15, 1.0),
        ):
            assert farthest(draw(drift, noise), MEAN, exact) > LIMIT

    @pytest.mark.parametrize("temperature", [0.25, 4.0])
    def test_the_covariance_is_proportional_to_the_temperature(self, temperature):
        method = langevin.sgld(TARGET, 0.3, temperature=temperature)
        samples = sample(method, START, 80, seed=2)
        exact = temperature * stationary_covariance(PRECISION, 0.3)
        assert farthest(samples, MEAN, exact) < LIMIT

    def test_at_temperature_zero_it_descends(self):
        method = langevin.sgld(TARGET, 0.3, temperature=0.0)
        end = sample(method, START[:1], 200, seed=3)[0]
        np.testing.assert_allclose(end, MEAN, atol=1e-6)

    def test_linear_regression_has_its_exact_posterior(self):
        random = np.random.default_rng(0)
        inputs, noise, prior = random.standard_normal((20, 3)), 0.8, 1.5
        values = inputs @ [0.5, -1.0, 2.0] + 0.3 + noise * random.standard_normal(20)

        def log_density(parameters, key, count=1):
            del key
            level, slope = parameters["level"], parameters["slope"]
            fit = slope @ inputs.T + level[:, None]
            squares = jnp.sum(jnp.square(fit - values[None])) / noise**2
            norm = jnp.sum(jnp.square(slope)) + jnp.sum(jnp.square(level))
            return -0.5 * (squares / count + norm / prior**2), fit

        design = np.column_stack([np.ones(20), inputs])
        precision = design.T @ design / noise**2 + np.eye(4) / prior**2
        truth = np.linalg.inv(precision)
        mean = truth @ design.T @ values / noise**2
        known = stationary_covariance(precision, 0.002)
        # The step is so small that nearly the posterior itself is met.
        assert np.abs(np.diag(known) / np.diag(truth) - 1).max() < 0.05

        def draw(log_density, count):
            start = {"slope": jnp.zeros((count, 3)), "level": jnp.zeros(count)}
            ends = sample(langevin.sgld(log_density, 0.002), start, 600, seed=4)
            return np.column_stack([ends["level"], ends["slope"]])

        assert farthest(draw(log_density, 3000), mean, known) < LIMIT
        # A likelihood averaged over the data has another posterior altogether.
        averaged = draw(lambda parameters, key: log_density(parameters, key, 20), 300)
        assert farthest(averaged, mean, known) > 10 * LIMIT

    def test_the_bias_shrinks_linearly_with_the_step(self):
        """For p(w) = sech(w)^4, where the mean of w^2 is pi^2 / 12 - 1 / 2."""

        def log_density(parameters, key):
            del key
            return -4 * jnp.sum(jnp.log(jnp.cosh(parameters))), parameters

        steps, biases, errors = (0.05, 0.1, 0.2), [], []
        for step_size in steps:
            method = langevin.sgld(log_density, step_size)
            ends = sample(method, jnp.zeros(100_000), int(5 / step_size), seed=5)
            mean, error = mean_and_error(np.square(ends))
            biases.append(mean - (np.pi**2 / 12 - 0.5))
            errors.append(error)
        assert biases[0] > 5 * errors[0]
        for i in (0, 1):
            ratio = biases[i + 1] / biases[i]
            error = np.hypot(errors[i + 1], ratio * errors[i]) / biases[i]
            # The second order in eps adds about eps to a ratio of 2.
            assert abs(ratio - 2 - steps[i]) < 4 * error

    def test_noise_of_the_gradient_adds_to_the_noise_of_the_step(self):
        """A gradient with extra variance s^2 adds eps^2 s^2 / 4, if independent."""
        step_size, spread = 0.4, 3.0

        def log_density(parameters, key):
            noise = spread * jax.random.normal(key, parameters.shape)
            return jnp.sum(noise * parameters - 0.5 * parameters**2), parameters

        ends = sample(langevin.sgld(log_density, step_size), START, 80, seed=6)
        added = step_size + step_size**2 * spread**2 / 4
        covariance = added / (1 - (1 - step_size / 2) ** 2) * np.eye(4)
        assert farthest(ends, np.zeros(4), covariance) < LIMIT


class TestDecreasingSteps:
    SCHEDULE = staticmethod(schedules.polynomial(0.8, 10.0, 0.7))

    def test_the_variance_follows_the_steps(self):
        mean, variance = 3.0, 0.0
        for t in range(60):
            step_size = float(self.SCHEDULE(t))
            mean *= 1 - step_size
            variance = (1 - step_size) ** 2 * variance + step_size
        assert abs(variance - 0.5) > 0.01
        method = langevin.sgld(gaussian(np.zeros(1), 2 * np.eye(1)), self.SCHEDULE)
        ends = sample(method, jnp.full((40_000, 1), 3.0), 60, seed=7)
        assert farthest(ends, np.full(1, mean), np.full((1, 1), variance)) < LIMIT

    def test_weighted_averages_approach_the_posterior(self):
        """The weighted mean of w^2, against its exact expectation and the truth."""
        method = langevin.sgld(gaussian(np.zeros(1), np.eye(1)), self.SCHEDULE)

        def body(carry, key):
            state, sums, weights = carry
            weight = self.SCHEDULE(state.iteration)
            state, info = method.step(key, state)
            sums = sums + weight * jnp.square(info.output)
            return (state, sums, weights + weight), None

        start = jnp.ones((2000, 1))
        (_, sums, weights), _ = jax.lax.scan(
            body,
            (method.init(start), jnp.zeros_like(start), jnp.zeros(())),
            jax.random.split(jax.random.key(8), 2000),
        )
        square, expected, total = 1.0, 0.0, 0.0
        for t in range(2000):
            step_size = float(self.SCHEDULE(t))
            expected, total = expected + step_size * square, total + step_size
            square = (1 - step_size / 2) ** 2 * square + step_size
        mean, error = mean_and_error(np.ravel(sums / weights))
        assert abs(mean - expected / total) < 4 * error
        # A constant step of the first size would stay at 1 / (1 - 0.8 / 4) = 1.25.
        assert abs(mean - 1) < 0.06
