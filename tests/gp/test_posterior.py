import jax
import jax.numpy as jnp
import numpy as np
import pytest
from stationary_fields import (
    deep_prior,
    draw,
    hourglass,
    krige,
    mask_with_hole,
    random_mask,
)

from dipgp import gp, kernels
from dipgp.gp import forms, system
from dipgp.observations import Observation, observe

FORMS = ("weights", "field")
GRID = (13, 11)
NOISE = 0.05

PRIORS = {
    "white": kernels.white(),
    "smooth": kernels.gaussian(1.5),
    "rough": kernels.matern(0.5, 3.0),
    "depth 1": deep_prior(1, sigma=1.0),
    "depth 4": deep_prior(4),
    "depth 12": deep_prior(12),
    "hourglass": hourglass(),
}
QUICK = ("rough", "depth 4")


def photograph(shape, seed=0):
    """Something with a level, a slope, and grain."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices(shape[:2]) / max(shape)
    slope = 0.2 + 0.5 * rows + 0.1 * np.sin(9 * columns)
    if len(shape) == 3:
        slope = slope[:, :, None] * np.linspace(1.0, 0.6, shape[2])
    return slope + 0.1 * rng.standard_normal(shape)


def single_pixel(shape):
    mask = np.zeros(shape, bool)
    mask[shape[0] // 2, shape[1] // 3] = True
    return mask


MASKS = {
    "everything": lambda shape: np.ones(shape, bool),
    "half": lambda shape: random_mask(shape, 0.5),
    "a tenth": lambda shape: random_mask(shape, 0.1),
    "a hole": mask_with_hole,
    "one pixel": single_pixel,
}


def precise(k, values, mask=None, noise_std=NOISE, **settings):
    """The posterior to nearly all digits, on the torus that all priors fit into."""
    shared = {"tolerance": 1e-11, "max_iterations": 5000, "reach": 26}
    settings = shared | settings
    return gp.condition(k, values, mask, noise_std, **settings)


def usual(k, values, mask=None, noise_std=NOISE, **settings):
    """The posterior to the default tolerance, on the same torus."""
    settings = {"max_iterations": 5000, "reach": 26} | settings
    return gp.condition(k, values, mask, noise_std, **settings)


def assert_near(found, expected, scale=1.0):
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-7 * scale)


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


@pytest.mark.parametrize("method", FORMS)
class TestInvariance:
    def test_a_constant_added_to_the_covariance_changes_nothing(self, x64, method):
        values, mask = photograph(GRID), random_mask(GRID, 0.5)
        k = PRIORS["depth 4"]
        low = precise(k, values, mask, method=method)
        high = precise(kernels.bias(k, 1e6), values, mask, method=method)
        assert_near(high.mean, low.mean, scale=1e-2)
        assert_near(high.level, low.level, scale=1e-2)

    def test_a_constant_added_to_the_image_moves_mean_and_level_with_it(
        self, x64, method
    ):
        values, mask = photograph(GRID), random_mask(GRID, 0.5)
        low = precise(PRIORS["smooth"], values, mask, method=method)
        high = precise(PRIORS["smooth"], values + 7, mask, method=method)
        assert_near(high.mean, low.mean + 7)
        assert_near(high.level, low.level + 7)

    def test_other_units_change_nothing_but_the_units(self, x64, method):
        values, mask = photograph(GRID), random_mask(GRID, 0.5)
        k = PRIORS["smooth"]
        in_ones = precise(k, values, mask, method=method)
        in_bits = precise(
            kernels.scale(k, 255.0**2), 255 * values, mask, 255 * NOISE, method=method
        )
        assert_near(in_bits.mean, 255 * in_ones.mean, scale=255)

    def test_a_flipped_image_has_a_flipped_posterior(self, x64, method):
        values, mask = photograph(GRID), random_mask(GRID, 0.5)
        there = precise(PRIORS["smooth"], values, mask, method=method)
        back = precise(
            PRIORS["smooth"], values[::-1, ::-1], mask[::-1, ::-1], method=method
        )
        assert_near(back.mean[::-1, ::-1], there.mean)

    def test_the_mean_is_linear_in_what_was_seen(self, x64, method):
        mask = random_mask(GRID, 0.5)
        first, second = photograph(GRID, 1), photograph(GRID, 2)
        one, other, both = (
            precise(PRIORS["smooth"], values, mask, method=method).mean
            for values in (first, second, first + 2 * second)
        )
        assert_near(both, one + 2 * other)

    def test_what_the_mask_hides_is_never_read(self, method):
        values, mask = photograph(GRID).astype(np.float32), random_mask(GRID, 0.5)
        garbage = np.where(mask, values, np.nan)
        clean = usual(PRIORS["smooth"], values, mask, NOISE, method=method)
        found = usual(PRIORS["smooth"], garbage, mask, NOISE, method=method)
        np.testing.assert_array_equal(found.mean, clean.mean)


@pytest.mark.parametrize("method", [*FORMS, "dense"])
class TestLimits:
    def test_much_noise_leaves_the_mean_of_what_was_seen(self, x64, method):
        values, mask = photograph(GRID), random_mask(GRID, 0.5)
        posterior = precise(PRIORS["smooth"], values, mask, 1e4, method=method)
        # With K / noise^2 = eps the mean departs by at most its row sums, eps * pixels.
        room = values[mask].size * 1e-8 * 2
        average = values[mask].mean()
        np.testing.assert_allclose(posterior.mean, average, rtol=0, atol=room)
        np.testing.assert_allclose(posterior.level, average, rtol=0, atol=room)

    def test_little_noise_leaves_what_was_seen(self, x64, method):
        values, mask = photograph(GRID), random_mask(GRID, 0.5)
        rough = PRIORS["rough"]
        posterior = precise(rough, values, mask, 1e-5, method=method)
        np.testing.assert_allclose(
            np.asarray(posterior.mean)[mask], values[mask], rtol=0, atol=1e-7
        )

    def test_a_single_pixel_spreads_its_value_everywhere(self, method):
        values = np.full(GRID, 0.25, np.float32)
        posterior = usual(
            PRIORS["smooth"], values, single_pixel(GRID), NOISE, method=method
        )
        np.testing.assert_allclose(posterior.mean, 0.25, rtol=1e-6)
        assert posterior.info.converged

    def test_a_flat_image_stays_flat(self, method):
        values = np.full((*GRID, 3), 0.5, np.float32)
        mask = random_mask(GRID, 0.5)
        posterior = usual(PRIORS["smooth"], values, mask, NOISE, method=method)
        np.testing.assert_allclose(posterior.mean, 0.5, rtol=1e-6)
        assert posterior.info.converged

    def test_a_constant_prior_gives_the_weighted_mean(self, x64, method):
        values, mask = photograph(GRID), random_mask(GRID, 0.5)
        noise = np.random.default_rng(0).uniform(0.1, 1.0, GRID)
        posterior = precise(kernels.constant(1.0), values, mask, noise, method=method)
        expected = np.average(values[mask], weights=noise[mask] ** -2.0)
        np.testing.assert_allclose(posterior.mean, expected, rtol=1e-9)


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
