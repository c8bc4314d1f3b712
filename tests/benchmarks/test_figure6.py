import json
import subprocess
import sys

import jax
import numpy as np
import pytest

from benchmarks import (
    figure6,
    figure6_descent,
    figure6_networks,
    figure6_problem,
    figure6_processes,
)
from benchmarks.figure6_evidence import (
    at_ratio,
    likeliest,
    restore,
    restore_both_ways,
)
from benchmarks.figure6_lags import mean_by_lag
from benchmarks.figure6_options import Figure6Config
from benchmarks.figure6_problem import Problem
from benchmarks.figure6_processes import (
    hourglass_limit,
    hourglass_with_borders,
    relu_network,
)
from dipgp import kernels
from dipgp.kernels.dense import toeplitz
from experiments.cells import Cells
from experiments.common import UserError

SHAPE = (12, 12)
PIXELS = SHAPE[0] * SHAPE[1]


def smooth_problem(shape=SHAPE, seen=0.6):
    """A smooth picture of which some pixels are known."""
    rows, columns = np.indices(shape)
    image = 0.5 + 0.3 * np.sin(rows / 3) * np.cos(columns / 4)
    mask = np.random.default_rng(0).random(shape) < seen
    return Problem(image.astype(np.float32), mask)


def matrix_of(covariance):
    return np.asarray(toeplitz(covariance, SHAPE)).reshape(PIXELS, PIXELS)


def configure(folder, **changes):
    settings = {
        "data": "a picture of its own",
        "output_dir": str(folder / "kept"),
        "results_dir": str(folder / "results"),
        "figure6_depths": (1,),
        "kernel_widths": (4,),
        "kernel_networks": (20,),
        "descent_widths": (4,),
        "descent_iterations": 5,
        "descent_runs": 2,
    }
    return Figure6Config(**(settings | changes))


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("figure6")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figure6_processes, "SIGMAS", (1.0, 2.0))
        text = figure6.run(configure(folder), smooth_problem())
    return text, folder


class TestData:
    def test_a_file_without_the_arrays_is_refused(self, tmp_path):
        np.savez(tmp_path / "other.npz", something=np.zeros(3))
        with pytest.raises(ValueError, match="expected Figure 6"):
            figure6_problem.load(str(tmp_path / "other.npz"))

    def test_an_image_and_its_mask_are_read(self, tmp_path):
        image = np.random.default_rng(0).random((1, 64, 64)).astype(np.float32)
        mask = (image > 0.5).astype(np.float32)
        np.savez(tmp_path / "data.npz", img_np=image, img_mask_np=mask)
        problem = figure6_problem.load(str(tmp_path / "data.npz"))
        np.testing.assert_array_equal(problem.image, image[0])
        np.testing.assert_array_equal(problem.mask, mask[0] != 0)

    def test_a_photograph_takes_the_datas_place(self):
        problem = figure6_problem.stand_in()
        assert problem.image.shape == problem.mask.shape == (64, 64)
        assert problem.name != figure6_problem.PAPER
        assert problem.mask.mean() == pytest.approx(0.5, abs=0.03)
        assert 0 <= problem.image.min() < 0.1 < 0.9 < problem.image.max() <= 1

    def test_the_middle_is_not_what_the_paper_tells_of(self):
        problem = smooth_problem()
        middle = problem.middle(4)
        np.testing.assert_array_equal(middle.image, problem.image[4:8, 4:8])
        np.testing.assert_array_equal(middle.mask, problem.mask[4:8, 4:8])
        assert middle.name == "The middle of Figure 6 of the paper"

    def test_known_pixels_are_kept_and_the_rest_is_clipped(self):
        image = np.array([[1.0, 0.0]], np.float32)
        problem = Problem(image, np.array([[True, False]]))
        assert problem.score(np.array([9.0, -3.0])) == np.inf
        assert problem.score(np.array([9.0, 0.5])) == pytest.approx(
            -10 * np.log10(0.25 / 2)
        )


class TestFormulas:
    @pytest.mark.slow
    def test_the_hourglass_is_smoother_than_its_input(self):
        k = hourglass_limit()(np.array([[0.0, 0.0], [0.0, 1.0], [0.0, 20.0]]))
        np.testing.assert_allclose(k[0], 1, atol=1e-6)
        assert k[0] > k[1] > k[2] + 0.1

    def test_network_kernels_have_unit_variance(self):
        value = relu_network(3, 1.5)(np.zeros((1, 2)))[0]
        assert value == pytest.approx(1, abs=1e-6)


