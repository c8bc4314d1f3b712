"""A posterior mean by dipgp and by GPyTorch, on the same pixels and the same prior.

A photograph in grey, half of its pixels dropped at random, noise_std 0.1, under an RBF
covariance whose hyperparameters are fixed. GPyTorch (the extra `benchmarks`) factorises
the matrix between the observed pixels, runs its own conjugate gradients on that matrix,
or on its grid-structured kernel with the pixels as the grid, where nothing has to be
interpolated:

  python -m benchmarks.gp_gpytorch
  python -m benchmarks.gp_gpytorch --gpytorch_sizes=64 --gpytorch_grid_sizes=64

All run in 32 bits on the device that each library finds.
"""

import functools
import importlib.metadata
import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import numpy as np
from absl import app, flags, logging

from benchmarks import flags_only, gp_scaling, timing
from dipgp import gp, kernels

SIZES = flags.DEFINE_list("gpytorch_sizes", ["32", "64", "128"], "Sides of the images.")
GRID_SIZES = flags.DEFINE_list(
    "gpytorch_grid_sizes", ["32"], "Sides for GPyTorch's grid-structured kernel."
)
REPEATS = flags.DEFINE_integer("gpytorch_repeats", 3, "Calls timed, after a first.")

SIGMA, NOISE_STD = 2.0, 0.1
# GPyTorch's own conjugate gradients stop at this residual.
TOLERANCE, MAX_ITERATIONS = 1e-4, 2000
# dipgp's bound on the error at which its largest ones are about as large as GPyTorch's.
# By its default, 1e-2, a pixel is up to 1.6 grey levels off, and PSNR within 0.001 dB.
BOUND = 2e-3
# Of the reference.
TIGHT = 1e-8
GREY_LEVELS = 255
# In grey levels: solutions in 64 bits that differ by more solve different equations.
MOST_APART = 0.01
# Nodes of the grid beyond the image, which cubic interpolation asks for.
MARGIN = 2

Mean = Callable[[], np.ndarray]


def gpytorch_means(
    values: np.ndarray, mask: np.ndarray, level: float, bits: int = 32
) -> dict[str, Mean]:
    """GPyTorch's ways to the posterior mean, by name.

    Args:
      values: (H, H) intensities.
      mask: (H, H) bool, true where observed.
      level: the constant mean.
      bits: of the numbers, 32 or 64.

    Returns:
      Functions that build the model and return its mean on all pixels, (H, H).

    Raises:
      ImportError: where GPyTorch is not installed.
    """
    import gpytorch  # Not needed by any other benchmark, nor always installed.
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    settings = gpytorch.settings
    size, dtype = len(values), {32: torch.float32, 64: torch.float64}[bits]

    def pixels(where: np.ndarray) -> torch.Tensor:
        return torch.tensor(np.argwhere(where), dtype=dtype, device=device)

    seen, everywhere = pixels(mask), pixels(np.ones_like(mask))
    data = torch.tensor(values[mask], dtype=dtype, device=device)

    class Model(gpytorch.models.ExactGP):
        def __init__(self, covariance: gpytorch.kernels.Kernel) -> None:
            noise = gpytorch.likelihoods.GaussianLikelihood()
            noise.noise = NOISE_STD**2
            super().__init__(seen, data, noise)
            self.mean_module = gpytorch.means.ConstantMean()
            self.mean_module.initialize(constant=level)
            self.covar_module = covariance

        def forward(self, x: torch.Tensor) -> gpytorch.distributions.Distribution:
            return gpytorch.distributions.MultivariateNormal(
                self.mean_module(x), self.covar_module(x)
            )

    def mean(on_grid: bool, by_cholesky: bool) -> np.ndarray:
        covariance = gpytorch.kernels.RBFKernel()
        # exp(-r^2 / (4 sigma^2)) here, exp(-r^2 / (2 lengthscale^2)) there.
        covariance.lengthscale = SIGMA * 2**0.5
        if on_grid:
            nodes = size + 2 * MARGIN
            covariance = gpytorch.kernels.GridInterpolationKernel(
                covariance, nodes, num_dims=2, grid_bounds=[_bounds(nodes)] * 2
            )
        model = Model(covariance).to(device, dtype).eval()
        largest = len(data) if by_cholesky else 0
        with (
            torch.no_grad(),
            settings.skip_posterior_variances(),
            settings.max_cholesky_size(largest),
            settings.fast_computations(solves=not by_cholesky),
            settings.eval_cg_tolerance(TOLERANCE),
            settings.max_cg_iterations(MAX_ITERATIONS),
        ):
            return model(everywhere).mean.cpu().numpy().reshape(size, size)

    return {
        "Cholesky": functools.partial(mean, False, True),
        "CG": functools.partial(mean, False, False),
        "grid": functools.partial(mean, True, False),
    }


