"""The paper's Figure 6: a 64x64 image of which 2,066 pixels are known, by all means.

On the data that the paper's authors published with it:

  python -m benchmarks.figure6 --data=figure6_64x64.npz
  python -m benchmarks.figure6 --data=figure6_64x64.npz --resume

Without the file, on a photograph of as many pixels, and on the middle of it:

  python -m benchmarks.figure6
  python -m benchmarks.figure6 --figure6_side=32

A hundred of the paper's own networks instead of thirty, ten minutes on one core:

  python -m benchmarks.figure6 --data=figure6_64x64.npz --kernel_networks=1000,100

The file holds `img_np` (1, 64, 64) in [0, 1] and `img_mask_np`, 1 where known. Side by
side, with wall times:

  formulas     RBF and ReLU networks; the hourglass whose covariance the paper estimated
               by drawing 660,000 networks (2 scales, 1,024 channels, 4 of each skip
               connection, batch norm, leaky ReLU), by its closed form, and by the exact
               matrix of networks of endless width, with borders and phases, with
               phases alone (the middle of a wider network, which takes 5 GB), and
               averaged by lag over inner pixels
  fits         RBF and ReLU networks with the hyperparameters and the noise that
               `gp.fit` finds, and the evidence of each
  covariances  of random networks of --kernel_widths, the read-out integrated out, from
               1, 10, 100, ... of --kernel_networks, as a matrix and as its mean by lag
  descents     of the weights of such a network with a sigmoid (Adam 0.01, no noise on
               the input) for --descent_widths, --descent_runs each

Known pixels are kept; the PSNR is that of the picture clipped to [0, 1]. Amplitude and
level are the likeliest for the known pixels, and so is the noise where it says "by
evidence" (the restricted likelihood of all of them; "by blocks' evidence" is what
`gp.select` finds, from blocks of 300). "None" leaves a ten-thousandth of the variance;
the authors' own program for the 660,000 networks has no noise.

The report goes to --results_dir. What takes long is kept in --output_dir, and --resume
goes on with it. Exit status: 0 done, 2 bad input.
"""

import dataclasses
import functools
from pathlib import Path

import jax
import numpy as np
from absl import flags

from benchmarks import (
    figure6_descent,
    figure6_fits,
    figure6_networks,
    figure6_options,
    figure6_processes,
    timing,
)
from benchmarks.figure6_networks import INPUTS
from benchmarks.figure6_options import Figure6Config, config_from_flags
from benchmarks.figure6_problem import PAPER, SIDE, Problem, load, stand_in
from benchmarks.figure6_processes import Row
from dipgp import progress
from dipgp.progress import Report
from experiments import common, reporting
from experiments.cells import Cell, Cells
from experiments.run_folders import open_run_folder

flags.adopt_module_key_flags(figure6_options)

# The paper's own numbers, in dB, and whether its program allows for noise.
PUBLISHED = (
    ("RBF (the paper)", "the paper's", 25.78),
    ("Monte-Carlo kernel of 660,000 networks (the paper)", "none", 26.34),
)
PUBLISHED_NETWORKS = 660_000
# Settings that say where it runs, and nothing of the numbers.
_PLACES = ("data", "output_dir", "results_dir", "resume")
_KEPT = ("matrix", "mean by lag")
_NOISES = ("by evidence", "none")
# What keys are for; each is folded from the seed's by its number.
_KERNELS, _DESCENTS = range(2)


def run(config: Figure6Config, problem: Problem) -> str:
    """Computes what is missing and writes the report.

    Args:
      config: what to do.
      problem: the data.

    Returns:
      The report as Markdown.

    Raises:
      UserError: on a folder that cannot be written to, before anything is computed.
    """
    with open_run_folder(config.output_dir) as folder:
        return _run(config, problem, folder)


def _run(config: Figure6Config, problem: Problem, folder: Path) -> str:
    settings = dataclasses.asdict(config)
    settings["image"] = [problem.image.tolist(), problem.mask.tolist()]
    idle = (
        *_PLACES,
        "kernel_widths",
        "kernel_networks",
        "descent_widths",
        "descent_runs",
    )
    cells = Cells(folder / "cells.json", settings, config.resume, idle)
    rows: list[Row] = [
        {"model": name, "noise": noise, "PSNR [dB]": f"{value:.2f}"}
        for name, noise, value in PUBLISHED
        if problem.name == PAPER
    ]
    formulas = cells.get("formulas", functools.partial(_formulas, config, problem))
    rows += formulas["rows"]
    fits = cells.get("fits", functools.partial(_fits, config, problem))
    rows += fits["rows"]
    notes = []
    if config.kernel_widths:
        more, table = _kernel_rows(config, problem, cells, folder)
        rows += more
        notes.append(table)
        notes.append(_note(config, cells))
    rows += [
        _descent_row(config, problem, channels, cells)
        for channels in config.descent_widths
    ]
    known, pixels = int(problem.mask.sum()), problem.image.size
    title = f"{problem.name}: {pixels:,} pixels, {known:,} known"
    told = dataclasses.asdict(config)
    for name in _PLACES:
        del told[name]
    summary = {"configuration": told}
    return timing.write_report(
        Path(config.results_dir), "figure6", title, rows, notes, summary
    )


