import contextlib
import io
import json

import jax
import numpy as np
import pytest

from dipgp import progress
from experiments import (
    plain_process,
    plain_runs,
    small_examples,
    toy_1d,
    toy_1d_options,
)
from experiments.common import UserError
from experiments.plain_model import Model

FILES = ["curves.npz", "figure.png", "metrics.json"]
SMALL = {
    "cases": ((2.0, 1),),
    "points": 17,
    "observed_fraction": 0.25,
    "width": 4,
    "input_channels": 6,
    "restarts": 2,
    "stop_at": 20,
    "chains": 2,
    "iterations": 40,
}


def configure(folder, **changes):
    return toy_1d_options.ToyConfig(**(SMALL | {"output_dir": str(folder)} | changes))


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """What a run gave and printed, and where its files are."""
    folder, printed = tmp_path_factory.mktemp("toy") / "run", io.StringIO()
    with contextlib.redirect_stdout(printed):
        record = toy_1d.run(configure(folder))
    return record, printed.getvalue().splitlines(), folder


class TestRun:
    def test_it_writes_figure_curves_and_metrics(self, done):
        record, lines, folder = done
        assert sorted(path.name for path in folder.iterdir()) == FILES
        written = json.loads((folder / "metrics.json").read_text())
        assert written["observed"] == 4
        assert written["converged"] is True
        (first,) = written["cases"]
        assert (first["sigma"], first["depth"]) == (2, 1)
        assert first["SGLD"]["burn_in"] == 10
        assert first["SGLD"]["rhat_median"] > 0.9
        assert record["cases"][0]["SGD"]["std_ratio"] == first["SGD"]["std_ratio"]
        assert lines[0].startswith("sigma 2, depth 1: amplitude ")
        assert lines[2].startswith("  SGLD: mean ")

    def test_the_curves_are_those_of_the_metrics(self, done):
        record, _, folder = done
        case, curves = record["cases"][0], np.load(folder / "curves.npz")
        np.testing.assert_array_equal(curves["truth"], small_examples.signal(17))
        assert curves["observed"].sum() == 4
        for name in ("GP", "network"):
            assert curves[f"{name}_prior_2_1"].shape == (5, 17)
        exact = curves["GP_mean_2_1"]
        for name in ("SGD", "SGLD"):
            mean, std = curves[f"{name}_mean_2_1"], curves[f"{name}_std_2_1"]
            difference = np.sqrt(np.mean((mean - exact) ** 2))
            assert case[name]["rms_difference"] == pytest.approx(difference)
            ratio = np.mean(std**2) / np.mean(curves["GP_std_2_1"] ** 2)
            assert case[name]["std_ratio"] == pytest.approx(np.sqrt(ratio))

    def test_the_gaussian_process_is_solved_exactly(self, done):
        record, _, folder = done
        curves = np.load(folder / "curves.npz")
        amplitude = record["cases"][0]["amplitude"]
        assert 0.1 < amplitude < 1
        seen = curves["observed"]
        lag = np.subtract.outer(np.arange(17), np.arange(17))
        # A ReLU layer of the input's exp(-lag^2 / (4 sigma^2)), scaled to variance 1.
        correlation = np.exp(-(lag**2) / 16)
        angle = np.arccos(np.minimum(correlation, 1))
        k = amplitude**2 * (np.sin(angle) + (np.pi - angle) * correlation) / np.pi
        joint = np.linalg.inv(k[np.ix_(seen, seen)] + 0.05**2 * np.eye(seen.sum()))
        mean = k[:, seen] @ joint @ curves["truth"][seen]
        variance = np.diag(k - k[:, seen] @ joint @ k[seen])
        assert np.ptp(mean) > 0.1
        np.testing.assert_allclose(curves["GP_mean_2_1"], mean, atol=1e-9)
        np.testing.assert_allclose(curves["GP_std_2_1"] ** 2, variance, atol=1e-9)

    @pytest.mark.slow
    def test_the_same_seed_gives_the_same_files(self, done, tmp_path):
        record, _, folder = done
        again = toy_1d.run(configure(tmp_path / "run"))
        assert again["cases"] == record["cases"]
        for name in ("curves.npz", "figure.png"):
            assert (tmp_path / "run" / name).read_bytes() == (
                folder / name
            ).read_bytes()

    @pytest.mark.slow
    def test_a_case_does_not_depend_on_the_others(self, done, tmp_path):
        record, _, folder = done
        both = toy_1d.run(configure(tmp_path / "run", cases=((1.0, 2), (2.0, 1))))
        assert both["cases"][1] == record["cases"][0]
        curves, before = (
            np.load(path / "curves.npz") for path in (tmp_path / "run", folder)
        )
        assert set(before) < set(curves)
        for name in before:
            np.testing.assert_array_equal(curves[name], before[name])

    @pytest.mark.slow
    def test_another_seed_gives_other_numbers_in_64_bits_and_tells_of_divergence(
        self, done, tmp_path, capsys
    ):
        _, _, folder = done
        settings = {"seed": 1, "float64": True, "step_size": 1e6, "iterations": 80}
        record = toy_1d.run(configure(tmp_path / "run", **settings))
        assert record["converged"] is False
        assert record["cases"][0]["SGLD"]["roll_backs"] > 0
        assert "SGLD: mean " in capsys.readouterr().out
        other = np.load(tmp_path / "run/curves.npz")
        before = np.load(folder / "curves.npz")
        assert other["SGD_mean_2_1"].dtype == np.float64
        assert before["SGD_mean_2_1"].dtype == np.float32
        for name in ("GP_mean_2_1", "GP_prior_2_1", "network_prior_2_1"):
            assert np.all(other[name] != before[name])


