"""When to stop: a closed form for the error of gradient descent at every iteration.

  python -m experiments.early_stopping
  python -m experiments.early_stopping --image_size=32,32 --network_widths=32,128

A wide network that descends on noisy values fits first what its neural tangent kernel
calls easy, and the noise later. The kernel has a closed form (`kernels.ntk`), and on a
torus of pixels so have the outputs and their error at every iteration, by FFT
(`kernels.gradient_flow`). Here plain networks (circular convolutions, ReLU, linear
read-out) of several widths are trained by plain gradient descent of all weights, from
independent starts and inputs, and their mean PSNR is set beside the prediction. The
signal is the paper's in one dimension, or the bundled cameraman's photograph, small.

Three predictions of when to stop:

  truth   from the truth: the minimum of the predicted error
  data    without it, from the noisy values and the noise (Stein's unbiased estimate of
          the same error)
  prior   from the noise alone, with the network's own Gaussian process as the prior of
          what is to be restored, of the amplitude that the values make most likely

The learning rate is --rate_fraction of the largest stable one, and descent goes on for
three times the predicted stop. Differences from the prediction come from finite width,
from finitely many input channels, and from the few networks that are averaged over;
standard errors are over networks, those of the best iteration by their bootstrap.

Results in --output_dir:

  figure.png    PSNR by iteration, predicted and measured
  table.md      by width: best iteration, and what stopping when predicted costs
  metrics.json  all numbers
  curves.npz    all curves

By default a run takes 10 minutes on one core. Exit status: 0 done, 2 bad input.
"""

import math
import time
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from dipgp import progress
from dipgp.figures import Curve, Plot, plots, save_figure
from dipgp.files import write_atomically
from experiments import (
    common,
    early_stopping_options,
    early_stopping_training,
    reporting,
)
from experiments.early_stopping_options import (
    EarlyStoppingConfig,
    config_from_flags,
)
from experiments.early_stopping_training import Prediction, Problem
from experiments.run_folders import open_run_folder

flags.adopt_module_key_flags(early_stopping_options)

_RESAMPLES = 400  # of the bootstrap
Record = dict[str, Any]


def run(config: EarlyStoppingConfig) -> Record:
    """Predicts, trains, and writes the results.

    Args:
      config: what to do.

    Returns:
      What metrics.json holds.

    Raises:
      UserError: on a folder that cannot be written to, before anything is computed.
    """
    with open_run_folder(config.output_dir) as folder:
        return _run(config, folder)


def _run(config: EarlyStoppingConfig, folder: Path) -> Record:
    problem = early_stopping_training.make_problem(config)
    prediction = early_stopping_training.predict(config, problem)
    iterations = len(prediction.error) - 1
    print(
        f"amplitude {problem.amplitude:.3g}, learning rate "
        f"{prediction.learning_rate:.3g}; stop at {prediction.stop['truth']} by the "
        f"truth, {prediction.stop['data']} by the data, {prediction.stop['prior']} by "
        f"the prior; {iterations} iterations",
        flush=True,
    )
    rows, measured = [], {}
    for width in config.network_widths:
        begun = time.monotonic()
        with progress.show(f"width {width}") as report:
            errors = early_stopping_training.train(
                config, problem, prediction.learning_rate, iterations, width, report
            )
        measured[width] = errors
        rows.append(_row(width, errors, prediction, time.monotonic() - begun))
        print(_line(rows[-1]), flush=True)
    record = {
        "experiment": "early_stopping",
        "amplitude": problem.amplitude,
        "learning_rate": prediction.learning_rate,
        "iterations": iterations,
        "predicted_stop": prediction.stop,
        "predicted_psnr": {
            name: _psnr(prediction.error[stop])
            for name, stop in prediction.stop.items()
        },
        "predicted_psnr_at_end": _psnr(prediction.error[-1]),
        "rows": rows,
        "seed": config.seed,
        **reporting.provenance(config),
    }
    _save_curves(folder / "curves.npz", problem, prediction, measured)
    save_figure(folder / "figure.png", plots([_plots(prediction, measured)]))
    write_atomically(folder / "table.md", _table(rows).encode())
    reporting.write_json(folder / "metrics.json", record)
    return record


