import json

import numpy as np
import pytest

from dipgp import architecture, kernels
from dipgp.images import save_image
from experiments import (
    architectures,
    architectures_cases,
    architectures_fall,
    architectures_figures,
    small_examples,
)
from experiments.architectures_options import (
    ArchitecturesConfig,
    Case,
    config_from_flags,
)
from experiments.common import UserError
from experiments.images_as_text import from_text, to_text
from experiments.network_recipe import Recipe, hourglass
from experiments.network_settings import Running

FILES = [
    "cells.json",
    "figure.png",
    "metrics.json",
    "priors.png",
    "psnr.png",
    "restorations.png",
    "table.md",
]
SMALL = {
    "side": 16,
    "halvings": (1, 2),
    "channels": (4, 4),
    "iterations": 6,
    "stop_at": 3,
}


def configure(folder="unused", **changes):
    return ArchitecturesConfig(**(SMALL | {"output_dir": str(folder)} | changes))


def fall(halvings, skip_channels, reach=2):
    config = configure(channels=(16, 32), skip_channels=skip_channels or 4)
    settings = config.settings(Case(halvings, skip_channels))
    return architectures_fall.fall(architectures_cases.covariance(settings), reach)


class TestFall:
    def test_a_straight_fall_is_half_way_in_the_middle(self):
        def straight(lags):
            distance = abs(lags[..., 1])
            return 1.0 + 3.0 * (1 - distance / 6).clip(0)

        found = architectures_fall.fall(kernels.as_covariance(straight), 1)
        assert found.far == pytest.approx(1 / 4)
        assert found.half == pytest.approx(3)
        # Within 1 % of the fall from its end, and not of the value there.
        assert found.range == pytest.approx(6 * 0.99)
        np.testing.assert_allclose(found.shape[[0, 3, 6]], [1, 0.5, 0], atol=1e-12)

    def test_a_later_rise_belongs_to_the_range(self):
        def echo(lags):
            distance = abs(lags[..., 1])
            return (1 - distance).clip(0) + 0.05 * (1 - abs(distance - 7)).clip(0)

        found = architectures_fall.fall(kernels.as_covariance(echo), 1)
        assert found.half == pytest.approx(0.5)
        assert found.range == pytest.approx(7.8)

    def test_white_noise_is_half_way_between_two_pixels(self):
        found = architectures_fall.fall(kernels.white(), 1)
        assert found.half == pytest.approx(0.5)
        assert found.range == pytest.approx(0.99)

    @pytest.mark.slow
    def test_the_half_lag_grows_with_depth_and_skips_shorten_it(self):
        plain = [fall(depth, 0) for depth in (1, 2)]
        skips = [fall(depth, 4) for depth in (1, 2)]
        assert plain[1].half > 1.8 * plain[0].half
        assert skips[1].half > 1.8 * skips[0].half
        for without, beside in zip(plain, skips, strict=True):
            assert beside.half < 0.9 * without.half
            # The deepest branch is still there, and sets the range.
            assert 0.9 * without.range < beside.range < without.range

    def test_it_has_levelled_off_where_the_bound_says(self):
        for halvings in (1, 2):
            found = fall(halvings, 0)
            last = 3 * 2**halvings - 2
            assert np.all(np.abs(found.shape[last:]) < 1e-12)
            assert found.range < last

    def test_more_lags_change_no_number(self):
        first, second = fall(1, 4, reach=1), fall(1, 4, reach=2)
        assert first.half == pytest.approx(second.half, rel=1e-12)
        assert first.range == pytest.approx(second.range, rel=1e-12)


class TestDescription:
    def test_kernel_and_fitted_network_differ_in_the_sigmoid_alone(self):
        settings = configure().settings(Case(2, 4))
        recipe = Recipe("descent", settings, 1, lambda image: image)
        fitted = recipe.network.architecture
        read = hourglass(settings, 1, architecture.Linear())
        assert fitted.body.layers[:-1] == read.body.layers[:-1]
        assert fitted.body.layers[-1] == architecture.Sigmoid()
        assert fitted.input_channels == read.input_channels

    def test_a_deeper_case_has_more_of_the_channels(self):
        config = configure(channels=(4, 8, 16))
        assert config.settings(Case(2, 0)).channels == (4, 8)
        assert [case.skip_channels for case in config.cases] == [0, 4, 0, 4]


@pytest.fixture
def quick(monkeypatch):
    """Cases that take no time; gives the names of those that were computed."""
    computed = []
    picture = to_text(np.eye(16))

    def closed_form(config, problem, case, report):
        computed.append(f"{case}: process")
        lags, shape = np.arange(5), np.linspace(1, 0, 5)
        numbers = dict.fromkeys(("far", "half_lag", "range"), 0.25)
        numbers |= dict.fromkeys(("amplitude", "evidence", "psnr", "seconds"), 20.0)
        pictures = ("process_draw", "network_draw", "restored")
        return {
            "lags": lags,
            "cosine": shape,
            "shape": shape,
            **numbers,
            **dict.fromkeys(pictures, picture),
            "converged": case.halvings < 3,
            "solver": "told",
            "iterations": 3,
        }

    def descend(config, problem, case, folder, report):
        computed.append(f"{case}: descent")
        stopped = None if case.skip_channels else 2
        return {
            "psnr": 21.0,
            "peak": 22.0,
            "peak_iteration": 5,
            "stopped_at": stopped,
            "stopped_psnr": stopped and 20.5,
            "trace": np.linspace(10, 22, config.iterations),
            "restored": picture,
            "converged": True,
            "message": "ran to the end",
            "seconds": 1.0,
        }

    monkeypatch.setattr(architectures_cases, "closed_form", closed_form)
    monkeypatch.setattr(architectures_cases, "descend", descend)
    plain = architectures_fall.Fall(np.arange(2), np.ones(2), 0.0, 1.0, 2.0)
    monkeypatch.setattr(architectures_fall, "fall", lambda *_: plain)
    return computed


