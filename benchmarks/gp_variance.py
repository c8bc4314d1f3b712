"""How well the estimators of a posterior's variance do, and what samples cost.

Estimates on a small photograph are held against dense matrices, for each number of
linear solves; then one posterior mean and 16 samples are timed in turn on a large one:

  python -m benchmarks.gp_variance
  python -m benchmarks.gp_variance --variance_size=24 --sampled_size=256
"""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from absl import flags

from benchmarks import flags_only, timing
from benchmarks.gp_scaling import problem
from dipgp import architecture, gp, images, kernels
from dipgp.gp import variance

SIZE = flags.DEFINE_integer(
    "variance_size", 32, "Side of the image whose variances are estimated."
)
SOLVES = flags.DEFINE_list(
    "solve_counts", ["8", "32", "128"], "Linear systems that an estimate may solve."
)
SAMPLED_SIZE = flags.DEFINE_integer(
    "sampled_size", 512, "Side of the image that is sampled."
)
SAMPLES = 16
REPEATS = 3
ESTIMATORS: tuple[variance.Method, ...] = ("samples", "probing")


class Case(NamedTuple):
    """A posterior.

    Attributes:
      name: what it is.
      covariance: of the prior.
      mask: (H, W).
      noise_std: where white is 1.
    """

    name: str
    covariance: kernels.Covariance
    mask: np.ndarray
    noise_std: float


def cases(size: int) -> list[Case]:
    """What people condition on: noise, missing pixels, a hole; smooth and rough."""
    key_half, key_few = jax.random.split(jax.random.key(0))
    half, few = (
        np.asarray(images.drop_pixels(key, (size, size), fraction)) != 0
        for key, fraction in ((key_half, 0.5), (key_few, 0.9))
    )
    hole = np.ones((size, size), bool)
    hole[size // 4 : -size // 4, size // 4 : -size // 4] = False
    deep = kernels.scale(
        kernels.normalize(
            kernels.covariance(architecture.conv_net(4), kernels.gaussian(2.0))
        ),
        0.3,
    )
    rough = kernels.scale(kernels.matern(0.5, 8.0), 0.1)
    smooth = kernels.scale(kernels.matern(2.5, 4.0), 0.1)
    return [
        Case("depth 4, half missing", deep, half, 0.01),
        Case("depth 4, nine tenths missing", deep, few, 0.01),
        Case("depth 4, half missing, noisy", deep, half, 0.1),
        Case("depth 4, seen in full, noisy", deep, np.ones_like(half), 0.1),
        Case("depth 4, a hole", deep, hole, 0.01),
        Case("Matern 1/2, half missing", rough, half, 0.01),
        Case("Matern 5/2, half missing", smooth, half, 0.01),
    ]


def errors(case: Case, solves: Sequence[int]) -> list[dict[str, object]]:
    """Relative errors of the estimators against the dense matrices.

    Each is the root mean square over pixels of (estimate - exact) / exact.
    """
    values = np.zeros(case.mask.shape, np.float32)
    condition = functools.partial(
        gp.condition, case.covariance, values, case.mask, case.noise_std
    )
    exact = np.asarray(condition(method="dense").variance(method="dense").value)
    # Probing solves the field's equations whatever the mask; samples take their own.
    posterior = condition()
    rows = []
    for method in ESTIMATORS:
        for count in solves:
            found = posterior.variance(jax.random.key(1), method=method, solves=count)
            relative = (np.asarray(found.value) - exact) / exact
            claimed = np.asarray(found.standard_error) / exact
            row: dict[str, object] = {
                "posterior": case.name,
                "estimator": method,
                "solves": count,
                "converged": found.info.converged,
            }
            for name, part in (("observed", case.mask), ("missing", ~case.mask)):
                if part.any():
                    row[f"{name}, error"] = _root_mean_square(relative[part])
                    row[f"{name}, claimed"] = _root_mean_square(claimed[part])
            rows.append(row)
    if case.mask.all():
        closed = posterior.variance(method="stationary")
        relative = (np.asarray(closed.value) - exact) / exact
        inside = relative[8:-8, 8:-8]
        rows.append(
            {
                "posterior": case.name,
                "estimator": "stationary",
                "solves": 0,
                "converged": True,
                "observed, error": _root_mean_square(relative),
                "observed, error from 8 pixels on": _root_mean_square(inside),
            }
        )
    return rows


def _root_mean_square(numbers: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(numbers))))


def sampling_cost(size: int) -> dict[str, float]:
    """Seconds of one mean and of 16 samples, timed in turn."""
    given = problem(size)
    condition = functools.partial(gp.condition, *given, 0.01)
    posterior = condition()
    means, samples = [], []
    draw = functools.partial(posterior.sample, jax.random.key(2), SAMPLES)
    for _ in range(REPEATS):
        means.append(timing.measure(condition, 1).median)
        samples.append(timing.measure(draw, 1).median)
    mean, sampled = float(np.median(means)), float(np.median(samples))
    return {
        "mean_seconds": mean,
        "samples_seconds": sampled,
        "samples_over_mean": sampled / mean,
        "iterations_of_the_mean": int(posterior.info.iterations[0]),
        "iterations_of_the_samples": int(draw().info.iterations[0]),
    }


def run(size: int, solves: Sequence[int], sampled_size: int, folder: Path) -> str:
    """Measures, and writes the report.

    Args:
      size: side of the image whose variances are estimated.
      solves: numbers of linear systems.
      sampled_size: side of the image that is sampled.
      folder: of the report.

    Returns:
      The report as Markdown.
    """
    rows = [row for case in cases(size) for row in errors(case, solves)]
    cost = sampling_cost(sampled_size)
    notes = [
        f"{size}x{size} pixels. Errors are root mean squares over pixels of the "
        "variance's relative error, against dense matrices; claimed is the estimate's "
        "own standard error. Probing with n solves looks at every (n / 2)^(1/2)-th "
        "row and column at once, twice.",
        f"{SAMPLES} samples of {sampled_size}x{sampled_size} pixels, half missing, "
        f"took {cost['samples_over_mean']:.1f} times as long as one posterior mean "
        f"({cost['samples_seconds']:.2f} and {cost['mean_seconds']:.2f} s; medians of "
        f"{REPEATS}, timed in turn), with at most "
        f"{cost['iterations_of_the_samples']} iterations against "
        f"{cost['iterations_of_the_mean']}.",
    ]
    title = "Variances and samples of a posterior"
    return timing.write_report(folder, "gp_variance", title, rows, notes, cost)


def main() -> None:
    """Reads the flags and writes the report."""
    solves = [int(number) for number in SOLVES.value]
    folder = Path(timing.RESULTS_DIR.value)
    print(run(SIZE.value, solves, SAMPLED_SIZE.value, folder))


if __name__ == "__main__":
    flags_only.run(main)
