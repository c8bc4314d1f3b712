"""The posterior mean beside ordinary kriging, and compiled and differentiated."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from posterior_cases import (
    FORMS,
    GRID,
    MASKS,
    NOISE,
    PRIORS,
    assert_near,
    photograph,
    precise,
    usual,
)
from stationary_fields import draw, krige, random_mask

from dipgp import gp, kernels
from dipgp.observations import observe

QUICK = ("rough", "depth 4")


class TestAgainstKriging:
    @pytest.mark.parametrize("method", FORMS)
    @pytest.mark.parametrize("where", MASKS)
    @pytest.mark.parametrize(
        "name",
        [
            # Each is compiled for itself.
            name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)
            for name in PRIORS
        ],
    )
    def test_mean_and_level_are_those_of_ordinary_kriging(
        self, x64, name, where, method
    ):
        values, mask = photograph(GRID), MASKS[where](GRID)
        expected, level = krige(PRIORS[name], values[:, :, None], mask, NOISE)
        posterior = precise(PRIORS[name], values, mask, method=method)
        assert posterior.info.converged
        assert_near(posterior.mean, expected[:, :, 0])
        assert_near(posterior.level, level[0])

    @pytest.mark.parametrize("where", ["half", "one pixel"])
    @pytest.mark.parametrize("name", PRIORS)
    def test_so_are_those_of_the_dense_solution(self, x64, name, where):
        values, mask = photograph(GRID), MASKS[where](GRID)
        expected, level = krige(PRIORS[name], values[:, :, None], mask, NOISE)
        posterior = precise(PRIORS[name], values, mask, method="dense")
        assert_near(posterior.mean, expected[:, :, 0])
        assert_near(posterior.level, level[0])

    @pytest.mark.parametrize("method", [*FORMS, "dense"])
    @pytest.mark.parametrize(
        "shape",
        [(12, 12), (1, 17), pytest.param((16, 1), marks=pytest.mark.slow)],
        ids=str,
    )
    def test_images_may_have_any_size(self, x64, shape, method):
        values, mask = photograph(shape), random_mask(shape, 0.5)
        k = PRIORS["smooth"]
        expected, level = krige(k, values[:, :, None], mask, NOISE)
        posterior = precise(k, values, mask, method=method, reach=None)
        assert posterior.mean.shape == shape
        assert_near(posterior.mean, expected[:, :, 0])
        assert_near(posterior.level, level[0])

    @pytest.mark.parametrize("method", [*FORMS, "dense"])
    def test_noise_may_differ_from_pixel_to_pixel(self, x64, method):
        values, mask = photograph(GRID), random_mask(GRID, 0.6)
        noise = np.random.default_rng(3).uniform(0.02, 0.5, GRID)
        k = PRIORS["depth 4"]
        expected, level = krige(k, values[:, :, None], mask, noise)
        posterior = precise(k, values, mask, noise, method=method)
        assert_near(posterior.mean, expected[:, :, 0])
        assert_near(posterior.level, level[0])

    @pytest.mark.parametrize("method", [*FORMS, "dense"])
    @pytest.mark.parametrize("where", ["everything", "half"])
    def test_colours_are_kriged_together(self, x64, where, method):
        values, mask = photograph((*GRID, 3)), MASKS[where](GRID)
        k = PRIORS["depth 4"]
        model = gp.estimate_channels(observe(values, mask, noise_std=NOISE))
        colours = (model.rotation * model.variances[None]) @ model.rotation.T
        expected, level = krige(k, values, mask, NOISE, colours)
        posterior = precise(k, values, mask, method=method)
        assert_near(posterior.mean, expected)
        assert_near(posterior.level, level)

    @pytest.mark.parametrize("method", [*FORMS, "dense"])
    def test_each_channel_may_have_a_covariance_of_its_own(self, x64, method):
        values, mask = photograph((*GRID, 2)), random_mask(GRID, 0.5)
        each = [PRIORS["smooth"], PRIORS["rough"]]
        apart = gp.ChannelModel(jnp.eye(2), jnp.array([1.0, 0.25]))
        posterior = precise(each, values, mask, channels=apart, method=method)
        for channel, k in enumerate([each[0], kernels.scale(each[1], 0.25)]):
            part = values[:, :, channel : channel + 1]
            expected, level = krige(k, part, mask, NOISE)
            assert_near(posterior.mean[:, :, channel], expected[:, :, 0])
            assert_near(posterior.level[channel], level[0])

    def test_an_observation_says_the_same_as_its_parts(self):
        values, mask = photograph((*GRID, 1)), random_mask(GRID, 0.5)
        observation = observe(values.astype(np.float32), mask, noise_std=NOISE)
        whole = usual(PRIORS["smooth"], None, None, None, observation=observation)
        parts = usual(PRIORS["smooth"], values.astype(np.float32), mask)
        np.testing.assert_array_equal(whole.mean, parts.mean)
        assert whole.mean.shape == (*GRID, 1)
        assert whole.level.shape == (1,)


class TestDefaultTolerance:
    @pytest.mark.parametrize("method", FORMS)
    @pytest.mark.parametrize("name", ["smooth", "depth 4"])
    def test_in_32_bits_the_mean_is_within_a_thousandth_of_the_range(
        self, name, method
    ):
        values, mask = photograph(GRID), random_mask(GRID, 0.5)
        with jax.enable_x64(True):
            expected, _ = krige(PRIORS[name], values[:, :, None], mask, NOISE)
        found = usual(
            PRIORS[name], values.astype(np.float32), mask, NOISE, method=method
        )
        assert found.info.converged
        assert np.sqrt(np.mean((found.mean - expected[:, :, 0]) ** 2)) < 1e-3


@pytest.mark.parametrize("method", [*FORMS, "dense"])
def test_the_dtype_is_that_of_the_values(x64, method):
    values = photograph(GRID)
    for dtype in (np.float32, np.float64):
        posterior = usual(
            PRIORS["smooth"], values.astype(dtype), None, NOISE, method=method
        )
        assert posterior.mean.dtype == dtype
        assert posterior.level.dtype == dtype
        assert posterior.info.residual.dtype == dtype


@pytest.mark.slow
def test_the_mean_has_least_error_among_predictors_in_exact_samples(x64):
    """The residual at hidden pixels is as large as kriging's own variance says."""
    k, noise = PRIORS["depth 4"], 0.1
    mask = random_mask(GRID, 0.5)
    fields = draw(k, GRID, seed=0, count=24)
    grain = np.random.default_rng(1).standard_normal(fields.shape)
    seen = np.moveaxis(fields + noise * grain, 0, -1)
    apart = gp.ChannelModel(jnp.eye(24), jnp.ones(24))

    def error(prior):
        mean = gp.condition(
            prior, seen, mask, noise, channels=apart, method="weights", tolerance=1e-6
        ).mean
        return np.mean(
            (np.moveaxis(np.asarray(mean), -1, 0) - fields)[:, ~mask] ** 2, 1
        )

    right = error(k)
    for wrong in (PRIORS["rough"], kernels.gaussian(0.7), kernels.scale(k, 1e-3)):
        gap = error(wrong) - right
        assert np.mean(gap) > 3 * np.std(gap) / np.sqrt(gap.size)


