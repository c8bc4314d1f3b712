import json
import subprocess
import sys

import jax
import numpy as np
import pytest
from run_files import FILES, files

from dipgp.images import drop_pixels, load_image, save_image
from dipgp.summaries import psnr
from experiments import (
    gp_method,
    holes,
    inpaint,
    interpolations,
    network_options,
)
from experiments.common import UserError
from experiments.gp_method import GPOptions


@pytest.fixture
def config(tmp_path, photographs):
    def make(**changes):
        settings = {"images": (photographs[0],), "output_dir": str(tmp_path / "run")}
        if "mask" not in changes:
            settings["drop_fraction"] = 0.5
        return inpaint.InpaintConfig(**(settings | changes))

    return make


@pytest.fixture
def mask(tmp_path):
    path = tmp_path / "mask.png"
    save_image(path, np.arange(12 * 16).reshape(12, 16) % 3 == 0)
    return str(path)


class TestRun:
    def test_it_writes_pictures_and_metrics(self, averaging, config, tmp_path, capsys):
        (record,) = inpaint.run(config())
        assert files(tmp_path / "run") == FILES
        written = json.loads((tmp_path / "run/metrics.json").read_text())
        assert written["psnr"] == record["psnr"]
        assert written["experiment"] == "inpaint"
        assert written["image"] == "grey"
        assert written["shape"] == [12, 16, 1]
        assert written["iterations"] == 3
        assert written["configuration"]["drop_fraction"] == 0.5
        assert written["hyperparameters"].keys() == {"level"}
        assert written["versions"]["jax"] == jax.__version__
        assert written["converged"] is True
        (line,) = capsys.readouterr().out.splitlines()
        assert line.startswith(f"grey: gp: PSNR {record['psnr']:.2f} dB, PSNR raw ")

    def test_scores_are_of_pasted_raw_and_missing_pixels(
        self, averaging, config, photographs
    ):
        (record,) = inpaint.run(config(seed=4))
        truth = load_image(photographs[0])
        mask = drop_pixels(jax.random.key(4), (12, 16), 0.5)
        mean = np.full_like(truth, truth[mask].mean())
        pasted = np.where(mask[:, :, None], truth, mean)
        assert record["psnr"] == pytest.approx(psnr(pasted, truth), abs=1e-4)
        assert record["psnr_raw"] == pytest.approx(psnr(mean, truth), abs=1e-4)
        missing = psnr(mean, truth, ~mask)
        assert record["psnr_missing"] == pytest.approx(missing, abs=1e-4)

    def test_observed_pixels_are_kept_in_the_picture(
        self, averaging, config, photographs, mask, tmp_path
    ):
        inpaint.run(config(mask=mask))
        observed = load_image(mask)[:, :, 0] == 1
        restored = load_image(tmp_path / "run/restored.png")
        np.testing.assert_array_equal(
            restored[observed], load_image(photographs[0])[observed]
        )
        assert np.ptp(restored[~observed]) == 0

    def test_scores_are_of_the_clipped_picture_with_one_before_clipping(
        self, averaging, config, tmp_path
    ):
        averaging.outcome = {"mean": np.full((12, 16, 1), 11.0)}
        (record,) = inpaint.run(config())
        assert record["psnr_missing"] > 0
        assert record["psnr_unclipped"] < -15
        assert load_image(tmp_path / "run/restored.png").max() == 1

    def test_a_method_sees_the_noise_that_it_is_told(self, averaging, config):
        inpaint.run(config(options=GPOptions(noise_std=0.2)))
        observation, options = averaging.calls[0]
        np.testing.assert_allclose(observation.noise_std[observation.mask == 1], 0.2)
        assert options.noise_std == 0.2

    def test_a_noise_to_be_estimated_starts_at_one_grey_level(self, averaging, config):
        inpaint.run(config())
        observation, options = averaging.calls[0]
        assert options.noise_std is None
        np.testing.assert_allclose(
            observation.noise_std[observation.mask == 1], 1 / 255, rtol=1e-6
        )

    @pytest.mark.parametrize("float64", [False, True])
    def test_precision_is_a_choice(self, averaging, config, float64):
        inpaint.run(config(float64=float64))
        observation, _ = averaging.calls[0]
        assert observation.values.dtype == ("float64" if float64 else "float32")

    def test_damaged_images_are_restored_without_scores(
        self, averaging, config, mask, tmp_path, capsys
    ):
        (record,) = inpaint.run(config(mask=mask, noisy=True))
        scores = ("psnr", "psnr_raw", "psnr_missing", "ssim")
        assert [record[score] for score in scores] == [None] * 4
        assert files(tmp_path / "run") == [n for n in FILES if n != "truth.png"]
        assert capsys.readouterr().out == "grey: gp: 0.5 s, 3 iterations\n"

    def test_a_mask_with_nothing_missing_has_no_missing_score(
        self, averaging, config, tmp_path
    ):
        save_image(tmp_path / "white.png", np.ones((12, 16)))
        (record,) = inpaint.run(config(mask=str(tmp_path / "white.png")))
        assert record["psnr_missing"] is None
        written = json.loads((tmp_path / "run/metrics.json").read_text())
        assert written["psnr"] is None  # infinite, which JSON does not know


