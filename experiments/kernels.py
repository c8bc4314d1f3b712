"""Closed-form covariances beside those of random networks.

  python -m experiments.kernels

A network of infinitely many channels is a Gaussian process whose covariance C(r) has a
closed form. Here cos theta(r) = C(r) / C(0) is drawn as a line, with random networks
as points: each draws new weights and a new input, without training. Three parts:

  depth         1 to 4 layers (convolution of 3, ReLU), input of sigma = 2
  sigma         0, 10, 15 and 60, with 2 layers and with 4
  autoencoder   3 to 6 halvings (strided convolution) and doublings (bilinear), sigma 2

An input is normal noise of mean zero and covariance exp(-r^2 / (4 sigma^2)), white for
sigma = 0. (The deep image prior's own input is uniform noise above zero, whose mean
adds a constant to C.) Networks have no biases and one dimension.

  python -m experiments.kernels --depths=2 --sigmas= --autoencoder_depths= --draws=5000
  python -m experiments.kernels --hidden_channels=128 --draws=100000 --seed=1

What to expect of the points:

- A read-out of random weights is integrated out, and a draw averages over the pixels
  that no border reaches. Standard errors are those of independent draws.
- Networks of n channels are biased. cos theta comes out too small by about 0.3 / n at
  2 layers of sigma = 2 and by 1 / n at 4, where lags are long; at 1 layer not at all.
  20,000 draws see that: networks of 64 channels are up to thirty standard errors from
  the closed form. Therefore networks of n / 2 channels are drawn too, and

      limit = 2 (cos theta at n) - (cos theta at n / 2)

  is free of the bias but for 1 / n^2. The claim to be tested is that the limit is
  within 4 standard errors of the closed form at all lags.
- Behind up-sampling the closed form is the mean over pixels' phases, as the points
  are. Feeding it into the next ReLU is an approximation, whose own error was between
  1e-3 and 1e-5 where it was computed.

By default a run takes 15 minutes on one core. Results in --output_dir:

  figure.png    cos theta of the limit by lag, and its difference from the closed form
  table.md      of each network the largest difference, for networks of n channels and
                in the limit; the largest difference in standard errors, the number of
                lags, and what so many independent normal variables would show
  metrics.json  all of it, lag by lag

Exit status: 0 the claim holds, 1 it does not, 2 bad input.
"""

from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import flags

from dipgp import progress
from dipgp.figures import Curve, Plot, plots, save_figure
from dipgp.files import write_atomically
from experiments import common, kernels_options, reporting
from experiments.kernels_cases import Case, Comparison, compare, expected_maximum
from experiments.kernels_options import KernelsConfig, config_from_flags
from experiments.run_folders import open_run_folder

flags.adopt_module_key_flags(kernels_options)

LARGEST_DEVIATION = 4.0
# Of the networks whose input is varied, and of the input where depth is.
_SIGMA_DEPTHS = (2, 4)
_SIGMA = 2.0
_COLUMNS = (
    "network",
    "n: difference",
    "n: in std. errors",
    "limit: difference",
    "limit: in std. errors",
    "lags",
    "expected of normal",
    "seconds",
)

Record = dict[str, Any]


def run(config: KernelsConfig) -> Record:
    """Draws all networks and writes the results.

    Args:
      config: what to do.

    Returns:
      What metrics.json holds.

    Raises:
      UserError: on a folder that cannot be written to, before anything is computed.
    """
    with open_run_folder(config.output_dir) as folder:
        return _run(config, folder)


