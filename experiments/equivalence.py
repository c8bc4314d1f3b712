"""The main result: posteriors of wide networks are those of their Gaussian process.

  python -m experiments.equivalence
  python -m experiments.equivalence --grid=24,24 --widths=16,32,64,128,256

A plain network (layers of convolution and ReLU, linear read-out) restores a signal, or
a small photograph where --grid has two sizes, from a part of its points or all of them,
in noise. For each width and several random inputs, its posterior mean and variance are
set beside the exact ones of two Gaussian processes:

  of the very input   the network of endless width with the same input, whose covariance
                      `kernels.dense` computes. The distance falls as 1 / width.
  stationary          endlessly many input channels too. The distance ends at what the
                      channels are too few, which falls as 1 / sqrt(channels): a second
                      part computes it for networks of endless width, without sampling.

Distances are root mean squares over all points, over the root mean square of what they
are from, free of the bias by which sampling noise would look like distance, with
standard errors over inputs. Exponents are fitted to them, with their standard errors.

The networks' posterior is sampled with the read-out integrated out, by blackjax's
elliptical slice or no-U-turn sampler; at some widths Langevin dynamics of all weights,
as dipgp runs it, samples the posterior of the first input too, and its means are
compared, in units of both samplers' standard errors.

Results in --output_dir; with --resume what is there already is taken up:

  figure.png    distances by width and by channels; a posterior and its processes
  table.md      distances, noise of the sampling, effective samples, wall time
  metrics.json  all numbers
  cells.json    the posteriors that are done

Narrow networks take longest; --resume goes on. Exit status: 0 done, 2 bad input, 130
interrupted.
"""

import dataclasses
import functools
import math
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from dipgp.figures import Curve, Plot, plots, save_figure
from dipgp.files import write_atomically
from dipgp.progress import Report
from experiments import common, equivalence_cells, equivalence_options, reporting
from experiments.cells import Cell, Cells
from experiments.equivalence_cells import Problem
from experiments.equivalence_options import EquivalenceConfig, config_from_flags
from experiments.equivalence_scores import Estimate, power_law, relative_rmse
from experiments.run_folders import open_run_folder

flags.adopt_module_key_flags(equivalence_options)

# Channels of inputs whose networks are endlessly wide.
_CHANNELS = (16, 32, 64, 128, 256, 512)
_TITLES = {
    "mean": "mean, own process",
    "variance": "variance, own process",
    "stationary": "mean, stationary process",
}
Record = dict[str, Any]


def run(config: EquivalenceConfig) -> Record:
    """Computes what is missing and writes the results.

    Args:
      config: what to do.

    Returns:
      What metrics.json holds.

    Raises:
      UserError: on a folder that cannot be written to, before anything is computed.
    """
    with open_run_folder(config.output_dir) as folder:
        return _run(config, folder)


def _run(config: EquivalenceConfig, folder: Path) -> Record:
    cells = _open_cells(folder / "cells.json", config)
    rows, by_channels, langevin, drawn = [], {}, [], []
    for task in config.tasks:
        problem = equivalence_cells.make_problem(config, task)
        print(f"{task}: amplitude {problem.model.amplitude:.3g}", flush=True)
        found = {}
        for width in config.widths:
            done = [
                cells.get(
                    f"{task}, width {width}, input {number + 1}/{config.inputs}",
                    functools.partial(
                        equivalence_cells.posterior, config, problem, width, number
                    ),
                )
                for number in range(config.inputs)
            ]
            found[width] = done
            rows.append(_row(task, width, done))
            print(_line(rows[-1]), flush=True)
        by_channels[task] = _by_channels(config, problem, task, cells)
        for width in config.langevin_widths:
            cell = cells.get(
                f"{task}, width {width}, Langevin dynamics",
                functools.partial(equivalence_cells.langevin, config, problem, width),
            )
            langevin.append(_agreement(task, width, cell, found[width][0]))
            print(_langevin_line(langevin[-1]), flush=True)
        drawn.append((task, problem, found[max(config.widths)][0]))
    record: Record = {
        "experiment": "equivalence",
        "rows": rows,
        "exponents": _exponents(config, rows),
        "by_input_channels": by_channels,
        "langevin": langevin,
        "seed": config.seed,
        **reporting.provenance(config),
    }
    for task, exponents in record["exponents"].items():
        for name, exponent in exponents.items():
            print(f"{task}, {_TITLES[name]}: {_shown_exponent(exponent)}")
    save_figure(folder / "figure.png", plots(_plots(config, record, drawn)))
    write_atomically(folder / "table.md", _table(rows).encode())
    reporting.write_json(folder / "metrics.json", record)
    return record


