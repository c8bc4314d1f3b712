import json

import numpy as np
import pytest

from benchmarks import quality_courses, quality_report, time_to_quality
from benchmarks.quality_courses import Course, Settings
from benchmarks.throughput_cases import Case
from experiments.common import UserError

RISING = Course(
    "sgd",
    seconds=np.array([1.0, 2.0, 3.0, 4.0]),
    psnr=np.array([np.nan, 20.5, 22.5, 21.9]),
    start=7.0,
    iterations=4,
    read_at=3,
)
PROCESS = Course("gp", np.array([0.5]), np.array([22.0]), 3.0, 17, 0)


def settings(**given):
    shared = {"case": Case("tiny", 16), "task": "denoise", "methods": ("gp", "sgd")}
    return Settings(**{**shared, **given})


def test_seconds_lie_evenly_between_readings_and_the_start_is_apart():
    start, seconds = quality_courses.spread([12.0, 14.0, 16.0], piece=2)
    assert start == 10.0
    np.testing.assert_allclose(seconds, [1, 2, 3, 4, 5, 6])


def test_one_reading_tells_no_start():
    start, seconds = quality_courses.spread([4.0], piece=2)
    assert start == 0.0
    np.testing.assert_allclose(seconds, [2, 4])


def test_a_target_counts_from_when_it_is_first_met():
    assert quality_report.seconds_to(RISING, 21) == 3.0
    assert quality_report.seconds_to(RISING, 23) is None


def test_rows_tell_the_best_the_last_and_the_targets_below_the_best_of_all():
    process, sgd = quality_report.rows([PROCESS, RISING])
    assert sgd["best [dB]"] == "22.50"
    assert (sgd["best after [s]"], sgd["handed back [dB]"]) == (3.0, "21.90")
    assert [sgd["start [s]"], process["then [s]"]] == [7.0, 0.5]
    goals = [f"to {goal} dB [s]" for goal in (18, 19, 20, 21, 22)]
    assert [process[goal] for goal in goals] == [0.5] * 5
    assert sgd[goals[-1]] == 3.0


def test_a_sampler_without_a_mean_has_no_best():
    nothing = RISING._replace(psnr=np.full(4, np.nan))
    row = quality_report.rows([PROCESS, nothing])[1]
    assert row["best [dB]"] is None
    assert row["handed back [dB]"] is None


def test_compilation_moves_the_curves_of_the_second_frame():
    drawn = quality_report.picture([PROCESS, RISING], "a crop", "wall")
    before, after = drawn.axes
    line = "sgd"
    first, second = (
        next(found for found in axis.lines if found.get_label() == line)
        for axis in (before, after)
    )
    np.testing.assert_allclose(second.get_xdata() - first.get_xdata(), 7.0)
    assert before.get_xscale() == "log"
    assert before.get_yscale() == "linear"


def test_long_courses_are_thinned_where_they_go_slowly():
    np.testing.assert_array_equal(quality_report.thinned(60), np.arange(60))
    kept = quality_report.thinned(5000)
    assert len(kept) <= 100
    assert list(kept[:3]) == [0, 1, 2]
    assert kept[-1] == 4999


def test_networks_have_the_channels_of_the_case_and_the_length_asked_for():
    told = settings(iterations=12).network("sgd")
    assert (told.channels, told.iterations) == ((8, 8), 12)
    assert settings(task="inpaint").network("psgld").burn_in == 20


def test_descents_that_share_a_run_are_run_once():
    truth = np.full((16, 16, 3), 0.5, np.float32)
    told = settings(methods=("gp", "sgd", "sgd_input_avg", "sgd_avg"))
    problem = quality_courses.pose("denoise", truth, seed=0)
    found = quality_courses.works(told, problem)
    assert list(found) == ["gp", "sgd,sgd_avg", "sgd_input_avg"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"case": Case("light", 40)}, "--quality_size=40: expected a multiple of 32"),
        ({"methods": ("sgd", "adam")}, "--quality_methods=sgd,adam: expected"),
        ({"iterations": 0}, "--quality_iterations=0: expected a number"),
        ({"seed": -1}, "--seed=-1: expected"),
    ],
    ids=["size", "methods", "iterations", "seed"],
)
def test_what_cannot_be_run_is_refused_by_its_flag(given, message):
    with pytest.raises(UserError, match=message):
        settings(**given)


def test_scores_are_taken_at_even_steps_of_the_logarithm():
    assert quality_courses.log_grid(1000, 4) == [1, 10, 100, 1000]
    assert quality_courses.log_grid(3) == [1, 2, 3]


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("task", quality_courses.TASKS)
def test_all_run_in_turn_and_are_written_down(task, tmp_path):
    pytest.importorskip("torch", reason="PyTorch, beside which we run, is missing")
    told = settings(task=task, methods=("gp", "sgd", "psgld"), iterations=20)
    truth = np.random.default_rng(0).uniform(size=(16, 16, 3)).astype(np.float32)
    text = time_to_quality.run(told, truth, "wall", tmp_path)
    record = json.loads((tmp_path / "time_to_quality.json").read_text())
    names = ["gp", "sgd", "psgld", "PyTorch", "PyTorch, averaged"]
    assert [row["method"] for row in record["rows"]] == names
    assert all(row["best [dB]"] is not None for row in record["rows"])
    assert (tmp_path / "time_to_quality.png").stat().st_size > 1000
    assert f"PSNR against seconds: {task}, tiny 16x16" in text
