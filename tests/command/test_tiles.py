import dataclasses

import jax
import numpy as np
import pytest
import scipy.ndimage
from small_pictures import load, noisy, save

from dipgp.command import memory, options, problems, process, tiles
from dipgp.command.main import run
from dipgp.observations import Observation
from dipgp.photographs import read

# Tiled and whole pictures are so many grey levels of 255 apart at most.
APART = 0.5


@pytest.mark.parametrize(
    ("size", "factor", "margin"),
    [
        (4000, 1, 42),
        (6001, 1, 42),
        (700, 4, 15),
        (130, 16, 3),
        (1100, 1, 40),
        (5, 1, 9),
    ],
)
def test_tiles_share_a_picture_away_from_their_cuts(size, factor, margin):
    cut = tiles.lay((size, 3), factor, margin)
    total = np.zeros((factor * size, factor * 3, 1))
    for tile in cut:
        tile.add(total, np.ones((len(tile.down), len(tile.right), 1)))
        rows, taken = tile.rows, tile.taken[0]
        assert rows.start == 0 or taken.start - rows.start >= margin
        assert rows.stop == size or rows.stop - taken.stop >= margin
        assert tile.columns == slice(0, 3)
    np.testing.assert_allclose(total, 1, atol=1e-6)
    assert len({tile.rows.stop - tile.rows.start for tile in cut}) == 1
    assert len(cut[0].down) <= tiles.ADDED + 2 * factor * (margin + 1) + tiles.RAMP


def test_a_small_picture_is_one_tile():
    (tile,) = tiles.lay((30, 40), 2, None)
    assert tile.place == tile.taken == (slice(0, 30), slice(0, 40))
    assert (tile.down == 1).all()


@pytest.fixture
def large(truth) -> np.ndarray:
    """(128, 160, 1): several tiles."""
    picture = np.kron(truth[:, :, :1], np.ones((4, 4, 1)))
    return scipy.ndimage.gaussian_filter(picture, (2, 2, 0))


@pytest.fixture
def several(monkeypatch):
    """Has pictures cut into several tiles, where it is called."""

    def cut():
        monkeypatch.setattr(tiles, "LARGEST_WHOLE", 500)
        monkeypatch.setattr(tiles, "ADDED", 40)

    return cut


def both_ways(path, several, *more, mask=None, std=False):
    """The restoration of a whole picture, that by tiles, and the problem."""
    order = options.parse([*more, str(path), "-o", "out.png"])
    problem = problems.pose(order, read(path), mask)
    key, news = jax.random.key(0), []

    def report(text, fraction=None):
        news.append(text)

    whole = process.restore(problem, 0.05, std, key, report)
    assert not any(text.startswith("tile ") for text in news)
    several()
    tiled = process.restore(problem, 0.05, std, key, report)
    assert whole.converged
    assert tiled.converged
    return whole, tiled, problem, [text for text in news if text.startswith("tile ")]


def apart(one, other, where=...):
    return 255 * np.max(np.abs(one - other)[where])


def test_no_seam_is_seen(tmp_path, large, several):
    alpha = np.ones_like(large)
    alpha[:, 70:] = 0  # some tiles of it
    seen = np.concatenate([noisy(large, 0.05), alpha], axis=2)
    save(tmp_path / "in.png", seen)
    whole, tiled, _, news = both_ways(tmp_path / "in.png", several, "denoise")
    assert 2 < len(news) < int(news[0].split()[3].strip(":"))
    shown = alpha[:, :, 0] == 1
    assert apart(whole.mean, tiled.mean, shown) < APART
    assert apart(whole.mean, large, shown) > 5 * APART


def test_a_hole_is_filled_in_from_all_sides(tmp_path, large, several):
    save(tmp_path / "in.png", large)
    missing = np.zeros((128, 160, 1))
    missing[30:34, 20:36] = 1
    save(tmp_path / "mask.png", missing)
    mask = tmp_path / "mask.png"
    inpaint = ("inpaint", f"--mask={mask}")
    whole, tiled, problem, news = both_ways(
        tmp_path / "in.png", several, *inpaint, mask=mask
    )
    assert problem.hole == 2
    # Tiles where nothing is missing are left as they are.
    assert news
    assert len(news) < len(process._cut(problem, (12, 12)))
    hole = missing[:, :, 0] == 1
    assert apart(whole.mean, tiled.mean, hole) < APART
    assert apart(tiled.mean, large, hole) < 64


@pytest.mark.slow
@pytest.mark.parametrize(
    "task", ["upscale --factor=2", "deblur --gaussian=1", "deblur --motion=5"]
)
def test_no_seam_is_seen_through_a_map(tmp_path, large, several, task):
    save(tmp_path / "in.png", large)
    whole, tiled, problem, news = both_ways(
        tmp_path / "in.png", several, *task.split(), "--noise=1"
    )
    assert len(news) > 2
    assert whole.mean.shape == tiled.mean.shape == problem.shown_shape
    assert apart(whole.mean, tiled.mean) < APART


@pytest.mark.slow
def test_deviations_have_no_seam(tmp_path, large, several):
    known = np.random.default_rng(0).random(large.shape) > 0.5
    save(tmp_path / "in.png", np.concatenate([large, known], axis=2))
    whole, tiled, _, _ = both_ways(tmp_path / "in.png", several, "denoise", std=True)
    # Random signs differ.
    np.testing.assert_allclose(tiled.std, whole.std, rtol=0.5)
    assert np.mean(tiled.std) == pytest.approx(np.mean(whole.std), rel=0.01)


@pytest.mark.slow
def test_a_picture_is_cut_alike_whatever_goes_on_beside_it(
    tmp_path, large, several, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    several()
    for name in "ab":
        save(tmp_path / f"{name}.png", noisy(large, 0.05))
    pictures = []
    for folder, free in (("one", 1e12), ("other", 2e9)):
        monkeypatch.setattr(memory, "available", lambda free=free: free)
        assert run(["denoise", "a.png", "b.png", "-o", folder, "--noise=13"]) == 0
        pictures.append(load(tmp_path / folder / "a.png")[0])
    np.testing.assert_array_equal(*pictures)


@pytest.fixture
def sized(tmp_path, truth):
    """Makes problems of large pictures, without their memory."""
    save(tmp_path / "in.png", truth)
    order = options.parse(["denoise", str(tmp_path / "in.png"), "-o", "out.png"])
    problem = problems.pose(order, read(tmp_path / "in.png"), None)

    def make(size, **more):
        ones = np.broadcast_to(np.float32(1), (size, size))
        whole, shape = slice(0, size), (size, size, 3)
        seen = Observation(np.broadcast_to(np.float32(0.5), shape), ones, ones)
        return dataclasses.replace(
            problem, observation=seen, shape=shape, inner=(whole, whole), **more
        )

    return make


def test_memory_is_bounded_by_tiles_and_arrays(sized, monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: np.inf)

    def beside_arrays(size):
        arrays = memory.of_arrays(3 * size**2, 3 * size**2, std=False)
        return process.announce(sized(size), std=False) - arrays

    assert beside_arrays(6000) == pytest.approx(beside_arrays(3000), rel=0.2)
    assert beside_arrays(6000) < 1.2e9


def test_holes_that_are_too_wide_are_refused(sized, monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 2e9)
    process.announce(sized(3000, hole=20.0), std=False)
    with pytest.raises(
        ValueError, match=r"with holes 1400 pixels wide, .* smaller hole"
    ):
        process.announce(sized(3000, hole=700.0), std=False)
