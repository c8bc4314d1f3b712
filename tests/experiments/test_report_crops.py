"""Windows that a report looks at closely."""

import itertools

import numpy as np
import pytest

from experiments import report_crops
from experiments.report_crops import Window


class TestChoose:
    def test_the_largest_comes_first_and_the_next_is_elsewhere(self):
        amount = np.zeros((120, 150))
        amount[30:40, 50:60] = 5.0
        amount[41:45, 60:64] = 4.0  # beside the first
        amount[100:110, 5:15] = 1.0
        first, second, third = report_crops.choose(amount)
        assert first.side == 20
        assert first.of(amount).sum() == 500 + 16 * 4
        assert second.of(amount).sum() == 100
        assert third.of(amount).sum() == 0

    @pytest.mark.parametrize("shape", [(5, 9), (16, 16), (17, 400), (1, 1)])
    def test_windows_are_inside_and_apart_whatever_the_picture(self, shape):
        amount = np.random.default_rng(0).uniform(size=shape)
        windows = report_crops.choose(amount)
        assert windows
        for window in windows:
            assert window.of(amount).shape == (window.side, window.side)
        for one, other in itertools.pairwise(windows):
            apart = max(abs(one.row - other.row), abs(one.column - other.column))
            assert apart >= 2 * one.side

    def test_a_window_is_where_it_says(self):
        image = np.arange(60).reshape(6, 10)
        assert Window(2, 3, 2).of(image).tolist() == [[23, 24], [33, 34]]


class TestImportance:
    images = tuple(np.full((4, 4, 3), level) for level in (0.25, 0.75))
    std = np.full((4, 4), 0.5)

    @pytest.mark.parametrize(
        ("restored", "truth", "std", "observed", "rule", "amount"),
        [
            (images, images[0], std, images[0], "the methods differ", 0.0625),
            (images[:1], images[1], std, images[0], "the error is", 0.25),
            (images[:1], None, std, images[1], "the standard deviation", 0.25),
            (images[:1], None, None, images[1], "and observation differ", 0.25),
            (images[:1], None, None, None, "is farthest from its mean", 0.0),
        ],
        ids=["methods", "truth", "std", "observed", "alone"],
    )
    def test_the_rule_takes_the_first_that_is_known(
        self, restored, truth, std, observed, rule, amount
    ):
        words, found = report_crops.importance(restored, truth, std, observed)
        assert rule in words
        np.testing.assert_allclose(found, np.full((4, 4), amount))