@pytest.fixture
def undrawn(monkeypatch):
    """Leaves the figures out, which take longer than all else."""
    monkeypatch.setattr(architectures_figures, "save", lambda *_: None)


class TestRun:
    def test_it_writes_pictures_table_and_metrics(self, quick, tmp_path):
        record = architectures.run(configure(tmp_path))
        assert sorted(path.name for path in tmp_path.iterdir()) == FILES
        written = json.loads((tmp_path / "metrics.json").read_text())
        assert written["rows"] == record["rows"]
        lines = (tmp_path / "table.md").read_text().splitlines()
        assert len(lines) == 2 + 2 + 4
        assert lines[4].endswith("| 21.00 | 22.00 (5) | 20.50 (2) |")
        # The rule did not stop within the run.
        assert lines[5].endswith("| 22.00 (5) | - |")

    def test_resumed_it_computes_what_is_missing(self, quick, undrawn, tmp_path):
        architectures.run(configure(tmp_path, halvings=(1,)))
        quick.clear()
        running = Running(resume=True)
        architectures.run(configure(tmp_path, running=running))
        assert all(name.startswith("2 halvings") for name in quick)
        assert len(quick) == 4

    def test_other_settings_are_not_taken_up(self, quick, undrawn, tmp_path):
        architectures.run(configure(tmp_path))
        running = Running(resume=True)
        with pytest.raises(UserError, match=r"--resume: .*same settings"):
            architectures.run(configure(tmp_path, running=running, seed=1))

    def test_the_exit_status_tells_of_a_solver_that_failed(
        self, quick, undrawn, tmp_path, binary, capsys
    ):
        flags = [f"--output_dir={tmp_path}", "--side=16", "--iterations=6"]
        assert binary(architectures.main, *flags, "--halvings=1") == 0
        assert binary(architectures.main, *flags, "--halvings=3") == 1
        assert "NOT CONVERGED: process: told" in capsys.readouterr().out

    @pytest.mark.slow
    def test_the_quick_form_restores_by_both(self, tmp_path, binary):
        flags = ["--halvings=2", "--side=32", "--iterations=60"]
        assert binary(architectures.main, f"--output_dir={tmp_path}", *flags) == 0
        rows = json.loads((tmp_path / "metrics.json").read_text())["rows"]
        found = [row for row in rows if row["network"] == "hourglass"]
        assert [row["halvings"] for row in found] == [2, 2]
        for row in found:
            # The noise has 20.2 dB.
            assert row["process_psnr"] > 21
            assert row["peak"] > 20
            assert row["converged"]


class TestPicture:
    def test_it_is_the_central_square_in_grey(self, tmp_path):
        image = np.zeros((20, 40, 3))
        image[:, 10:30] = [0.2, 0.4, 0.6]
        square = small_examples.grey_square(image, 16)
        assert square.shape == (16, 16, 1)
        grey = 0.2125 * 0.2 + 0.7154 * 0.4 + 0.0721 * 0.6
        np.testing.assert_allclose(square, grey, rtol=1e-5)

    def test_it_is_not_made_larger(self, tmp_path):
        path = tmp_path / "small.png"
        save_image(path, np.zeros((24, 20)))
        with pytest.raises(UserError, match="--side=32: expected at most the 20 pix"):
            architectures.run(configure(tmp_path, image=str(path), side=32))

    def test_text_keeps_grey_levels(self):
        levels = np.arange(256).reshape(8, 32) / 255
        np.testing.assert_array_equal(from_text(to_text(levels)), levels)
        assert from_text(to_text(np.array([[-1.0, 2.0, np.nan]]))).tolist() == [
            [0, 1, 0]
        ]


class TestBadInput:
    @pytest.mark.parametrize(
        ("changes", "sentence"),
        [
            ({"halvings": ()}, "--halvings=: expected one depth"),
            ({"halvings": (0,)}, "--halvings=0: expected numbers from 1"),
            ({"halvings": (3,)}, "--channels=4,4: expected one number a scale, 3"),
            ({"skip_channels": 0}, "--skip_channels=0: expected at least 1"),
            ({"side": 8}, "--side=8: expected from 16"),
            ({"prior_widening": 0}, "--prior_widening=0: expected from 1"),
            ({"stop_at": 7}, "--stop_at=7: expected at most the 6 iterations"),
            ({"noise_std": 0.0}, "--noise_std=0.0: expected grey levels"),
        ],
    )
    def test_the_flag_is_named(self, changes, sentence):
        with pytest.raises(UserError, match=sentence):
            configure(**changes)

    def test_flags_of_other_binaries_are_refused(self, binary, capsys):
        run = lambda: architectures.run(config_from_flags())  # noqa: E731
        assert binary(run, "--sigma=4") == 2
        assert "--sigma=4.0: expected no such flag" in capsys.readouterr().err
