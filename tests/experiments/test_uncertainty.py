"""The binary that asks whether standard deviations are right."""

import dataclasses
import importlib
import json
import shutil

import numpy as np
import pytest

from dipgp.summaries.calibration import Residuals
from experiments import (
    uncertainty,
    uncertainty_cases,
    uncertainty_options,
    uncertainty_scores,
)
from experiments.common import UserError
from experiments.gp_method import GPOptions
from experiments.network_settings import NetworkSettings, Running
from experiments.uncertainty_options import UncertaintyConfig

FILES = ["figure.png", "metrics.json", "table.md"]
KNOWN = GPOptions(depth=1, sigma=1.0, amplitude=0.2, noise_std=0.03, variance_solves=2)

PREDICTED = {
    "hyperparameters": {"noise_std": 0.3},
    "std": np.full((12, 16, 1), 0.05),
}
SGD = NetworkSettings(channels=(4,), iterations=2, stop_at=1)


def configure(folder="unused", **changes):
    return UncertaintyConfig(**({"output_dir": str(folder)} | changes))


def of_draws(folder="unused", **changes):
    small = {"prior_samples": 12, "prior_side": 16, "withheld_fraction": 0.3}
    return configure(folder, options=KNOWN, **(small | changes))


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """One covariance for the evidence to choose."""
    # `kernels.plain_networks` is the module's function.
    candidates = importlib.import_module("dipgp.kernels.plain_networks")
    monkeypatch.setattr(candidates, "DEPTHS", (1,))
    monkeypatch.setattr(candidates, "SIGMAS", (1.0,))


def missed(record):
    """By how many standard errors over draws coverage misses its levels."""
    covered = record["forms"]["as predicted"]["coverage"]
    return (np.array(covered["value"]) - record["levels"]) / covered["block_error"]


class TestDrawsFromThePrior:
    def test_the_process_covers_them_as_often_as_it_says_and_half_of_it_does_not(self):
        config, right, halved = of_draws(), [], []
        for number, picture in enumerate(uncertainty_cases.draw_pictures(config)):
            case = uncertainty_cases.make_case(config, picture, number)
            _, found = next(uncertainty.restore(config, case))
            half = dataclasses.replace(found, std=found.std / 2)
            right.append(uncertainty_scores.score(*case.residuals(found)))
            halved.append(uncertainty_scores.score(*case.residuals(half)))
        record = uncertainty_scores.average(right)
        assert np.all(np.abs(missed(record)) < 4)
        # The mean square of standardised errors: 38 values of each of 12 draws.
        assert record["values"] > 400
        ratio = record["rms_error"] / record["rms_std"]
        assert ratio == pytest.approx(1, abs=4 / np.sqrt(2 * record["values"]))
        middle = np.array(record["levels"]) >= 0.5
        assert np.all(missed(uncertainty_scores.average(halved))[middle] < -5)

    @pytest.mark.slow
    def test_hyperparameters_known_and_chosen_stand_side_by_side(
        self, tmp_path, capsys
    ):
        config = of_draws(tmp_path, prior_samples=4)
        records = uncertainty.run(config)
        names = ["gp", "gp, by evidence"]
        assert [record["method"] for record in records] == names
        assert sorted(path.name for path in tmp_path.iterdir()) == FILES
        written = json.loads((tmp_path / "metrics.json").read_text())
        assert [row["method"] for row in written["records"]] == names
        assert written["records"][0]["images"] == 4
        assert "| prior | gp | no | " in capsys.readouterr().out

    def test_each_has_noise_of_its_own_on_the_same_pixels(self):
        config = of_draws()
        pictures = uncertainty_cases.draw_pictures(config)
        assert pictures.shape == (12, 16, 16, 1)
        assert np.std(pictures) == pytest.approx(0.2, rel=0.2)
        cases = [uncertainty_cases.make_case(config, pictures[0], n) for n in (1, 2)]
        assert np.array_equal(cases[0].observation.mask, cases[1].observation.mask)
        noises = [case.values - pictures[0] for case in cases]
        assert abs(np.corrcoef(np.ravel(noises[0]), np.ravel(noises[1]))[0, 1]) < 0.3


