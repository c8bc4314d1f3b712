import contextlib
import io
import subprocess
import sys
import tempfile
from pathlib import Path

import jax
import numpy as np
import pytest
import scipy.ndimage
from PIL import Image
from small_pictures import error, load, noisy, save

from dipgp.command import memory, noise, problems, process, work
from dipgp.command.main import run
from dipgp.command.options import Order
from dipgp.files import write_atomically
from dipgp.photographs import read


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_noise_is_estimated_and_taken_away(tmp_path, truth, capsys):
    before = save(tmp_path / "in.png", noisy(truth, 0.08))
    assert run(["denoise", "in.png", "-o", "new/out.png", "--std=new/std.png"]) == 0
    after, bits = load(tmp_path / "new/out.png")
    assert bits == 8
    assert error(after, 8, truth) < 0.6 * error(before, 8, truth)
    out = capsys.readouterr().out
    assert "in.png -> new/out.png: 40x32 pixels, noise estimated at " in out
    estimate = float(out.split("estimated at ")[1].split()[0])
    assert estimate == pytest.approx(0.08 * 255, rel=0.2)
    std = np.load(tmp_path / "new/std.npz")["std"]
    assert std.shape == truth.shape
    assert 0.3 < error(after, 8, truth) / np.sqrt(np.mean(std**2)) < 3
    shown, bits = load(tmp_path / "new/std.png")
    white = float(out.split("white is a standard deviation of ")[1].split()[0])
    grey = np.sqrt(np.mean(std**2, axis=2)) * 255 / white
    np.testing.assert_allclose(shown[:, :, 0] / 65535, grey, atol=1e-4)


def test_what_is_known_comes_back_bit_by_bit(tmp_path, truth, capsys):
    before = save(tmp_path / "in.png", truth, bits=16)
    missing = np.zeros((32, 40, 1))
    missing[10:14, 10:20] = 1
    save(tmp_path / "mask.png", missing)
    save(tmp_path / "known.png", 1 - missing)
    assert run(["inpaint", "in.png", "-o", "out.png", "--mask=mask.png"]) == 0
    after, bits = load(tmp_path / "out.png")
    known = missing[:, :, 0] == 0
    assert bits == 16
    np.testing.assert_array_equal(after[known], before[known])
    assert (after[~known] != before[~known]).any()
    assert error(after, 16, truth) < 0.02
    told = ["--mask=known.png", "--mask-is-known", "--noise=0.5"]
    assert run(["inpaint", "in.png", "-o", "other.png", *told]) == 0
    assert "noise told as 0.50 grey levels" in capsys.readouterr().out
    np.testing.assert_array_equal(load(tmp_path / "other.png")[0][known], before[known])


def test_alpha_grows_with_the_picture(tmp_path, truth, capsys):
    alpha = np.ones((32, 40, 1))
    alpha[:, :20] = 0.5
    save(tmp_path / "in.png", np.concatenate([truth[:, :, :1], alpha], axis=2))
    assert run(["upscale", "in.png", "-o", "out.png", "--factor=2"]) == 0
    assert "40x32 pixels to 80x64, noise told as 1.00" in capsys.readouterr().out
    after, _ = load(tmp_path / "out.png")
    assert after.shape == (64, 80, 2)
    assert (after[:, :30, 1] == 128).all()
    assert (after[:, 50:, 1] == 255).all()
    small = after[:, :, :1].reshape(32, 2, 40, 2, 1).mean(axis=(1, 3))
    assert error(small, 8, truth[:, :, :1]) < 0.02


def test_transparent_pixels_are_not_looked_at(tmp_path, truth):
    alpha = np.ones((32, 40, 1))
    alpha[:8, :8] = 0
    seen = np.concatenate([noisy(truth[:, :, :1], 0.05), alpha], axis=2)
    results = []
    for hidden in (0.0, 1.0):
        seen[:8, :8, 0] = hidden
        save(tmp_path / "in.png", seen)
        command = ["denoise", "in.png", "-o", "out.png", "--overwrite", "--noise=13"]
        assert run(command) == 0
        results.append(load(tmp_path / "out.png")[0])
    np.testing.assert_array_equal(results[0], results[1])
    assert (results[0][:8, :8, 1] == 0).all()


