"""Simulation-based calibration of Gaussian processes, samplers and networks.

Truths are drawn from the prior and data from the likelihood; ranks of functions of the
truth among posterior draws must be uniform (`benchmarks.rank_statistics`). Posteriors
that are wrong on purpose say what the check would notice:

  python -m benchmarks.simulated_ranks
  python -m benchmarks.simulated_ranks --simulations=128 --repetitions=5

Besides the report it draws the histograms, simulated_ranks.png.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from absl import app, flags

from benchmarks import (
    linear_model,
    rank_statistics,
    sampler_cases,
    simulated_chains,
    simulated_networks,
    simulated_processes,
    timing,
)
from dipgp import figures
from dipgp.gp import variance

SIMULATIONS = flags.DEFINE_integer(
    "simulations", 512, "Truths for each posterior; a quarter of them for networks."
)
REPETITIONS = flags.DEFINE_integer(
    "repetitions", 20, "Repetitions of the small check of which the power is told."
)

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
        each = [
            rank_statistics.p_value(part, SMALL_DRAWS, SMALL_BINS)
            for part in ranks.values()
        ]
        found += smallest(each) < LEVEL
    return found / repetitions


def variance_rows(simulations: int) -> list[dict[str, object]]:
    """Truths in standard deviations that estimated variances tell."""
    field, weights, dense, *_ = simulated_processes.right_processes()
    estimators: list[tuple[simulated_processes.Process, variance.Method, int]] = [
        (dense, "dense", 0),
        (weights, "samples", 16),
        (field, "probing", 32),
    ]
    rows = []
    for process, method, solves in estimators:
        p_values = simulated_processes.variance_p_values(
            process, jax.random.key(2), simulations, method, solves
        )
        rows.append(
            {
                "kind": "variance",
                "posterior": f"{process.name}, by {method}",
                "right": True,
                "truths": simulations,
                "p": smallest(list(p_values.values())),
                **{f"p, {name}": value for name, value in p_values.items()},
            }
        )
    return rows


def run(simulations: int, repetitions: int, folder: Path) -> str:
    """Simulates, and writes report and figure.

    Args:
      simulations: truths for each posterior.
      repetitions: of the small check of samplers.
      folder: of both.

    Returns:
      The report as Markdown.
    """
    rows: list[dict[str, object]] = []
    plots = []
    for case in cases():
        count = max(round(case.share * simulations), 2)
        ranks = case.ranks(jax.random.key(0), count, DRAWS)
        p_values = {
            name: rank_statistics.p_value(found, DRAWS, BINS)
            for name, found in ranks.items()
        }
        row: dict[str, object] = {
            "kind": case.kind,
            "posterior": case.name,
            "right": case.right,
            "truths": count,
            "p": smallest(list(p_values.values())),
        }
        if case.kind == "sampler":
            row["found wrong"] = power(case, repetitions)
        rows.append(row | {f"p, {name}": value for name, value in p_values.items()})
        plots.append(_plot(case.name, ranks, count))
    rows += variance_rows(simulations)
    folder.mkdir(parents=True, exist_ok=True)
    rows_of_plots = [plots[first : first + 4] for first in range(0, len(plots), 4)]
    figures.save_figure(folder / "simulated_ranks.png", figures.plots(rows_of_plots))
    title = "Ranks of simulated truths among posterior draws"
    return timing.write_report(folder, "simulated_ranks", title, rows, _notes(), {})


def _notes() -> list[str]:
    return [
        f"p values of chi-square tests that ranks among {DRAWS} draws, in {BINS} bins, "
        "are uniform, one a function of the truth; p is the least of them times their "
        f"number. A right posterior has p below {LEVEL:g} once in {1 / LEVEL:.0f} "
        "times at most. Rows called variance are Kolmogorov and Smirnov's test of the "
        "truths of two pixels in predicted standard deviations.",
        "Found wrong is the share of repetitions, with keys of their own, in which a "
        f"check of the size of the tests' ({SMALL_SIMULATIONS} truths, {SMALL_DRAWS} "
        f"draws, {SMALL_BINS} bins) has p below {LEVEL:g}: its power where the sampler "
        "is wrong, its false alarms where it is right.",
        f"A step of {sampler_cases.STEP_SIZE} makes variances up to "
        f"{_bias(sampler_cases.STEP_SIZE):.1%} too large in the steepest direction of "
        f"the model, one of {sampler_cases.LARGE_STEP_SIZE} "
        f"{_bias(sampler_cases.LARGE_STEP_SIZE):.0%}.",
    ]


def _bias(step_size: float) -> float:
    """Of the variance along the steepest direction, without a preconditioner."""
    steepest = np.linalg.eigvalsh(linear_model.example().precision)[-1]
    return 1 / (1 - step_size * steepest / 4) - 1


def _plot(name: str, ranks: dict[str, np.ndarray], count: int) -> figures.Plot:
    """Histograms as curves, with the band of a bin of uniform ranks."""
    places = (np.arange(BINS) + 0.5) / BINS
    curves = [
        figures.Curve(each, places, rank_statistics.histogram(found, DRAWS, BINS))
        for each, found in ranks.items()
    ]
    label = f"{BAND:.0%} of a bin"
    curves += [
        figures.Curve(label, places, np.full(BINS, bound), dashed=True)
        for bound in rank_statistics.band(count, BINS, BAND)
    ]
    return figures.Plot(name, curves, ("rank / draws", "truths"))


def main(arguments: Sequence[str]) -> None:
    """Reads the flags and writes the report."""
    if len(arguments) > 1:
        raise app.UsageError(f"{arguments[1]}: expected flags only")
    folder = Path(timing.RESULTS_DIR.value)
    print(run(SIMULATIONS.value, REPETITIONS.value, folder))


if __name__ == "__main__":
    app.run(main)
