"""Figure 6 by Gaussian processes whose covariance is a formula."""

import functools
import itertools
import math
import time
from collections.abc import Callable, Sequence

import numpy as np

from benchmarks import timing
from benchmarks.figure6_evidence import AnyCovariance, Restored, restore_both_ways
from benchmarks.figure6_lags import mean_by_lag
from benchmarks.figure6_problem import Problem
from dipgp import architecture, gp, kernels, networks
from dipgp.observations import observe
from dipgp.progress import Report

Row = dict[str, object]

# Hyperparameters that the paper's authors fitted to these pixels.
RBF_VARIANCE = 0.03068
RBF_LENGTHSCALE = float(np.exp(0.67132))
RBF_NOISE_STD = float(np.exp(-5.402 / 2))

DEPTHS, SIGMAS = (1, 2, 4, 8, 16, 32), (0.5, 1.0, 1.4, 2.0, 2.8, 4.0)


def relu_network(depth: int, sigma: float) -> kernels.Covariance:
    """The limit of a ReLU network on Gaussian-filtered noise, of variance 1."""
    net = architecture.conv_net(depth)
    return kernels.normalize(kernels.covariance(net, kernels.gaussian(sigma)))


def hourglass(channels: int = 1024) -> architecture.Architecture:
    """The network whose covariance the paper estimated, before its sigmoid.

    Args:
      channels: down and up; the paper's number by default. The 4 skip channels' share
        in the closed form depends on it.
    """
    return architecture.skip_net(
        2,
        channels_down=channels,
        channels_up=channels,
        channels_skip=4,
        output=architecture.Linear(),
        output_channels=1,
    )


def hourglass_limit() -> kernels.Covariance:
    """Its closed form, on white noise, of variance 1."""
    return kernels.normalize(kernels.covariance(hourglass(), kernels.white()))


def hourglass_with_borders(
    shape: tuple[int, int], channels: int = 1024, margin: int = 0
) -> np.ndarray:
    """The same between all pairs of P pixels, with padding and phases, (P, P).

    Args:
      shape: (H, W) of the pixels.
      channels: beside which there are 4 skip channels, as each grows in proportion.
      margin: pixels on each side that the network has beyond them.
    """
    wide = (shape[0] + 2 * margin, shape[1] + 2 * margin)
    pixels = shape[0] * shape[1]
    found = kernels.dense(
        hourglass(channels), kernels.white(), wide, largest=wide[0] * wide[1]
    )
    inside = tuple(slice(margin, margin + size) for size in shape)
    return np.asarray(found[inside + inside]).reshape(pixels, pixels)


def usual_rows(problem: Problem, depths: Sequence[int]) -> list[Row]:
    """Processes as `gp.condition` and `gp.select` give them, whose solves are timed.

    Args:
      problem: the data.
      depths: of the ReLU networks that are candidates.
    """
    first_guess = observe(problem.image, problem.mask, noise_std=0.01)
    grid = list(itertools.product(depths, SIGMAS))
    candidates = [relu_network(depth, sigma) for depth, sigma in grid]
    best = gp.select(candidates, first_guess, estimate_noise=True)
    own = gp.select([hourglass_limit()], first_guess, estimate_noise=True)
    depth, sigma = grid[best.chosen[0]]
    rbf = kernels.scale(kernels.rbf(RBF_LENGTHSCALE), RBF_VARIANCE)
    relu = "ReLU network"
    return [
        _timed("RBF", rbf, problem, RBF_NOISE_STD, "the paper's"),
        _timed(f"{relu}, depth 4, sigma 2, variance 1", relu_network(4, 2.0), problem),
        _timed(
            f"{relu}, depth {depth}, sigma {sigma}",
            best.covariances[0],
            problem,
            best.noise_std,
            "by blocks' evidence",
        ),
        _timed(
            "hourglass, closed form",
            own.covariances[0],
            problem,
            own.noise_std,
            "by blocks' evidence",
        ),
    ]


def hourglass_rows(problem: Problem, report: Report) -> list[Row]:
    """The hourglass's limit: by closed form, and exact, with and without borders."""
    shape = problem.image.shape
    inside = networks.interior(hourglass())
    # As many pixels beyond as any pixel sees, without a shift of the phases.
    margin = inside.period * math.ceil(inside.reach / inside.period)
    name = "hourglass, endless width"
    return _timed_both_ways(
        problem,
        report,
        ("hourglass, closed form", hourglass_limit),
        (
            f"{name}, mean by lag",
            lambda: mean_by_lag(hourglass_with_borders(shape), shape, inside.reach),
        ),
        (
            f"{name}, phases without borders",
            lambda: hourglass_with_borders(shape, margin=margin),
        ),
        (
            f"{name}, phases and borders",
            lambda: hourglass_with_borders(shape),
        ),
    )


def _timed_both_ways(
    problem: Problem,
    report: Report,
    *covariances: tuple[str, Callable[[], AnyCovariance]],
) -> list[Row]:
    """Rows of covariances by name; the seconds are those of all that they take."""
    rows: list[Row] = []
    for done, (name, compute) in enumerate(covariances):
        report(name, done / len(covariances))
        begun = time.monotonic()
        restored = restore_both_ways(compute(), problem)
        rows += rows_of(name, restored, time.monotonic() - begun)
    return rows


def rows_of(name: str, restored: dict[str, Restored], seconds: float) -> list[Row]:
    """Lines of the table for one covariance."""
    return [row(name, noise, each, seconds) for noise, each in restored.items()]


def row(name: str, noise: str, restored: Restored, seconds: float | None) -> Row:
    """A line of the table."""
    return {
        "model": name,
        "noise": noise,
        "noise [grey levels]": f"{255 * restored.noise_std:.1f}",
        "PSNR [dB]": f"{restored.psnr:.2f}",
        "seconds": seconds,
        "solver": restored.advice or None,
    }


def _timed(
    name: str,
    covariance: kernels.Covariance,
    problem: Problem,
    noise_std: float = 0.01,
    noise: str = "assumed",
) -> Row:
    solve = functools.partial(
        gp.condition, covariance, problem.image, problem.mask, noise_std
    )
    timed, posterior = timing.measure(solve), solve()
    score = problem.score(np.asarray(posterior.mean))
    return row(
        name, noise, Restored(score, noise_std, posterior.info.advice), timed.median
    )
