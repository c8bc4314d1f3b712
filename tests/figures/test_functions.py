import numpy as np
import pytest

from dipgp import figures


class TestBands:
    x = np.linspace(0, 1, 5)
    panel = figures.Panel("posterior", mean=x, std=np.full(5, 0.5))

    def test_bands_reach_one_and_two_standard_deviations(self):
        figure = figures.bands([("row", [self.panel])], self.x)
        (axis,) = figure.axes
        reaches = [
            shade.get_paths()[0].get_extents().intervaly for shade in axis.collections
        ]
        np.testing.assert_allclose(reaches, [[-0.5, 1.5], [-1, 2]])
        assert axis.get_ylabel() == "row"

    def test_truth_and_observations_are_in_panels_with_a_mean_only(self):
        prior = figures.Panel("prior", samples=np.zeros((3, 5)))
        observed = np.arange(5) == 2
        rows = [("", [prior, self.panel])]
        first, second = figures.bands(rows, self.x, self.x**2, observed).axes
        assert len(first.lines) == 3
        labels = {line.get_label(): line for line in second.lines}
        np.testing.assert_array_equal(labels["truth"].get_ydata(), self.x**2)
        np.testing.assert_array_equal(labels["observed"].get_xdata(), [0.5])

    def test_one_legend_explains_all_panels(self):
        rows = [("a", [self.panel] * 2), ("b", [self.panel])]
        figure = figures.bands(rows, self.x, self.x)
        (legend,) = figure.legends
        names = [text.get_text() for text in legend.get_texts()]
        assert sorted(names) == ["1 std", "2 std", "mean", "truth"]

    def test_posteriors_of_a_row_share_a_scale_apart_from_priors(self):
        prior = figures.Panel("prior", samples=100 * self.x[None])
        high = figures.Panel("posterior", mean=self.x + 7)
        figure = figures.bands([("", [prior, self.panel, high])], self.x)
        limits = [axis.get_ylim() for axis in figure.axes]
        assert limits[1] == limits[2]
        assert limits[0][1] > 99 > limits[2][1] > 7

    def test_what_is_not_finite_is_left_out(self, tmp_path):
        broken = figures.Panel("broken", mean=self.x * np.nan, std=self.x + np.inf)
        figure = figures.bands([("", [self.panel, broken])], self.x)
        figures.save_figure(tmp_path / "a.png", figure)
        assert (tmp_path / "a.png").stat().st_size > 0

    def test_nothing_to_draw_is_refused(self):
        with pytest.raises(ValueError, match="rows: expected at least one panel"):
            figures.bands([], self.x)
