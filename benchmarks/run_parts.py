"""All benchmarks in one table: their quick forms, what they show, and their charts."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dipgp import bars, figures

Row = Mapping[str, Any]
#: From the rows of a report to a figure.
Chart = Callable[[Sequence[Row]], figures.Figure]


class Part(NamedTuple):
    """A benchmark.

    Attributes:
      name: of its module and of its report.
      shows: what, in a sentence.
      flags: of its quick form.
      chart: of its rows; None where it draws its own picture, `name`.png.
      data: its flag for a file that `benchmarks.run` may be told of, or "".
    """

    name: str
    shows: str
    flags: tuple[str, ...]
    chart: Chart | None
    data: str = ""


def lines(title: str, x: str, columns: Sequence[str], unit: str) -> Chart:
    """Columns by the size in another, on logarithmic axes.

    Args:
      title: of the figure.
      x: the column of the sizes, such as "128x128", of which the side is taken.
      columns: that are drawn where a row has a number.
      unit: of all of them.
    """

    def draw(rows: Sequence[Row]) -> figures.Figure:
        sides = np.array([float(str(row[x]).partition("x")[0]) for row in rows])
        curves = []
        for column in columns:
            values = np.array([_number(row.get(column)) for row in rows])
            if np.isfinite(values).any():
                curves.append(figures.Curve(column, sides, values))
        plot = figures.Plot(title, curves, (f"{x}, side", unit), logarithmic=True)
        return figures.plots([[plot]])

    return draw


def named_bars(
    title: str,
    labels: Sequence[str],
    column: str,
    over: str | None = None,
    reference: float | None = None,
) -> Chart:
    """One column as bars.

    Args:
      title: of the figure.
      labels: columns that together name a row.
      column: that is drawn; rows without a number in it are left out.
      over: another column, by which it is divided; or None.
      reference: where a line stands, or None.
    """
    axis_title = column if over is None else f"{column} / {over}"

    def value(row: Row) -> float:
        number = _number(row.get(column))
        return number if over is None else number / _number(row.get(over))

    def draw(rows: Sequence[Row]) -> figures.Figure:
        found = {
            ", ".join(str(row[label]) for label in labels): value(row) for row in rows
        }
        numbers = {name: each for name, each in found.items() if np.isfinite(each)}
        return bars.bars(title, numbers, axis_title, reference)

    return draw


def _number(cell: object) -> float:
    """A cell's number; NaN where there is none."""
    try:
        return float(str(cell))
    except ValueError:
        return np.nan


