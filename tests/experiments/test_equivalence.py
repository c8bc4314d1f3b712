import dataclasses
import json

import jax
import numpy as np
import pytest

from dipgp import gp, progress
from dipgp.summaries import diagnostics
from experiments import equivalence, equivalence_cells, hidden_weights, plain_process
from experiments.common import UserError
from experiments.equivalence_options import EquivalenceConfig, config_from_flags
from experiments.plain_model import Model

SMALL = {
    "grid": (12,),
    "tasks": ("inpaint",),
    "widths": (4,),
    "inputs": 2,
    "relu_layers": 1,
    "input_channels": 8,
    "posterior_draws": 8,
    "draws_before": 4,
    "posterior_chains": 2,
    "langevin_widths": (),
    "langevin_iterations": 40,
    "sampler": "slice",
}
FILES = ["cells.json", "figure.png", "metrics.json", "table.md"]


def configure(folder, **changes):
    return EquivalenceConfig(**(SMALL | {"output_dir": str(folder)} | changes))


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("equivalence") / "run"
    return equivalence.run(configure(folder)), folder


@pytest.mark.slow
class TestRun:
    def test_it_writes_figure_table_and_metrics(self, done):
        record, folder = done
        assert sorted(path.name for path in folder.iterdir()) == FILES
        written = json.loads((folder / "metrics.json").read_text())
        assert [row["width"] for row in written["rows"]] == [4]
        assert len((folder / "table.md").read_text().splitlines()) == 3
        assert set(record["exponents"]["inpaint"]) == {"mean", "variance"}
        assert len(written["by_input_channels"]["inpaint"]["distance"]) == 6

    def test_resumed_it_computes_nothing_again(self, done, monkeypatch):
        record, folder = done

        def refuse(*_):
            raise AssertionError("computed again")

        for name in ("posterior", "input_channels"):
            monkeypatch.setattr(equivalence_cells, name, refuse)
        again = equivalence.run(configure(folder, resume=True))
        assert again["rows"] == record["rows"]

    @pytest.mark.slow
    def test_langevin_dynamics_has_the_same_posterior(self, tmp_path):
        config = configure(
            tmp_path,
            langevin_widths=(4,),
            langevin_iterations=20_000,
            posterior_draws=2000,
            posterior_chains=4,
            inputs=1,
        )
        (row,) = equivalence.run(config)["langevin"]
        # Root mean square of differences that sampling noise explains is about 1.
        assert row["in_errors"] < 3
        assert row["distance"] < 0.1
        assert row["std_ratio"] == pytest.approx(1, abs=0.1)
        assert row["roll_backs"] == 0

    def test_other_settings_are_not_taken_up(self, done):
        _, folder = done
        with pytest.raises(UserError, match=r"--resume: .*same settings"):
            equivalence.run(configure(folder, resume=True, noise_level=0.2))

    def test_a_damaged_file_is_refused(self, tmp_path):
        (tmp_path / "cells.json").write_text("{")
        with pytest.raises(UserError, match=r"--resume: .*readable .*cells\.json"):
            equivalence.run(configure(tmp_path, resume=True))


class TestProcess:
    @pytest.mark.slow
    def test_many_input_channels_have_the_stationary_process(self):
        config = configure("unused", input_channels=16, inputs=1)
        problem = equivalence_cells.make_problem(config, "inpaint")
        few, many = (
            equivalence_cells.input_channels(problem, channels, 0)["mean_squared"]
            for channels in (16, 16384)
        )
        # The distance falls as 1 / sqrt(channels), here by 32.
        assert many < few / 100

    def test_its_covariance_is_that_of_random_networks(self):
        # One layer has it at every width.
        model = Model(shape=(3,), sigma=1.0, depth=1, width=16, input_channels=4)
        z = model.draw_input(jax.random.key(0))

        def draw(key):
            features = model.features(model.hidden.init(key, z), z)
            return features @ features.T

        keys = jax.random.split(jax.random.key(1), 4000)
        drawn = np.asarray(jax.lax.map(jax.jit(draw), keys))
        expected = equivalence_cells.process_covariance(model, z)
        error = drawn.std(axis=0) / np.sqrt(len(drawn))
        assert np.max(np.abs(drawn.mean(axis=0) - expected) / error) < 4.5