def _open_cells(path: Path, config: EquivalenceConfig) -> Cells:
    idle = ("output_dir", "resume", "tasks", "widths", "inputs", "langevin_widths")
    return Cells(path, dataclasses.asdict(config), config.resume, idle)


def _row(task: str, width: int, cells: list[Cell]) -> Record:
    """A line of the table: distances with errors over inputs, and what they took."""
    row: Record = {"task": task, "width": width, "sampler": cells[0]["sampler"]}
    for name in _TITLES:
        squares = [cell[f"{name}_squared"] for cell in cells]
        sizes = [cell[f"{name}_size"] for cell in cells]
        value, error = relative_rmse(squares, sizes)
        row |= {name: value, f"{name}_error": error}
    size = np.mean([cell["mean_size"] for cell in cells])
    noise = np.mean([cell["mean_noise"] for cell in cells])
    seconds = sum(cell["seconds"] for cell in cells)
    effective = [cell["effective_samples"] for cell in cells]
    return row | {
        "noise": math.sqrt(noise / size),
        "effective_samples": float(np.median(effective)),
        "effective_samples_a_second": sum(effective) / seconds,
        "rhat": max(cell["rhat"] or math.nan for cell in cells),
        "seconds": seconds / len(cells),
        "process_seconds": float(np.median([c["process_seconds"] for c in cells])),
    }


def _by_channels(
    config: EquivalenceConfig, problem: Problem, task: str, cells: Cells
) -> Record:
    """What too few input channels cost, for networks of endless width."""
    estimates = []
    for channels in _CHANNELS:
        done = [
            cells.get(
                f"{task}, {channels} input channels, {number + 1}/{config.inputs}",
                functools.partial(_channel_cell, problem, channels, number),
            )
            for number in range(config.inputs)
        ]
        squares = [cell["mean_squared"] for cell in done]
        estimates.append(relative_rmse(squares, [cell["mean_size"] for cell in done]))
    return {
        "channels": list(_CHANNELS),
        "distance": [estimate.value for estimate in estimates],
        "error": [estimate.error for estimate in estimates],
        "exponent": power_law(_CHANNELS, estimates),
    }


def _channel_cell(problem: Problem, channels: int, number: int, _: Report) -> Cell:
    return equivalence_cells.input_channels(problem, channels, number)


def _agreement(task: str, width: int, langevin: Cell, exact: Cell) -> Record:
    """Langevin dynamics beside the other sampler, on the same posterior."""
    # Numbers of a chain that left all bounds are None, and become NaN.
    names = ("mean", "mean_error", "std")
    ours, theirs = (
        {name: np.asarray(cell[name], np.float64) for name in names}
        for cell in (langevin, exact)
    )
    difference = ours["mean"] - theirs["mean"]
    errors = np.hypot(ours["mean_error"], theirs["mean_error"])
    size = _rms(theirs["mean"])
    return {
        "task": task,
        "width": width,
        "distance": _rms(difference) / size,
        "error": _rms(errors) / size,
        # About 1 where sampling noise explains the difference.
        "in_errors": _rms(difference) / _rms(errors),
        "std_ratio": _rms(ours["std"]) / _rms(theirs["std"]),
        "seconds": langevin["seconds"],
        "rhat": langevin.get("rhat_largest"),
        "effective_samples_a_second": (
            langevin.get("effective_samples_median", math.nan) / langevin["seconds"]
        ),
        "roll_backs": langevin["roll_backs"],
    }