def _row(
    width: int, errors: np.ndarray, prediction: Prediction, seconds: float
) -> Record:
    """What networks of a width did; errors (networks, iterations + 1)."""
    mean = errors.mean(axis=0)
    best = int(np.argmin(mean))
    random = np.random.default_rng(0)
    again = [
        int(np.argmin(errors[random.integers(len(errors), size=len(errors))].mean(0)))
        for _ in range(_RESAMPLES)
    ]
    stop = prediction.stop["truth"]
    deviation = mean - prediction.error
    spread = errors.std(axis=0, ddof=1) / math.sqrt(len(errors))
    return {
        "width": width,
        "best_iteration": best,
        "best_iteration_error": float(np.std(again)),
        "ratio": stop / best if best else math.inf,
        "best_psnr": _psnr(mean[best]),
        "end_psnr": _psnr(mean[-1]),
        # In dB, what stopping when predicted costs.
        "loss": {
            name: _psnr(mean[best]) - _psnr(mean[when])
            for name, when in prediction.stop.items()
        },
        "largest_deviation": _decibels(mean, prediction.error),
        "deviation_in_errors": float(np.max(np.abs(deviation) / spread)),
        "networks": len(errors),
        "seconds": seconds,
    }


def _decibels(measured: np.ndarray, predicted: np.ndarray) -> float:
    """The largest difference of two curves of squared errors, in dB."""
    return float(np.max(np.abs(10 * np.log10(measured / predicted))))


def _psnr(error: float) -> float:
    return float(-10 * np.log10(error))


def _plots(prediction: Prediction, measured: dict[int, np.ndarray]) -> list[Plot]:
    """The whole course, and the neighbourhood of the best iteration."""
    iterations = np.arange(len(prediction.error))
    curves = [
        Curve("predicted", iterations, -10 * np.log10(prediction.error)),
        Curve(
            "estimated from the data",
            iterations,
            -10 * np.log10(np.maximum(prediction.estimate, 1e-12)),
            dashed=True,
        ),
    ]
    for width, errors in measured.items():
        mean = -10 * np.log10(errors.mean(axis=0))
        curves.append(Curve(f"width {width}", iterations, mean))
    stop = prediction.stop["truth"]
    near = slice(stop // 3, 2 * stop)
    zoomed = [_cut(curve, near) for curve in curves]
    titles = ("iteration", "PSNR [dB]")
    return [
        Plot("gradient descent", curves, titles),
        Plot("around the best iteration", zoomed, titles),
    ]


def _cut(curve: Curve, part: slice) -> Curve:
    """A part of a curve."""
    return curve._replace(x=curve.x[part], y=curve.y[part])


def _save_curves(
    path: Path,
    problem: Problem,
    prediction: Prediction,
    measured: dict[int, np.ndarray],
) -> None:
    arrays = {
        "truth": problem.truth,
        "values": problem.values,
        "predicted": prediction.error,
        "estimated": prediction.estimate,
    }
    arrays |= {f"width_{width}": errors for width, errors in measured.items()}
    reporting.write_arrays(path, arrays)


def _table(rows: list[Record]) -> str:
    titles = (
        "width",
        "networks",
        "best iteration",
        "predicted / measured",
        "best PSNR",
        "loss by truth",
        "loss by data",
        "loss by prior",
        "PSNR at the end",
        "largest deviation",
        "seconds",
    )
    lines = []
    for row in rows:
        error = row["best_iteration_error"]
        lines.append(
            (
                str(row["width"]),
                str(row["networks"]),
                f"{row['best_iteration']} ± {error:.0f}",
                f"{row['ratio']:.2f}",
                f"{row['best_psnr']:.2f} dB",
                *(f"{row['loss'][name]:.3f} dB" for name in row["loss"]),
                f"{row['end_psnr']:.2f} dB",
                f"{row['largest_deviation']:.2f} dB",
                f"{row['seconds']:.0f}",
            )
        )
    return reporting.markdown(titles, lines, words=0)


def _line(row: Record) -> str:
    return (
        f"width {row['width']}: best at {row['best_iteration']} ± "
        f"{row['best_iteration_error']:.0f}, predicted / measured {row['ratio']:.2f}; "
        f"{row['best_psnr']:.2f} dB there, {row['loss']['truth']:.3f} dB less where "
        f"predicted, {row['end_psnr']:.2f} dB at the end"
    )


def main() -> int:
    """Runs under the flags."""
    run(config_from_flags())
    return 0


if __name__ == "__main__":
    common.main(main)
