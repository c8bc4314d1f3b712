import numpy as np
import pytest

from experiments import interpolations, total_variation
from experiments.total_variation import LeastVariation

ROWS, COLUMNS = np.meshgrid(np.arange(12) / 20, np.arange(14) / 20, indexing="ij")
SLOPE = np.stack([ROWS, 0.9 - 0.5 * ROWS - 0.3 * COLUMNS], axis=2)
MASK = np.ones((12, 14), bool)
MASK[4:7, 5:9] = False


@pytest.mark.parametrize("name", interpolations.BASELINES)
def test_what_is_missing_is_not_read_and_what_is_seen_is_kept(name):
    hidden = np.where(MASK[:, :, None], SLOPE, np.nan).astype(np.float32)
    found = interpolations.BASELINES[name](hidden, MASK)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[MASK], SLOPE[MASK], atol=1e-6)


def test_the_smoothest_surface_goes_on_with_a_slope():
    found = interpolations.biharmonic(SLOPE, MASK)
    np.testing.assert_allclose(found, SLOPE, atol=1e-6)


def test_an_image_of_least_variation_that_was_not_reached_is_none(monkeypatch):
    lost = LeastVariation(SLOPE, 1.0, 3, False)
    monkeypatch.setattr(total_variation, "inpaint", lambda *_: lost)
    assert np.isnan(interpolations.least_variation(SLOPE, MASK)).all()