def _exponents(config: EquivalenceConfig, rows: list[Record]) -> Record:
    found: Record = {}
    for task in config.tasks:
        mine = [row for row in rows if row["task"] == task]
        found[task] = {
            name: power_law(
                [row["width"] for row in mine],
                [Estimate(row[name], row[f"{name}_error"]) for row in mine],
            )
            for name in ("mean", "variance")
        }
    return found


def _plots(
    config: EquivalenceConfig,
    record: Record,
    drawn: list[tuple[str, Problem, Cell]],
) -> list[list[Plot]]:
    lines = []
    for task, problem, cell in drawn:
        rows = [row for row in record["rows"] if row["task"] == task]
        widths = np.array([row["width"] for row in rows])
        curves = [
            Curve(
                title,
                widths,
                np.array([row[name] for row in rows]),
                error=np.array([row[f"{name}_error"] for row in rows]),
            )
            for name, title in _TITLES.items()
        ]
        noise = np.array([row["noise"] for row in rows])
        curves.append(Curve("noise of the sampling", widths, noise, dashed=True))
        few = record["by_input_channels"][task]
        by_channels = Curve(
            "endless width",
            np.array(few["channels"]),
            np.array(few["distance"]),
            error=np.array(few["error"]),
        )
        distance = "relative distance"
        lines.append(
            [
                Plot(f"{task}: by width", curves, ("width", distance), True),
                Plot(
                    f"{task}: to the stationary process",
                    [by_channels],
                    ("input channels", distance),
                    True,
                ),
                _posterior_plot(config, problem, cell),
            ]
        )
    return lines


def _posterior_plot(config: EquivalenceConfig, problem: Problem, cell: Cell) -> Plot:
    """The widest network's mean and standard deviation, along the first row."""
    shown = slice(0, config.grid[-1])
    x = np.arange(config.grid[-1])
    exact = problem.process(problem.input(0))
    curves = []
    for label, mean, std in (
        (f"width {max(config.widths)}", np.array(cell["mean"]), np.array(cell["std"])),
        ("own process", exact.mean, exact.std),
    ):
        curves.append(Curve(f"{label}, mean", x, mean[shown]))
        curves.append(Curve(f"{label}, std", x, std[shown], dashed=True))
    return Plot("first input", curves, ("pixel", "intensity"))


def _table(rows: list[Record]) -> str:
    titles = (
        "task",
        "width",
        "mean",
        "variance",
        "mean to stationary",
        "noise",
        "effective samples",
        "a second",
        "R-hat",
        "seconds",
        "process, seconds",
    )
    lines = []
    for row in rows:
        lines.append(
            (
                row["task"],
                str(row["width"]),
                *(f"{row[n]:.4f} ± {row[f'{n}_error']:.4f}" for n in _TITLES),
                f"{row['noise']:.4f}",
                f"{row['effective_samples']:.0f}",
                f"{row['effective_samples_a_second']:.1f}",
                f"{row['rhat']:.3f}",
                f"{row['seconds']:.1f}",
                f"{row['process_seconds']:.2f}",
            )
        )
    return reporting.markdown(titles, lines)


def _line(row: Record) -> str:
    return (
        f"  width {row['width']}: mean {row['mean']:.4f} ± {row['mean_error']:.4f}, "
        f"variance {row['variance']:.4f} ± {row['variance_error']:.4f} from its own "
        f"process; sampling noise {row['noise']:.4f}, R-hat up to {row['rhat']:.3f}"
    )


def _langevin_line(row: Record) -> str:
    line = (
        f"  width {row['width']}, Langevin dynamics: mean {row['distance']:.4f} from "
        f"the other sampler's, {row['in_errors']:.2f} standard errors (RMS), std "
        f"{row['std_ratio']:.3f} times as large"
    )
    return line + (", LEFT ALL BOUNDS" if row["roll_backs"] else "")


def _shown_exponent(exponent: Estimate | None) -> str:
    if exponent is None:
        return "no exponent, distances are lost in noise"
    return f"distance ~ width^({exponent.value:.2f} ± {exponent.error:.2f})"


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


def main() -> int:
    """Runs under the flags."""
    run(config_from_flags())
    return 0


if __name__ == "__main__":
    common.main(main)
