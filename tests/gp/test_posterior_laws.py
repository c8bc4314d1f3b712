"""What a posterior mean does to other images, units and noises."""

import numpy as np
import pytest
from posterior_cases import (
    FORMS,
    GRID,
    NOISE,
    PRIORS,
    assert_near,
    photograph,
    precise,
    single_pixel,
    usual,
)
from stationary_fields import random_mask

from dipgp import kernels


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
