import numpy as np
import pytest

from dipgp import figures


class TestPlots:
    x = np.arange(3)

    def test_points_have_the_colour_of_their_line_and_one_name(self):
        line = figures.Curve("a", self.x, self.x**2)
        points = figures.Curve("a", self.x, self.x + 1.0, error=np.full(3, 0.5))
        plot = figures.Plot("above", [line, points], ("lag", "value"))
        below = figures.Plot("below", [points], ("lag", "difference"))
        first, second = figures.plots([[plot], [below]]).axes
        assert (first.get_title(), second.get_title()) == ("above", "below")
        assert second.get_ylabel() == "difference"
        drawn, marks = first.lines[:2]
        assert drawn.get_color() == marks.get_color()
        np.testing.assert_array_equal(marks.get_ydata(), self.x + 1)
        (bars,) = first.collections
        ends = [segment[:, 1] for segment in bars.get_segments()]
        np.testing.assert_array_equal(ends, [(y - 0.5, y + 0.5) for y in (1, 2, 3)])
        names = [text.get_text() for text in first.get_legend().get_texts()]
        assert names == ["a"]

    def test_the_axis_below_alone_is_logarithmic_where_asked_for(self):
        x = np.array([1.0, 10.0])
        plot = figures.Plot(
            "times", [figures.Curve("a", x, x)], ("s", "dB"), logarithmic_below=True
        )
        (axis,) = figures.plots([[plot]]).axes
        assert (axis.get_xscale(), axis.get_yscale()) == ("log", "linear")

    def test_one_legend_stands_below_all_where_asked_for(self):
        curve = figures.Curve("a", self.x[:1], self.x[:1])
        row = [figures.Plot("p", [curve], ("x", "y"))] * 2
        figure = figures.plots([row], legend_below=True)
        assert all(axis.get_legend() is None for axis in figure.axes)
        (legend,) = figure.legends
        assert [text.get_text() for text in legend.get_texts()] == ["a"]
        assert figure.axes[0].lines[0].get_marker() == "o"  # a line would not show

    def test_axes_are_logarithmic_where_asked_for(self):
        curve = figures.Curve("a", self.x, self.x + 1)
        both = [figures.Plot("p", [curve], ("x", "y"), log) for log in (False, True)]
        linear, logarithmic = figures.plots([both]).axes
        assert (linear.get_xscale(), linear.get_yscale()) == ("linear", "linear")
        assert (logarithmic.get_xscale(), logarithmic.get_yscale()) == ("log", "log")

    def test_error_bars_may_be_unsigned(self):
        x = np.arange(3, dtype=np.uint8)
        curve = figures.Curve("a", x, x, error=x)
        (axis,) = figures.plots([[figures.Plot("title", [curve], ("x", "y"))]]).axes
        (bars,) = axis.collections
        heights = [np.ptp(segment[:, 1]) for segment in bars.get_segments()]
        np.testing.assert_allclose(heights, [0, 2, 4])

    def test_labels_are_text(self):
        curve = figures.Curve({}, np.arange(2.0), np.arange(2.0))
        with pytest.raises(TypeError, match="label: expected text"):
            figures.plots([[figures.Plot("title", [curve], ("x", "y"))]])

    def test_the_last_row_may_be_shorter(self):
        plot = figures.Plot("p", [figures.Curve("a", self.x, self.x)], ("x", "y"))
        _, second, third = figures.plots([[plot, plot], [plot]]).axes
        assert third.get_position().x0 < second.get_position().x0

    @pytest.mark.parametrize("rows", [[], [[]], [[1], []], [[1], [1, 1]]])
    def test_rows_of_different_lengths_or_none_are_refused(self, rows):
        with pytest.raises(ValueError, match="rows: expected as many plots in each"):
            figures.plots(rows)
