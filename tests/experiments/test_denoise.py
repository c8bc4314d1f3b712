import json
import subprocess
import sys

import jax
import numpy as np
import pytest

from dipgp.images import add_noise, load_image
from dipgp.summaries import psnr
from experiments import denoise, image_tasks
from experiments.common import UserError
from experiments.gp_method import GPOptions


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def status():
    return image_tasks.exit_status(denoise.run(denoise.config_from_flags()))


@pytest.fixture
def config(tmp_path, photographs):
    def make(**changes):
        settings = {"images": (photographs[1],), "output_dir": str(tmp_path / "run")}
        return denoise.DenoiseConfig(**(settings | changes))

    return make


class TestRun:
    def test_it_writes_pictures_and_metrics(self, averaging, config, tmp_path, capsys):
        (record,) = denoise.run(config())
        assert files(tmp_path / "run") == ["figure.png", "metrics.json", "restored.png"]
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
            ("--method=tv", "--method=tv: expected a list among: gp"),
            ("stray", "stray: expected flags only"),
        ],
    )
    def test_it_ends_in_one_sentence_with_nothing_written(
        self, averaging, binary, photographs, tmp_path, capsys, argument, sentence
    ):
        defaults = [f"--output_dir={tmp_path / 'run'}", f"--image={photographs[0]}"]
        assert binary(status, *defaults, argument.format(folder=tmp_path)) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith(f"Error: {sentence.format(folder=tmp_path)}")
        assert err.count("\n") == 1
        assert not averaging.calls
        assert not (tmp_path / "run").exists()

    def test_noise_cannot_be_added_without_knowing_how_much(self, config):
        with pytest.raises(UserError, match="--noise_std=None: expected how much"):
            config(options=GPOptions())


def test_flags_become_the_configuration(binary):
    found = []

    def run():
        found.append(denoise.config_from_flags())
        return 0

    binary(run)
    binary(run, "--noise_std=51")
    binary(run, "--noisy", "--output_dir=there")
    assert found == [
        denoise.DenoiseConfig(output_dir="runs/denoise"),
        denoise.DenoiseConfig(
            output_dir="runs/denoise", options=GPOptions(noise_std=0.2)
        ),
        denoise.DenoiseConfig(output_dir="there", noisy=True, options=GPOptions()),
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
