"""Preconditioned Langevin dynamics: biased while it adapts, exact once frozen."""

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


class TestPreconditioner:
    @staticmethod
    def freeze_then_sample(target, step_size, start, seed):
        """Chains that share the preconditioner that a single one had found."""
        settings = RootMeanSquare(frozen_after=300, decay=0.9, maximum=10.0)
        method = langevin.sgld(target, step_size, preconditioner=settings)
        one = run(method, method.init(start[:1]), 300, jax.random.key(seed))
        many = one._replace(
            parameters=jnp.repeat(one.parameters, len(start), axis=0),
            memory=jax.tree.map(
                lambda leaf: jnp.repeat(leaf, len(start), axis=0), one.memory
            ),
        )
        end = run(method, many, int(24 / step_size), jax.random.key(seed + 1))
        jax.tree.map(np.testing.assert_array_equal, end.memory, many.memory)
        return end.parameters, np.asarray(
            settings.scale(one.memory.mean_square)[0], np.float64
        )

    def test_once_frozen_it_samples_the_known_law(self):
        samples, scale = self.freeze_then_sample(TARGET, 0.3, START, seed=9)
        assert scale.max() > 1.3 * scale.min()
        exact = stationary_covariance(PRECISION, 0.3, scale=scale)
        assert farthest(samples, MEAN, exact) < LIMIT
        # The check sees a bias of first order in the step.
        assert farthest(samples, MEAN, COVARIANCE) > LIMIT

    @pytest.mark.slow
    def test_adapting_for_ever_doubles_variances_and_freezing_cures_it(self):
        """Where V is fast, a chain samples p(w)/G(w), about p(w) |g(w)|."""
        step_size, precision, zero = 0.02, np.diag([1.0, 4.0]), np.zeros(2)
        target, truth = gaussian(zero, precision), np.linalg.inv(precision)
        start = np.ones((4000, 2), np.float32)
        adapting = RootMeanSquare(frozen_after=None, decay=0.5, maximum=10.0)
        method = langevin.sgld(target, step_size, preconditioner=adapting)
        adapted = sample(method, start, 1200, seed=10)
        frozen, scale = self.freeze_then_sample(target, step_size, start, seed=11)
        exact = stationary_covariance(precision, step_size, scale=scale)
        np.testing.assert_allclose(exact, truth, atol=0.03)
        assert farthest(frozen, zero, exact) < LIMIT
        assert farthest(adapted, zero, exact) > 5 * LIMIT
        ratios = np.var(adapted, axis=0) / np.diag(truth)
        np.testing.assert_allclose(ratios, 2.0, atol=0.2)

    def test_it_is_the_bounded_inverse_root_of_a_moving_average(self):
        settings = RootMeanSquare(frozen_after=5, decay=0.6, epsilon=0.5, maximum=1.2)
        gradients = np.random.default_rng(0).standard_normal((8, 6)) * np.arange(6)
        average, found = np.zeros(6), jnp.zeros(6)
        for t, gradient in enumerate(gradients):
            found = settings.accumulate(found, jnp.asarray(gradient), jnp.int32(t))
            if t < 5:
                # Equal weights for 1 / (1 - decay) = 2.5 gradients, then Li et al.
                decay = t / (t + 1) if t < 2 else 0.6
                average = decay * average + (1 - decay) * gradient**2
            np.testing.assert_allclose(found, average, rtol=1e-5)
        scale = np.minimum(1 / (0.5 + np.sqrt(average)), 1.2)
        assert scale.max() == 1.2 > scale.min()
        np.testing.assert_allclose(settings.scale(found), scale, rtol=1e-5)

    def test_what_is_frozen_survives_a_gradient_that_is_not_finite(self):
        settings = RootMeanSquare(frozen_after=1)
        found = settings.accumulate(jnp.ones(2), jnp.full(2, jnp.nan), jnp.int32(1))
        np.testing.assert_array_equal(found, np.ones(2))

    def test_a_first_step_is_that_of_li_et_al_in_other_units(self):
        """Their mean gradient over N data, N times their step and their epsilon."""
        count, step_size, epsilon = 50, 0.01, 0.2
        gradient = np.array([5.0, -100.0])
        theirs = 1 / (epsilon + np.abs(gradient) / count)
        settings = RootMeanSquare(frozen_after=1, epsilon=count * epsilon, maximum=9.0)
        method = langevin.sgld(
            lambda parameters, key: (-jnp.sum(gradient * parameters), None),
            count * step_size,
            temperature=0.0,
            preconditioner=settings,
        )
        state, _ = method.step(jax.random.key(0), method.init(jnp.zeros(2)))
        expected = -step_size / 2 * theirs * gradient
        np.testing.assert_allclose(state.parameters, expected, rtol=1e-5)

    def test_a_floor_holds_back_elements_whose_gradients_were_small_by_chance(self):
        settings = RootMeanSquare(frozen_after=None, maximum=9.0, floored=True)
        arrays = {"one": jnp.array([0.0, 1.0, 4.0, 9.0]), "other": jnp.array([100.0])}
        found = settings.scale(arrays)
        middle = 14 / 4
        expected = 1 / np.sqrt([middle, middle, 4.0, 9.0])
        np.testing.assert_allclose(found["one"], expected, rtol=1e-4)
        np.testing.assert_allclose(found["other"], 0.1, rtol=1e-4)
