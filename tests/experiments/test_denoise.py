import json
import subprocess
import sys

import jax
import numpy as np
import pytest
from run_files import files

from dipgp.images import add_noise, load_image
from dipgp.summaries import psnr
from experiments import denoise, image_tasks
from experiments.gp_method import GPOptions


@pytest.fixture
def config(tmp_path, photographs):
    def make(**changes):
        settings = {"images": (photographs[1],), "output_dir": str(tmp_path / "run")}
        return denoise.DenoiseConfig(**(settings | changes))

    return make


class TestRun:
    def test_it_writes_pictures_and_metrics(self, averaging, config, tmp_path, capsys):
        (record,) = denoise.run(config())
        names = ["figure", "observed", "restored", "truth"]
        pictures = {f"{name}.png" for name in names}
        assert set(files(tmp_path / "run")) == {*pictures, "metrics.json"}
        written = json.loads((tmp_path / "run/metrics.json").read_text())
        assert written["experiment"] == "denoise"
        assert written["shape"] == [12, 16, 3]
        assert written["psnr_input"] == record["psnr_input"]
        assert "psnr_missing" not in written
        (line,) = capsys.readouterr().out.splitlines()
        assert line.startswith(f"colour: gp: PSNR {record['psnr']:.2f} dB, PSNR input ")

    def test_noise_comes_from_the_seed_and_is_clipped(
        self, averaging, config, photographs
    ):
        options = GPOptions(noise_std=0.3)
        (record,) = denoise.run(config(seed=5, options=options))
        truth = load_image(photographs[1])
        noisy = add_noise(jax.random.key(5), truth, 0.3)
        observation, seen = averaging.calls[0]
        np.testing.assert_array_equal(observation.values, noisy)
        np.testing.assert_allclose(observation.noise_std, 0.3)
        assert seen == options
        assert record["psnr_input"] == pytest.approx(psnr(noisy, truth))
        mean = np.broadcast_to(noisy.mean(axis=(0, 1)), truth.shape)
        assert record["psnr"] == pytest.approx(psnr(mean, truth), abs=1e-4)

    def test_noise_is_25_grey_levels_by_default(self, averaging, config):
        denoise.run(config())
        _, options = averaging.calls[0]
        assert options.noise_std == 25 / 255

    @pytest.mark.parametrize("added", [None, 0.3])
    def test_methods_can_be_left_to_find_out_what_was_added(
        self, averaging, config, photographs, capsys, added
    ):
        averaging.outcome = {"hyperparameters": {"noise_std": 0.1}}
        run = config(added_noise_std=added, options=GPOptions())
        (record,) = denoise.run(run)
        observation, options = averaging.calls[0]
        std = added or 25 / 255
        truth = load_image(photographs[1])
        noisy = add_noise(jax.random.key(0), truth, std)
        np.testing.assert_array_equal(observation.values, noisy)
        assert options.noise_std is None
        noise = dict(record["noise_std"])
        left = np.sqrt(np.mean((noisy - truth) ** 2))
        assert noise.pop("left") == pytest.approx(left, rel=1e-5)
        assert noise == {"told": None, "estimated": 0.1, "added": std}
        out = capsys.readouterr().out
        assert f"noise estimated at 25.50 grey levels ({255 * std:.2f} added, " in out

    def test_methods_can_be_told_another_noise_than_was_added(
        self, averaging, config, photographs
    ):
        denoise.run(config(added_noise_std=0.3, options=GPOptions(noise_std=0.1)))
        observation, _ = averaging.calls[0]
        noisy = add_noise(jax.random.key(0), load_image(photographs[1]), 0.3)
        np.testing.assert_array_equal(observation.values, noisy)
        np.testing.assert_allclose(observation.noise_std, 0.1)

    def test_noisy_images_are_restored_as_they_are_without_scores(
        self, averaging, config, photographs, capsys
    ):
        (record,) = denoise.run(config(noisy=True, options=GPOptions()))
        observation, options = averaging.calls[0]
        np.testing.assert_array_equal(observation.values, load_image(photographs[1]))
        assert options.noise_std is None
        scores = ("psnr", "psnr_input", "ssim")
        assert [record[score] for score in scores] == [None] * 3
        assert capsys.readouterr().out == "colour: gp: 0.5 s, 3 iterations\n"

    def test_several_images_are_tabulated(
        self, averaging, config, photographs, tmp_path
    ):
        denoise.run(config(images=tuple(photographs)))
        assert files(tmp_path / "run") == ["colour", "grey", "table.json", "table.md"]
        titles = (tmp_path / "run/table.md").read_text().splitlines()[0]
        columns = ["PSNR", "PSNR input", "PSNR unclipped", "SSIM", "seconds"]
        assert titles == f"| image | method | {' | '.join(columns)} |"

    def test_one_that_did_not_converge_fails(self, averaging, config):
        averaging.outcome = {"converged": False}
        assert image_tasks.exit_status(denoise.run(config())) == 1


