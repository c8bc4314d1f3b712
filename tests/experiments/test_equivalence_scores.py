import math

import numpy as np
import pytest

from experiments.equivalence_scores import (
    Estimate,
    noise_variance,
    power_law,
    relative_rmse,
    squared_distance,
)


class TestSquaredDistance:
    def test_it_has_no_bias_by_the_chains_noise(self):
        random = np.random.default_rng(0)
        offset, noise, replicates = 0.1, 0.5, 4000
        found = [
            squared_distance(offset + noise * random.normal(size=(3, 2)), np.zeros(2))
            for _ in range(replicates)
        ]
        error = np.std(found) / math.sqrt(replicates)
        assert abs(np.mean(found) - offset**2) < 4 * error
        # What is free of bias is far from sure of the sign of a single one.
        assert np.min(found) < 0

    def test_chains_that_agree_have_the_plain_mean_square(self):
        chains = np.tile([1.0, 3.0], (4, 1))
        assert squared_distance(chains, np.zeros(2)) == pytest.approx(5)

    def test_the_noise_is_that_of_the_chains_mean(self):
        random = np.random.default_rng(1)
        chains = random.normal(size=(4, 20_000))
        # A variance of 1 over 4 chains, known from 3 degrees of freedom a point.
        limit = 4 * 0.25 * math.sqrt(2 / 3 / 20_000)
        assert abs(noise_variance(chains) - 0.25) < limit


class TestRelativeRmse:
    def test_it_is_the_root_of_the_ratio_of_means(self):
        found = relative_rmse([0.04, 0.04, 0.04], [1.0, 2.0, 3.0])
        assert found.value == pytest.approx(math.sqrt(0.02))
        assert found.error == pytest.approx(0)

    def test_its_error_is_the_spread_over_replicates(self):
        random = np.random.default_rng(2)
        found = [
            relative_rmse(0.09 + 0.01 * random.normal(size=10), np.ones(10))
            for _ in range(500)
        ]
        spread = np.std([one.value for one in found])
        told = np.sqrt(np.mean([one.error**2 for one in found]))
        # A standard deviation of 500 values is known to 1 / sqrt(1000).
        assert told == pytest.approx(spread, rel=0.15)

    def test_a_mean_below_zero_is_no_distance(self):
        value, error = relative_rmse([-0.02, 0.01], [1.0, 1.0])
        assert value == 0
        assert error == pytest.approx(math.sqrt(0.015))

    def test_one_replicate_has_no_error(self):
        assert math.isnan(relative_rmse([0.01], [1.0]).error)


class TestPowerLaw:
    def test_it_finds_the_exponent(self):
        widths = [16, 32, 64, 128]
        exact = [Estimate(3 / width, 0.1 / width) for width in widths]
        assert power_law(widths, exact).value == pytest.approx(-1)

    def test_its_error_covers_the_exponent(self):
        random = np.random.default_rng(3)
        widths, misses = np.array([16.0, 32, 64, 128]), []
        for _ in range(400):
            noisy = np.exp(0.1 * random.normal(size=4)) / np.sqrt(widths)
            fitted = power_law(widths, [Estimate(v, 0.1 * v) for v in noisy])
            misses.append(abs(fitted.value + 0.5) / fitted.error)
        # At least as often as a normal variable, up to 4 binomial standard errors.
        covered = np.mean(np.array(misses) < 1.96)
        assert covered > 0.95 - 4 * math.sqrt(0.95 * 0.05 / 400)

    def test_scatter_beyond_the_errors_widens_it(self):
        tight = [Estimate(v, 1e-6) for v in (1.0, 0.4, 0.3, 0.1)]
        assert power_law([1, 2, 4, 8], tight).error > 0.01

    def test_what_is_lost_in_noise_is_left_out(self):
        points = [Estimate(1.0, 0.1), Estimate(0.0, 0.2), Estimate(0.25, 0.02)]
        assert power_law([1, 2, 4], points).value == pytest.approx(-1)
        assert power_law([1, 2], points[:2]) is None