class TestEvidence:
    def test_amplitude_and_level_scale_with_the_picture(self):
        problem = smooth_problem()
        matrix = matrix_of(kernels.rbf(2.0))
        moved = problem._replace(image=3 * problem.image + 1)
        before, after = (at_ratio(matrix, each, 0.01) for each in (problem, moved))
        assert after.factor == pytest.approx(9 * before.factor, rel=1e-4)
        assert after.noise_std == pytest.approx(3 * before.noise_std, rel=1e-4)
        assert after.level == pytest.approx(3 * before.level + 1, rel=1e-4)

    def test_a_constant_in_the_covariance_changes_nothing(self):
        problem = smooth_problem()
        matrix = matrix_of(kernels.rbf(2.0)).astype(np.float64)
        before, after = (likeliest(each, problem) for each in (matrix, matrix + 5))
        np.testing.assert_allclose(after, before, rtol=1e-5)

    @pytest.mark.slow
    def test_the_noise_that_was_added_is_found(self):
        shape = (24, 24)
        problem = smooth_problem(shape, seen=1.1)
        noise = 0.1 * np.random.default_rng(1).normal(size=shape)
        noisy = problem._replace(image=(problem.image + noise).astype(np.float32))
        matrix = np.asarray(toeplitz(kernels.rbf(3.0), shape)).reshape(576, 576)
        # The standard error of a standard deviation from 576 pixels is 3 %.
        assert likeliest(matrix, noisy).noise_std == pytest.approx(0.1, rel=0.12)

    @pytest.mark.slow
    def test_cholesky_and_fourier_restore_alike(self):
        problem = smooth_problem()
        covariance = kernels.matern(1.5, 2.0)
        found = at_ratio(matrix_of(covariance), problem, 0.1)
        exact = restore(matrix_of(covariance), problem, found)
        by_fourier = restore(covariance, problem, found)
        assert by_fourier.advice == "converged"
        assert by_fourier.psnr == pytest.approx(exact.psnr, abs=0.02)

    def test_an_indefinite_matrix_is_refused(self):
        matrix = np.eye(PIXELS)
        matrix[0, 1] = matrix[1, 0] = 3.0
        everything = smooth_problem(seen=1.1)
        with pytest.raises(ValueError, match="positive definite"):
            at_ratio(matrix, everything, 1e-4)


class TestRandomNetworks:
    def test_blocks_grow_by_tens_up_to_the_number(self):
        assert figure6_networks.block_sizes(1) == [1]
        assert figure6_networks.block_sizes(100) == [1, 10, 100]
        assert figure6_networks.block_sizes(300) == [1, 10, 100, 300]

    def test_the_mean_by_lag_of_a_stationary_covariance_is_itself(self):
        covariance = kernels.rbf(1.0)
        mean = mean_by_lag(matrix_of(covariance), SHAPE, reach=3)
        lags = np.array([[0.0, 0.0], [1.0, -1.0], [2.0, 0.0], [40.0, 3.0]])
        np.testing.assert_allclose(mean(lags), covariance(lags), atol=1e-4)

    def test_the_mean_by_lag_is_positive_semi_definite(self):
        features = np.random.default_rng(0).normal(size=(PIXELS, 3))
        mean = mean_by_lag(features @ features.T, SHAPE, reach=3)
        matrix = matrix_of(mean).astype(np.float64)
        # A common level may be negative: it takes no part.
        centre = np.eye(PIXELS) - 1 / PIXELS
        assert np.linalg.eigvalsh(centre @ matrix @ centre)[0] > -1e-4

    @pytest.mark.slow
    def test_wide_networks_have_the_covariance_of_endless_width(self):
        shape, channels, count = (32, 32), 128, 40
        draws = sum(
            np.asarray(
                figure6_networks.covariance_of_one(
                    shape, channels, "uniform", jax.random.key(0), number
                )
            )
            for number in range(count)
        )
        lags = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 3.0], [9.0, 9.0]])
        correlations = []
        for matrix in (draws, hourglass_with_borders(shape, channels)):
            values = np.asarray(mean_by_lag(matrix, shape, reach=18)(lags))
            differences = values - values[-1]
            correlations.append(differences / differences[0])
        # Batch norm over the 64 pixels of the coarsest scale leaves a bias of its own,
        # 0.03 at lag 1.
        np.testing.assert_allclose(*correlations, atol=0.06)
        assert correlations[0][1] > correlations[0][3] + 0.2


