from typing import get_args

import jax.numpy as jnp
import numpy as np
import pytest

from dipgp.observations import BayerMosaic
from dipgp.observations.mosaic import Pattern
from experiments import interpolated_mosaic

BOTH = [interpolated_mosaic.bilinear, interpolated_mosaic.gradient_corrected]
INNER = np.s_[2:-2, 2:-2]
PATTERNS = pytest.mark.parametrize("pattern", get_args(Pattern))


def see(image, pattern):
    mosaic = BayerMosaic(pattern)
    return np.asarray(mosaic(jnp.asarray(image, jnp.float32))), mosaic


@PATTERNS
@pytest.mark.parametrize("interpolate", BOTH)
def test_colours_without_detail_come_back_up_to_the_border(interpolate, pattern):
    image = np.broadcast_to([0.2, 0.5, 0.9], (7, 6, 3))
    np.testing.assert_allclose(interpolate(*see(image, pattern)), image, atol=1e-6)


@PATTERNS
@pytest.mark.parametrize("interpolate", BOTH)
def test_slopes_come_back_away_from_the_border(interpolate, pattern):
    rows, columns = np.indices((9, 8)) / 20
    image = np.stack([rows, rows - 2 * columns, 0.3 + columns], axis=-1)
    found = interpolate(*see(image, pattern))
    np.testing.assert_allclose(found[INNER], image[INNER], atol=1e-6)


@PATTERNS
@pytest.mark.parametrize("interpolate", BOTH)
def test_what_was_seen_stays(interpolate, pattern):
    image = np.random.default_rng(0).random((9, 8, 3))
    seen, mosaic = see(image, pattern)
    again = mosaic(jnp.asarray(interpolate(seen, mosaic), jnp.float32))
    np.testing.assert_allclose(again, seen, atol=1e-6)


@PATTERNS
def test_the_correction_knows_detail_that_colours_share(pattern):
    rows, columns = np.indices((16, 15))
    grey = np.sin(1.3 * rows) + np.sin(1.4 * columns)
    image = np.repeat(grey[:, :, None], 3, axis=2)
    plain, corrected = (
        np.abs(interpolate(*see(image, pattern)) - image)[INNER].mean(axis=(0, 1))
        for interpolate in BOTH
    )
    assert np.all(corrected < 0.6 * plain)