def test_a_turned_photograph_is_sharpened_as_it_is_shown(tmp_path, truth):
    grey = np.repeat(truth[:, :, :1], 3, axis=2)
    blurred = scipy.ndimage.uniform_filter1d(grey, 5, axis=1, mode="nearest")
    samples = np.round(255 * blurred).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn clockwise
    Image.fromarray(np.rot90(samples)).save(tmp_path / "in.jpg", exif=exif, quality=100)
    assert run(["deblur", "in.jpg", "-o", "out.jpg", "--motion=5", "--noise=1"]) == 0
    with Image.open(tmp_path / "out.jpg") as picture:
        assert picture.getexif()[0x0112] == 6
        after = np.rot90(np.asarray(picture), -1)
    inner = (slice(4, -4), slice(4, -4))
    blur = error(samples[inner], 8, grey[inner])
    assert error(after[inner], 8, grey[inner]) < 0.5 * blur


def test_one_failure_holds_up_no_other(tmp_path, truth, capsys):
    (tmp_path / "photos").mkdir()
    save(tmp_path / "photos/a.png", truth[:, :, :1])
    (tmp_path / "photos/b.png").write_bytes(b"no picture")
    save(tmp_path / "photos/c.png", truth[:, :, 1:2])
    assert run(["denoise", "photos", "-o", "new", "--noise=5"]) == 1
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"a.png", "c.png"}
    told = capsys.readouterr()
    assert "3 pictures: 2 done, 1 failed; " in told.out
    assert "failed: photos/b.png" in told.out
    assert "b.png: expected a PNG, JPEG or TIFF picture" in told.err

    save(tmp_path / "photos/b.png", truth[:, :, 2:])
    times = {name: (tmp_path / "new" / name).stat().st_mtime_ns for name in ("a.png",)}
    assert run(["denoise", "photos", "-o", "new", "--noise=5", "--resume"]) == 0
    assert "3 pictures: 1 done, 2 skipped; " in capsys.readouterr().out
    assert (tmp_path / "new/a.png").stat().st_mtime_ns == times["a.png"]


def test_what_a_killed_command_left_is_removed(tmp_path, truth, monkeypatch):
    @contextlib.contextmanager
    def never_cleaned(**options):
        yield tempfile.mkdtemp(**options)

    save(tmp_path / "a.png", truth)
    with monkeypatch.context() as patched:
        patched.setattr(tempfile, "TemporaryDirectory", never_cleaned)
        for name in ("out.png", "other.png"):
            write_atomically(tmp_path / name, b"content")
    assert run(["denoise", "a.png", "-o", "out.png", "--resume"]) == 0
    assert len(list(tmp_path.glob(".*"))) == 1  # of what another may be writing


def fake(source, state="done"):
    return work.Outcome(source, state, ("facts",))


def test_compiled_programs_are_kept_for_the_next_call(tmp_path, monkeypatch, truth):
    save(tmp_path / "in.png", truth)
    monkeypatch.setattr(work, "attempt", lambda order, plan, *rest: fake(plan.source))
    assert run(["denoise", "in.png", "-o", "out.png"]) == 0
    folder = jax.config.values["jax_compilation_cache_dir"]
    assert folder.startswith(str(tmp_path / "caches/dipgp/"))


def test_the_keyboard_ends_it_and_finished_pictures_stay(tmp_path, monkeypatch, capsys):
    for name in "abc":
        (tmp_path / f"{name}.png").touch()

    def attempt(order, plan, report, tell):
        if plan.source.name == "b.png":
            raise KeyboardInterrupt
        return fake(plan.source)

    monkeypatch.setattr(work, "attempt", attempt)
    assert run(["denoise", "a.png", "b.png", "c.png", "-o", "new"]) == 130
    told = capsys.readouterr()
    assert "add --resume to make what is missing" in told.err
    assert "3 pictures: 1 done, 2 not begun" in told.out


