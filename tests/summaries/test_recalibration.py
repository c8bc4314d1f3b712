"""Laws of residuals, estimated from residuals whose law is known."""

import math

import numpy as np
import pytest

from dipgp.summaries import recalibrate
from dipgp.summaries.recalibration import Normal, Quantiles, Student

LEVELS = np.array([0.5, 0.9, 0.99])


def student(count, freedom=3.0, scale=0.5, seed=0):
    return scale * np.random.default_rng(seed).standard_t(freedom, size=count)


def covered(law, residuals):
    return np.mean(np.abs(residuals) <= law.half_widths(LEVELS)[:, None], axis=1)


class TestScale:
    def test_its_square_is_the_mean_square(self):
        assert recalibrate(np.array([3.0, -4]), "scale") == Normal(math.sqrt(12.5))

    def test_the_standard_law_has_the_normal_quantiles(self):
        np.testing.assert_allclose(
            Normal().half_widths(LEVELS), [0.67449, 1.64485, 2.57583], atol=1e-5
        )

    def test_it_cannot_make_heavy_tails_right(self):
        law = recalibrate(student(20_000), "scale")
        share = covered(law, student(20_000, seed=1))
        # Rare large residuals make the variance: too wide inside, too narrow far out.
        assert share[0] > 0.55
        assert share[2] < 0.985


class TestStudent:
    def test_scale_and_freedom_are_found(self):
        law = recalibrate(student(20_000), "student")
        assert isinstance(law, Student)
        # Five standard errors, of Fisher's information at three degrees of freedom.
        assert law.freedom == pytest.approx(3, abs=0.4)
        assert law.scale == pytest.approx(0.5, abs=0.03)

    def test_it_makes_heavy_tails_right(self):
        share = covered(
            recalibrate(student(20_000), "student"), student(20_000, seed=1)
        )
        # Both samples have errors; together sqrt(2) binomial ones, four times.
        error = np.sqrt(2 * LEVELS * (1 - LEVELS) / 20_000)
        assert np.all(np.abs(share - LEVELS) < 4 * error)

    def test_of_normal_residuals_it_is_nearly_normal(self):
        normal = 2 * np.random.default_rng(0).standard_normal(5000)
        law = recalibrate(normal, "student")
        np.testing.assert_allclose(
            law.half_widths(LEVELS), Normal(2).half_widths(LEVELS), rtol=0.06
        )

    def test_its_density_has_the_mass_one(self):
        x = np.linspace(-2000, 2000, 2_000_001)
        density = np.exp(Student(0.5, 3.0).log_density(x))
        assert np.sum(density) * (x[1] - x[0]) == pytest.approx(1, abs=1e-6)


class TestQuantiles:
    def test_they_are_order_statistics_of_the_sizes(self):
        law = recalibrate(np.array([-4.0, 2, 1, -3]), "quantiles")
        widths = law.half_widths(np.array([0.1, 0.2, 0.21, 0.4, 0.8, 0.81]))
        assert widths.tolist() == [1, 1, 2, 2, 4, math.inf]

    def test_a_rank_that_is_whole_survives_rounding(self):
        # Some of 10 times 0.1, 0.2, ... lie above their whole number in floating point.
        law = Quantiles(np.arange(1.0, 10))
        levels = np.cumsum(np.full(9, 0.1))
        assert law.half_widths(levels).tolist() == list(range(1, 10))

    def test_the_next_value_is_covered_as_promised_whatever_the_law(self):
        # Ten held out and one to cover: without ties exactly ceil(11 p) / 11, which is
        # between p and p + 1 / 11.
        drawn = np.abs(np.random.default_rng(0).standard_cauchy((4000, 11)))
        levels = np.array([0.3, 0.5, 0.9])
        laws = [recalibrate(row[:10], "quantiles") for row in drawn]
        half = np.stack([law.half_widths(levels) for law in laws])
        share = np.mean(drawn[:, 10:] <= half, axis=0)
        expected = np.ceil(11 * levels) / 11
        error = np.sqrt(expected * (1 - expected) / 4000)
        assert np.all(np.abs(share - expected) < 4 * error)


@pytest.mark.parametrize(
    ("residuals", "form", "sentence"),
    [
        ([1.0], "box", "form: expected one of scale, student, quantiles, got 'box'"),
        ([], "quantiles", "at least one finite residual"),
        ([math.nan], "scale", "at least one finite residual"),
        ([0.0, 0.0], "student", "got zeros only"),
    ],
)
def test_what_tells_no_law_is_refused(residuals, form, sentence):
    with pytest.raises(ValueError, match=sentence):
        recalibrate(np.array(residuals), form)
