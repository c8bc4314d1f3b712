"""Simulation-based calibration of Gaussian processes, samplers and networks.

Truths are drawn from the prior and data from the likelihood; ranks of functions of the
truth among posterior draws must be uniform (`benchmarks.rank_statistics`). Posteriors
that are wrong on purpose say what the check would notice:

  python -m benchmarks.simulated_ranks
  python -m benchmarks.simulated_ranks --simulations=128 --repetitions=5
  python -m benchmarks.simulated_ranks --resume

Besides the report it draws the histograms, simulated_ranks.png. Each posterior is kept
in --output_dir as it is done, and --resume goes on behind the last of them.
"""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from absl import flags

from benchmarks import (
    linear_model,
    rank_statistics,
    sampler_cases,
    simulated_chains,
    simulated_networks,
    simulated_processes,
    timing,
)
from dipgp import figures, progress
from dipgp.gp import variance
from experiments import common, network_options
from experiments.cells import Cell, Cells
from experiments.run_folders import open_run_folder

SIMULATIONS = flags.DEFINE_integer(
    "simulations", 512, "Truths for each posterior; a quarter of them for networks."
)
REPETITIONS = flags.DEFINE_integer(
    "repetitions", 20, "Repetitions of the small check of which the power is told."
)
for _shared in ("output_dir", "resume", timing.RESULTS_DIR.name):
    flags.declare_key_flag(_shared)

DRAWS, BINS = 31, 16
# The size of the check in the tests.
SMALL_SIMULATIONS, SMALL_DRAWS, SMALL_BINS = 256, 15, 8
# A check finds ranks that are not uniform where the least p value of its functions,
# times their number, is below this.
LEVEL = 1e-3
BAND = 0.99


class Case(NamedTuple):
    """A posterior that is checked.

    Attributes:
      kind: of the posterior.
      name: which.
      right: whether ranks must be uniform.
      ranks: by name of a function, from a key, simulations and draws.
      share: of the simulations that it gets.
    """

    kind: str
    name: str
    right: bool
    ranks: Callable[[jax.Array, int, int], dict[str, np.ndarray]]
    share: float = 1.0


def cases() -> list[Case]:
    """Right posteriors and wrong ones."""
    model = linear_model.example()
    found = [
        Case(
            "process",
            process.name,
            process.told == 1,
            lambda *rest, process=process: simulated_processes.process_ranks(
                process, *rest
            ),
        )
        for process in (
            *simulated_processes.right_processes(),
            *simulated_processes.wrong_processes(),
        )
    ]
    found += [
        Case(
            "sampler",
            sampler.name,
            sampler.right,
            lambda *rest, sampler=sampler: simulated_chains.chain_ranks(
                model, sampler, *rest
            ),
        )
        for sampler in (
            *sampler_cases.right_samplers(),
            *sampler_cases.wrong_samplers(),
        )
    ]
    found += [
        Case(
            "network",
            name,
            True,
            lambda *rest, name=name: simulated_networks.network_ranks(name, *rest),
            share=0.25,
        )
        for name in ("slice", "nuts")
    ]
    return found


def smallest(p_values: Sequence[float]) -> float:
    """The least p value times their number, at most 1 (Bonferroni's bound)."""
    return min(1.0, len(p_values) * min(p_values))


def power(case: Case, repetitions: int) -> float:
    """The share of small checks that find a posterior wrong."""
    found = 0
    for key in jax.random.split(jax.random.key(1), repetitions):
        ranks = case.ranks(key, SMALL_SIMULATIONS, SMALL_DRAWS)
        p_values = _p_values(ranks, SMALL_DRAWS, SMALL_BINS)
        found += smallest(list(p_values.values())) < LEVEL
    return found / repetitions


class Estimate(NamedTuple):
    """Variances that are checked.

    Attributes:
      name: of posterior and method.
      process: whose variances are estimated.
      method: of `Posterior.variance`.
      solves: of that method.
    """

    name: str
    process: simulated_processes.Process
    method: variance.Method
    solves: int


def estimates() -> list[Estimate]:
    """Of each method of `Posterior.variance` one."""
    field, weights, dense, *_ = simulated_processes.right_processes()
    return [
        Estimate(f"{dense.name}, by dense", dense, "dense", 0),
        Estimate(f"{weights.name}, by samples", weights, "samples", 16),
        Estimate(f"{field.name}, by probing", field, "probing", 32),
    ]


def check_case(
    case: Case, truths: int, repetitions: int, report: progress.Report
) -> Cell:
    """p values and histograms by function; for samplers, the small check's power."""
    del report  # it is one compiled program
    ranks = case.ranks(jax.random.key(0), truths, DRAWS)
    histograms = {
        name: rank_statistics.histogram(found, DRAWS, BINS)
        for name, found in ranks.items()
    }
    found = {"p_values": _p_values(ranks, DRAWS, BINS), "histograms": histograms}
    if case.kind == "sampler":
        found["power"] = power(case, repetitions)
    return found