def _run(config: KernelsConfig, folder: Path) -> Record:
    chosen = _cases(config)
    print(reporting.markdown(_COLUMNS, []), end="", flush=True)
    done, rows = [], []
    for number, case in enumerate(chosen, start=1):
        # A case's result does not depend on which others are in the run.
        key = jax.random.key(config.seed)
        for fact in (*case.part.encode(), case.depth, round(1000 * case.sigma)):
            key = jax.random.fold_in(key, fact)
        with progress.show(f"{number}/{len(chosen)}") as report:
            report(case.title)
            done.append(compare(case, key, config.hidden_channels, config.draws))
        rows.append(_row(done[-1]))
        # Flushed, so that a log shows how far a run has come.
        print(reporting.markdown_row(rows[-1]), end="", flush=True)
    largest = max(comparison.deviation("limit") for comparison in done)
    record = {
        "experiment": "kernels",
        "agrees": largest <= LARGEST_DEVIATION,
        "largest_deviation": largest,
        "cases": [_record(comparison) for comparison in done],
        "seed": config.seed,
        **reporting.provenance(config),
    }
    table = reporting.markdown(_COLUMNS, rows)
    write_atomically(folder / "table.md", table.encode())
    save_figure(folder / "figure.png", plots(_plots(done)))
    reporting.write_json(folder / "metrics.json", record)
    return record


def _cases(config: KernelsConfig) -> list[Case]:
    return [
        *(Case("depth", depth, _SIGMA) for depth in config.depths),
        *(
            Case("sigma", depth, sigma)
            for sigma in config.sigmas
            for depth in _SIGMA_DEPTHS
        ),
        *(Case("autoencoder", depth, _SIGMA) for depth in config.autoencoder_depths),
    ]


def _row(comparison: Comparison) -> list[str]:
    numbers = []
    for name in ("wide", "limit"):
        numbers.append(f"{comparison.difference(name):.5f}")
        numbers.append(f"{comparison.deviation(name):.1f}")
    count = comparison.case.lags.size
    return [
        f"{comparison.case.title}, n = {comparison.channels}",
        *numbers,
        str(count),
        f"{expected_maximum(count):.1f}",
        f"{comparison.seconds:.0f}",
    ]


def _record(comparison: Comparison) -> Record:
    case = comparison.case
    record: Record = {
        "part": case.part,
        "depth": case.depth,
        "sigma": case.sigma,
        "channels": comparison.channels,
        "lags": case.lags,
        "closed_form": comparison.closed_form,
        "expected_maximum": expected_maximum(case.lags.size),
        "seconds": comparison.seconds,
    }
    for name, estimate in comparison.estimates.items():
        record[name] = {
            "correlation": estimate.correlation,
            "standard_error": estimate.error,
            "largest_difference": comparison.difference(name),
            "largest_deviation": comparison.deviation(name),
        }
    return record


def _plots(done: list[Comparison]) -> list[list[Plot]]:
    """Correlations above, differences from the closed form below; a column a part."""
    above, below = [], []
    for part in dict.fromkeys(comparison.case.part for comparison in done):
        found = [c for c in done if c.case.part == part]
        lines, points, limits, biased = [], [], [], []
        for comparison in found:
            case, lags = comparison.case, comparison.case.lags
            name = "sigma" if part == "sigma" else "depth"
            label = f"{name} {getattr(case, name):g}"
            dashed = part == "sigma" and case.depth == _SIGMA_DEPTHS[1]
            everywhere = np.arange(lags.max() + 1.0)
            curve = case.closed_form(everywhere)
            lines.append(Curve(label, everywhere, curve, dashed))
            limit, wide = comparison.estimates["limit"], comparison.estimates["wide"]
            points.append(Curve(label, lags, limit.correlation, dashed, limit.error))
            exact = comparison.closed_form
            difference = limit.correlation - exact
            limits.append(Curve(label, lags, difference, dashed, limit.error))
            biased.append(Curve(label, lags, wide.correlation - exact, dashed))
        title = {
            "depth": f"plain networks, sigma {_SIGMA:g}",
            "sigma": "plain networks, 2 layers (solid) and 4",
            "autoencoder": f"autoencoders, sigma {_SIGMA:g}",
        }[part]
        above.append(Plot(title, lines + points, ("lag [pixels]", "cos theta")))
        title = f"points: limit; lines: {found[0].channels} channels"
        axes = ("lag [pixels]", "difference from closed form")
        below.append(Plot(title, limits + biased, axes))
    return [above, below]


def main() -> int:
    """Runs under the flags."""
    return 0 if run(config_from_flags())["agrees"] else 1


if __name__ == "__main__":
    common.main(main)