@pytest.mark.slow
class TestSamplers:
    """Where the answer is known: a posterior by many draws of the prior."""

    @pytest.fixture
    def problem(self):
        config = configure("unused", grid=(8,), input_channels=8, noise_level=0.3)
        return equivalence_cells.make_problem(config, "inpaint")

    def weighted(self, problem, model, count):
        """Mean and variance by importance sampling, with the mean's standard error."""
        z = problem.input(0)
        observed = np.flatnonzero(problem.mask)
        data = hidden_weights.Data(
            z, problem.values[observed].astype(np.float32), observed, np.float32(0.3)
        )

        def draw(key):
            weights = model.hidden.init(key, z)
            features = model.features(weights, z)
            return gp.condition_matrix(
                features @ features.T, data.values, data.observed, data.noise_std
            )

        keys = jax.random.split(jax.random.key(5), count)
        told = jax.lax.map(jax.jit(draw), keys)
        weight = np.exp(np.asarray(told.log_evidence, np.float64))
        weight /= weight.sum()
        means, variances = np.asarray(told.mean), np.asarray(told.variance)
        mean = weight @ means
        error = np.sqrt(np.square(weight) @ np.square(means - mean))
        second = weight @ (np.square(means) + variances)
        return data, mean, error, second - mean**2

    @pytest.mark.parametrize("sampler", ["slice", "nuts"])
    def test_they_have_the_posterior_of_weighted_draws_of_the_prior(
        self, problem, sampler
    ):
        model = dataclasses.replace(problem.model, width=4)
        data, mean, error, variance = self.weighted(problem, model, 40_000)
        draws = hidden_weights.sample(
            model,
            data,
            jax.random.key(6),
            sampler=sampler,
            chains=8,
            burn_in=200,
            draws=2000 if sampler == "slice" else 500,
            report=progress.say_nothing,
        )
        means = draws.means.mean(axis=1)
        between = means.std(axis=0, ddof=1) / np.sqrt(len(means))
        # Seven degrees of freedom: Student's 1e-4 quantile is about 7.
        deviation = (means.mean(axis=0) - mean) / np.hypot(between, error)
        assert np.max(np.abs(deviation)) < 7
        total = (draws.variances + np.square(draws.means)).mean((0, 1))
        found = total - means.mean(axis=0) ** 2
        np.testing.assert_allclose(found, variance, rtol=0.1)
        assert np.nanmax(diagnostics.diagnose(draws.means).rhat) < 1.1


class TestBadInput:
    @pytest.mark.parametrize(
        ("changes", "sentence"),
        [
            ({"grid": (1,)}, "--grid=1: expected one size or two"),
            ({"grid": (100, 100)}, "--grid=100,100: expected at most 4096 pixels"),
            ({"tasks": ("paint",)}, "--tasks=paint: expected inpaint"),
            ({"widths": (4, 4)}, "--widths=4,4: expected positive numbers"),
            ({"langevin_widths": (8,)}, "--langevin_widths=8: expected some of"),
            ({"posterior_chains": 1}, "--posterior_chains=1: expected at least 2"),
            ({"noise_level": float("nan")}, "--noise_level=nan: expected above 0"),
        ],
    )
    def test_the_flag_is_named(self, changes, sentence):
        with pytest.raises(UserError, match=sentence):
            configure("unused", **changes)

    def test_flags_of_other_binaries_are_refused(self, binary, capsys):
        run = lambda: equivalence.run(config_from_flags())  # noqa: E731
        assert binary(run, "--sigma=4") == 2
        assert "--sigma=4.0: expected no such flag" in capsys.readouterr().err

    def test_numbers_are_numbers(self, binary, capsys):
        run = lambda: equivalence.run(config_from_flags())  # noqa: E731
        assert binary(run, "--widths=a,b") == 2
        assert "--widths=a,b: expected whole numbers" in capsys.readouterr().err


def test_the_exact_posterior_is_that_of_the_matrix():
    covariance = np.array([[1.0, 0.5], [0.5, 1.0]])
    curve = plain_process.condition(
        covariance, np.array([2.0, 0.0]), np.array([True, False]), 1.0
    )
    np.testing.assert_allclose(curve.mean, [1.0, 0.5])
    np.testing.assert_allclose(curve.std**2, [0.5, 0.875])
