"""Both rules see the same file, and coarse coding tells them apart."""

import json

import numpy as np
import pytest
import skimage.data

from benchmarks import noise_of_jpegs


def ramp():
    return np.full((64, 96), 64, np.uint8) + np.arange(96, dtype=np.uint8)


def test_errors_are_told_by_quality_and_rule(monkeypatch, tmp_path):
    monkeypatch.setattr(skimage.data, "moon", ramp)
    text = noise_of_jpegs.run(["moon"], [10.0], [75, 95], 96, tmp_path)
    coarse, fine = json.loads((tmp_path / "noise_of_jpegs.json").read_text())["rows"]
    assert coarse["quality"] == 75
    assert coarse["10: command"] < 2 < 5 < coarse["10: finest"]
    assert fine["10: command"] == fine["10: finest"] < 2
    assert "on average over moon." in text


def test_estimates_are_in_grey_levels():
    found = noise_of_jpegs.estimates(ramp()[:, :, None] / 255, 10, 100)
    assert found["command"] == pytest.approx(10, rel=0.15)
