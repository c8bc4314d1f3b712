import csv
import dataclasses
import functools
import json
import os
import signal
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from dipgp.observations import Blur, Identity, gaussian_blur, observe
from experiments import (
    denoise,
    gp_method,
    image_tasks,
    methods,
    network_method,
    network_options,
    network_run,
)
from experiments.common import UserError
from experiments.gp_method import GPOptions
from experiments.network_recipe import Recipe
from experiments.network_settings import NetworkSettings, Running
from experiments.restoration import Interrupted, Request

# One recipe for most tests, so that its program is compiled once.
SETTINGS = NetworkSettings(channels=(4,), iterations=12, stop_at=6, burn_in=4)
NOISE = GPOptions(noise_std=25 / 255)


@pytest.fixture
def config(tmp_path, photographs):
    def make(*names, settings=SETTINGS, running=None, **changes):
        fields = {
            "output_dir": str(tmp_path / "run"),
            "images": (photographs[0],),
            "methods": names,
            "options": NOISE,
            "networks": {name: settings for name in names if name != "gp"},
            "running": running or Running(log_every=5, checkpoint_minutes=60),
        }
        return denoise.DenoiseConfig(**(fields | changes))

    return make


def picture(folder, name="restored.png"):
    return (folder / name).read_bytes()


class TestRuns:
    def test_methods_that_differ_in_what_is_read_share_a_run(self):
        settings = {
            name: network_options.settings("denoise", "smoke", name, {})
            for name in network_method.RUNS
        }
        names = ["gp", "sgd", "psgld", "sgd_avg", "sgd_input_avg", "sgd_input"]
        assert methods.group_by_run(names, settings) == [
            ["gp"],
            ["sgd", "sgd_avg"],
            ["psgld"],
            ["sgd_input_avg", "sgd_input"],
        ]

    def test_other_settings_need_another_run(self):
        settings = {
            name: network_options.settings("denoise", "smoke", name, {"stop_at": stop})
            for name, stop in (("sgd", 10), ("sgd_avg", 11))
        }
        groups = methods.group_by_run(["sgd", "sgd_avg"], settings)
        assert groups == [["sgd"], ["sgd_avg"]]

    @pytest.mark.slow
    def test_descent_and_its_average_are_read_at_one_iteration_of_one_trace(
        self, config, tmp_path
    ):
        plain, average = denoise.run(config("sgd", "sgd_avg"))
        assert plain["seconds"] == average["seconds"]
        with (tmp_path / "run" / "trace_sgd.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert [row["iteration"] for row in rows] == [str(i) for i in range(1, 13)]
        at = rows[SETTINGS.stop_at - 1]
        assert plain["psnr_unclipped"] == pytest.approx(float(at["psnr"]), abs=1e-3)
        found = average["psnr_unclipped"]
        assert found == pytest.approx(float(at["psnr_average"]), abs=1e-3)
        best = max(float(row["psnr"]) for row in rows)
        assert plain["trace_psnr_peak"] == pytest.approx(best, abs=1e-3)

    @pytest.mark.slow
    def test_a_sampler_gives_the_mean_of_its_samples_and_their_spread(
        self, config, tmp_path
    ):
        running = Running(log_every=1, samples=8)
        (record,) = denoise.run(config("psgld", running=running))
        run = tmp_path / "run"
        samples = np.load(run / "samples.npz")["samples"]
        # Eight draws, every one of the eight iterations after burn-in.
        assert samples.shape == (1, 8, 12, 16, 1)
        std = np.load(run / "uncertainty.npz")["std"]
        np.testing.assert_allclose(std, samples.std(axis=(0, 1), ddof=1), rtol=1e-3)
        with (run / "trace.csv").open() as file:
            last = list(csv.DictReader(file))[-1]
        found = record["psnr_unclipped"]
        assert found == pytest.approx(float(last["psnr_mean"]), abs=1e-3)
        assert -1 <= record["std_error_rank_correlation"] <= 1
        assert 0 <= record["error_within_2_std"] <= 1
        assert record["rhat_median"] > 0
        assert (run / "uncertainty.png").exists()

    @pytest.mark.slow
    def test_chains_differ_and_are_pooled(self, config, tmp_path):
        settings = dict(vars(SETTINGS), chains=2)
        running = Running(log_every=4, samples=2)
        denoise.run(
            config("psgld", settings=NetworkSettings(**settings), running=running)
        )
        samples = np.load(tmp_path / "run" / "samples.npz")["samples"]
        assert samples.shape[0] == 2
        assert np.abs(samples[0] - samples[1]).min(initial=1) >= 0
        assert not np.allclose(samples[0], samples[1])

    def test_one_seed_gives_identical_files_and_another_does_not(
        self, config, tmp_path
    ):
        pictures = []
        for folder, seed in (("one", 0), ("two", 0), ("three", 1)):
            denoise.run(config("psgld", output_dir=str(tmp_path / folder), seed=seed))
            pictures.append(picture(tmp_path / folder))
        assert pictures[0] == pictures[1] != pictures[2]


def end_at(iteration):
    """A stand-in for the driver's news that asks the process to end on the way."""
    tell = network_run._news

    def news(piece, count, iterations, elapsed):
        if count >= iteration:
            os.kill(os.getpid(), signal.SIGTERM)
        return tell(piece, count, iterations, elapsed)

    return news


class TestInterruptions:
    def test_a_run_that_was_ended_goes_on_to_the_same_result(
        self, config, tmp_path, monkeypatch
    ):
        denoise.run(config("psgld", output_dir=str(tmp_path / "whole")))
        with monkeypatch.context() as patch:
            patch.setattr(network_run, "_news", end_at(5))
            with pytest.raises(Interrupted, match=r"after 5 of 12; add --resume"):
                denoise.run(config("psgld"))
        assert not (tmp_path / "run" / "restored.png").exists()
        running = Running(log_every=5, checkpoint_minutes=60, resume=True)
        denoise.run(config("psgld", running=running))
        assert picture(tmp_path / "run") == picture(tmp_path / "whole")
        for name in ("trace.csv", "uncertainty.png"):
            assert picture(tmp_path / "run", name) == picture(tmp_path / "whole", name)

    @pytest.mark.slow
    def test_the_command_line_says_how_to_go_on(
        self, binary, photographs, tmp_path, monkeypatch, capsys
    ):
        monkeypatch.setattr(network_run, "_news", end_at(5))
        arguments = [
            f"--output_dir={tmp_path / 'run'}",
            f"--image={photographs[0]}",
            "--method=psgld",
            "--channels=4",
            "--iterations=12",
            "--log_every=5",
        ]
        assert binary(denoise.main, *arguments) == 130
        assert "stopped after 5 of 12; add --resume" in capsys.readouterr().err

    def test_other_settings_do_not_go_on_from_a_checkpoint(
        self, config, tmp_path, monkeypatch
    ):
        with monkeypatch.context() as patch:
            patch.setattr(network_run, "_news", end_at(5))
            with pytest.raises(Interrupted):
                denoise.run(config("psgld"))
        settings = NetworkSettings(**dict(vars(SETTINGS), step_size=0.02))
        running = Running(log_every=5, checkpoint_minutes=60, resume=True)
        with pytest.raises(UserError, match=r"--resume: .*step_size = 0.02"):
            denoise.run(config("psgld", settings=settings, running=running))

    def test_what_was_seen_through_another_map_does_not_go_on_from_a_checkpoint(
        self, config, monkeypatch
    ):
        with monkeypatch.context() as patch:
            patch.setattr(network_run, "_news", end_at(5))
            with pytest.raises(Interrupted):
                denoise.run(config("psgld"))
        blurred = functools.partial(image_tasks.Problem, forward=Blur([[1, 2]]))
        monkeypatch.setattr(image_tasks, "Problem", blurred)
        running = Running(log_every=5, checkpoint_minutes=60, resume=True)
        with pytest.raises(UserError, match=r"--resume: .*forward = .Blur"):
            denoise.run(config("psgld", running=running))

    def test_a_data_set_goes_on_with_the_images_that_are_left(
        self, averaging, config, tmp_path, photographs
    ):
        run = config("gp", images=(photographs[0],))
        denoise.run(run)
        # The same folder that the image has in a run of two.
        (tmp_path / "run" / "grey").mkdir()
        for path in (tmp_path / "run").glob("*.*"):
            path.rename(tmp_path / "run" / "grey" / path.name)
        running = Running(resume=True, log_every=5, checkpoint_minutes=60)
        records = denoise.run(config("gp", images=tuple(photographs), running=running))
        assert len(averaging.calls) == 2
        assert [record["image"] for record in records] == ["grey", "colour"]
        table = json.loads((tmp_path / "run" / "table.json").read_text())
        assert len(table["images"]) == 2


class TestDivergence:
    def test_it_ends_with_a_clear_word_and_the_last_good_state(
        self, config, tmp_path, capsys
    ):
        settings = NetworkSettings(**dict(vars(SETTINGS), step_size=1e30))
        running = Running(log_every=5, on_divergence="stop")
        records = denoise.run(config("psgld", settings=settings, running=running))
        assert image_tasks.exit_status(records) == 1
        assert "NOT CONVERGED: diverged" in capsys.readouterr().out
        assert "at iteration" in records[0]["message"]
        assert (tmp_path / "run" / "restored.png").exists()
        assert np.isfinite(records[0]["psnr"])


class TestNoise:
    @pytest.mark.slow
    def test_an_unknown_noise_is_estimated_for_samplers(self, config, monkeypatch):
        monkeypatch.setattr(gp_method, "estimate_noise", lambda *_: 0.125)
        run = config("psgld", noisy=True, options=GPOptions())
        (record,) = denoise.run(run)
        assert record["hyperparameters"]["noise_std"] == 0.125
        assert record["psnr"] is None

    @pytest.mark.parametrize(("estimated", "used"), [(0.05, 0.1), (0.25, 0.25)])
    def test_an_estimate_is_raised_to_the_least_noise(
        self, estimated, used, monkeypatch
    ):
        monkeypatch.setattr(gp_method, "estimate_noise", lambda *_: estimated)
        seen = observe(np.zeros((4, 4, 1)), noise_std=0.5)
        request = Request(seen, (4, 4, 1), False, None, 0, None, lambda *_: None)
        raised = network_method._with_estimated_noise(request, least=0.1)
        np.testing.assert_allclose(raised.observation.noise_std, used)
        assert raised.noise_known

    @pytest.mark.parametrize(
        "forward", [Identity(), gaussian_blur(0.5)], ids=["seen", "blurred"]
    )
    def test_the_estimate_knows_what_the_image_was_seen_through(
        self, forward, monkeypatch
    ):
        asked = {}

        def select(candidates, observation, estimate_noise, report, *, through):
            asked.update(estimate=estimate_noise, through=through)
            return SimpleNamespace(noise_std=0.2)

        monkeypatch.setattr(gp_method.gp, "select", select)
        seen = observe(np.zeros((8, 8, 1)), noise_std=0.5)
        request = Request(
            seen, (8, 8, 1), False, None, 0, None, lambda *_: None, forward
        )
        assert gp_method.estimate_noise(request) == 0.2
        through = None if forward == Identity() else forward
        assert asked == {"estimate": True, "through": through}

    def test_that_of_a_step_is_of_observed_pixels(self):
        mask = np.arange(9).reshape(3, 3) > 5
        seen = observe(np.zeros((3, 3, 1)), mask, noise_std=0.1)
        # Where nothing is observed it is 1.
        assert network_method._typical_noise(seen) == pytest.approx(0.1)

    @pytest.mark.slow
    def test_descents_estimate_none(self, config):
        run = config("sgd", added_noise_std=0.1, options=GPOptions())
        (record,) = denoise.run(run)
        assert record["hyperparameters"]["noise_std"] is None
        assert record["noise_std"]["estimated"] is None


class TestNoiseOfEachPixel:
    """Half of the pixels are seen in five times the noise of the others."""

    GRID = (8, 8)
    LOUD = np.arange(64).reshape(GRID) % 2 == 0
    NOISE_STD = np.where(LOUD, 0.5, 0.1)

    @classmethod
    def request(cls, loud=0.0, quiet=0.0):
        waves = 0.5 + 0.3 * np.sin(np.arange(64).reshape(cls.GRID))
        values = np.where(cls.LOUD, waves + loud, waves + quiet)[:, :, None]
        seen = observe(values.astype(np.float32), noise_std=cls.NOISE_STD)
        shape = (*cls.GRID, 1)
        return Request(seen, shape, True, None, 0, None, lambda *_: None)

    def test_the_likelihood_of_a_network_weighs_each_by_its_own(self):
        settings = dataclasses.replace(SETTINGS, step_size=1e-3)
        recipe = Recipe("psgld", settings, 1, Identity())
        data = [
            network_method._data(recipe, self.request(*shifts))
            for shifts in ((0, 0), (0.5, 0), (0, 0.5))
        ]
        key = jax.random.key(0)
        parameters = recipe.network.init(key, data[0].z)
        told = [recipe._log_density(each)(parameters, key) for each in data]
        image = np.asarray(told[0][1], np.float64)
        residuals = [
            (np.asarray(each.observation.values, np.float64) - image)[:, :, 0]
            / self.NOISE_STD
            for each in data
        ]
        for (found, _), residual in zip(told[1:], residuals[1:], strict=True):
            expected = 0.5 * np.sum(residuals[0] ** 2 - residual**2)
            difference = float(found) - float(told[0][0])
            assert difference == pytest.approx(expected, rel=1e-3, abs=0.01)

    @pytest.mark.slow
    def test_the_process_weighs_each_by_its_own(self):
        options = GPOptions("rbf", None, None, 0.3, 2.0, noise_std=0.1, tolerance=1e-6)
        request = self.request()
        found = gp_method.restore(request, options)
        pixels = np.argwhere(np.ones(self.GRID))
        lags = (pixels[:, None] - pixels).astype(np.float64)
        prior = 0.3**2 * np.exp(-(lags**2).sum(axis=2) / (2 * 2.0**2))
        covariance = prior + np.diag(self.NOISE_STD.ravel() ** 2)
        values = np.asarray(request.observation.values, np.float64).ravel()
        ones = np.linalg.solve(covariance, np.ones(64))
        level = ones @ values / ones.sum()
        mean = level + prior @ np.linalg.solve(covariance, values - level)
        np.testing.assert_allclose(found.mean.ravel(), mean, atol=1e-3)


class TestStepSize:
    @pytest.mark.parametrize(("run", "power"), [("psgld", 0.0), ("sgld", 1.0)])
    def test_it_falls_as_the_curvature_that_is_left_to_it_rises(self, run, power):
        """By pixels, by the mask, by channels and by the noise."""

        def step(shape=(8, 8, 1), mask=None, noise_std=0.1):
            seen = observe(np.zeros(shape), mask, noise_std=noise_std)
            return network_method._step_size(run, seen)

        half = np.arange(8) % 2 * np.ones((8, 1))
        np.testing.assert_allclose(
            [
                step(),
                step((16, 16, 1)),
                step(mask=half),
                step((8, 8, 3)),
                step(noise_std=0.05),
            ],
            step() * np.array([1, 1 / 4, 2, 1 / 3, 1 / 4]) ** power,
            rtol=1e-6,
        )

    @pytest.mark.slow
    def test_the_record_says_which_was_taken(self, config):
        automatic, given = (
            denoise.run(config("psgld", settings=settings))[0]
            for settings in (
                SETTINGS,
                NetworkSettings(**dict(vars(SETTINGS), step_size=1e-3)),
            )
        )
        assert automatic["hyperparameters"]["step_size"] == 0.0045
        assert given["hyperparameters"]["step_size"] == 1e-3