class TestModel:
    @pytest.mark.parametrize(("depth", "amplitude"), [(1, 1.0), (3, 0.3)])
    def test_the_prior_has_the_amplitude_asked_for(self, depth, amplitude):
        model = Model(sigma=2.0, depth=depth, shape=(5,), amplitude=amplitude)
        np.testing.assert_allclose(np.diag(model.covariance()), amplitude**2)

    @pytest.mark.slow
    def test_random_networks_have_the_kernels_covariance(self):
        # One layer has it at every width; only its input has to have many channels.
        model = Model(
            sigma=2.0,
            depth=1,
            shape=(6,),
            width=64,
            input_channels=256,
            amplitude=0.5,
        )
        draws = model.draw_networks(jax.random.key(0), 2000)
        products = draws[:, :, None] * draws[:, None, :]
        error = products.std(axis=0) / np.sqrt(len(draws))
        deviation = products.mean(axis=0) - model.covariance()
        assert np.max(np.abs(deviation) / error) < 3.5

    def test_process_draws_have_the_kernels_covariance(self):
        covariance = Model(sigma=15.0, depth=4, shape=(6,)).covariance()
        draws = plain_process.draw_process(jax.random.key(0), covariance, 2000)
        products = draws[:, :, None] * draws[:, None, :]
        error = products.std(axis=0) / np.sqrt(len(draws))
        deviation = products.mean(axis=0) - covariance
        assert np.max(np.abs(deviation) / error) < 3.5

    def test_no_padding_is_seen(self):
        model = Model(sigma=1.0, depth=3, shape=(5,), width=4, input_channels=3)
        z = model.draw_input(jax.random.key(0))
        variables = model.network.init(jax.random.key(1), z)
        inner = model.output(variables, z)
        # Ten more points beyond either end, whatever is there.
        wide = np.pad(z, ((10, 10), (0, 0)), constant_values=7.0)
        outer = model.network.apply(variables, wide)[13:18, 0]
        np.testing.assert_allclose(inner, outer, rtol=1e-5, atol=1e-6)

    def test_the_evidence_finds_the_amplitude_of_the_data(self):
        covariance = Model(sigma=0.0, depth=1, shape=(400,)).covariance()
        values = 0.3 * plain_process.draw_process(jax.random.key(0), covariance, 1)[0]
        found = plain_process.choose_amplitude(
            covariance, values, np.ones(400, bool), 0.01
        )
        # A variance of 400 nearly independent values is known to sqrt(2 / 400).
        assert found == pytest.approx(0.3, rel=3 * np.sqrt(0.5 / 400))

    def test_the_chosen_step_is_below_the_limit_of_wide_networks(self):
        model = Model(sigma=2.0, depth=1, shape=(8,), width=64, amplitude=0.7)
        mask = np.arange(8) % 3 == 0
        z = model.draw_input(jax.random.key(0))
        variables = model.network.init(jax.random.key(1), z)
        slopes = jax.jacrev(lambda v: model.output(v, z)[mask])(variables)
        rows = [np.reshape(leaf, (3, -1)) for leaf in jax.tree.leaves(slopes)]
        tangent = sum(row @ row.T for row in rows)
        curvature = 1 + np.linalg.eigvalsh(tangent)[-1] / 0.1**2
        step = plain_process.choose_step_size(model.covariance(), mask, 1, 0.1)
        assert 0.5 / curvature < step < 4 / curvature

    def test_a_share_of_the_points_is_seen_and_one_at_least(self):
        key = jax.random.key(0)
        assert small_examples.choose_points(key, 128, 0.1).sum() == 13
        assert small_examples.choose_points(key, 128, 1.0).all()
        assert small_examples.choose_points(key, 128, 1e-9).sum() == 1


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_wide_networks_are_nearer_to_their_gaussian_process():
    truth, noise_std = small_examples.signal(24), 0.1
    mask = small_examples.choose_points(jax.random.key(0), 24, 0.25)

    def distances(width):
        model = Model(
            sigma=2.0,
            depth=2,
            shape=(24,),
            width=width,
            input_channels=64,
            amplitude=0.5,
        )
        covariance = model.covariance()
        exact = plain_process.condition(covariance, truth, mask, noise_std)
        step_size = plain_process.choose_step_size(covariance, mask, 2, noise_std)
        curve = plain_runs.sample(
            model,
            plain_runs.observation(model, truth, mask, noise_std),
            model.draw_input(jax.random.key(1)),
            jax.random.key(2),
            step_size=step_size / 2,
            momentum=0.9,
            iterations=10_000,
            burn_in=2_000,
            chain_count=8,
            report=progress.say_nothing,
        ).curve
        mean = np.sqrt(np.mean((curve.mean - exact.mean) ** 2))
        std = np.sqrt(np.mean(np.log(curve.std / exact.std) ** 2))
        return mean, std

    # Measured: 0.083 and 0.24 at width 2, 0.023 and 0.052 at width 64.
    (narrow_mean, narrow_std), (wide_mean, wide_std) = distances(2), distances(64)
    assert wide_mean < 0.5 * narrow_mean
    assert wide_std < 0.5 * narrow_std


