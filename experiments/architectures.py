"""What depth and skip connections do to the deep image prior.

  python -m experiments.architectures
  python -m experiments.architectures --halvings=1,2 --side=32 --iterations=20
  python -m experiments.architectures --image=house.png --channels=16,32,64,64,64,64

The paper says of its Gaussian process that deeper networks are smoother and that skip
connections shorten the range of their covariance. Here are hourglasses of 1 to 6
halvings (--halvings), without skips and with 4 skip channels (--skip_channels), each by
one description in four roles:

  kernel          its covariance in closed form: cos theta(r) = K(r) / K(0) by lag, the
                  lag of half the fall from 1 to the value far away, and the range, from
                  which on it stays within 1 % of the fall from that value. Those of the
                  paper's autoencoder (no batch norm, ReLU) stand beside them
  prior           a draw of the process and one of a network, twice as wide as the
                  fitted ones (--prior_widening)
  process         the picture in noise (25 grey levels, --noise_std), denoised with that
                  covariance, the amplitude chosen by evidence
  descent         the same by descent of the network's weights (Adam, --learning_rate),
                  PSNR at iteration 400 (--stop_at), at its peak, and where the
                  discrepancy rule stops, which knows the noise but not the truth

The picture is the bundled photograph or --image, its central square in grey, made
smaller to --side pixels. Networks have 8, 16, 32, 32, 32 and 32 channels from the
finest scale on (--channels), cut to each depth, and 1,000 iterations (--iterations):
16 minutes of one core.

Results in --output_dir; with --resume what is there already is taken up:

  figure.png        covariances by lag, above; below, their fall in units of
                    2^halvings pixels
  priors.png        draws, each scaled to its own range
  restorations.png  what process and network (at --stop_at) made of the picture
  psnr.png          half lags, PSNR by depth, PSNR by iteration
  table.md          the numbers
  metrics.json      all of them, and the curves
  cells.json        the cases that are done, and checkpoints/ of those that are not

Exit status: 0 done, 1 a solver or a descent did not converge, 2 bad input, 130
interrupted.
"""

import dataclasses
import functools
from pathlib import Path
from typing import Any

from absl import flags

from dipgp.files import write_atomically
from experiments import (
    architectures_cases,
    architectures_fall,
    architectures_figures,
    architectures_options,
    common,
    reporting,
)
from experiments.architectures_cases import Problem
from experiments.architectures_fall import Fall
from experiments.architectures_options import (
    ArchitecturesConfig,
    Case,
    config_from_flags,
)
from experiments.cells import Cell, Cells
from experiments.run_folders import open_run_folder

flags.adopt_module_key_flags(architectures_options)

Record = dict[str, Any]


def run(config: ArchitecturesConfig) -> Record:
    """Computes what is missing and writes the results.

    Args:
      config: what to do.

    Returns:
      What metrics.json holds.

    Raises:
      UserError: on bad input, before anything is computed.
      Interrupted: where the run was asked to end; what is done is kept.
    """
    problem = architectures_cases.make_problem(config)
    with open_run_folder(config.output_dir) as folder:
        return _run(config, problem, folder)


def _run(config: ArchitecturesConfig, problem: Problem, folder: Path) -> Record:
    cells = _open_cells(folder / "cells.json", config)
    plain = {
        depth: architectures_fall.fall(
            architectures_cases.plain_covariance(depth), max(config.halvings)
        )
        for depth in config.halvings
    }
    rows = [_plain_row(depth, found) for depth, found in plain.items()]
    done: dict[Case, tuple[Cell, Cell]] = {}
    for case in config.cases:
        process = cells.get(
            f"{case}: process",
            functools.partial(architectures_cases.closed_form, config, problem, case),
        )
        descent = cells.get(
            f"{case}: descent",
            functools.partial(
                architectures_cases.descend,
                config,
                problem,
                case,
                folder / "checkpoints",
            ),
        )
        done[case] = process, descent
        rows.append(_row(case, process, descent))
        print(_line(rows[-1]), flush=True)
    record: Record = {
        "experiment": "architectures",
        "rows": rows,
        "curves": {
            str(case): {
                "lags": process["lags"],
                "cosine": process["cosine"],
                "psnr_by_iteration": descent["trace"],
            }
            for case, (process, descent) in done.items()
        },
        "seed": config.seed,
        **reporting.provenance(config),
    }
    architectures_figures.save(folder, config, problem, plain, done)
    text = _table(rows, config.stop_at)
    print(text, flush=True)
    write_atomically(folder / "table.md", text.encode())
    reporting.write_json(folder / "metrics.json", record)
    return record


