"""Simulation-based calibration of what the library calls posteriors.

Keys are fixed. A right posterior has a p value below 1e-3 once in a thousand times; the
wrong ones here are below 1e-6.
"""

import jax
import numpy as np
import pytest

from benchmarks import (
    linear_model,
    rank_statistics,
    sampler_cases,
    simulated_chains,
    simulated_networks,
    simulated_processes,
    simulated_ranks,
)
from experiments.cells import Cells

SIMULATIONS = simulated_ranks.SMALL_SIMULATIONS
DRAWS, BINS = simulated_ranks.SMALL_DRAWS, simulated_ranks.SMALL_BINS
MODEL = linear_model.example()
QUICK_PROCESS, QUICK_SAMPLER = "weights, a hole", "momentum 0.8"
FOUND = 1e-5  # of which right samplers fall short once in as many keys


def smallest(ranks):
    return simulated_ranks.smallest(
        [rank_statistics.p_value(each, DRAWS, BINS) for each in ranks.values()]
    )


def parameters(cases, quick):
    return [
        pytest.param(
            case,
            id=case.name,
            marks=[] if case.name in quick else pytest.mark.slow,
        )
        for case in cases
    ]


@pytest.mark.parametrize(
    "process", parameters(simulated_processes.right_processes(), [QUICK_PROCESS])
)
def test_draws_of_a_process_rank_truths_evenly(process):
    ranks = simulated_processes.process_ranks(
        process, jax.random.key(0), SIMULATIONS, DRAWS
    )
    assert smallest(ranks) > simulated_ranks.LEVEL


@pytest.mark.slow
@pytest.mark.parametrize(
    "process", parameters(simulated_processes.wrong_processes(), [])
)
def test_a_process_that_is_told_another_noise_is_found(process):
    ranks = simulated_processes.process_ranks(
        process, jax.random.key(0), SIMULATIONS, DRAWS
    )
    assert smallest(ranks) < FOUND


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "method", "solves"),
    [(2, "dense", 0), (1, "samples", 16), (0, "probing", 32)],
)
def test_truths_are_off_by_the_standard_deviations_that_are_told(
    number, method, solves
):
    process = simulated_processes.right_processes()[number]
    found = simulated_processes.variance_p_values(
        process, jax.random.key(2), SIMULATIONS, method, solves
    )
    assert found.keys() == {"seen", "hidden"}
    assert simulated_ranks.smallest(list(found.values())) > simulated_ranks.LEVEL


@pytest.mark.parametrize(
    "sampler", parameters(sampler_cases.right_samplers(), [QUICK_SAMPLER])
)
def test_chains_rank_truths_evenly(sampler):
    ranks = simulated_chains.chain_ranks(
        MODEL, sampler, jax.random.key(0), SIMULATIONS, DRAWS
    )
    assert smallest(ranks) > simulated_ranks.LEVEL


@pytest.mark.slow
@pytest.mark.parametrize("sampler", parameters(sampler_cases.wrong_samplers(), []))
def test_the_same_check_finds_wrong_samplers(sampler):
    ranks = simulated_chains.chain_ranks(
        MODEL, sampler, jax.random.key(0), SIMULATIONS, DRAWS
    )
    assert smallest(ranks) < FOUND


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["slice", "nuts"])
def test_networks_without_their_read_out_rank_truths_evenly(sampler):
    ranks = simulated_networks.network_ranks(sampler, jax.random.key(0), 128, DRAWS)
    assert smallest(ranks) > simulated_ranks.LEVEL


def test_the_models_posterior_is_what_its_log_density_says():
    """By differences, which are exact of a quadratic function."""
    data = np.array([0.3, -1.0, 0.5, 2.0], np.float32)
    mean = np.linalg.solve(
        MODEL.precision, MODEL.design.T @ data / MODEL.noise_std**2
    ).astype(np.float32)
    away = np.array([0.5, -1.0, 2.0], np.float32)
    at_mean, ahead, behind = (
        float(MODEL.log_density(mean + sign * away, data)) for sign in (0, 1, -1)
    )
    drop = away @ MODEL.precision @ away / 2
    np.testing.assert_allclose([at_mean - ahead, at_mean - behind], drop, rtol=1e-5)


@pytest.fixture
def cells(tmp_path):
    return Cells(tmp_path / "cells.json", {}, resume=False)


@pytest.mark.slow
def test_a_run_at_toy_size_writes_report_and_figure(tmp_path, monkeypatch, cells):
    monkeypatch.setattr("dipgp.figures.canvas.DOTS_PER_INCH", 20)
    kept = [case for case in simulated_ranks.cases() if case.name == QUICK_SAMPLER]
    monkeypatch.setattr(simulated_ranks, "cases", lambda: kept)
    monkeypatch.setattr(simulated_ranks, "estimates", lambda: [])
    text = simulated_ranks.run(64, 2, tmp_path / "results", cells)
    assert "| sampler | momentum 0.8 | True | 64 |" in text
    assert {path.name for path in (tmp_path / "results").iterdir()} == {
        "simulated_ranks.json",
        "simulated_ranks.md",
        "simulated_ranks.png",
    }


def drawn_evenly(key, simulations, draws):
    return {"all": np.arange(simulations) % (draws + 1)}


def drawn_never(key, simulations, draws):
    raise AssertionError("drawn again")


def test_posteriors_that_are_kept_are_not_drawn_again(tmp_path, monkeypatch, cells):
    monkeypatch.setattr("dipgp.figures.canvas.DOTS_PER_INCH", 20)
    monkeypatch.setattr(simulated_ranks, "estimates", lambda: [])
    texts = []
    for ranks in (drawn_evenly, drawn_never):
        # More than fit into a row of the figure.
        cases = [
            simulated_ranks.Case("sampler", f"sampler {number}", True, ranks)
            for number in range(5)
        ]
        monkeypatch.setattr(simulated_ranks, "cases", lambda cases=cases: cases)
        texts.append(simulated_ranks.run(64, 2, tmp_path / "results", cells))
        cells = Cells(tmp_path / "cells.json", {}, resume=True)
    assert texts[0] == texts[1]
    assert "| sampler | sampler 4 | True | 64 | 1 | 0 | all 1 |" in texts[0]