class TestCase:
    @pytest.mark.parametrize("drop_fraction", [0.0, 0.5])
    def test_withheld_pixels_are_shown_to_nobody_and_split_in_two(self, drop_fraction):
        picture = np.full((40, 30, 3), 0.5, np.float32)
        config = configure(drop_fraction=drop_fraction, withheld_fraction=0.25)
        case = uncertainty_cases.make_case(config, picture)
        seen = np.asarray(case.observation.mask) != 0
        recalibrating, scored = case.recalibrating != 0, case.scored != 0
        assert not np.any(seen & recalibrating)
        assert not np.any(seen & scored)
        assert not np.any(recalibrating & scored)
        assert not np.any(np.asarray(case.observation.values)[~seen])
        observed = seen.sum() + recalibrating.sum() + scored.sum()
        assert observed / 1200 == pytest.approx(1 - drop_fraction, abs=0.06)
        assert recalibrating.sum() == pytest.approx(observed / 8, abs=1)
        assert scored.sum() == pytest.approx(observed / 8, abs=1)

    def test_values_are_the_picture_in_unclipped_noise(self):
        picture = np.zeros((40, 30, 1), np.float32)
        case = uncertainty_cases.make_case(configure(), picture)
        assert np.std(case.values) == pytest.approx(0.01, rel=4 / np.sqrt(2400))
        assert np.mean(case.values < 0) == pytest.approx(0.5, abs=2 / np.sqrt(1200))
        assert np.array_equal(case.truth, picture)

    def test_pictures_that_are_noisy_already_get_no_more_and_need_no_truth(self):
        picture = np.random.default_rng(0).uniform(size=(40, 30, 1))
        options = GPOptions(variance_solves=2)
        config = configure(noisy=True, options=options, drop_fraction=0.0)
        case = uncertainty_cases.make_case(config, picture)
        assert np.array_equal(case.values, picture)
        assert case.truth is None

    def test_the_noise_is_part_of_what_is_predicted(self, averaging):
        picture = np.full((40, 30, 1), 0.5, np.float32)
        case = uncertainty_cases.make_case(configure(), picture)
        averaging.outcome = {
            "std": np.full(case.shape, 0.03),
            "hyperparameters": {"noise_std": 0.04},
        }
        scored, recalibrating = case.residuals(restored_by(averaging, case))
        np.testing.assert_allclose(scored.std, 0.05)
        np.testing.assert_allclose(recalibrating.std, 0.05)
        averaging.outcome |= {"std": None}
        assert case.residuals(restored_by(averaging, case)) is None

    def test_a_crop_is_the_central_square(self):
        picture = np.arange(20 * 30).reshape(20, 30, 1)
        cropped = uncertainty_cases.crop(configure(crop=16), picture)
        assert np.array_equal(cropped, picture[2:18, 7:23])
        with pytest.raises(UserError, match="--crop=21: expected at most the 20"):
            uncertainty_cases.crop(configure(crop=21), picture)


def restored_by(averaging, case):
    request = type("Request", (), {"observation": case.observation})
    request.report = lambda news: None
    return averaging(request, None)


class TestPictures:
    def test_one_is_scored_before_and_after_recalibration(
        self, averaging, photographs, tmp_path, capsys
    ):
        averaging.outcome = PREDICTED
        images = (photographs[0],)
        config = configure(tmp_path / "run", images=images, withheld_fraction=0.4)
        (record,) = uncertainty.run(config)
        forms = record["forms"]
        assert list(forms) == ["as predicted", "scale", "student", "quantiles"]
        # Uniform intensities around their mean: 0.29, where 0.30 was predicted.
        assert forms["scale"]["law"]["scale"] == pytest.approx(0.95, abs=0.2)
        files = sorted(path.name for path in (tmp_path / "run").iterdir())
        pictures = ["observed.png", "truth.png"]
        assert files == sorted([*FILES, *pictures, "uncertainty_gp.npz"])
        kept = np.load(tmp_path / "run" / "uncertainty_gp.npz")
        assert kept["std"].shape == (12, 16, 1)
        assert kept["scored"].sum() == record["values"]
        assert "| grey | gp | scale (" in capsys.readouterr().out

    @pytest.mark.slow
    def test_several_are_averaged_and_have_folders(
        self, averaging, photographs, tmp_path, capsys
    ):
        averaging.outcome = PREDICTED
        copy = str(tmp_path / "copy.png")
        shutil.copy(photographs[0], copy)
        folder, images = tmp_path / "run", (photographs[0], copy)
        config = configure(folder, images=images, withheld_fraction=0.4)
        first, second = uncertainty.run(config)
        # Every picture gets the same draws.
        assert first["rms_error"] == second["rms_error"]
        names = ["copy", "grey", "table.md"]
        assert sorted(path.name for path in folder.iterdir()) == names
        files = sorted(path.name for path in (folder / "grey").iterdir())
        pictures = ["figure.png", "observed.png", "truth.png"]
        assert files == sorted([*pictures, "metrics.json", "uncertainty_gp.npz"])
        assert "| mean | gp | no | " in capsys.readouterr().out

    def test_without_a_standard_deviation_there_is_nothing_to_score(
        self, averaging, photographs, tmp_path, capsys
    ):
        averaging.outcome = {"hyperparameters": {"noise_std": 0.3}}
        config = configure(tmp_path, images=(photographs[0],), withheld_fraction=0.4)
        (record,) = uncertainty.run(config)
        assert not record["converged"]
        assert "NOT CONVERGED: averaged; nothing to score" in capsys.readouterr().out
        assert (tmp_path / "figure.png").exists()