def check_estimate(estimate: Estimate, truths: int, report: progress.Report) -> Cell:
    """p values of truths in standard deviations that variances tell."""
    del report
    found = simulated_processes.variance_p_values(
        estimate.process, jax.random.key(2), truths, estimate.method, estimate.solves
    )
    return {"p_values": found}


def run(simulations: int, repetitions: int, folder: Path, cells: Cells) -> str:
    """Simulates what is not kept yet, and writes report and figure.

    Args:
      simulations: truths for each posterior.
      repetitions: of the small check of samplers.
      folder: of report and figure.
      cells: keeps what is done.

    Returns:
      The report as Markdown.
    """
    rows, plots = [], []
    for case in cases():
        truths = max(round(case.share * simulations), 2)
        check = functools.partial(check_case, case, truths, repetitions)
        found = cells.get(f"{case.kind}: {case.name}", check)
        rows.append(_row(case.kind, case.name, case.right, truths, found))
        plots.append(_plot(case.name, found["histograms"], truths))
    for estimate in estimates():
        check = functools.partial(check_estimate, estimate, simulations)
        found = cells.get(f"variance: {estimate.name}", check)
        rows.append(_row("variance", estimate.name, True, simulations, found))
    folder.mkdir(parents=True, exist_ok=True)
    rows_of_plots = [plots[first : first + 4] for first in range(0, len(plots), 4)]
    figures.save_figure(folder / "simulated_ranks.png", figures.plots(rows_of_plots))
    title = "Ranks of simulated truths among posterior draws"
    return timing.write_report(folder, "simulated_ranks", title, rows, _notes(), {})


def _notes() -> list[str]:
    return [
        f"p values of chi-square tests that ranks among {DRAWS} draws, in {BINS} bins, "
        "are uniform, one of each function of the truth; p is the least of them times "
        f"their number. Of a right posterior p is below {LEVEL:g} at most once in "
        f"{1 / LEVEL:.0f} times. Rows called variance are Kolmogorov and Smirnov's "
        "test of the truths of two pixels in predicted standard deviations.",
        "Found wrong is the share of repetitions, with keys of their own, in which a "
        f"check of the size of the tests' ({SMALL_SIMULATIONS} truths, {SMALL_DRAWS} "
        f"draws, {SMALL_BINS} bins) has p below {LEVEL:g}: its power where the sampler "
        "is wrong, its false alarms where it is right.",
        f"A step of {sampler_cases.STEP_SIZE} makes variances up to "
        f"{_bias(sampler_cases.STEP_SIZE):.1%} too large in the steepest direction of "
        f"the model, one of {sampler_cases.LARGE_STEP_SIZE} "
        f"{_bias(sampler_cases.LARGE_STEP_SIZE):.0%}.",
    ]


def _p_values(ranks: dict[str, np.ndarray], draws: int, bins: int) -> dict[str, float]:
    return {
        name: rank_statistics.p_value(found, draws, bins)
        for name, found in ranks.items()
    }


def _row(
    kind: str, name: str, right: bool, truths: int, found: Cell
) -> dict[str, object]:
    """Of the report."""
    each = found["p_values"]
    return {
        "kind": kind,
        "posterior": name,
        "right": right,
        "truths": truths,
        "p": smallest(list(each.values())),
        "found wrong": found.get("power"),
        "p of each": ", ".join(f"{name} {value:.2g}" for name, value in each.items()),
    }


def _bias(step_size: float) -> float:
    """Of the variance along the steepest direction, without a preconditioner."""
    steepest = np.linalg.eigvalsh(linear_model.example().precision)[-1]
    return 1 / (1 - step_size * steepest / 4) - 1


def _plot(name: str, histograms: dict[str, Sequence[int]], count: int) -> figures.Plot:
    """Histograms as curves, with the band of a bin of uniform ranks."""
    places = (np.arange(BINS) + 0.5) / BINS
    curves = [
        figures.Curve(each, places, np.asarray(found))
        for each, found in histograms.items()
    ]
    label = f"{BAND:.0%} of a bin"
    curves += [
        figures.Curve(label, places, np.full(BINS, bound), dashed=True)
        for bound in rank_statistics.band(count, BINS, BAND)
    ]
    return figures.Plot(name, curves, ("rank / draws", "truths"))


def main() -> int:
    """Reads the flags and writes the report."""
    common.refuse_unread_flags(__name__)
    simulations, repetitions = SIMULATIONS.value, REPETITIONS.value
    for flag in (SIMULATIONS, REPETITIONS):
        common.require(flag.value >= 1, flag.name, flag.value, "a positive number")
    settings = {"simulations": simulations, "repetitions": repetitions}
    output_dir = common.OUTPUT_DIR.value or "runs/simulated_ranks"
    with open_run_folder(output_dir) as folder:
        cells = Cells(folder / "cells.json", settings, network_options.RESUME.value)
        results = Path(timing.RESULTS_DIR.value)
        print(run(simulations, repetitions, results, cells))
    return 0


if __name__ == "__main__":
    common.main(main)
