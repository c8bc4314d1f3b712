"""The exact Gaussian process of a small grid, whose covariance is a plain matrix.

The same posterior is asked of networks, by `plain_runs`.
"""

from typing import NamedTuple

import jax
import numpy as np
import scipy.linalg
import scipy.optimize

from dipgp import gp

Array = jax.Array

# Between which amplitudes the evidence looks for its maximum.
_AMPLITUDES = (0.01, 10.0)


class Curve(NamedTuple):
    """Mean and standard deviation at all points, both (points,)."""

    mean: np.ndarray
    std: np.ndarray


def draw_process(key: Array, covariance: np.ndarray, count: int) -> np.ndarray:
    """Samples of a Gaussian process of mean zero, (count, points)."""
    # Smooth covariances are singular up to rounding, which Cholesky's factor is not.
    variances, directions = scipy.linalg.eigh(covariance)
    normals = np.asarray(jax.random.normal(key, (count, len(covariance))))
    return normals * np.sqrt(np.maximum(variances, 0)) @ directions.T


def condition(
    covariance: np.ndarray, values: np.ndarray, mask: np.ndarray, noise_std: float
) -> Curve:
    """The exact posterior of a Gaussian process of mean zero.

    `dipgp.gp.condition` would add an unknown level, which the network does not have.

    Args:
      covariance: (points, points).
      values: (points,); what the mask leaves out is not read.
      mask: (points,), true where observed.
      noise_std: standard deviation of the noise that is allowed for.
    """
    with jax.enable_x64(True):
        points = np.flatnonzero(mask)
        posterior = gp.condition_matrix(covariance, values[mask], points, noise_std)
        std = np.sqrt(np.asarray(posterior.variance))
        return Curve(np.asarray(posterior.mean), std)


def choose_amplitude(
    covariance: np.ndarray, values: np.ndarray, mask: np.ndarray, noise_std: float
) -> float:
    """The a under which a^2 K makes the observed values most likely.

    Args as for `condition`; the covariance is that of amplitude 1.
    """
    variances, directions = scipy.linalg.eigh(covariance[np.ix_(mask, mask)])
    squares = np.square(values[mask] @ directions)
    return likeliest_amplitude(np.maximum(variances, 0), squares, noise_std)


def likeliest_amplitude(
    variances: np.ndarray, squares: np.ndarray, noise_std: float
) -> float:
    """The a under which independent numbers are most likely.

    Args:
      variances: of the numbers, where a = 1, without the noise.
      squares: of the numbers that were seen.
      noise_std: of the noise in them.
    """

    def minus_evidence(log_amplitude: float) -> float:
        total = np.exp(2 * log_amplitude) * variances + noise_std**2
        return float(np.sum(squares / total + np.log(total)))

    found = scipy.optimize.minimize_scalar(
        minus_evidence, bounds=np.log(_AMPLITUDES), method="bounded"
    )
    return float(np.exp(found.x))


def choose_step_size(
    covariance: np.ndarray, mask: np.ndarray, depth: int, noise_std: float
) -> float:
    """Half of the largest step at which Langevin dynamics is surely stable.

    It is stable below 4 / curvature (`dipgp.inference.langevin`). The stiffest
    direction of N(0, 1) weights has the curvature 1 + lambda / noise_std^2, lambda the
    largest eigenvalue of the neural tangent kernel on the observed points. Each of the
    depth + 1 layers contributes K times correlations of slopes, which are at most 1,
    so that lambda is at most depth + 1 times K's.

    Args:
      covariance: (points, points), that of the model.
      mask: (points,), true where observed.
      depth: of the model.
      noise_std: standard deviation of the noise that is allowed for.
    """
    largest = float(scipy.linalg.eigvalsh(covariance[np.ix_(mask, mask)])[-1])
    return 2 / (1 + (depth + 1) * largest / noise_std**2)