def test_what_has_not_converged_is_written_and_told(
    tmp_path, truth, monkeypatch, capsys
):
    save(tmp_path / "in.png", truth[:, :, :1])

    def stalled(problem, noise_std, std, key, report):
        mean = np.full(problem.shape, 0.5)
        return process.Restoration(mean, None, False, "try more noise")

    monkeypatch.setattr(process, "restore", stalled)
    assert run(["denoise", "in.png", "-o", "out.png", "--noise=5"]) == 1
    assert (load(tmp_path / "out.png")[0] == 128).all()
    told = capsys.readouterr().out
    assert "out.png is written, but has not converged: try more noise" in told


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(
            ["denoise", "deep.png", "-o", "x.jpg"], "JPEG holds 8 bits", id="depth"
        ),
        pytest.param(
            ["inpaint", "deep.png", "-o", "x.png", "--mask=wide.png"],
            "expected the picture's 40x32 pixels, got 41x32",
            id="mask's size",
        ),
        pytest.param(
            ["inpaint", "deep.png", "-o", "x.png", "--mask=black.png"],
            "expected some white, got nothing missing",
            id="black mask",
        ),
        pytest.param(
            ["inpaint", "deep.png", "-o", "x.png", "--mask=white.png"],
            "expected not all white; white is missing, try --mask-is-known",
            id="white mask",
        ),
        pytest.param(
            ["deblur", "deep.png", "-o", "x.png", "--kernel=black.png"],
            "expected a point of light in a picture with odd sides, got 40x32 pixels",
            id="kernel",
        ),
        pytest.param(
            ["denoise", "dot.png", "-o", "x.png"],
            "dot.png: expected a picture of several pixels",
            id="one pixel",
        ),
        pytest.param(
            ["denoise", "no.png", "-o", "x.png"],
            "\nno.png: expected a PNG, JPEG or TIFF picture, got another kind",
            id="no picture",
        ),
    ],
)
def test_pictures_that_cannot_be_restored_are_named(
    tmp_path, truth, capsys, arguments, message
):
    save(tmp_path / "deep.png", truth, bits=16)
    save(tmp_path / "dot.png", truth[:1, :1])
    (tmp_path / "no.png").write_bytes(b"no picture")
    save(tmp_path / "wide.png", np.ones((32, 41, 1)))
    save(tmp_path / "black.png", np.zeros((32, 40, 1)))
    save(tmp_path / "white.png", np.ones((32, 40, 1)))
    assert run(arguments) == 1
    assert message in "\n" + capsys.readouterr().err
    assert not list(tmp_path.glob("x.*"))


def test_too_little_memory_is_told_before_work_begins(
    tmp_path, truth, monkeypatch, capsys
):
    save(tmp_path / "in.png", truth)
    monkeypatch.setattr(memory, "available", lambda: 1e8)
    assert run(["denoise", "in.png", "-o", "out.png"]) == 1
    told = capsys.readouterr().err
    assert "takes about 0.5 GB of memory, and 0.1 GB are free; try a smaller" in told


def test_files_in_the_way_are_a_mistake(tmp_path, truth, capsys):
    save(tmp_path / "in.png", truth)
    (tmp_path / "out.png").touch()
    assert run(["denoise", "in.png", "-o", "out.png"]) == 2
    assert "Error: out.png: expected no such file yet" in capsys.readouterr().err
    assert (tmp_path / "out.png").read_bytes() == b""


@pytest.mark.parametrize("noise", ["auto", "12"])
def test_a_white_picture_comes_back(tmp_path, truth, noise):
    before = save(tmp_path / "in.png", np.ones_like(truth))
    assert run(["denoise", "in.png", "-o", "out.png", f"--noise={noise}"]) == 0
    np.testing.assert_array_equal(load(tmp_path / "out.png")[0], before)


def test_help_needs_no_jax():
    code = (
        "import sys; from dipgp.command import main, options, plans; "
        "sys.exit('jax' in sys.modules)"
    )
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, cwd=root, check=False).returncode == 0


def test_noise_is_estimated_where_jpeg_has_smoothed_colours(tmp_path, truth):
    large = np.kron(truth, np.ones((3, 3, 1)))
    large = scipy.ndimage.gaussian_filter(large, (2, 2, 0))
    samples = np.round(255 * noisy(large, 0.06)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(samples).save(buffer, "JPEG", quality=90, subsampling=2)
    (tmp_path / "in.jpg").write_bytes(buffer.getvalue())
    order = Order(task="denoise", inputs=("in.jpg",), output="out.jpg")
    problem = problems.pose(order, read("in.jpg"), None)
    found = noise.estimate(problem, lambda news, fraction=None: None)
    assert 0.05 < found < 0.1