class TestHoles:
    @pytest.mark.parametrize("hole", ["text", "region"])
    def test_they_go_missing_where_the_seed_says(self, averaging, config, hole):
        (record,) = inpaint.run(config(hole=hole, drop_fraction=0.1, seed=3))
        observation, _ = averaging.calls[0]
        expected = getattr(holes, hole)(jax.random.key(3), (12, 16), 0.1)
        np.testing.assert_array_equal(observation.mask, expected)
        assert record["configuration"]["hole"] == hole

    def test_noise_can_be_added_to_what_is_observed(
        self, averaging, config, photographs
    ):
        run = config(added_noise_std=0.1, options=GPOptions(noise_std=0.1))
        (record,) = inpaint.run(run)
        observation, _ = averaging.calls[0]
        seen = np.asarray(observation.mask) == 1
        error = (observation.values - load_image(photographs[0]))[seen]
        # Of some 96 pixels, some of them clipped.
        assert 0.06 < np.sqrt(np.mean(error**2)) < 0.13
        assert record["noise_std"]["added"] == 0.1
        left = record["noise_std"]["left"]
        assert left == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-4)


class TestBaselines:
    def test_observed_pixels_are_kept_in_them(self, averaging, config, photographs):
        (record,) = inpaint.run(config(seed=4))
        truth = load_image(photographs[0])
        mask = drop_pixels(jax.random.key(4), (12, 16), 0.5)
        for name, fill in interpolations.BASELINES.items():
            pasted = np.where(mask[:, :, None], truth, fill(truth, mask))
            expected = psnr(pasted, truth)
            assert record[f"psnr_{name}"] == pytest.approx(expected, abs=1e-3)

    def test_methods_share_them_and_images_do_not(
        self, averaging_networks, config, monkeypatch, photographs
    ):
        filled = []

        def fill(values, mask):
            filled.append(values.shape)
            return np.full_like(values, np.nan)

        monkeypatch.setattr(interpolations, "BASELINES", {"tv": fill})
        smoke = network_options.settings("inpaint", "smoke", "sgd", {})
        records = inpaint.run(
            config(
                images=tuple(photographs),
                methods=("gp", "sgd"),
                networks={"sgd": smoke},
                baselines=("tv",),
            )
        )
        assert filled == [(12, 16, 1), (12, 16, 3)]
        # Without a result there is no score.
        assert [record["psnr_tv"] for record in records] == [None] * 4

    def test_they_can_be_left_out(self, averaging, config):
        (record,) = inpaint.run(config(baselines=()))
        assert not {"psnr_tv", "psnr_biharmonic"} & record.keys()

    def test_they_are_not_scored_without_a_truth(self, averaging, config, mask):
        (record,) = inpaint.run(config(mask=mask, noisy=True))
        assert record["psnr_tv"] is record["psnr_biharmonic"] is None


