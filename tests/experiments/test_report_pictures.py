"""Pictures as text in a page."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from experiments import report_pictures


def decoded(embedded):
    content = base64.b64decode(embedded.uri.partition(",")[2], validate=True)
    with Image.open(io.BytesIO(content)) as picture:
        return np.asarray(picture.convert("RGB"), float)


@pytest.mark.parametrize("channels", [1, 3])
def test_small_pictures_are_exact(channels):
    image = np.random.default_rng(0).uniform(-0.1, 1.1, size=(30, 40, channels))
    embedded = report_pictures.embed_image(image)
    assert (embedded.width, embedded.height) == (40, 30)
    assert embedded.lossless
    assert not embedded.scaled
    exact = np.broadcast_to(np.round(np.clip(image, 0, 1) * 255), (30, 40, 3))
    np.testing.assert_array_equal(decoded(embedded), exact)


def test_large_pictures_are_compressed_and_keep_the_colour_of_single_pixels():
    image = np.random.default_rng(0).uniform(size=(512, 512, 3))
    image *= np.random.default_rng(1).uniform(size=(512, 512, 1)) < 0.5
    embedded = report_pictures.embed_image(image)
    assert not embedded.lossless
    assert len(embedded.uri) < 900_000
    assert np.sqrt(np.mean((decoded(embedded) - 255 * image) ** 2)) < 8


def test_long_sides_are_scaled_down():
    embedded = report_pictures.embed_image(np.full((10, 3000, 1), 0.5), 300)
    assert (embedded.width, embedded.height) == (300, 1)
    assert embedded.scaled


def test_a_map_grows_lighter_from_0_to_its_limit():
    values = np.linspace(0, 2, 200)[None, :].repeat(4, axis=0)
    colours = decoded(report_pictures.embed_map(values, limit=1.0))[0]
    lightness = colours @ [0.2126, 0.7152, 0.0722]
    assert np.all(np.diff(lightness) >= 0)
    assert len(np.unique(lightness[:100])) > 50
    np.testing.assert_array_equal(colours[100:], np.tile(colours[-1], (100, 1)))
    first, last = (report_pictures.colour_stops()[place] for place in (0, -1))
    for stop, colour in ((first, colours[0]), (last, colours[-1])):
        assert stop == "rgb({:.0f} {:.0f} {:.0f})".format(*colour)


def test_a_map_of_nothing_is_dark():
    embedded = report_pictures.embed_map(np.zeros((5, 5)), limit=0.0)
    assert decoded(embedded).max() < 40
