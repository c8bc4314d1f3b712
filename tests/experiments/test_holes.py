import hashlib

import jax
import numpy as np
import pytest
import scipy.ndimage

from experiments import holes

SHAPE = (120, 160)


@pytest.mark.parametrize("draw", [holes.text, holes.region], ids=["text", "region"])
def test_the_key_says_where_it_is_and_the_fraction_how_much(draw):
    masks = [draw(jax.random.key(seed), SHAPE, 0.05) for seed in (0, 0, 1, 2)]
    np.testing.assert_array_equal(masks[0], masks[1])
    assert (masks[0] != masks[2]).any()
    for mask in masks:
        assert mask.shape == SHAPE
        assert mask.dtype == bool
        # The last word may be one too many.
        assert 0.048 < 1 - mask.mean() < 0.065


def test_text_is_the_same_on_every_machine():
    missing = ~holes.text(jax.random.key(0), SHAPE, 0.05)
    assert missing.sum() == 960
    digest = hashlib.sha256(np.packbits(missing).tobytes()).hexdigest()
    assert digest.startswith("83b6179ff4627cdf")


def test_text_is_thin_and_all_over_the_picture():
    missing = ~holes.text(jax.random.key(0), SHAPE, 0.05)
    assert scipy.ndimage.distance_transform_edt(missing).max() < 3
    _, letters = scipy.ndimage.label(missing)
    assert letters > 20
    rows = np.nonzero(missing.any(axis=1))[0]
    assert np.ptp(rows) > SHAPE[0] / 3


@pytest.mark.parametrize("fraction", [0.02, 0.3, 0.95])
def test_a_region_is_one_rectangle(fraction):
    missing = ~holes.region(jax.random.key(5), SHAPE, fraction)
    assert missing.mean() == pytest.approx(fraction, rel=0.05)
    (part,) = scipy.ndimage.find_objects(missing.astype(int))
    assert missing[part].all()


def test_more_text_than_fits_is_refused():
    with pytest.raises(ValueError, match=r"drop_fraction: expected at most 0\.\d+, wh"):
        holes.text(jax.random.key(0), SHAPE, 0.5)


def test_a_region_leaves_something():
    with pytest.raises(ValueError, match=r"drop_fraction: 0\.99 left none of 2x2"):
        holes.region(jax.random.key(0), (2, 2), 0.99)