def _bounds(nodes: int) -> tuple[float, float]:
    """What makes GPyTorch's grid of so many nodes -MARGIN, 1 - MARGIN, and so on.

    From bounds (a, b) it makes nodes from a - d to b + d, d = (b - a) / (nodes - 2).
    """
    beyond = (nodes - 1) / nodes
    first = beyond - MARGIN
    return first, first + beyond * (nodes - 2)


def measure(size: int, with_grid: bool, repeats: int) -> dict[str, object]:
    """Seconds and errors of all of them at one size.

    Raises:
      ImportError: where GPyTorch is not installed.
      RuntimeError: where GPyTorch's exact mean is not the one that dipgp solves for.
    """
    given = gp_scaling.problem(size)
    condition = functools.partial(
        gp.condition, kernels.gaussian(SIGMA), mask=given.mask, noise_std=NOISE_STD
    )
    with jax.enable_x64(True):
        exact = condition(given.values.astype(np.float64), tolerance=TIGHT)
        limit, level = np.asarray(exact.mean), float(exact.level)

    def ours() -> jax.Array:
        return condition(given.values, tolerance=BOUND).mean

    theirs = gpytorch_means(given.values, given.mask, level)
    if not with_grid:
        del theirs["grid"]
    row: dict[str, object] = {
        "pixels": f"{size}x{size}",
        "observed": int(given.mask.sum()),
        "dipgp: error": largest_error(ours(), limit),
        "dipgp [s]": timing.measure(ours, repeats).median,
    }
    for name, mean in theirs.items():
        timed = timing.compare(mean, ours, repeats)
        row |= {
            f"{name}: error": largest_error(mean(), limit),
            f"{name} [s]": timed.one,
            f"{name}: times ours": timed.ratio,
        }
    precise = gpytorch_means(given.values, given.mask, level, bits=64)["Cholesky"]
    apart = largest_error(precise(), limit)
    if not apart < MOST_APART:
        raise RuntimeError(f"{size}x{size}: Cholesky's mean is {apart} grey levels off")
    return row | {"64 bits: error": apart}


def largest_error(mean: np.ndarray | jax.Array, limit: np.ndarray) -> float:
    """Of a pixel, in grey levels."""
    return GREY_LEVELS * float(np.max(np.abs(np.asarray(mean, np.float64) - limit)))


def run(
    sizes: Sequence[int], grid_sizes: Sequence[int], repeats: int, folder: Path
) -> str:
    """Measures at all sizes, and writes the report.

    Args:
      sizes: sides of the images.
      grid_sizes: of those for GPyTorch's grid-structured kernel.
      repeats: calls timed.
      folder: of the report.

    Returns:
      The report as Markdown.

    Raises:
      ImportError: where GPyTorch is not installed.
    """
    rows = []
    for size in sizes:
        rows.append(measure(size, size in grid_sizes, repeats))
        logging.info("%s", rows[-1])
    versions = [
        f"{name} {importlib.metadata.version(name)}" for name in ("gpytorch", "torch")
    ]
    notes = [
        f"Half of the pixels missing, RBF of sigma {SIGMA:g} pixels and variance 1, "
        f"noise_std {NOISE_STD:g}, all in 32 bits. Errors are the largest of a pixel, "
        "in grey levels, beside dipgp in 64 bits to a residual of "
        f"{TIGHT:.0e}; GPyTorch is given the level that dipgp estimates. Seconds: from "
        "values to the mean on all pixels, without variances, the model built anew, "
        f"median of {repeats} calls after a first; times ours: median ratio to "
        "dipgp's, timed in turn.",
        "Cholesky: GPyTorch's exact process. CG: the same by its conjugate gradients, "
        f"residual {TOLERANCE:.0e}, its own preconditioner; dipgp stops at a bound of "
        f"{BOUND:.0e} on its error, for errors of that size. grid: its "
        f"GridInterpolationKernel, whose nodes are the pixels and {MARGIN} more on "
        "each side, so that it is exact, too. 64 bits: dipgp beside Cholesky there. "
        + ", ".join(versions)
        + ".",
    ]
    title = "A posterior mean by dipgp and by GPyTorch"
    return timing.write_report(folder, "gp_gpytorch", title, rows, notes, {})


def main() -> None:
    """Reads the flags and writes the report."""
    if importlib.util.find_spec("gpytorch") is None:
        raise app.UsageError(
            "GPyTorch is not installed; try pip install -e '.[benchmarks]'"
        )
    sizes, grid_sizes = (
        [int(size) for size in flag.value] for flag in (SIZES, GRID_SIZES)
    )
    print(run(sizes, grid_sizes, REPEATS.value, Path(timing.RESULTS_DIR.value)))


if __name__ == "__main__":
    flags_only.run(main)
