"""What is told of a solve, its tolerance, and arguments that are refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from posterior_cases import FORMS, GRID, NOISE, PRIORS, photograph, precise, usual
from stationary_fields import random_mask

from dipgp import gp, kernels
from dipgp.gp import forms, system
from dipgp.observations import Observation, observe


class TestInfo:
    @pytest.mark.parametrize("method", FORMS)
    def test_a_solve_that_arrives_says_so(self, method):
        values = photograph((*GRID, 3)).astype(np.float32)
        info = usual(PRIORS["rough"], values, method=method).info
        assert info.converged
        assert info.advice == "converged"
        assert info.iterations.shape == info.residual.shape == (3,)
        assert np.all(info.iterations > 0)
        assert np.all(info.residual <= 3 * forms.TOLERANCES[method])

    @pytest.mark.parametrize("method", FORMS)
    def test_a_solve_cut_short_says_so_and_what_to_do(self, method):
        values, mask = photograph(GRID).astype(np.float32), random_mask(GRID, 0.5)
        info = usual(
            PRIORS["smooth"], values, mask, NOISE, method=method, max_iterations=1
        ).info
        assert not info.converged
        assert int(info.code) == system.ITERATION_LIMIT
        assert "max_iterations" in info.advice
        assert np.all(info.iterations == 1)
        assert np.all(info.residual > 3 * forms.TOLERANCES[method])

    @pytest.mark.parametrize("method", FORMS)
    def test_more_steps_leave_a_smaller_residual(self, x64, method):
        values, mask = photograph(GRID), random_mask(GRID, 0.5)
        infos = [
            precise(PRIORS["rough"], values, mask, method=method, tolerance=t).info
            for t in (1e-2, 1e-5, 1e-8)
        ]
        residuals = [float(info.residual[0]) for info in infos]
        steps = [int(info.iterations[0]) for info in infos]
        assert steps == sorted(set(steps))
        np.testing.assert_array_less(residuals, [1.01e-2, 1.01e-5, 1.01e-8])

    @pytest.mark.parametrize("method", FORMS)
    def test_a_covariance_that_the_torus_cuts_is_reported(self, method):
        values = photograph(GRID).astype(np.float32)
        long = kernels.gaussian(20.0)
        info = gp.condition(long, values, None, 0.5, method=method, reach=2).info
        assert int(info.code) == system.COVARIANCE_CUT
        assert info.covariance_error > system.LARGEST_COVARIANCE_ERROR
        assert "reach" in info.advice

    @pytest.mark.parametrize("method", FORMS)
    def test_a_mean_that_is_not_finite_is_reported(self, method):
        # Traced, so that nothing is said before; finite, but their squares are not.
        @jax.jit
        def condition(values):
            return gp.condition(
                PRIORS["smooth"],
                values,
                noise_std=1.0,
                channels=gp.ChannelModel(jnp.eye(1), jnp.ones(1)),
                method=method,
                reach=26,
                max_iterations=5000,
            ).info

        values = np.linspace(0, 3e38, np.prod(GRID), dtype=np.float32)
        info = condition(values.reshape(*GRID, 1))
        assert int(info.code) == system.NOT_FINITE
        assert not info.converged
        assert "not finite" in info.advice

    def test_an_observation_that_is_not_finite_is_refused(self):
        values = jnp.full((*GRID, 1), jnp.nan)
        broken = Observation(values, jnp.ones(GRID), jnp.ones(GRID))
        with pytest.raises(ValueError, match="values: expected finite"):
            gp.condition(PRIORS["smooth"], observation=broken)

    def test_a_dense_solve_takes_no_steps(self):
        values = photograph(GRID).astype(np.float32)
        info = usual(PRIORS["rough"], values, None, NOISE, method="dense").info
        assert info.converged
        assert np.all(info.iterations == 0)
        assert np.all(info.residual < 1e-5)


class TestTolerance:
    def test_each_form_may_have_its_own(self):
        values = photograph(GRID).astype(np.float32)
        told = {"weights": 0.03}
        for method, expected in (
            ("automatic", 0.03),
            ("weights", 0.03),
            ("field", forms.TOLERANCES["field"]),
        ):
            found = usual(PRIORS["rough"], values, method=method, tolerance=told)
            assert found.system.tolerance == expected

    @pytest.mark.parametrize("told", [{"weights": 2.0}, {"cholesky": 0.1}], ids=str)
    def test_one_that_makes_no_sense_is_refused(self, told):
        with pytest.raises(ValueError, match=r"^tolerance: "):
            usual(PRIORS["rough"], photograph(GRID), tolerance=told)

    def test_it_has_an_equal_in_the_other_form(self):
        values = photograph(GRID).astype(np.float32)
        found = usual(PRIORS["rough"], values, method="field", tolerance=1e-3).system
        assert found.tolerance_of("field") == 1e-3
        assert found.tolerance_of("weights") == pytest.approx(1e-5)


class TestErrors:
    VALUES = np.zeros((4, 5, 3), np.float32)

    @pytest.mark.parametrize(
        ("named", "arguments"),
        [
            ("mask", {"mask": np.ones((5, 4))}),
            ("mask", {"mask": np.zeros((4, 5))}),
            ("noise_std", {"noise_std": 0.0}),
            ("noise_std", {"noise_std": np.ones(5)}),
            ("noise_std", {"noise_std": None}),
            ("values", {"values": None}),
            ("values", {"values": np.zeros(5, np.float32)}),
            ("values", {"values": np.full((4, 5), np.nan, np.float32)}),
            ("method", {"method": "cholesky"}),
            ("tolerance", {"tolerance": 0.0}),
            ("tolerance", {"tolerance": 1.0}),
            ("max_iterations", {"max_iterations": 0}),
            ("reach", {"reach": 0}),
            ("covariance", {"covariance": [kernels.white()] * 2}),
            (
                "channels",
                {"channels": gp.ChannelModel(np.eye(2), np.ones(2))},
            ),
            (
                "observation",
                {"observation": observe(VALUES, noise_std=1.0)},
            ),
        ],
    )
    def test_they_name_the_argument(self, named, arguments):
        good = {
            "covariance": kernels.white(),
            "values": self.VALUES,
            "mask": None,
            "noise_std": 0.1,
        }
        with pytest.raises(ValueError, match=rf"^(\w+, )*{named}(, \w+)*:"):
            gp.condition(**(good | arguments))

    def test_something_that_is_no_covariance_is_a_type_error(self):
        with pytest.raises(TypeError, match=r"^covariance: "):
            gp.condition(1.0, self.VALUES, noise_std=0.1)
