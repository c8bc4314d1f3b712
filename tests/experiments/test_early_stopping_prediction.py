import json

import jax
import numpy as np
import pytest

from dipgp import kernels
from experiments import early_stopping, early_stopping_training
from experiments.common import UserError
from experiments.early_stopping_options import EarlyStoppingConfig, config_from_flags

SMALL = {
    "image_size": (24,),
    "network_widths": (8,),
    "networks": 2,
    "hidden_layers": 1,
    "input_width": 8,
    "input_sigma": 1.0,
}
FILES = ["curves.npz", "figure.png", "metrics.json", "table.md"]


def configure(folder="unused", **changes):
    return EarlyStoppingConfig(**(SMALL | {"output_dir": str(folder)} | changes))


class TestRun:
    def test_it_writes_figure_table_and_metrics(self, tmp_path):
        record = early_stopping.run(configure(tmp_path))
        assert sorted(path.name for path in tmp_path.iterdir()) == FILES
        written = json.loads((tmp_path / "metrics.json").read_text())
        assert [row["width"] for row in written["rows"]] == [8]
        assert len((tmp_path / "table.md").read_text().splitlines()) == 3
        curves = np.load(tmp_path / "curves.npz")
        assert curves["width_8"].shape == (2, record["iterations"] + 1)
        assert curves["predicted"].shape == (record["iterations"] + 1,)
        best = record["rows"][0]["best_iteration"]
        assert best == np.argmin(curves["width_8"].mean(axis=0))


class TestPrediction:
    def test_it_stops_where_the_predicted_error_is_least(self):
        config = configure()
        problem = early_stopping_training.make_problem(config)
        found = early_stopping_training.predict(config, problem)
        assert found.stop["truth"] == np.argmin(found.error)
        assert 0 < found.stop["truth"] < len(found.error) - 1

    @pytest.mark.slow
    def test_more_noise_is_an_earlier_stop_for_all_three(self):
        stops = []
        for noise in (0.05, 0.3):
            config = configure(added_noise=noise)
            problem = early_stopping_training.make_problem(config)
            stops.append(early_stopping_training.predict(config, problem).stop)
        for name in ("truth", "data", "prior"):
            assert stops[1][name] < stops[0][name]

    def test_the_amplitude_is_that_of_the_values(self):
        # The values' variance is that of the prior and of the noise together.
        config = configure(image_size=(256,), added_noise=0.01)
        problem = early_stopping_training.make_problem(config)
        assert 0.3 * problem.truth.std() < problem.amplitude < 3 * problem.truth.std()

    def test_inputs_are_periodic_and_have_the_inputs_covariance(self):
        config = configure(input_width=4000)
        z = np.asarray(
            early_stopping_training.periodic_input(jax.random.key(0), config)
        )
        for shift in (0, 1, 3, 23):
            products = z * np.roll(z, -shift, axis=0)
            lag = min(shift, 24 - shift)
            expected = float(kernels.gaussian(1.0)(np.array([float(lag)])))
            error = products.std() / np.sqrt(4000)  # pixels are not independent
            assert abs(products.mean() - expected) < 4 * error


@pytest.mark.slow
def test_wide_networks_do_what_is_predicted():
    config = configure(input_width=512, networks=16)
    problem = early_stopping_training.make_problem(config)
    found = early_stopping_training.predict(config, problem)
    iterations = len(found.error) - 1
    apart = {}
    for width in (4, 512):
        errors = early_stopping_training.train(
            config, problem, found.learning_rate, iterations, width, lambda *_: None
        )
        mean = errors.mean(axis=0)
        apart[width] = np.max(np.abs(mean / found.error - 1))
        spread = errors.std(axis=0, ddof=1) / 4
    # Sixteen networks, so Student's quantile; a twentieth for what is finite.
    assert np.all(np.abs(mean - found.error) < 5 * spread + 0.05 * found.error)
    assert apart[512] < apart[4]


class TestBadInput:
    @pytest.mark.parametrize(
        ("changes", "sentence"),
        [
            ({"image_size": (2,)}, "--image_size=2: expected one size or two"),
            ({"network_widths": ()}, "--network_widths=: expected positive numbers"),
            ({"networks": 1}, "--networks=1: expected at least 2"),
            ({"input_sigma": 9.0}, "--input_sigma=9.0: expected from 0 to 3"),
            ({"rate_fraction": 1.0}, "--rate_fraction=1.0: expected between 0 and 1"),
            ({"added_noise": 0.0}, "--added_noise=0.0: expected above 0"),
        ],
    )
    def test_the_flag_is_named(self, changes, sentence):
        with pytest.raises(UserError, match=sentence):
            configure(**changes)

    def test_flags_of_other_binaries_are_refused(self, binary, capsys):
        run = lambda: early_stopping.run(config_from_flags())  # noqa: E731
        assert binary(run, "--sigma=4") == 2
        assert "--sigma=4.0: expected no such flag" in capsys.readouterr().err
