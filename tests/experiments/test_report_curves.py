"""Curves as geometry: round ticks, gaps, thinning, error bars beside each other."""

import re

import numpy as np
import pytest

from dipgp.figures import Curve
from experiments.report_curves import FRAME, chart, ticks

TITLES = ("iteration", "PSNR [dB]")


def points(path):
    """(N, 2) what a path goes through."""
    return np.array(
        [found.split() for found in re.findall(r"[ML]([^ML]+)", path)], float
    )


class TestTicks:
    @pytest.mark.parametrize(
        ("low", "high", "expected"),
        [
            (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
            (-0.3, 31, [0, 10, 20, 30]),
            (22.2, 22.9, [22.2, 22.4, 22.6, 22.8]),
            (-1e-6, 1e-6, [-1e-6, -5e-7, 0, 5e-7, 1e-6]),
        ],
    )
    def test_they_are_round_and_inside(self, low, high, expected):
        np.testing.assert_allclose(ticks(low, high), expected, atol=1e-12)

    def test_they_are_few(self):
        for high in np.geomspace(1e-5, 1e7, 101):
            assert 2 <= len(ticks(0, high)) <= 7


class TestChart:
    def test_a_line_fills_the_frame(self):
        drawn = chart("a", [Curve("gp", np.arange(3.0), np.array([1.0, 2, 5]))], TITLES)
        x, y = points(drawn.strokes[0].path).T
        ends = (FRAME.left, FRAME.width - FRAME.right)
        np.testing.assert_allclose(x, [ends[0], sum(ends) / 2, ends[1]], atol=0.1)
        assert FRAME.top < y[2] < y[1] < y[0] < FRAME.height - FRAME.bottom
        # In proportion: 1 to 2 takes a third of what 2 to 5 does.
        assert (y[1] - y[2]) / (y[0] - y[1]) == pytest.approx(3, abs=0.02)
        assert "gp ends at 5" in drawn.description

    def test_a_logarithmic_axis_spreads_the_first_steps(self):
        x = np.array([1.0, 10, 100])
        drawn = chart("a", [Curve("gp", x, x)], TITLES, logarithmic=True)
        places = points(drawn.strokes[0].path)[:, 0]
        assert places[1] - places[0] == pytest.approx(places[2] - places[1], abs=0.2)
        labels = [text for _, text in drawn.x_ticks]
        assert labels == ["1", "2", "5", "10", "20", "50", "100"]

    def test_what_is_not_finite_is_a_gap(self):
        y = np.array([1.0, 2, np.nan, 3, 4])
        drawn = chart("a", [Curve("gp", np.arange(5.0), y)], TITLES)
        assert drawn.strokes[0].path.count("M") == 2
        assert len(points(drawn.strokes[0].path)) == 4
        nothing = Curve("gp", np.arange(5.0), np.full(5, np.nan))
        assert chart("a", [nothing], TITLES) is None
        assert chart("a", [], TITLES) is None

    def test_long_curves_keep_their_ends_in_few_points(self):
        x = np.arange(1.0, 50_001)
        drawn = chart("a", [Curve("gp", x, np.log(x))], TITLES, logarithmic=True)
        places = points(drawn.strokes[0].path)[:, 0]
        assert 200 < len(places) <= 300
        np.testing.assert_allclose(
            places[[0, -1]], [FRAME.left, FRAME.width - FRAME.right], atol=0.1
        )

    def test_a_constant_and_a_single_point_have_room(self):
        drawn = chart("a", [Curve("gp", np.ones(1), np.ones(1))], TITLES)
        assert np.isfinite(points(drawn.strokes[0].path)).all()
        assert drawn.x_ticks
        assert drawn.y_ticks

    def test_what_is_far_below_the_best_is_cut_off(self):
        y = np.array([-80.0, 20, 30])
        drawn = chart("a", [Curve("gp", np.arange(3.0), y)], TITLES, tallest=20)
        assert [text for _, text in drawn.y_ticks] == ["10", "15", "20", "25", "30"]

    def test_error_bars_stand_aside_and_lines_to_compare_with_have_no_colour(self):
        x, y = np.arange(3.0), np.arange(3.0)
        bars = [Curve(name, x, y, error=np.ones(3)) for name in ("a", "b")]
        drawn = chart("t", [Curve("nominal", x, y), *bars], TITLES, reference="nominal")
        assert drawn.legend == [("nominal", None), ("a", 0), ("b", 1)]
        nominal, first, second = drawn.strokes
        assert first.path == ""
        assert first.bars.count("M") == 3
        apart = np.array([p[0] for p in second.points]) - [p[0] for p in first.points]
        np.testing.assert_allclose(apart, 5, atol=0.11)
        assert first.points[1][2] == "a: 1, 1 ± 1"
        assert nominal.points == []