@pytest.mark.slow
def test_process_and_network_run_side_by_side_in_a_first_look(
    binary, photographs, tmp_path, capsys
):
    status = binary(
        uncertainty.main,
        f"--image={photographs[0]}",
        "--method=gp,psgld",
        "--preset=smoke",
        "--channels=4",
        "--iterations=6",
        "--withheld_fraction=0.4",
        f"--output_dir={tmp_path}",
    )
    assert status == 0
    told = json.loads((tmp_path / "metrics.json").read_text())
    assert [record["method"] for record in told["records"]] == ["gp", "psgld"]
    for record in told["records"]:
        assert record["rms_std"] > 2.55 / 255
    lines = [
        line for line in capsys.readouterr().out.splitlines() if "| grey |" in line
    ]
    assert len(lines) == 8


def scored(seed):
    rng = np.random.default_rng(seed)
    residuals = Residuals(rng.normal(size=60), np.ones(60), np.arange(60) // 10)
    return uncertainty_scores.score(residuals, residuals)


class TestAverages:
    def test_numbers_are_means_and_their_errors_over_images(self):
        records = [scored(seed) for seed in range(3)]
        found = uncertainty_scores.average(records)["forms"]["scale"]
        each = [record["forms"]["scale"] for record in records]
        values = np.stack([form["coverage"]["value"] for form in each])
        covered = found["coverage"]
        np.testing.assert_allclose(covered["value"], values.mean(axis=0))
        expected = values.std(axis=0, ddof=1) / np.sqrt(3)
        np.testing.assert_allclose(covered["block_error"], expected)
        scales = [form["law"]["scale"] for form in each]
        assert found["law"]["scale"] == pytest.approx(np.mean(scales))

    def test_the_table_says_what_has_no_density(self):
        rows = uncertainty_scores.table([("house", "gp", scored(0))]).splitlines()
        assert rows[-1].startswith("| house | gp | quantiles | ")
        assert rows[-1].endswith("| - |")
        assert "± " in rows[-2].split("|")[-2]


class TestBadInput:
    @pytest.mark.parametrize(
        ("changes", "sentence"),
        [
            ({"methods": ("sgd",), "networks": {"sgd": SGD}}, "--method=sgd: expected"),
            ({"drop_fraction": 1.0}, "--drop_fraction=1.0: expected a number"),
            ({"withheld_fraction": 0.0}, "--withheld_fraction=0.0: expected a number"),
            ({"crop": 8}, "--crop=8: expected at least 16"),
            ({"prior_samples": 1}, "--prior_samples=1: expected 0, or 2"),
            ({"prior_side": 8}, "--prior_side=8: expected at least 16"),
            ({"running": Running(samples=2)}, "--samples=2: expected no such flag"),
            ({"options": GPOptions(noise_std=0.1)}, "--variance_solves=0: expected"),
            ({"options": GPOptions(variance_solves=2)}, "--noise_std=auto: expected"),
        ],
        ids=lambda case: next(iter(case)) if isinstance(case, dict) else "",
    )
    def test_the_flag_is_named(self, changes, sentence):
        with pytest.raises(UserError, match=sentence):
            configure(**changes)

    @pytest.mark.parametrize(
        ("changes", "sentence"),
        [
            ({"images": ("a.png",)}, "--image=a.png: expected no such flag with"),
            ({"crop": 16}, "--crop=16: expected no such flag with"),
            ({"noisy": True}, "--noisy=True: expected no such flag with"),
        ],
        ids=lambda case: next(iter(case)) if isinstance(case, dict) else "",
    )
    def test_draws_are_no_pictures(self, changes, sentence):
        with pytest.raises(UserError, match=sentence):
            of_draws(**changes)

    def test_too_few_withheld_pixels_tell_nothing(self):
        picture = np.zeros((16, 16, 1), np.float32)
        with pytest.raises(UserError, match="expected a share of"):
            uncertainty_cases.make_case(configure(), picture)

    def test_flags_make_the_configuration(self, binary, capsys):
        seen = []

        def read():
            seen.append(uncertainty_options.config_from_flags())
            return 0

        assert binary(read, "--prior_samples=9", "--depth=2") == 0
        assert (seen[0].options.depth, seen[0].options.sigma) == (2, 2.0)
        assert seen[0].options.noise_std == pytest.approx(0.01)
        assert binary(read, "--noisy") == 0
        assert seen[1].options.noise_std is None
        assert seen[1].drop_fraction == 0.5
        assert binary(read, "--prior_side=20") == 2
        assert binary(read, "--added_noise_std=20") == 2
        assert binary(read, "--noise_std=auto") == 2
        assert binary(read, "--factor=2") == 2