def _open_cells(path: Path, config: ArchitecturesConfig) -> Cells:
    idle = ("output_dir", "running", "halvings")
    return Cells(path, dataclasses.asdict(config), config.running.resume, idle)


def _plain_row(halvings: int, found: Fall) -> Record:
    return {
        "network": "autoencoder",
        "halvings": halvings,
        "skip_channels": 0,
        "half_lag": found.half,
        "range": found.range,
        "far": found.far,
    }


def _row(case: Case, process: Cell, descent: Cell) -> Record:
    return {
        "network": "hourglass",
        "halvings": case.halvings,
        "skip_channels": case.skip_channels,
        **{name: process[name] for name in ("half_lag", "range", "far", "evidence")},
        "amplitude": process["amplitude"],
        "process_psnr": process["psnr"],
        "process_iterations": process["iterations"],
        "process_seconds": process["seconds"],
        "solver": process["solver"],
        "descent_psnr": descent["psnr"],
        **{
            name: descent[name]
            for name in ("peak", "peak_iteration", "stopped_at", "stopped_psnr")
        },
        "descent_seconds": descent["seconds"],
        "message": descent["message"],
        "converged": process["converged"] and descent["converged"],
    }


def _table(rows: list[Record], stop_at: int) -> str:
    titles = (
        "network",
        "skip channels",
        "halvings",
        "half lag",
        "range",
        "GP [dB]",
        "evidence a pixel",
        f"SGD at {stop_at} [dB]",
        "peak (iteration)",
        "discrepancy (iteration)",
    )
    return reporting.markdown(titles, [_table_row(row) for row in rows])


def _table_row(row: Record) -> tuple[str, ...]:
    lags = (
        row["network"],
        str(row["skip_channels"]),
        str(row["halvings"]),
        f"{row['half_lag']:.2f}",
        f"{row['range']:.1f}",
    )
    if row["network"] == "autoencoder":
        return (*lags, *["-"] * 5)
    return (
        *lags,
        f"{row['process_psnr']:.2f}",
        f"{row['evidence']:.3f}",
        _decibels(row["descent_psnr"]),
        _at(row["peak"], row["peak_iteration"]),
        _at(row["stopped_psnr"], row["stopped_at"]),
    )


def _line(row: Record) -> str:
    stopped = _at(row["stopped_psnr"], row["stopped_at"])
    line = (
        f"{Case(row['halvings'], row['skip_channels'])}: half lag "
        f"{row['half_lag']:.2f}, range {row['range']:.1f}, process "
        f"{row['process_psnr']:.2f} dB, descent {_decibels(row['descent_psnr'])} dB, "
        f"peak {_at(row['peak'], row['peak_iteration'])}, stopped {stopped}"
    )
    if row["converged"]:
        return line
    return f"{line}; NOT CONVERGED: process: {row['solver']}; {row['message']}"


def _at(psnr: float | None, iteration: int | None) -> str:
    """A PSNR and its iteration, or a dash where it was not reached."""
    return "-" if psnr is None else f"{psnr:.2f} ({iteration})"


def _decibels(psnr: float | None) -> str:
    return "-" if psnr is None else f"{psnr:.2f}"


def main() -> int:
    """Runs under the flags."""
    rows = run(config_from_flags())["rows"]
    return 0 if all(row.get("converged", True) for row in rows) else 1


if __name__ == "__main__":
    common.main(main)
