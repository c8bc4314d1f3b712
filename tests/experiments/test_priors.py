import json

import numpy as np
import pytest

from experiments import priors
from experiments.common import UserError
from experiments.priors import PriorsConfig, config_from_flags

FILES = ["figure.png", "metrics.json", "spectra.png", "table.md"]


def configure(folder="unused", **changes):
    small = {"cases": ((1.0, 1),), "side": 16, "draws": 4, "width": 4}
    return PriorsConfig(**(small | {"output_dir": str(folder)} | changes))


class TestRun:
    def test_it_writes_pictures_table_and_metrics(self, tmp_path):
        record = priors.run(configure(tmp_path))
        assert sorted(path.name for path in tmp_path.iterdir()) == FILES
        written = json.loads((tmp_path / "metrics.json").read_text())
        assert written["rows"][0]["rings"] == record["rows"][0]["rings"] > 3
        assert len((tmp_path / "table.md").read_text().splitlines()) == 3

    @pytest.mark.slow
    def test_networks_have_the_spectrum_of_their_process(self, tmp_path):
        record = priors.run(configure(tmp_path, side=64, draws=64, width=64))
        (row,) = record["rows"]
        # One layer has the covariance of the limit at every width.
        assert row["in_errors"] < 4.5
        assert np.ptp(np.log10(row["process"])) > 0.5


class TestSpectra:
    def test_white_noise_is_as_strong_at_all_frequencies(self):
        draws = np.random.default_rng(0).normal(size=(200, 32, 32))
        frequency, power = priors.spectra(draws)
        assert np.all(np.diff(frequency) > 0)
        error = power.std(axis=0, ddof=1) / np.sqrt(200)
        assert np.max(np.abs(power.mean(axis=0) - 1) / error) < 4

    def test_a_wave_stands_at_its_own_frequency(self):
        wave = np.sin(2 * np.pi * 0.25 * np.arange(64)) * np.ones((64, 1))
        frequency, power = priors.spectra(wave[None])
        assert frequency[np.argmax(power[0])] == pytest.approx(0.25, rel=0.2)


class TestBadInput:
    @pytest.mark.parametrize(
        ("changes", "sentence"),
        [
            ({"side": 8}, "--side=8: expected at least 16"),
            ({"draws": 1}, "--prior_draws=1: expected at least 2"),
            ({"cases": ()}, "--prior_cases=: expected one case"),
            ({"cases": ((1.0, 0),)}, "--prior_cases=1:0: expected sigma"),
        ],
    )
    def test_the_flag_is_named(self, changes, sentence):
        with pytest.raises(UserError, match=sentence):
            configure(**changes)

    def test_a_case_is_a_pair(self, binary, capsys):
        assert binary(lambda: priors.run(config_from_flags()), "--prior_cases=2") == 2
        assert "--prior_cases=2: expected pairs" in capsys.readouterr().err

    def test_a_flag_of_another_experiment_is_refused(self, binary, capsys):
        assert binary(priors.main, "--depth=3") == 2
        assert "--depth=3: expected no such flag" in capsys.readouterr().err
