"""Steps, errors and time of the solvers of a posterior mean, beside their own FFTs.

A photograph in grey behind masks of four kinds, in noise of several strengths, under
smooth and rough covariances of variance 1. Both iterative forms are run in 32 bits at
their default tolerances and held against weights in 64 bits:

  python -m benchmarks.gp_solvers
  python -m benchmarks.gp_solvers --solver_size=512 --solver_covariances="depth 4"

Solves and their FFTs are timed in turn, in one process.
"""

import functools
import itertools
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from absl import flags, logging

from benchmarks import flags_only, gp_scaling, timing
from dipgp import architecture, gp, images, kernels
from dipgp.gp import posterior, toeplitz
from dipgp.summaries import psnr
from experiments import holes

SOLVER_SIZE = flags.DEFINE_integer("solver_size", 128, "Side of the image.")
SOLVER_COVARIANCES = flags.DEFINE_list(
    "solver_covariances", None, "Names in the report; all by default."
)
SOLVER_MASKS = flags.DEFINE_list("solver_masks", None, "In the same way.")
SOLVER_NOISES = flags.DEFINE_list(
    "solver_noises",
    ["1e-2", "1e-4", "1e-6"],
    "Variances of the noise, the covariance's being 1.",
)
SOLVER_REPEATS = flags.DEFINE_integer("solver_repeats", 2, "Calls timed.")

FORMS: tuple[posterior.Method, ...] = ("field", "weights")
# Of the residual in 64 bits: the mean is then within 1e-4 grey levels.
TIGHT = 1e-6
MAX_ITERATIONS = 1500
GREY_LEVELS = 255


class Case(NamedTuple):
    """What is solved.

    Attributes:
      covariance: a name in `covariances`.
      mask: a name in `masks`.
      noise: variance, where the covariance's is 1.
    """

    covariance: str
    mask: str
    noise: float


def covariances() -> dict[str, kernels.Covariance]:
    """Two networks' and two of the textbooks', of variance 1, scales in pixels."""
    shallow, deep = (
        kernels.covariance(architecture.conv_net(depth), kernels.gaussian(2.0))
        for depth in (1, 4)
    )
    return {
        "depth 1": kernels.normalize(shallow),
        "depth 4": kernels.normalize(deep),
        "RBF": kernels.gaussian(2.0),
        "Matern 3/2": kernels.matern(1.5, 4.0),
    }


def masks(size: int) -> dict[str, np.ndarray]:
    """Of (size, size) pixels, true where one is observed."""
    key, grid = jax.random.key(0), (size, size)
    return {
        "50 % missing": np.asarray(images.drop_pixels(key, grid, 0.5)),
        "90 % missing": np.asarray(images.drop_pixels(key, grid, 0.9)),
        "text": holes.text(key, grid, 0.1),
        "large hole": holes.region(key, grid, 0.1),
    }


def measure(case: Case, size: int, repeats: int) -> dict[str, object]:
    """Both forms' steps, errors and seconds; no errors without a reference."""
    covariance, mask = covariances()[case.covariance], masks(size)[case.mask]
    truth = gp_scaling.photograph(size).astype(np.float64)
    noise_std = case.noise**0.5
    values = truth + noise_std * np.random.default_rng(0).standard_normal(truth.shape)

    condition = functools.partial(
        gp.condition,
        covariance,
        mask=mask,
        noise_std=noise_std,
        max_iterations=MAX_ITERATIONS,
    )
    with jax.enable_x64(True):
        exact = condition(values, method="weights", tolerance=TIGHT)
    limit = np.asarray(exact.mean) if exact.info.converged else None
    single = values.astype(np.float32)
    row: dict[str, object] = {
        "covariance": case.covariance,
        "mask": case.mask,
        "noise": f"{case.noise:.0e}",
        "PSNR [dB]": None if limit is None else round(_psnr(limit, truth), 2),
        "picked": condition(single).system.form,
    }
    torus = toeplitz.embed([covariance], (size, size)).size
    for form in FORMS:
        run = functools.partial(condition, single, method=form)
        found = run()
        mean = np.asarray(found.mean, np.float64)
        steps = int(found.info.iterations[0])
        pairs = gp_scaling.PAIRS_A_STEP[form] * steps
        transforms = gp_scaling.fourier_transforms(torus, pairs)
        timed = timing.compare(run, transforms, repeats)
        row |= {
            f"{form}: steps": steps,
            **{f"{form}: {key}": of for key, of in errors(mean, limit, truth).items()},
            f"{form} [s]": timed.one,
            f"{form}: over FFTs": timed.ratio,
        }
    return row