class TestTransformations:
    @pytest.mark.parametrize("method", FORMS)
    def test_conditioning_may_be_compiled(self, method):
        values, mask = photograph(GRID).astype(np.float32), random_mask(GRID, 0.5)

        def condition(k, values, mask):
            return usual(k, values, mask, method=method)

        plain = condition(PRIORS["smooth"], values, mask)
        compiled = jax.jit(condition)(PRIORS["smooth"], values, mask)
        # Rounding takes the two apart by less than their distance from the limit.
        np.testing.assert_allclose(compiled.mean, plain.mean, rtol=0, atol=1e-3)
        assert compiled.info.converged

    def test_the_reach_is_found_where_a_grey_image_is_traced(self):
        values, mask = photograph(GRID).astype(np.float32), random_mask(GRID, 0.5)

        def mean(values):
            found = usual(PRIORS["smooth"], values, mask, method="weights", reach=None)
            return found.mean

        np.testing.assert_allclose(jax.jit(mean)(values), mean(values), atol=1e-3)

    @pytest.mark.parametrize(
        "method", [pytest.param("weights", marks=pytest.mark.slow), "field"]
    )
    def test_gradients_equal_finite_differences(self, x64, method):
        values, mask = photograph(GRID), random_mask(GRID, 0.5)
        weights = np.random.default_rng(5).standard_normal(GRID)

        def reading(parameters):
            width, amplitude, noise_std = parameters
            k = kernels.scale(kernels.relu(kernels.gaussian(width)), amplitude)
            mean = precise(k, values, mask, noise_std, method=method).mean
            return jnp.sum(mean * weights)

        point, steps = jnp.array([1.3, 0.7, 0.1]), 1e-4 * jnp.eye(3)
        slopes = [(reading(point + h) - reading(point - h)) / 2e-4 for h in steps]
        np.testing.assert_allclose(jax.grad(reading)(point), slopes, rtol=1e-5)
