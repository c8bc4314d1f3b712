"""Stopping rules along a descent: what they choose, and reading the descent there."""

import csv

import numpy as np
import pytest

from dipgp.inference import stopping
from experiments import denoise, network_method, network_settings
from experiments.common import UserError
from experiments.gp_method import GPOptions
from experiments.network_settings import NetworkSettings, Running

SETTINGS = {
    "channels": (4,),
    "iterations": 12,
    "stop_at": 6,
    "window": 4,
    "patience": 3,
    "stopping": tuple(network_settings.STOPPING),
}


@pytest.fixture
def run(tmp_path, photographs):
    """Denoises a small picture and gives the records and the trace's rows."""

    def call(*methods, noise_std=25 / 255, **changes):
        settings = NetworkSettings(**(SETTINGS | changes))
        config = denoise.DenoiseConfig(
            output_dir=str(tmp_path / "run"),
            images=(photographs[0],),
            methods=methods,
            noisy=noise_std is None,
            options=GPOptions(noise_std=noise_std),
            networks=dict.fromkeys(methods, settings),
            running=Running(log_every=6, checkpoint_minutes=0),
        )
        records = denoise.run(config)
        suffix = f"_{methods[0]}" if len(methods) > 1 else ""
        with (tmp_path / "run" / f"trace{suffix}.csv").open() as file:
            return records, list(csv.DictReader(file))

    return call


class TestReport:
    @pytest.mark.slow
    def test_each_rule_tells_its_choice_and_what_it_costs(self, run):
        (record,), rows = run("sgd")
        assert set(record["stopping"]) == set(network_settings.STOPPING)
        psnr = np.array([float(row["psnr"]) for row in rows])
        for name, told in record["stopping"].items():
            scores = np.array([float(row[name]) for row in rows])
            chosen = told["iteration"] - 1
            until = told["stopped_at"] or len(rows)
            assert scores[chosen] == scores[:until].min(), name
            assert told["psnr"] == pytest.approx(psnr[chosen], abs=1e-3)
            gap = stopping.gap_to_best(psnr, chosen)
            assert told["gap_to_best"] == pytest.approx(gap, abs=1e-3)

    @pytest.mark.slow
    def test_an_average_is_scored_at_the_same_choice(self, run):
        (plain, average), rows = run("sgd", "sgd_avg")
        for name, told in average["stopping"].items():
            assert told["iteration"] == plain["stopping"][name]["iteration"]
            at = rows[told["iteration"] - 1]["psnr_average"]
            assert told["psnr"] == pytest.approx(float(at), abs=1e-3)

    @pytest.mark.parametrize(
        ("changes", "noise_known", "expected"),
        [
            ({}, True, {"windowed_variance", "discrepancy"}),
            ({}, False, {"windowed_variance"}),
            ({"stopping": ()}, True, set()),
            ({"stopping": ("held_out",)}, True, {"held_out"}),
            # What a descent is read by needs not be listed too.
            ({"stop_by": "held_out"}, False, {"windowed_variance", "held_out"}),
            ({"stopping": (), "stop_by": "held_out"}, False, {"held_out"}),
        ],
    )
    def test_by_default_there_are_those_that_can_be(
        self, changes, noise_known, expected
    ):
        fields = SETTINGS | {"stopping": None} | changes
        rules = network_method._rules(NetworkSettings(**fields), noise_known)
        assert set(rules) == expected
        assert len(rules) == len(expected)

    @pytest.mark.slow
    def test_without_the_truth_a_choice_has_no_score(self, run):
        (record,), _ = run("sgd", stopping=("windowed_variance",), noise_std=None)
        told = record["stopping"]["windowed_variance"]
        assert set(told) == {"iteration", "stopped_at"}

    @pytest.mark.slow
    def test_samplers_need_none(self, run):
        (record,), rows = run("psgld")
        assert "stopping" not in record
        assert "windowed_variance" not in rows[0]


@pytest.mark.slow
class TestReading:
    def test_a_descent_is_read_where_the_rule_says(self, run):
        records, _ = run("sgd", "sgd_avg", stop_by="held_out")
        for record in records:
            found, told = record["psnr_unclipped"], record["stopping"]["held_out"]
            assert found == pytest.approx(told["psnr"], abs=1e-3)

    def test_a_rule_that_chose_nothing_is_no_success(self, run):
        (record,), rows = run("sgd", stop_by="windowed_variance", window=100)
        assert not record["converged"]
        assert "--stop_by=windowed_variance chose no iteration" in record["message"]
        assert record["stopping"]["windowed_variance"]["iteration"] is None
        last = float(rows[-1]["psnr"])
        assert record["psnr_unclipped"] == pytest.approx(last, abs=1e-3)

    def test_pixels_held_out_are_kept_from_the_fit(self, run, monkeypatch):
        seen, original = [], network_method._data

        def data(*arguments):
            seen.append(original(*arguments))
            return seen[-1]

        monkeypatch.setattr(network_method, "_data", data)
        run("sgd", held_out_fraction=0.25)
        run("sgd", stopping=("windowed_variance",))
        with_rule, without = seen
        masks = [np.asarray(with_rule.observation.mask), with_rule.held_out.mask]
        np.testing.assert_array_equal(sum(masks), np.ones((12, 16)))
        assert masks[1].sum() == 0.25 * 12 * 16
        assert without.held_out is None
        assert without.observation.mask.all()


@pytest.mark.parametrize(
    ("flag", "changes"),
    [
        ("stopping", {"stopping": ("peak",)}),
        ("stopping", {"stopping": ("held_out", "held_out")}),
        ("stop_by", {"stop_by": "peak"}),
        ("window", {"window": 1}),
        ("patience", {"patience": 0}),
        ("held_out_fraction", {"held_out_fraction": 1.0}),
        ("momentum", {"momentum": 1.0}),
    ],
)
def test_bad_numbers_are_refused_by_name(flag, changes):
    with pytest.raises(UserError, match=f"^--{flag}="):
        NetworkSettings(**(SETTINGS | changes))


def test_the_discrepancy_needs_the_noise(run):
    with pytest.raises(UserError, match=r"^--noise_std=None: expected .* discrepancy"):
        run("sgd", noise_std=None)
