"""Gaussian processes of any covariance matrix on Figure 6, and their hyperparameters.

The model is y = m + f + noise at the n known pixels: m an unknown level without a
prior, f of covariance a C, noise of variance a c r, where c is the mean over pixels of
what C varies by around its level. With A = C_oo / c + r I, the level m and the
amplitude s = a c that are likeliest for a ratio r are

    m = 1^T A^-1 y / 1^T A^-1 1,      s = (y - m)^T A^-1 (y - m) / (n - 1)

and the restricted likelihood, in which the level is integrated out, is

    -1/2 ((n - 1) log s + log |A| + log 1^T A^-1 1)

up to a constant (Patterson and Thompson, "Recovery of inter-block information when
block sizes are unequal", Biometrika 1971). A constant in C changes none of this.
"""

import math
from typing import NamedTuple

import jax
import numpy as np
import scipy.linalg
import scipy.optimize

from benchmarks.figure6_problem import Problem
from dipgp import gp, kernels
from dipgp.kernels.dense import toeplitz

# Without any noise a matrix would have to be exact to all digits. This ratio of
# variances is half a grey level here, and moves restorations by less than 0.01 dB.
NO_NOISE = 1e-4
# On the error in standard deviations of the posterior: scores differ by little.
_BOUND = 1e-3

# Where the likeliest ratio is looked for, as powers of ten, and how closely.
_RATIOS, _CLOSE = (-4.0, 1.0), 0.05


# Between all pixels, (P, P), or by lag.
AnyCovariance = np.ndarray | kernels.Covariance


class Hyperparameters(NamedTuple):
    """What goes with a covariance C.

    Attributes:
      factor: a; the process has the covariance a C.
      noise_std: of the noise, in the image's units.
      level: m.
      evidence: restricted log-likelihood, without its constant.
    """

    factor: float
    noise_std: float
    level: float
    evidence: float


class Restored(NamedTuple):
    """A restoration.

    Attributes:
      psnr: in dB, known pixels kept.
      noise_std: that was allowed for, in the image's units.
      advice: of an iterative solver; empty for Cholesky's factor.
    """

    psnr: float
    noise_std: float
    advice: str = ""


def at_ratio(covariance: np.ndarray, problem: Problem, ratio: float) -> Hyperparameters:
    """Amplitude and level that are likeliest where the noise has a given ratio.

    Args:
      covariance: (P, P) C between all pixels.
      problem: the data, of n known pixels.
      ratio: r.

    Raises:
      ValueError: where the matrix is not positive definite.
    """
    points, values = problem.observed, problem.values
    known = covariance[np.ix_(points, points)].astype(np.float64)
    spread = float(np.mean(np.diag(known)) - np.mean(known))
    matrix = known / spread
    matrix[np.diag_indices_from(matrix)] += ratio
    try:
        root = scipy.linalg.cholesky(
            matrix, lower=True, overwrite_a=True, check_finite=False
        )
    except np.linalg.LinAlgError as error:
        raise ValueError(
            "covariance: expected a positive definite matrix with a noise of "
            f"{ratio:g} of its variance, got one that is not"
        ) from error
    sides = np.stack([np.ones_like(values), values], axis=1)
    white = scipy.linalg.solve_triangular(root, sides, lower=True, check_finite=False)
    ones, signal = white.T
    level = (ones @ signal) / (ones @ ones)
    freedom = len(values) - 1
    variance = float(np.sum((signal - level * ones) ** 2)) / freedom
    log_determinant = 2 * np.sum(np.log(np.diag(root))) + math.log(ones @ ones)
    evidence = -(freedom * math.log(variance) + log_determinant) / 2
    return Hyperparameters(
        variance / spread, math.sqrt(variance * ratio), float(level), evidence
    )


def likeliest(covariance: np.ndarray, problem: Problem) -> Hyperparameters:
    """Amplitude, noise and level under which the known pixels are likeliest."""
    found = scipy.optimize.minimize_scalar(
        lambda power: -at_ratio(covariance, problem, 10**power).evidence,
        bounds=_RATIOS,
        method="bounded",
        options={"xatol": _CLOSE},
    )
    return at_ratio(covariance, problem, 10**found.x)


def restore_both_ways(
    covariance: AnyCovariance, problem: Problem
) -> dict[str, Restored]:
    """Restorations with noise by evidence and without noise.

    Args:
      covariance: (P, P) C between all pixels, whose process is conditioned by
        Cholesky's factor in 64 bits; or a stationary one, conditioned by FFT.
      problem: the data.

    Returns:
      The keys are "by evidence" and "none".
    """
    matrix = covariance
    if isinstance(matrix, kernels.Covariance):
        pixels = problem.image.size
        matrix = np.asarray(toeplitz(matrix, problem.image.shape))
        matrix = matrix.reshape(pixels, pixels)
    found = {
        "by evidence": likeliest(matrix, problem),
        "none": at_ratio(matrix, problem, NO_NOISE),
    }
    return {
        noise: restore(covariance, problem, hyperparameters)
        for noise, hyperparameters in found.items()
    }


def restore(
    covariance: AnyCovariance,
    problem: Problem,
    hyperparameters: Hyperparameters,
) -> Restored:
    """The posterior mean under given hyperparameters, scored."""
    factor, noise_std, level, _ = hyperparameters
    if isinstance(covariance, kernels.Covariance):
        scaled = kernels.scale(covariance, factor)
        posterior = gp.condition(
            scaled, problem.image, problem.mask, noise_std, tolerance={"field": _BOUND}
        )
        score = problem.score(np.asarray(posterior.mean))
        return Restored(score, noise_std, posterior.info.advice)
    with jax.enable_x64(True):
        exact = gp.condition_matrix(
            factor * covariance.astype(np.float64),
            problem.values - level,
            problem.observed,
            noise_std,
        )
        return Restored(problem.score(np.asarray(exact.mean) + level), noise_std)
