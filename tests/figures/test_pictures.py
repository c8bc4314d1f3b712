import numpy as np
import pytest

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
