"""Coverage, densities and errors, by exact numbers and by residuals of known laws."""

import math

import numpy as np
import pytest
import scipy.special

from dipgp.summaries import calibration
from dipgp.summaries.calibration import Residuals
from dipgp.summaries.recalibration import Normal, Quantiles, Student

LEVELS = (0.5, 0.8, 0.95)


def normal_residuals(count=4000, std=1.0, seed=0):
    rng = np.random.default_rng(seed)
    predicted = rng.uniform(0.5, 2, size=count)
    error = std * predicted * rng.standard_normal(count)
    return Residuals(error, predicted, np.arange(count) // 40)


class TestResiduals:
    def test_only_pixels_of_the_mask_count_and_blocks_are_numbered_by_place(self):
        values = np.arange(6 * 5 * 2, dtype=float).reshape(6, 5, 2)
        mask = np.zeros((6, 5))
        mask[0, 1] = mask[5, 4] = 1
        mean, std = np.zeros_like(values), np.full_like(values, 2.0)
        mean[1, 1] = np.nan  # not looked at
        found = calibration.residuals(values, mean, std, mask, block_size=3)
        assert found.error.tolist() == [2, 3, 58, 59]
        assert found.standardised.tolist() == [1, 1.5, 29, 29.5]
        assert found.block.tolist() == [0, 0, 3, 3]

    def test_grey_images_need_no_channel_axis(self):
        found = calibration.residuals(
            np.ones((2, 3)), np.zeros((2, 3)), np.ones((2, 3)), np.ones((2, 3)), 8
        )
        assert found.error.tolist() == [1] * 6

    @pytest.mark.parametrize(
        ("changes", "sentence"),
        [
            ({"mean": np.zeros((2, 3))}, "of one shape"),
            ({"mask": np.ones((3, 2))}, "of one shape"),
            ({"mask": np.zeros((2, 2))}, "mask: expected at least one pixel"),
            (
                {"block_size": 0},
                "block_size: expected a whole number of at least 1, got 0",
            ),
            ({"std": np.zeros((2, 2))}, "std: .* 4 standard deviations of at most 0"),
            ({"mean": np.full((2, 2), np.nan)}, "mean.*: .* 4 that are not finite"),
        ],
        ids=lambda case: next(iter(case)) if isinstance(case, dict) else "",
    )
    def test_bad_input_is_refused(self, changes, sentence):
        given = {
            "values": np.zeros((2, 2)),
            "mean": np.zeros((2, 2)),
            "std": np.ones((2, 2)),
            "mask": np.ones((2, 2)),
            "block_size": 4,
        }
        with pytest.raises(ValueError, match=sentence):
            calibration.residuals(**(given | changes))


class TestCoverage:
    def test_it_counts_the_values_within_the_normal_quantiles(self):
        sizes = np.array([0.6, -0.7, 1.2, -1.3, 1.9, 2.0])
        found = Residuals(3 * sizes, np.full(6, 3.0), np.zeros(6, int))
        # The quantiles are 0.674, 1.282 and 1.960.
        assert calibration.coverage(found, LEVELS).value.tolist() == [
            1 / 6,
            3 / 6,
            5 / 6,
        ]

    def test_right_predictions_are_covered_as_often_as_they_say(self):
        found = calibration.coverage(normal_residuals(), LEVELS)
        assert np.all(np.abs(found.value - LEVELS) < 4 * found.standard_error)
        binomial = np.sqrt(np.multiply(LEVELS, np.subtract(1, LEVELS)) / 4000)
        np.testing.assert_allclose(found.standard_error, binomial, rtol=0.1)

    def test_half_the_standard_deviation_is_found_out(self):
        found = calibration.coverage(normal_residuals(std=2.0), LEVELS)
        quantiles = scipy.special.ndtri((1 + np.array(LEVELS)) / 2)
        expected = 2 * scipy.special.ndtr(quantiles / 2) - 1
        assert np.all(np.abs(found.value - expected) < 4 * found.standard_error)
        assert np.all(LEVELS - found.value > 20 * found.standard_error)

    def test_another_law_has_other_intervals(self):
        found = calibration.coverage(normal_residuals(std=2.0), LEVELS, Normal(2.0))
        assert np.all(np.abs(found.value - LEVELS) < 4 * found.standard_error)

    def test_where_all_are_covered_the_binomial_error_is_not_zero(self):
        found = Residuals(np.zeros(8), np.ones(8), np.zeros(8, int))
        (error,) = calibration.coverage(found, (0.5,)).standard_error
        assert error == pytest.approx(math.sqrt(0.9 * 0.1 / 8))

    @pytest.mark.parametrize("level", [0.0, 1.0])
    def test_levels_lie_between_none_and_all(self, level):
        with pytest.raises(ValueError, match="levels: expected numbers inside"):
            calibration.coverage(normal_residuals(10), (0.5, level))


class TestBlockErrors:
    def test_copies_of_a_value_count_once(self):
        single = normal_residuals(400)
        alone = single._replace(block=np.arange(400))
        copied = Residuals(*(np.repeat(part, 9) for part in alone))
        once = calibration.coverage(alone, LEVELS)
        often = calibration.coverage(copied, LEVELS)
        np.testing.assert_allclose(often.block_error, once.block_error)
        np.testing.assert_allclose(once.block_error, once.standard_error, rtol=0.04)
        np.testing.assert_allclose(often.standard_error, once.standard_error / 3, 0.04)

    def test_they_are_the_spread_of_means_over_equal_blocks(self):
        found = normal_residuals()
        cost = calibration.negative_log_density(found)
        density = np.log(found.std) + found.standardised**2 / 2
        means = density.reshape(100, 40).mean(axis=1)
        assert cost.block_error == pytest.approx(means.std(ddof=1) / 10)

    def test_one_block_tells_no_spread(self):
        found = normal_residuals(10)._replace(block=np.zeros(10, int))
        assert np.isnan(calibration.coverage(found, LEVELS).block_error).all()


class TestDensity:
    def test_it_is_minus_the_log_of_the_normal_density(self):
        # Standard deviations whose logarithms do not add up to 0.
        found = Residuals(np.array([1.0, 0]), np.array([2.0, 0.25]), np.array([0, 1]))
        expected = (math.log(2) + 1 / 8 + math.log(0.25)) / 2
        expected += math.log(2 * math.pi) / 2
        assert calibration.negative_log_density(found).value == pytest.approx(expected)

    def test_the_right_law_costs_least(self):
        found = normal_residuals(std=1.5)
        laws = (Normal(), Normal(1.5), Student(1.5, 3.0))
        cost = [calibration.negative_log_density(found, law).value for law in laws]
        assert np.argmin(cost) == 1

    def test_quantiles_have_none(self):
        law = Quantiles(np.arange(3.0))
        assert calibration.negative_log_density(normal_residuals(), law) is None


class TestErrorByStd:
    def test_bins_are_in_order_and_errors_are_those_predicted(self):
        found = calibration.error_by_std(normal_residuals(), bins=5)
        assert np.all(np.diff(found.std) > 0)
        # 800 squares of normals a bin: a relative error of the root of 1 / sqrt(1600).
        assert np.all(np.abs(found.error / found.std - 1) < 4 / 40)
        np.testing.assert_allclose(found.standard_error, found.error / 40, rtol=0.25)

    def test_numbers_are_root_mean_squares(self):
        error, std = np.array([3.0, 4, 1, -1]), np.array([2.0, 2, 1, 1])
        found = calibration.error_by_std(Residuals(error, std, np.zeros(4, int)), 2)
        assert found.std.tolist() == [1, 2]
        assert found.error.tolist() == [1, math.sqrt(12.5)]

    @pytest.mark.parametrize("bins", [0, 6])
    def test_a_bin_has_two_values_at_least(self, bins):
        with pytest.raises(ValueError, match="bins: expected from 1 to half of the 10"):
            calibration.error_by_std(normal_residuals(10), bins)


class TestRankCorrelation:
    def test_it_is_one_where_larger_is_larger(self):
        error = np.array([[1.0, -2], [-30, 4]])
        assert calibration.rank_correlation(error, error**2) == pytest.approx(1)

    def test_of_equal_standard_deviations_there_is_none(self):
        assert math.isnan(calibration.rank_correlation(np.arange(3.0), np.ones(3)))