@pytest.mark.slow
class TestRun:
    def test_the_report_has_formulas_covariances_and_descents(self, done):
        text, folder = done
        record = json.loads((folder / "results" / "figure6.json").read_text())
        models = [row["model"] for row in record["rows"]]
        assert "hourglass, closed form" in models
        assert "hourglass, endless width, phases and borders" in models
        assert "hourglass, endless width, phases without borders" in models
        assert "matrix of 20 networks of 4 channels" in models
        assert "mean by lag of 20 networks of 4 channels" in models
        assert "descent of 4 channels, 5 steps" in models
        assert "| 4 | 10 | 2 |" in text  # two blocks of ten networks

    def test_the_sums_go_when_all_is_done(self, done):
        _, folder = done
        assert [path.name for path in (folder / "kept").iterdir()] == ["cells.json"]

    def test_resumed_it_computes_nothing_again(self, done, monkeypatch):
        text, folder = done

        def refuse(*_):
            raise AssertionError("computed again")

        monkeypatch.setattr(figure6, "_formulas", refuse)
        monkeypatch.setattr(figure6_descent, "train", refuse)
        monkeypatch.setattr(figure6_networks, "sum_of_covariances", refuse)
        again = figure6.run(configure(folder, resume=True), smooth_problem())
        assert again == text

    def test_what_another_picture_gave_is_not_taken(self, done):
        _, folder = done
        other = smooth_problem(seen=0.5)
        with pytest.raises(UserError, match="of the same settings"):
            figure6.run(configure(folder, resume=True), other)


def test_a_stopped_estimate_goes_on_with_the_same_numbers(tmp_path, monkeypatch):
    problem, key = smooth_problem(), jax.random.key(1)
    judged = {}

    def judge(name):
        def note(problem, covariance, reach, seconds, report):
            judged.setdefault(name, []).append(covariance)
            return {"sum": float(covariance.sum())}

        return note

    def estimate(folder, name, resume):
        folder.mkdir(exist_ok=True)
        cells = Cells(folder / "cells.json", {}, resume)
        monkeypatch.setattr(figure6_networks, "_judge", judge(name))
        return figure6_networks.estimate(
            problem, 4, 20, "fixed", key, cells, folder, lambda *_: None
        )

    def draw(shape, channels, kind, key, first, count=1):
        draws = [np.random.default_rng(first + i) for i in range(count)]
        return sum(each.random((PIXELS, PIXELS), np.float32) for each in draws)

    monkeypatch.setattr(figure6_networks, "sum_of_covariances", draw)
    whole, calls = estimate(tmp_path / "whole", "whole", resume=False), []
    mean = np.mean([draw(SHAPE, 4, "fixed", key, i) for i in range(20)], axis=0)
    np.testing.assert_allclose(judged["whole"][-1], mean, rtol=1e-4, atol=1e-6)

    def fail_at_the_end(*arguments):
        calls.append(arguments[-2])
        if len(calls) == 16:
            raise KeyboardInterrupt
        return draw(*arguments)

    monkeypatch.setattr(figure6_networks, "_SECONDS_BETWEEN_FILES", -1)
    monkeypatch.setattr(figure6_networks, "sum_of_covariances", fail_at_the_end)
    with pytest.raises(KeyboardInterrupt):
        estimate(tmp_path / "parts", "first", resume=False)
    again = estimate(tmp_path / "parts", "second", resume=True)
    assert again == whole
    # What was summed before the stop is not drawn again: 0 warms up, 14 goes on.
    assert calls[-2] > 10


class TestSettings:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("figure6_depths", ()),
            ("figure6_depths", (1, 1)),
            ("figure6_depths", (1, 3)),
            ("figure6_side", 15),
            ("figure6_side", 65),
            ("kernel_widths", (4, 4)),
            ("kernel_networks", (23,)),
            ("kernel_networks", (1, 1)),
            ("descent_widths", (0,)),
            ("descent_iterations", 0),
            ("descent_runs", 0),
            ("seed", -1),
        ],
    )
    def test_a_number_out_of_range_is_refused_by_its_flags_name(
        self, tmp_path, name, value
    ):
        with pytest.raises(UserError, match=f"--{name}="):
            configure(tmp_path, **{name: value})


@pytest.mark.slow
def test_help_teaches_by_example_and_shows_nobody_elses_flags():
    command = [sys.executable, "-m", "benchmarks.figure6", "--help"]
    told = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    assert "python -m benchmarks.figure6 --data=figure6_64x64.npz --resume" in told
    for flag in ("--data", "--kernel_networks", "--descent_widths", "--results_dir"):
        assert f"  {flag}" in told
    assert "--drop_fraction" not in told


@pytest.mark.slow
def test_without_noise_known_pixels_are_met():
    problem = smooth_problem()
    everything = Problem(problem.image, np.ones(SHAPE, bool))
    both = restore_both_ways(matrix_of(kernels.matern(0.5, 3.0)), everything)
    assert both["none"].noise_std < both["by evidence"].noise_std + 1e-9
    assert both["none"].psnr == np.inf
