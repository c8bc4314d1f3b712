import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from dipgp import figures

COLOUR = np.random.default_rng(0).uniform(size=(20, 30, 3))


def test_images_stand_side_by_side_under_their_titles():
    figure = figures.panels([("colour", COLOUR), ("grey", COLOUR[:, :, :1])])
    assert [axis.get_title() for axis in figure.axes] == ["colour", "grey"]
    assert not any(axis.axison for axis in figure.axes)


def test_grey_is_drawn_from_zero_to_one_whatever_the_image_holds():
    figure = figures.panels([("dim", COLOUR[:, :, 0] * 0.1)])
    assert figure.axes[0].images[0].get_clim() == (0, 1)


def test_intensities_beyond_white_and_black_are_clipped():
    figure = figures.panels([("loud", COLOUR * 4 - 2)])
    drawn = figure.axes[0].images[0].get_array()
    np.testing.assert_array_equal(drawn, np.clip(COLOUR * 4 - 2, 0, 1))


def test_error_maps_are_symmetric_and_average_channels():
    error = COLOUR - 0.7
    figure = figures.panels([("image", COLOUR)], [("error", error)])
    drawn = figure.axes[1].images[0]
    np.testing.assert_allclose(drawn.get_array(), error.mean(axis=2))
    limit = np.abs(error.mean(axis=2)).max()
    np.testing.assert_allclose(drawn.get_clim(), (-limit, limit))


def test_no_error_at_all_can_be_drawn():
    figure = figures.panels([], [("error", np.zeros((4, 4)))])
    assert figure.axes[0].images[0].get_clim() == (-1, 1)


def test_all_panels_have_one_size_beside_the_colour_bar():
    figure = figures.panels([("a", COLOUR), ("b", COLOUR)], [("error", COLOUR)])
    figure.canvas.draw()
    sizes = [axis.get_window_extent().size for axis in figure.axes[:3]]
    np.testing.assert_allclose(sizes, [sizes[0]] * 3, rtol=1e-3)
    np.testing.assert_allclose(sizes[0][0] / sizes[0][1], 1.5, rtol=1e-3)


def test_different_sizes_are_refused():
    with pytest.raises(ValueError, match="one height and width"):
        figures.panels([("a", COLOUR), ("b", COLOUR[1:])])


def test_nothing_to_draw_is_refused():
    with pytest.raises(ValueError, match="one height and width"):
        figures.panels([])


def test_figures_are_saved_as_png_with_nothing_beside_them(tmp_path):
    figures.save_figure(tmp_path / "a.png", figures.panels([("image", COLOUR)]))
    assert list(tmp_path.iterdir()) == [tmp_path / "a.png"]
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.format == "PNG"
        assert picture.height > 400


def test_pyplot_is_never_imported():
    program = """if True:
        import sys
        from dipgp import figures
        sys.exit("matplotlib.pyplot" in sys.modules)
    """
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


class TestOverview:
    def test_images_maps_and_curves_each_have_their_place(self):
        images = [(name, COLOUR) for name in "abcde"]
        curve = figures.Curve("sgd", np.arange(3), np.array([1.0, 3.0, 2.0]))
        frame = figures.Plot("", [curve], ("iteration", "PSNR [dB]"))
        figure = figures.overview(images, [("std", COLOUR)], [frame])
        titles = [axis.get_title() for axis in figure.axes]
        assert titles[:6] == ["a", "b", "c", "d", "e", "std"]
        plot = figure.axes[-1]
        assert plot.get_xlabel() == "iteration"
        np.testing.assert_array_equal(plot.lines[0].get_ydata(), [1, 3, 2])

    def test_maps_of_deviations_share_a_scale_and_pool_channels(self):
        small, large = np.full((4, 5, 3), 0.1), np.full((4, 5, 3), 0.3)
        small[..., 0] = 0.2
        maps = [("small", small), ("large", large)]
        figure = figures.overview([("image", COLOUR[:4, :5])], maps)
        drawn = [axis.images[0] for axis in figure.axes[1:3]]
        pooled = np.sqrt((0.04 + 0.01 + 0.01) / 3)
        np.testing.assert_allclose(drawn[0].get_array(), np.full((4, 5), pooled))
        for image in drawn:
            np.testing.assert_allclose(image.get_clim(), (0, 0.3))

    def test_curves_of_one_label_share_a_colour_and_a_name(self):
        x = np.arange(3)
        curves = [
            figures.Curve("sgld", x, x + 1.0),
            figures.Curve("sgd", x, x + 2.0),
            figures.Curve("sgld", x, x + 3.0, dashed=True),
        ]
        frame = figures.Plot("", curves, ("iteration", "PSNR [dB]"))
        plot = figures.overview([("image", COLOUR)], (), [frame]).axes[-1]
        first, second, third = plot.lines
        assert first.get_color() == third.get_color() != second.get_color()
        names = [text.get_text() for text in plot.get_legend().get_texts()]
        assert names == ["sgld", "sgd"]

    def test_plots_stand_side_by_side_below_the_images(self):
        curve = figures.Curve("sgd", np.arange(3), np.arange(3.0))
        frames = [figures.Plot(name, [curve], ("x", "y")) for name in "ab"]
        figure = figures.overview([("image", COLOUR)], (), frames)
        figure.canvas.draw()
        image, left, right = (axis.get_position() for axis in figure.axes)
        assert (left.y0, left.height) == pytest.approx((right.y0, right.height))
        assert left.x1 < right.x0
        assert left.y1 < image.y0

    def test_without_plots_there_are_only_images(self):
        assert len(figures.overview([("image", COLOUR)]).axes) == 1

    def test_different_sizes_are_refused(self):
        with pytest.raises(ValueError, match="one height and width"):
            figures.overview([("a", COLOUR)], [("b", COLOUR[1:])])


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