def errors(
    mean: np.ndarray, limit: np.ndarray | None, truth: np.ndarray
) -> dict[str, float | None]:
    """Of a mean beside its limit, in dB of the error and in grey levels."""
    if limit is None:
        return {"dB off": None, "largest error": None}
    return {
        "dB off": abs(_psnr(mean, truth) - _psnr(limit, truth)),
        "largest error": GREY_LEVELS * float(np.max(np.abs(mean - limit))),
    }


def run(cases: Sequence[Case], size: int, repeats: int, folder: Path) -> str:
    """Measures, and writes the report.

    Args:
      cases: rows of the report.
      size: side of the image.
      repeats: calls timed.
      folder: of the report.

    Returns:
      The report as Markdown.
    """
    rows = []
    for case in cases:
        rows.append(measure(case, size, repeats))
        logging.info("%d of %d: %s", len(rows), len(cases), case)
    notes = [
        f"{size}x{size} pixels of a photograph in grey, in noise of that variance, "
        "under covariances of variance 1: depth 1 and 4 are networks' on noise under a "
        "Gaussian filter of sigma 2, RBF is that noise itself, Matern 3/2 has a "
        "lengthscale of 4 pixels. Both forms in 32 bits at their default tolerances; "
        "dB off and the largest error, in grey levels, are from weights in 64 bits to "
        f"a residual of {TIGHT:.0e}, unless that takes more than {MAX_ITERATIONS} "
        "steps. A step of the field takes a pair of FFTs, one of the weights two.",
        f"Seconds: `gp.condition`, everything included, median of {repeats} calls "
        "after the first; over FFTs: their ratio to as many pairs of rfft2 and irfft2 "
        "on the same torus, in one compiled loop, timed in turn.",
    ]
    title = "Solvers of a posterior mean: steps, errors, time"
    return timing.write_report(folder, "gp_solvers", title, rows, notes, summary(rows))


def summary(rows: Sequence[Mapping[str, object]]) -> dict[str, float]:
    """Of the forms that were picked, over all cases: the worst error, the usual ratio.

    Args:
      rows: as `measure` makes them.
    """

    def picked(figure: str) -> list[float]:
        cells = [row[f"{row['picked']}: {figure}"] for row in rows]
        return [cell for cell in cells if isinstance(cell, float)]

    return {
        "most dB off": max(picked("dB off")),
        "largest error": max(picked("largest error")),
        "median over FFTs": statistics.median(picked("over FFTs")),
    }


def _psnr(image: np.ndarray, truth: np.ndarray) -> float:
    return psnr(image[:, :, None], truth[:, :, None])


def main() -> None:
    """Reads the flags and writes the report."""
    size = SOLVER_SIZE.value
    cases = [
        Case(covariance, mask, float(noise))
        for covariance, mask, noise in itertools.product(
            SOLVER_COVARIANCES.value or covariances(),
            SOLVER_MASKS.value or masks(size),
            SOLVER_NOISES.value,
        )
    ]
    print(run(cases, size, SOLVER_REPEATS.value, Path(timing.RESULTS_DIR.value)))


if __name__ == "__main__":
    flags_only.run(main)