PARTS = (
    Part(
        "kernels",
        "A covariance in closed form beside the matrix of all pairs of pixels.",
        ("--sizes=8,16", "--layers=4"),
        lines(
            "Covariance of a network on a torus",
            "pixels",
            ("closed form [s]", "all pairs [s]"),
            "seconds",
        ),
    ),
    Part(
        "gp_scaling",
        "A posterior mean takes a few times its FFTs, where Cholesky takes the third "
        "power of the number of pixels.",
        (
            "--image_sizes=32,64,128",
            "--colour_sizes=",
            "--dense_sizes=32,64,128",
            "--repeats=2",
        ),
        lines(
            "A posterior mean, half of the pixels missing",
            "pixels",
            ("condition [s]", "its FFTs [s]", "dense [s]"),
            "seconds",
        ),
    ),
    Part(
        "gp_through",
        "Behind a filter, solving for weights takes fewer steps than the field.",
        ("--seen_size=32",),
        named_bars(
            "Steps in the field's coordinates over steps for weights",
            ("seen through", "prior", "noise", "seen"),
            "field: steps",
            over="weights: steps",
            reference=1.0,
        ),
    ),
    Part(
        "gp_solvers",
        "Which of two forms takes fewer FFTs follows from mask, noise and covariance.",
        ("--solver_size=48", "--solver_covariances=depth 4", "--solver_noises=1e-2"),
        named_bars(
            "Seconds of the weight form over those of the field form",
            ("covariance", "mask", "noise"),
            "weights [s]",
            over="field [s]",
            reference=1.0,
        ),
    ),
    Part(
        "gp_gpytorch",
        "A posterior mean beside GPyTorch's, on the same pixels and prior.",
        ("--gpytorch_sizes=32", "--gpytorch_grid_sizes=", "--gpytorch_repeats=1"),
        named_bars(
            "Seconds of GPyTorch's Cholesky over ours",
            ("pixels",),
            "Cholesky: times ours",
            reference=1.0,
        ),
    ),
    Part(
        "gp_variance",
        "How far estimated variances are off, by probing and by as many samples.",
        ("--variance_size=16", "--solve_counts=8,32", "--sampled_size=64"),
        named_bars(
            "Relative error of estimated variances at missing pixels",
            ("posterior", "estimator", "solves"),
            "missing, error",
        ),
    ),
    Part(
        "time_to_quality",
        "The picture of a Gaussian process is there at once, where networks take "
        "hundreds of steps.",
        (
            "--quality_network=tiny",
            "--quality_size=16",
            "--quality_iterations=40",
            "--quality_methods=gp,sgd,psgld",
        ),
        None,
    ),
    Part(
        "throughput",
        "Steps per second of the hourglass over those of the same network in PyTorch.",
        (
            "--hourglasses=tiny:16",
            "--timed=descent",
            "--timed_steps=5",
            "--timed_repeats=3",
        ),
        named_bars(
            "Our steps per second over those beside",
            ("ours", "beside"),
            "ratio",
            reference=1.0,
        ),
    ),
    Part(
        "joint_tests",
        "Right samplers stay below the limit of a joint test; wrong ones do not.",
        ("--joint_chains=400", "--joint_keys=3"),
        named_bars(
            "Largest score of a sampler's moments, in standard errors",
            ("sampler",),
            "largest score",
            reference=4.29,  # `joint_tests.LIMIT`
        ),
    ),
    Part(
        "simulated_ranks",
        "Ranks of truths among posterior draws are uniform where the posterior is "
        "right.",
        ("--simulations=64", "--repetitions=2"),
        None,
    ),
    Part(
        "noise_estimates",
        "Second differences find the noise of a photograph.",
        ("--noise_pictures=coffee,moon", "--noise_levels=5,25", "--noise_largest=128"),
        named_bars(
            "Estimates by differences, where 25 grey levels were added",
            ("picture",),
            "25: differences",
            reference=25.0,
        ),
    ),
    Part(
        "noise_of_jpegs",
        "In JPEGs of low quality, differences of every second pixel find it.",
        (
            "--jpeg_qualities=60,75,90",
            "--noise_pictures=coffee,moon",
            "--noise_levels=5,15",
            "--noise_largest=128",
        ),
        named_bars(
            "Estimates by the command, grey levels off in noise of 15",
            ("quality",),
            "15: command",
        ),
    ),
    Part(
        "import_time",
        "All rooms but figures take less than a second beyond JAX's own import.",
        ("--import_turns=2",),
        named_bars(
            "Processor seconds of an import beyond JAX's own",
            ("import",),
            "beyond jax [s]",
            reference=1.0,
        ),
    ),
    Part(
        "abuse",
        "What is mistreated ends in a sentence, never in half a file: failures.",
        ("--parts=damage,inputs", "--damaged=20", "--bad_inputs=50"),
        named_bars("Failures of what is mistreated", ("part", "what"), "failures"),
    ),
    Part(
        "figure6",
        "The paper's own comparison, on the middle of its picture or, without the "
        "file, of a photograph: PSNR of covariances and of networks.",
        (
            "--figure6_side=32",
            "--figure6_depths=1,4",
            "--exact_hourglass=false",
            "--kernel_widths=",
            "--kernel_networks=1",
            "--descent_widths=16",
            "--descent_iterations=100",
            "--descent_runs=1",
        ),
        named_bars("PSNR, half of the pixels missing", ("model",), "PSNR [dB]"),
        data="data",
    ),
)
# Without a quick form: `mutations` runs the tests anew for each fault, an hour, and
# writes docs/mutations.md; `device_plan` prints what is reckoned, not measured.
LEFT_OUT = ("run", "mutations", "device_plan")
