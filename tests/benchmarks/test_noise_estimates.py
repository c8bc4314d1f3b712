import json
import re

import numpy as np
import pytest
import skimage.data

from benchmarks import noise_estimates
from dipgp.command import noise


@pytest.fixture(autouse=True)
def few_covariances(monkeypatch):
    """Two instead of twelve, each of which is compiled."""
    monkeypatch.setattr(noise, "DEPTHS", (1,))
    monkeypatch.setattr(noise, "SIGMAS", (1.0, 4.0))


def ramp(name="ramp"):
    return np.full((24, 40), 64, np.uint8) + np.arange(40, dtype=np.uint8)


def test_both_rules_find_the_noise_of_a_smooth_picture():
    picture = ramp()[:, :, None] / 255
    found = noise_estimates.estimates(picture, 10)
    # Of 836 differences that depend on their neighbours, and of 960 pixels.
    assert found["differences"] == pytest.approx(10, rel=0.2)
    assert found["evidence"] == pytest.approx(10, rel=0.2)


def test_pictures_that_would_be_downloaded_are_left_out_and_named(
    monkeypatch, tmp_path
):
    def absent():
        raise ModuleNotFoundError("pooch")

    monkeypatch.setattr(skimage.data, "coffee", absent)
    monkeypatch.setattr(skimage.data, "moon", ramp)
    text = noise_estimates.run(["coffee", "moon"], [5.0], 32, tmp_path)
    assert "Not there without a download: coffee." in text
    (moon,) = json.loads((tmp_path / "noise_estimates.json").read_text())["rows"]
    assert moon["picture"] == "moon"
    told = re.search(r"off by ([\d.]+) of 5 by differences, ", text)
    assert float(told[1]) == pytest.approx(abs(moon["5: differences"] - 5), abs=0.011)
    assert (tmp_path / "noise_estimates.md").read_text() == text