def _formulas(config: Figure6Config, problem: Problem, report: Report) -> Cell:
    report("processes of plain networks", 0.0)
    rows = figure6_processes.usual_rows(problem, config.figure6_depths)
    if config.exact_hourglass:
        rows += figure6_processes.hourglass_rows(problem, report)
    return {"rows": rows}


def _fits(config: Figure6Config, problem: Problem, report: Report) -> Cell:
    return {"rows": figure6_fits.fitted_rows(problem, config.figure6_depths, report)}


def _kernel_rows(
    config: Figure6Config, problem: Problem, cells: Cells, folder: Path
) -> tuple[list[Row], str]:
    """The largest blocks of each width, and a table of all of them."""
    rows, lines = [], []
    root = jax.random.fold_in(jax.random.key(config.seed), _KERNELS)
    for channels, count in zip(
        config.kernel_widths, config.kernel_networks, strict=True
    ):
        key = jax.random.fold_in(root, channels)
        with progress.show(f"{channels} channels, random networks") as report:
            found = figure6_networks.estimate(
                problem,
                channels,
                count,
                config.kernel_input,
                key,
                cells,
                folder,
                report,
            )
        for size, blocks in found.items():
            scores = [
                _mean([figure6_networks.read(b, kept, noise).psnr for b in blocks])
                for kept in _KEPT
                for noise in _NOISES
            ]
            numbers = map(str, (channels, size, len(blocks)))
            lines.append([*numbers, *map(_shown, scores)])
        last = found[count][0]
        for kept in _KEPT:
            name = f"{kept} of {count} networks of {channels} channels"
            restored = {
                noise: figure6_networks.read(last, kept, noise) for noise in _NOISES
            }
            rows += figure6_processes.rows_of(name, restored, last["seconds"])
    titles = ["channels", "networks", "blocks"]
    titles += [f"{kept}, noise {noise}" for kept in _KEPT for noise in _NOISES]
    return rows, reporting.markdown(titles, lines, words=0).rstrip()


def _note(config: Figure6Config, cells: Cells) -> str:
    """What the table above holds, and what the paper's draws would cost here."""
    text = (
        "PSNR [dB] by how many networks the covariance is the mean of, with standard "
        f"errors over blocks; input: {INPUTS[config.kernel_input]}. Seconds of "
        "covariances: of drawing, without the solve."
    )
    widest = max(config.kernel_widths)
    one = cells[figure6_networks.block_name(widest, 1, 0)]["seconds"]
    days = PUBLISHED_NETWORKS * one / 86400
    return (
        f"{text} At {one:.2g} s for a network of {widest} channels, "
        f"{PUBLISHED_NETWORKS:,} of them would take this machine {days:.3g} days."
    )


def _descent_row(
    config: Figure6Config, problem: Problem, channels: int, cells: Cells
) -> Row:
    """The mean of all runs of a width."""
    root = jax.random.fold_in(jax.random.key(config.seed), _DESCENTS)
    done = [
        cells.get(
            f"descent, {channels} channels, run {number + 1}",
            functools.partial(
                figure6_descent.train,
                problem,
                channels,
                config.descent_iterations,
                jax.random.fold_in(root, number),
            ),
        )
        for number in range(config.descent_runs)
    ]
    last, peak = (_mean([cell[name] for cell in done]) for name in ("last", "peak"))
    return {
        "model": f"descent of {channels} channels, {config.descent_iterations} steps",
        "PSNR [dB]": _shown(last),
        "peak [dB]": _shown(peak),
        "peak at": f"{np.mean([cell['peak_at'] for cell in done]):.0f}",
        "seconds": float(np.median([cell["seconds"] for cell in done])),
    }


def _mean(scores: list[float]) -> tuple[float, float]:
    """Mean and standard error, which is NaN for a single number."""
    error = np.std(scores, ddof=1) / len(scores) ** 0.5 if len(scores) > 1 else np.nan
    return float(np.mean(scores)), float(error)


def _shown(score: tuple[float, float]) -> str:
    value, error = score
    return f"{value:.2f}" if np.isnan(error) else f"{value:.2f} ± {error:.2f}"


def main() -> int:
    """Runs under the flags."""
    config = config_from_flags()
    problem = load(config.data) if config.data else stand_in()
    if config.figure6_side < SIDE:
        problem = problem.middle(config.figure6_side)
    print(run(config, problem))
    return 0


if __name__ == "__main__":
    common.main(main)