class TestBadInput:
    @pytest.mark.parametrize(
        ("argument", "sentence"),
        [
            ("--image={folder}/absent.png", "--image={folder}/absent.png: expected"),
            ("--image={folder}/*.jpg", "--image={folder}/*.jpg: expected a pattern"),
            ("--noise_std=-25", "--noise_std=-25.0: expected grey levels above 0"),
            ("--noise_std=0", "--noise_std=0.0: expected grey levels above 0"),
            ("--noise_std=nan", "--noise_std=nan: expected grey levels above 0"),
            ("--noise_std=loud", "flag --noise_std=loud: expected a number, or auto"),
            ("--added_noise_std=0", "--added_noise_std=0.0: expected grey levels"),
            ("--noisy --added_noise_std=5", "--added_noise_std=5.0: expected nothing"),
            ("--method=sgd --sigma=2", "--sigma=2.0: expected no such flag without"),
            ("--method=tv", "--method=tv: expected a list among: gp"),
            ("stray", "stray: expected flags only"),
        ],
    )
    def test_it_ends_in_one_sentence_with_nothing_written(
        self, averaging, binary, photographs, tmp_path, capsys, argument, sentence
    ):
        defaults = [f"--output_dir={tmp_path / 'run'}", f"--image={photographs[0]}"]
        arguments = argument.format(folder=tmp_path).split()
        assert binary(denoise.main, *defaults, *arguments) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith(f"Error: {sentence.format(folder=tmp_path)}")
        assert err.count("\n") == 1
        assert not averaging.calls
        assert not (tmp_path / "run").exists()


def test_flags_become_the_configuration(binary):
    found = []

    def run():
        found.append(denoise.config_from_flags())
        return 0

    binary(run)
    binary(run, "--noise_std=51")
    binary(run, "--noisy", "--output_dir=there")
    binary(run, "--noise_std=auto")
    binary(run, "--added_noise_std=51")
    binary(run, "--added_noise_std=51", "--noise_std=auto")
    assert found == [
        denoise.DenoiseConfig(output_dir="runs/denoise"),
        denoise.DenoiseConfig(
            output_dir="runs/denoise", options=GPOptions(noise_std=0.2)
        ),
        denoise.DenoiseConfig(output_dir="there", noisy=True, options=GPOptions()),
        denoise.DenoiseConfig(output_dir="runs/denoise", options=GPOptions()),
        denoise.DenoiseConfig(
            output_dir="runs/denoise",
            added_noise_std=0.2,
            options=GPOptions(noise_std=0.2),
        ),
        denoise.DenoiseConfig(
            output_dir="runs/denoise", added_noise_std=0.2, options=GPOptions()
        ),
    ]


@pytest.mark.slow
def test_the_binary_restores_an_image(photographs, tmp_path):
    command = [sys.executable, "-m", "experiments.denoise", f"--image={photographs[1]}"]
    done = subprocess.run(
        [*command, f"--output_dir={tmp_path / 'run'}"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("colour: gp: PSNR ")
    assert "metrics.json" in files(tmp_path / "run")
