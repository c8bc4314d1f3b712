import numpy as np
import pytest
from PIL import Image
from small_pictures import save

from dipgp.command import noise, options, problems
from dipgp.photographs import read

STD = 0.04


@pytest.fixture
def picture():
    """(96, 96) with slopes, edges, and a quarter of it in texture."""
    rows, columns = np.indices((96, 96)) / 96
    image = 0.3 + 0.4 * rows * columns
    image[20:60, 40:80] += 0.2
    rng = np.random.default_rng(0)
    image[48:, 48:] += 0.1 * rng.standard_normal((48, 48))
    return image


def estimated(path):
    order = options.parse(["denoise", str(path), "-o", "out.png"])
    problem = problems.pose(order, read(path), None)
    return noise.estimate(problem, lambda news, fraction=None: None)


@pytest.mark.parametrize("std", [0.005, 0.02, 0.08])
def test_noise_is_told_from_edges_and_texture(picture, std):
    draws = np.random.default_rng(1).standard_normal(picture.shape)
    found = noise.by_differences(picture + std * draws, np.ones((96, 96), bool))
    assert found == pytest.approx(std, rel=0.5)
    assert noise.by_differences(picture, np.ones((96, 96), bool)) < 0.002


def test_white_noise_is_told_to_a_few_percent():
    draws = STD * np.random.default_rng(1).standard_normal((200, 100))
    found = noise.by_differences(draws, np.ones(draws.shape, bool))
    assert found == pytest.approx(STD, rel=0.03)


def test_some_rows_of_a_large_picture_do(monkeypatch):
    draws = STD * np.random.default_rng(1).standard_normal((400, 100))
    monkeypatch.setattr(noise, "MOST_PIXELS", 4000)
    found = noise.by_differences(draws, np.ones(draws.shape, bool))
    assert found == pytest.approx(STD, rel=0.1)


def test_what_is_clipped_or_not_seen_does_not_count(tmp_path, picture):
    draws = np.random.default_rng(1).standard_normal(picture.shape)
    picture[48:, 48:] = 0.5
    image = np.clip(picture + STD * draws, 0.01, 0.99)
    image[:, :50] = 1  # without noise, as where too much light fell
    alpha = np.ones_like(image)
    image[:30] = 0.5
    alpha[:30] = 0
    save(tmp_path / "in.png", np.stack([image, alpha], axis=2))
    assert estimated(tmp_path / "in.png") == pytest.approx(STD, rel=0.1)


def test_few_pixels_are_left_to_the_evidence(tmp_path, truth):
    save(tmp_path / "in.png", truth[:2])
    assert 0 < estimated(tmp_path / "in.png") < 0.3
    assert noise.by_differences(truth[:2, :, 0], np.ones((2, 40), bool)) is None


@pytest.mark.parametrize("quality", [75, 95])
def test_noise_that_a_coder_took_from_the_finest_differences_is_found(
    tmp_path, quality
):
    draws = np.random.default_rng(1).standard_normal((96, 96, 1))
    slope = np.linspace(0.3, 0.7, 96)[:, None, None]
    samples = np.round(255 * (slope + STD * draws)).astype(np.uint8)
    path = tmp_path / "in.jpg"
    Image.fromarray(samples[:, :, 0]).save(path, quality=quality)
    coded = read(path).colours[:, :, 0]
    seen = np.ones(coded.shape, bool)
    finest = noise.by_differences(coded, seen)
    if quality == 75:
        assert finest < 0.5 * STD
        assert estimated(path) == pytest.approx(STD, rel=0.2)
    else:
        assert estimated(path) == pytest.approx(finest, rel=1e-3)


def test_little_more_is_not_believed():
    draws = STD * np.random.default_rng(1).standard_normal((80, 80))
    seen = np.ones(draws.shape, bool)
    finest = noise.by_differences(draws, seen)
    assert noise.by_coarser_differences(draws, seen) == finest
    smooth = np.kron(draws[:40, :40], np.ones((2, 2)))
    coarser = noise.by_coarser_differences(smooth, seen)
    assert coarser == noise.by_differences(smooth, seen, lag=2)
    assert coarser == pytest.approx(STD, rel=0.1)
    assert noise.by_coarser_differences(draws[:4], seen[:4]) == noise.by_differences(
        draws[:4], seen[:4]
    )
