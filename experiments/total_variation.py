"""Inpainting by least total variation, which experiments set beside their methods.

  minimise  TV(x) = sum over pixels of |(right - here, below - here)|,
  x equal to what is seen where it is, and within what is seen's range elsewhere,

the length taken over both differences of all channels together (Rudin, Osher and
Fatemi, Physica D 1992; Bresson and Chan, Inverse Problems and Imaging 2008). With K the
differences that a missing pixel has part in, and b what is seen's share of them, that
is the least of sum |K x + b|, and for all p of lengths up to 1 at each pixel

  <p, b> + sum over missing pixels of min(lowest K^T p, highest K^T p)

is below it: the distance of the two, the primal-dual gap, tells how far x is from the
minimum at most. The range changes nothing, since no least variation leaves it, but
keeps that bound finite.
"""

from typing import NamedTuple

import numpy as np
import scipy.sparse

TOLERANCE = 1e-4
MAX_ITERATIONS = 20_000
STEPS_BETWEEN_GAPS = 100

# The ratio of the two steps; their product is bounded by |K|^2 <= 8.
_STEP = 0.1


class LeastVariation(NamedTuple):
    """An image of least total variation.

    Attributes:
      image: (H, W, C) intensities.
      gap: how far its total variation is from the least at most, divided by the number
        of missing intensities.
      iterations: steps taken.
      converged: whether the gap is within the tolerance.
    """

    image: np.ndarray
    gap: float
    iterations: int
    converged: bool


class _Problem(NamedTuple):
    """Differences K x + b of the missing intensities x, and their range.

    Attributes:
      differences: K, (2 E, M): E pixels to the right of which, then below, M missing.
      seen: b, (2 E, C).
      lowest: (C,).
      highest: (C,).
    """

    differences: scipy.sparse.csr_array
    seen: np.ndarray
    lowest: np.ndarray
    highest: np.ndarray

    def variation(self, values: np.ndarray) -> float:
        """TV of missing intensities (M, C), less what has no part in them."""
        return float(_lengths(self.differences @ values + self.seen).sum())

    def bound(self, dual: np.ndarray) -> float:
        """What a dual (2 E, C) says that no total variation is below."""
        slopes = self.differences.T @ dual
        least = np.minimum(self.lowest * slopes, self.highest * slopes)
        return float((dual * self.seen).sum() + least.sum())


def inpaint(
    values: np.ndarray,
    mask: np.ndarray,
    tolerance: float = TOLERANCE,
    max_iterations: int = MAX_ITERATIONS,
) -> LeastVariation:
    """Fills in missing pixels, by the primal-dual method.

    Chambolle and Pock, Journal of Mathematical Imaging and Vision 2011, algorithm 1.
    Starts from the mean of what is seen.

    Args:
      values: (H, W, C) intensities; what the mask leaves out is not read.
      mask: (H, W) bool, true where a pixel is observed; one is at least.
      tolerance: stops at such a gap; see `LeastVariation`. In intensities.
      max_iterations: at most so many steps.

    Returns:
      The image, in 64 bits.

    Raises:
      ValueError: where nothing is observed.
    """
    if not mask.any():
        raise ValueError("mask: expected an observed pixel, got none")
    image = np.array(values, np.float64)
    missing = ~mask
    if not missing.any():
        return LeastVariation(image, 0.0, 0, True)
    problem = _problem(image, mask)
    x = np.tile(image[mask].mean(axis=0), (int(missing.sum()), 1))
    dual, ahead = np.zeros_like(problem.seen), x
    adjoint = problem.differences.T.tocsr()
    gap, iteration = np.inf, 0
    while gap > tolerance and iteration < max_iterations:
        dual += (problem.differences @ ahead + problem.seen) / (8 * _STEP)
        dual /= np.tile(np.maximum(_lengths(dual), 1), 2)[:, None]
        step = x - _STEP * (adjoint @ dual)
        step = np.clip(step, problem.lowest, problem.highest)
        ahead, x = 2 * step - x, step
        iteration += 1
        if iteration % STEPS_BETWEEN_GAPS == 0 or iteration == max_iterations:
            gap = (problem.variation(x) - problem.bound(dual)) / x.size
    image[missing] = x
    return LeastVariation(image, gap, iteration, gap <= tolerance)


def _problem(image: np.ndarray, mask: np.ndarray) -> _Problem:
    """The differences that missing pixels have part in."""
    height, width = mask.shape
    right, below = (
        scipy.sparse.diags_array(
            [-np.ones(size), np.ones(size - 1)], offsets=[0, 1]
        ).tolil()
        for size in (width, height)
    )
    for difference in (right, below):
        difference[-1, -1] = 0  # nothing lies beyond the last
    across = scipy.sparse.kron(scipy.sparse.eye_array(height), right, "csr")
    down = scipy.sparse.kron(below, scipy.sparse.eye_array(width), "csr")
    observed = mask.ravel()
    touched = (abs(across) + abs(down)) @ ~observed > 0
    differences = scipy.sparse.vstack([across[touched], down[touched]], "csr")
    pixels = image.reshape(observed.size, -1)
    seen = pixels[observed]
    return _Problem(
        differences[:, ~observed],
        differences[:, observed] @ seen,
        seen.min(axis=0),
        seen.max(axis=0),
    )


def _lengths(differences: np.ndarray) -> np.ndarray:
    """(E,) of (2 E, C), over both directions and all channels."""
    right, below = np.split(differences, 2)
    return np.sqrt((right**2).sum(axis=1) + (below**2).sum(axis=1))