class TestBadInput:
    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            (["--image={folder}/absent.png"], "--image={folder}/absent.png: expected"),
            (["--image={folder}/empty.png"], "--image={folder}/empty.png: expected"),
            (["--image={folder}/poem.png"], "--image={folder}/poem.png: expected"),
            (["--image={folder}"], "--image={folder}: expected"),
            (["--image={folder}/x*.png"], "--image={folder}/x*.png: expected"),
            (["--mask={folder}/absent.png"], "--mask={folder}/absent.png: expected"),
            (["--mask={folder}/black.png"], "--mask={folder}/black.png: expected some"),
            (
                ["--mask={folder}/tall.png"],
                "--mask={folder}/tall.png: expected the image's 16x12 pixels",
            ),
            (
                ["--mask={folder}/tall.png", "--drop_fraction=0.5"],
                "--drop_fraction=0.5: expected nothing beside --mask",
            ),
            (["--drop_fraction=0"], "--drop_fraction=0.0: expected a number between"),
            (["--drop_fraction=1"], "--drop_fraction=1.0: expected a number between"),
            (["--drop_fraction=nan"], "--drop_fraction=nan: expected a number between"),
            (["--drop_fraction=0.9999999"], "drop_fraction: 0.9999999 left none"),
            (["--hole=text", "--drop_fraction=0.9"], "drop_fraction: expected at most"),
            (
                ["--hole=region", "--drop_fraction=0.999"],
                "drop_fraction: 0.999 left none of 12x16",
            ),
            (
                ["--hole=region", "--mask={folder}/tall.png"],
                "--hole=region: expected nothing beside --mask",
            ),
            (["--baselines=gp"], "--baselines=gp: expected a list, each once, among"),
            (["--baselines=tv,tv"], "--baselines=tv,tv: expected a list, each once"),
            (
                ["--method=sgd", "--depth=2"],
                "--depth=2: expected no such flag without --method=gp",
            ),
            (
                ["--method=sgd", "--prior=oriented"],
                "--prior=oriented: expected no such flag without --method=gp",
            ),
            (
                ["--prior=oriented", "--kernel=rbf"],
                "--kernel=rbf: expected dip, the only one with --prior=oriented",
            ),
            (
                ["--prior=oriented", "--noise_std=auto"],
                "--noise_std=auto: expected a number with --prior=oriented",
            ),
            (
                ["--prior=oriented", "--amplitude=0.3"],
                "--amplitude=0.3: expected no such flag with --prior=oriented",
            ),
            (["--noisy"], "--noisy=True: expected --mask"),
            (["--noise_std=-1"], "--noise_std=-1.0: expected grey levels"),
            (["--sigma=nan"], "--sigma=nan: expected a positive number"),
            (["--method=langevin"], "--method=langevin: expected a list among: gp"),
            (["--method="], "--method=: expected a list among: gp"),
            (["--method=gp,gp"], "--method=gp,gp: expected each method once"),
            (["--seed=-1"], "--seed=-1: expected a number from 0"),
            (["--output_dir={folder}/poem.png"], "--output_dir={folder}/poem.png: exp"),
            (["stray"], "stray: expected flags only"),
        ],
    )
    def test_it_ends_in_one_sentence_with_nothing_written(
        self, averaging, binary, photographs, tmp_path, capsys, arguments, sentence
    ):
        folder = tmp_path / "folder"
        folder.mkdir()
        (folder / "empty.png").touch()
        (folder / "poem.png").write_text("roses are red")
        save_image(folder / "black.png", np.zeros((12, 16)))
        save_image(folder / "tall.png", np.ones((16, 12)))
        arguments = [argument.format(folder=folder) for argument in arguments]
        before = sorted(tmp_path.rglob("*"))
        defaults = [f"--output_dir={tmp_path / 'run'}", f"--image={photographs[0]}"]
        assert binary(inpaint.main, *defaults, *arguments) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith(f"Error: {sentence.format(folder=folder)}")
        assert err.count("\n") == 1
        assert not averaging.calls
        assert sorted(tmp_path.rglob("*")) == before

    def test_configurations_need_a_mask_or_a_fraction(self, config):
        with pytest.raises(UserError, match="--drop_fraction=None: expected a number"):
            config(drop_fraction=None)

    def test_what_a_method_refuses_ends_in_one_sentence(
        self, binary, photographs, tmp_path, capsys, monkeypatch
    ):
        def refuse(*_):
            raise ValueError("sigma: expected less, got more")

        monkeypatch.setattr(gp_method, "restore", refuse)
        arguments = [f"--output_dir={tmp_path / 'run'}", f"--image={photographs[0]}"]
        assert binary(inpaint.main, *arguments) == 2
        assert capsys.readouterr().err == "Error: sigma: expected less, got more\n"


def test_flags_become_the_configuration(binary, mask):
    found = []

    def run():
        found.append(inpaint.config_from_flags())
        return 0

    binary(run)
    binary(run, f"--mask={mask}", "--noisy", "--seed=3", "--float64", "--image=a.png")
    binary(run, "--hole=text", "--baselines=tv")
    binary(run, "--hole=region", "--drop_fraction=0.3", "--baselines=")
    binary(run, "--prior=oriented", "--depth=4", "--noise_std=51")
    assert found == [
        inpaint.InpaintConfig(output_dir="runs/inpaint", drop_fraction=0.5),
        inpaint.InpaintConfig(
            output_dir="runs/inpaint",
            images=("a.png",),
            mask=mask,
            noisy=True,
            seed=3,
            float64=True,
        ),
        inpaint.InpaintConfig(
            output_dir="runs/inpaint",
            hole="text",
            drop_fraction=0.05,
            baselines=("tv",),
        ),
        inpaint.InpaintConfig(
            output_dir="runs/inpaint",
            hole="region",
            drop_fraction=0.3,
            baselines=(),
        ),
        inpaint.InpaintConfig(
            output_dir="runs/inpaint",
            drop_fraction=0.5,
            options=GPOptions(prior="oriented", depth=4, noise_std=0.2),
        ),
    ]


def test_the_binary_restores_an_image(photographs, tmp_path):
    command = [sys.executable, "-m", "experiments.inpaint", f"--image={photographs[1]}"]
    done = subprocess.run(
        [*command, f"--output_dir={tmp_path / 'run'}"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("colour: gp: PSNR ")
    assert files(tmp_path / "run") == FILES