class TestBadInput:
    @pytest.mark.parametrize(
        ("argument", "sentence"),
        [
            ("--cases=2", "--cases=2: expected pairs sigma:depth"),
            ("--cases=2:1:3", "--cases=2:1:3: expected pairs sigma:depth"),
            ("--cases=2:1.5", "--cases=2:1.5: expected pairs sigma:depth"),
            ("--cases=", "--cases=: expected"),
            ("--cases=2:0", "--cases=2:0: expected depth from 1"),
            ("--cases=-2:1", "--cases=-2:1: expected sigma from 0"),
            ("--cases=nan:1", "--cases=nan:1: expected sigma from 0"),
            ("--cases=129:1", "--cases=129:1: expected sigma from 0 to the 128 points"),
            ("--cases=2:1,2:1", "--cases=2:1,2:1: expected one case at least, and"),
            ("--points=1", "--points=1: expected from 2"),
            ("--points=100000", "--points=100000: expected from 2 to 4096"),
            ("--observed_fraction=0", "--observed_fraction=0.0: expected above 0"),
            ("--observed_fraction=1.1", "--observed_fraction=1.1: expected above 0"),
            ("--observed_fraction=nan", "--observed_fraction=nan: expected above 0"),
            ("--width=0", "--width=0: expected a number of at least 1"),
            ("--input_channels=0", "--input_channels=0: expected a number of at"),
            ("--chains=0", "--chains=0: expected a number of at least 1"),
            ("--iterations=0", "--iterations=0: expected a number of at least 1"),
            ("--stop_at=0", "--stop_at=0: expected a number of at least 1"),
            ("--restarts=1", "--restarts=1: expected at least 2"),
            ("--burn_in=20000", "--burn_in=20000: expected from 0 to below the 20000"),
            ("--amplitude=0", "--amplitude=0.0: expected a positive number"),
            ("--observation_std=-1", "--observation_std=-1.0: expected a positive"),
            ("--step_size=inf", "--step_size=inf: expected a positive number"),
            ("--momentum=1", "--momentum=1.0: expected at least 0, below 1"),
            ("--learning_rate=0", "--learning_rate=0.0: expected a positive number"),
            ("--seed=-1", "--seed=-1: expected a number from 0"),
            ("--output_dir={folder}/file", "--output_dir={folder}/file: expected a"),
            ("--image=a.png", "--image=['a.png']: expected no such flag"),
            ("--thinning=3", "--thinning=3: expected no such flag"),
            ("stray", "stray: expected flags only"),
        ],
    )
    def test_it_ends_in_one_sentence_with_nothing_written(
        self, binary, tmp_path, capsys, argument, sentence
    ):
        (tmp_path / "file").touch()
        argument = argument.format(folder=tmp_path)
        folder = f"--output_dir={tmp_path / 'run'}"
        assert binary(toy_1d.main, folder, argument) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith(f"Error: {sentence.format(folder=tmp_path)}")
        assert err.count("\n") == 1
        assert [path.name for path in tmp_path.iterdir()] == ["file"]

    def test_configurations_need_a_case(self, tmp_path):
        with pytest.raises(UserError, match="--cases=: expected one case at least"):
            configure(tmp_path, cases=())


def test_flags_become_the_configuration(binary):
    found = []

    def run():
        found.append(toy_1d_options.config_from_flags())
        return 0

    binary(run)
    binary(run, "--cases=3:2", "--width=8", "--iterations=9", "--chains=2", "--float64")
    assert found == [
        toy_1d_options.ToyConfig(output_dir="runs/toy_1d"),
        toy_1d_options.ToyConfig(
            output_dir="runs/toy_1d",
            cases=((3.0, 2),),
            width=8,
            iterations=9,
            chains=2,
            float64=True,
        ),
    ]
