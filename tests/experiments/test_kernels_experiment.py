import contextlib
import io
import json

import jax
import numpy as np
import pytest

from experiments import kernels, kernels_options
from experiments.kernels_cases import Case, Comparison, Estimate, expected_maximum
from experiments.kernels_options import KernelsConfig

FILES = ["figure.png", "metrics.json", "table.md"]
SMALL = {
    "depths": (1,),
    "sigmas": (),
    "autoencoder_depths": (1,),
    "hidden_channels": 8,
    "draws": 100,
}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """What a run gave and printed, and where its files are."""
    folder, printed = tmp_path_factory.mktemp("kernels") / "run", io.StringIO()
    with contextlib.redirect_stdout(printed):
        record = kernels.run(KernelsConfig(output_dir=str(folder), **SMALL))
    return record, printed.getvalue(), folder


class TestRun:
    def test_it_writes_figure_table_and_metrics(self, done):
        record, printed, folder = done
        assert sorted(path.name for path in folder.iterdir()) == FILES
        assert (folder / "table.md").read_text() == printed
        assert len(printed.splitlines()) == 4
        assert "| plain, depth 1, sigma 2, n = 8 | " in printed
        written = json.loads((folder / "metrics.json").read_text())
        assert [case["part"] for case in written["cases"]] == ["depth", "autoencoder"]
        assert written["largest_deviation"] == record["largest_deviation"]

    def test_the_points_are_within_four_standard_errors(self, done):
        record, _, _ = done
        assert record["agrees"]
        for case in record["cases"]:
            found, limit = case["limit"], case["limit"]["correlation"]
            far = np.abs(limit - case["closed_form"]) / found["standard_error"]
            assert found["largest_deviation"] == pytest.approx(far.max())
            assert 0 < far.max() < 4
            # Chance does not hide a tenth of the range.
            assert np.all(case["wide"]["standard_error"] < 0.05)

    def test_the_limit_is_that_of_two_widths(self, done):
        for case in done[0]["cases"]:
            wide, narrow, limit = (case[n] for n in ("wide", "narrow", "limit"))
            mean = 2 * wide["correlation"] - narrow["correlation"]
            np.testing.assert_allclose(limit["correlation"], mean, rtol=1e-12)
            variance = 4 * wide["standard_error"] ** 2 + narrow["standard_error"] ** 2
            np.testing.assert_allclose(limit["standard_error"] ** 2, variance)

    def test_the_closed_form_of_one_layer_is_the_papers(self, done):
        case = done[0]["cases"][0]
        angle = np.arccos(np.exp(-(np.arange(1, 13) ** 2) / 16))
        expected = (np.sin(angle) + (np.pi - angle) * np.cos(angle)) / np.pi
        np.testing.assert_allclose(case["closed_form"], expected, rtol=1e-9)

    @pytest.mark.slow
    def test_a_case_does_not_depend_on_the_others(self, done, tmp_path):
        settings = SMALL | {"autoencoder_depths": (), "sigmas": (0.0,), "depths": (1,)}
        record = kernels.run(KernelsConfig(output_dir=str(tmp_path), **settings))
        first, before = record["cases"][0], done[0]["cases"][0]
        for name in ("wide", "limit"):
            np.testing.assert_array_equal(
                first[name]["correlation"], before[name]["correlation"]
            )
        assert [case["depth"] for case in record["cases"]] == [1, 2, 4]

    def test_a_deviation_beyond_four_standard_errors_is_told(
        self, tmp_path, monkeypatch, capsys
    ):
        def compare(case, key, channels, draws):
            exact = case.closed_form(case.lags)
            off = Estimate(exact + 0.005, np.full(exact.size, 0.001))
            estimates = dict.fromkeys(("wide", "narrow", "limit"), off)
            return Comparison(case, channels, exact, estimates, 0.0)

        monkeypatch.setattr(kernels, "compare", compare)
        record = kernels.run(KernelsConfig(output_dir=str(tmp_path), **SMALL))
        assert not record["agrees"]
        assert record["largest_deviation"] == pytest.approx(5)
        assert "| 0.00500 | 5.0 |" in capsys.readouterr().out


def test_the_expected_maximum_is_that_of_normal_variables():
    assert expected_maximum(1) == pytest.approx(np.sqrt(2 / np.pi))
    drawn = np.abs(np.random.default_rng(0).normal(size=(40_000, 12))).max(axis=1)
    error = drawn.std() / 200
    assert expected_maximum(12) == pytest.approx(drawn.mean(), abs=4 * error)


class TestBadInput:
    @pytest.mark.parametrize(
        ("argument", "sentence"),
        [
            ("--depths=0", "--depths=0: expected whole numbers from 1 to 100"),
            ("--depths=1.5", "--depths=1.5: expected whole numbers between commas"),
            ("--depths=2,2", "--depths=2,2: expected each number once"),
            ("--sigmas=-1", "--sigmas=-1: expected numbers from 0 to 1000"),
            ("--sigmas=nan", "--sigmas=nan: expected numbers from 0 to 1000"),
            ("--sigmas=a", "--sigmas=a: expected numbers between commas"),
            ("--sigmas=1,1", "--sigmas=1,1: expected each number once"),
            ("--autoencoder_depths=9", "--autoencoder_depths=9: expected whole"),
            ("--hidden_channels=3", "--hidden_channels=3: expected an even number"),
            ("--draws=1", "--draws=1: expected at least 2"),
            ("--seed=-1", "--seed=-1: expected a number from 0"),
            ("--output_dir={folder}/file", "--output_dir={folder}/file: expected a"),
            ("--depth=3", "--depth=3: expected no such flag"),
            ("stray", "stray: expected flags only"),
        ],
    )
    def test_it_ends_in_one_sentence_with_nothing_written(
        self, binary, tmp_path, capsys, argument, sentence
    ):
        (tmp_path / "file").touch()
        argument = argument.format(folder=tmp_path)
        assert binary(kernels.main, f"--output_dir={tmp_path / 'run'}", argument) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith(f"Error: {sentence.format(folder=tmp_path)}")
        assert err.count("\n") == 1
        assert [path.name for path in tmp_path.iterdir()] == ["file"]

    def test_nothing_to_compare_is_refused(self, binary, capsys):
        nothing = ("--depths=", "--sigmas=", "--autoencoder_depths=")
        assert binary(kernels.main, *nothing) == 2
        assert "--depths=: expected a network in it" in capsys.readouterr().err


def test_flags_become_the_configuration(binary):
    found = []

    def run():
        found.append(kernels_options.config_from_flags())
        return 0

    binary(run)
    binary(run, "--depths=3,1", "--sigmas=", "--hidden_channels=8", "--seed=4")
    assert found == [
        KernelsConfig(output_dir="runs/kernels"),
        KernelsConfig(
            output_dir="runs/kernels",
            depths=(3, 1),
            sigmas=(),
            hidden_channels=8,
            seed=4,
        ),
    ]


@pytest.mark.slow
def test_estimates_of_a_case_are_reproducible():
    case = Case("depth", 1, 0.0)
    first, again, other = (
        case.estimate(jax.random.key(seed), 2, 5) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first.correlation, again.correlation)
    assert np.all(first.correlation != other.correlation)
