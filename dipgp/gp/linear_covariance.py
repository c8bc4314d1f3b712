"""Gaussian vectors whose covariance is linear: G = sum_p t_p B_p + F.

Log density, its derivatives by the coefficients t, a moment estimate of these and their
errors, in 64 bits on the host.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.linalg


class Part(NamedTuple):
    """W vectors of one covariance, of mean zero.

    Attributes:
      basis: B, (p, m, m), symmetric.
      fixed: F, (m, m), symmetric.
      vectors: (W, m).
      scatter: (m, m), the sum over the vectors v of v v^T.
    """

    basis: np.ndarray
    fixed: np.ndarray
    vectors: np.ndarray
    scatter: np.ndarray


def log_density(
    parts: Sequence[Part], coefficients: np.ndarray
) -> tuple[float, np.ndarray]:
    """Log density of all vectors, and its derivatives by the coefficients, (p,).

    d/dt_p = tr[(G^-1 S G^-1 - W G^-1) B_p] / 2, S the scatter.

    Raises:
      numpy.linalg.LinAlgError: where a covariance is not positive definite.
    """
    value, slope = 0.0, np.zeros(len(coefficients))
    for part in parts:
        inverse, log_determinant = _invert(part, coefficients)
        count, size = part.vectors.shape
        pulled = inverse @ part.scatter
        constant = log_determinant + size * math.log(2 * math.pi)
        value -= (np.trace(pulled) + count * constant) / 2
        rest = pulled @ inverse - count * inverse
        slope += np.tensordot(part.basis, rest, axes=2) / 2
    return value, slope


def moment_estimate(parts: Sequence[Part]) -> np.ndarray:
    """(p,): the coefficients whose covariance is nearest to the scatter, by squares.

    Unbiased, and without bounds: a variance may come out negative (C. R. Rao's MINQUE
    with the identity for weights, J. Multivariate Analysis 1971).
    """
    gram, products = 0.0, 0.0
    for part in parts:
        count = len(part.vectors)
        flat = part.basis.reshape(len(part.basis), -1)
        gram = gram + count * flat @ flat.T
        products = products + flat @ (part.scatter - count * part.fixed).ravel()
    return np.linalg.lstsq(gram, products)[0]


def error_covariance(parts: Sequence[Part], coefficients: np.ndarray) -> np.ndarray:
    """(p, p), of the coefficients at the maximum of the density of all vectors.

    H^-1 J H^-1, with H the expected curvature and J the scatter of the vectors' own
    derivatives (Huber, Proc. Fifth Berkeley Symposium 1967): right for independent
    vectors, whether or not they are Gaussian. Infinite where there are no more vectors
    than coefficients.
    """
    size = len(coefficients)
    curvature, slopes = np.zeros((size, size)), []
    for part in parts:
        inverse, _ = _invert(part, coefficients)
        pulled = part.basis @ inverse  # (p, m, m)
        each = np.einsum("pij,qji->pq", pulled, pulled, optimize=True)
        curvature += len(part.vectors) * each / 2
        whitened = part.vectors @ inverse
        squares = np.einsum(
            "wi,pij,wj->wp", whitened, part.basis, whitened, optimize=True
        )
        slopes.append((squares - np.trace(pulled, axis1=1, axis2=2)) / 2)
    stacked = np.concatenate(slopes)
    if len(stacked) <= size:
        return np.full((size, size), np.inf)
    away = stacked - stacked.mean(axis=0)
    scatter = away.T @ away * len(stacked) / (len(stacked) - 1)
    inverse = np.linalg.pinv(curvature, hermitian=True)
    return inverse @ scatter @ inverse


def _invert(part: Part, coefficients: np.ndarray) -> tuple[np.ndarray, float]:
    """The inverse of a part's covariance, and the log determinant."""
    covariance = np.tensordot(coefficients, part.basis, axes=1) + part.fixed
    root = scipy.linalg.cholesky(covariance, lower=True, check_finite=False)
    identity = np.eye(len(root))
    inverse = scipy.linalg.cho_solve((root, True), identity, check_finite=False)
    return inverse, 2 * float(np.sum(np.log(np.diag(root))))
