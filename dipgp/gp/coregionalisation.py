"""The covariance of channels that are seen at different pixels, by evidence.

In the model of `dipgp.gp.colour`, intrinsic coregionalisation, channels have the
covariance C_cd K(r). Where each pixel shows one colour, as behind a mosaic, no two
channels are ever seen together, and C is told by how they go along with each other
from pixel to pixel. Contrasts of a window, which no colour's level changes, have a
covariance that is linear in C,

    G = sum_cd C_cd B_cd + t D,

B_cd by K and D by the noise (`dipgp.gp.windows`). C, and t where the noise is not
known, are at the maximum of the sum of the windows' log densities. Each is the exact
restricted likelihood of its window, so that the estimate is consistent. That windows
depend on each other, and lags longer than a window, are left out (a composite
likelihood: Varin, Reid and Firth, An overview of composite likelihood methods,
Statistica Sinica 2011).
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import scipy  # loads scipy.optimize, which is slow, where it is first read

from dipgp.gp import arguments, linear_covariance, windows
from dipgp.gp.colour import ChannelModel
from dipgp.gp.linear_covariance import Part
from dipgp.kernels.layers import batch_norm
from dipgp.kernels.stationary import Covariance, CovarianceLike, as_covariance
from dipgp.observations import Identity, LinearMap, Observation

Report = Callable[[str], None]

# The least share of the largest variance that another direction of colour starts from,
# and the least that it keeps.
FIRST_SHARE, LEAST_SHARE = 1e-3, 1e-6

# Noise that is not known: shares of the variance seen that the search starts from. The
# evidence may have two maxima, of which one explains the detail.
NOISE_SHARES = (1e-3, 1e-1)
MAX_ITERATIONS = 500
TINY = float(np.finfo(np.float32).tiny)


class ChannelFit(NamedTuple):
    """The most probable covariance in space and between channels.

    Attributes:
      covariance: the candidate chosen, K with a sill of 1.
      channels: of C, in squared units of the values; for `condition`, with K.
      channel_covariance: C itself, (C, C).
      standard_error: (C, C), of C's entries as if the windows were independent, whether
        they are Gaussian or not; infinite with too few of them to tell.
      noise_std: root mean square over what was seen, given or estimated.
      chosen: the candidate's index.
      evidence: (candidates,) log density of all contrasts, divided by their number.
      converged: whether the search for C arrived.
    """

    covariance: Covariance
    channels: ChannelModel
    channel_covariance: np.ndarray
    standard_error: np.ndarray
    noise_std: float
    chosen: int
    evidence: np.ndarray
    converged: bool


def fit_channels(
    candidates: CovarianceLike | Sequence[CovarianceLike],
    observation: Observation,
    *,
    through: LinearMap | None = None,
    image_shape: tuple[int, ...] | None = None,
    estimate_noise: bool = False,
    independent: bool = False,
    report: Report = lambda message: None,
) -> ChannelFit:
    """Finds the channel covariance and, among candidates, the spatial one, by evidence.

    Args:
      candidates: spatial covariances, or one. Only their shape counts, taken as
        (K - K(inf)) / sill.
      observation: what was seen; its noise_std is known, or with `estimate_noise` right
        up to a factor.
      through: a map that sees pixels one by one, as a mosaic does. By default the image
        is seen as it is.
      image_shape: (H, W, C) of the image, with a map.
      estimate_noise: whether that factor is estimated, too.
      independent: whether C is diagonal, so that no channel tells of another.
      report: is told how far the search is.

    Returns:
      The fit, ready for `condition`; look at `converged`.

    Raises:
      ValueError: where there is no candidate, on a map that sees several pixels at
        once, or where what is seen does not tell the level of each colour; where JAX
        traces the observation.
    """
    arguments.check_known(observation)
    given = list(candidates) if isinstance(candidates, Sequence) else [candidates]
    if not given:
        raise ValueError("candidates: expected at least one covariance, got none")
    shapes = [batch_norm(as_covariance(candidate)) for candidate in given]
    shape = arguments.shape_of_image(observation, through, image_shape, "automatic")
    see = Identity() if through is None else through
    groups = windows.cut(observation, see, shape)
    evidence: list[float] = []
    for index, kernel in enumerate(shapes):
        report(f"evidence of covariance {index + 1} of {len(shapes)}")
        family = _Family(kernel, groups, shape[2], estimate_noise, independent)
        try:
            maximum = family.climb()
        except np.linalg.LinAlgError as error:
            raise ValueError(
                "candidates: expected positive definite covariances, got one that is "
                f"not, number {index + 1}: {given[index]!r}"
            ) from error
        evidence.append(maximum.evidence)
        if index == np.argmax(evidence):
            best, top = family, maximum  # matrices of the others are given free
    colours = best.channel_covariance(top.coefficients)
    variances, rotation = np.linalg.eigh(colours)
    variances = np.maximum(variances, max(LEAST_SHARE * variances[-1], TINY))
    dtype = observation.values.dtype
    spread = np.asarray(observation.noise_std, np.float64)
    spread = spread[np.asarray(observation.mask) != 0]
    factor = top.coefficients[-1] if estimate_noise else 1.0
    chosen = int(np.argmax(evidence))
    return ChannelFit(
        shapes[chosen],
        ChannelModel(jnp.asarray(rotation, dtype), jnp.asarray(variances, dtype)),
        colours,
        best.standard_error(top.coefficients),
        float(np.sqrt(factor * np.mean(spread**2))),
        chosen,
        np.array(evidence),
        top.converged,
    )


class _Maximum(NamedTuple):
    """Of the evidence over C, and over the noise where it is not known."""

    coefficients: np.ndarray
    evidence: float
    converged: bool


class _Family:
    """All channel covariances with one spatial covariance.

    Coefficients are the entries of C on and below its diagonal, row by row, and last
    the factor t of the noise variance where it is estimated. The search runs over
    C = R M M^T R^T, M lower triangular, and log t: R is the root of the start, which
    makes all directions of colour alike to the search.
    """

    def __init__(
        self,
        kernel: Covariance,
        groups: Sequence[windows.Group],
        channels: int,
        estimate_noise: bool,
        independent: bool,
    ) -> None:
        lower = [(c, d) for c in range(channels) for d in range(c + 1)]
        entries = [(c, d) for c, d in lower if c == d or not independent]
        self._rows, self._columns = np.transpose(entries)
        self._channels, self._estimate_noise = channels, estimate_noise
        self._parts = [self._part(kernel, group) for group in groups]
        self._contrasts = sum(part.vectors.size for part in self._parts)
        squares = sum(np.trace(part.scatter) for part in self._parts)
        self._seen = float(squares / self._contrasts)

    def climb(self) -> _Maximum:
        """From a moment estimate, by L-BFGS."""
        if not self._estimate_noise:
            return self._climb_from(linear_covariance.moment_estimate(self._parts), 1.0)
        noise = sum(
            len(each.vectors) * np.trace(each.basis[-1]) for each in self._parts
        )
        tops = []
        for share in NOISE_SHARES:
            factor = max(share * self._seen * self._contrasts / noise, TINY)
            fixed = [
                part._replace(basis=part.basis[:-1], fixed=factor * part.basis[-1])
                for part in self._parts
            ]
            start = linear_covariance.moment_estimate(fixed)
            tops.append(self._climb_from(start, factor))
        return max(tops, key=lambda top: top.evidence)

    def channel_covariance(self, coefficients: np.ndarray) -> np.ndarray:
        """C of coefficients."""
        matrix = np.zeros((self._channels, self._channels))
        entries = coefficients[: len(self._rows)]
        matrix[self._rows, self._columns] = entries
        matrix[self._columns, self._rows] = entries
        return matrix

    def standard_error(self, coefficients: np.ndarray) -> np.ndarray:
        """Of the entries of C, those that are not estimated having none."""
        errors = linear_covariance.error_covariance(self._parts, coefficients)
        return self.channel_covariance(np.sqrt(np.diag(errors)))

    def _part(self, kernel: Covariance, group: windows.Group) -> Part:
        pairs = windows.components(kernel, group)
        basis = pairs[self._rows, self._columns]
        apart = self._rows != self._columns
        basis[apart] += pairs[self._columns[apart], self._rows[apart]]
        noise = windows.noise_component(group)
        if self._estimate_noise:
            basis, noise = np.concatenate([basis, noise[None]]), np.zeros_like(noise)
        return Part(basis, noise, group.contrasts, group.contrasts.T @ group.contrasts)

    def _climb_from(self, start: np.ndarray, factor: float) -> _Maximum:
        root = _root(self.channel_covariance(start), self._seen)
        entries, count = (self._rows, self._columns), len(self._rows)

        def read(point: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            """R M and the coefficients."""
            inner = np.zeros_like(root)
            inner[entries] = point[:count]
            outer = root @ inner
            return outer, np.append((outer @ outer.T)[entries], np.exp(point[count:]))

        def depth(point: np.ndarray) -> tuple[float, np.ndarray]:
            outer, coefficients = read(point)
            value, slope = linear_covariance.log_density(self._parts, coefficients)
            by_matrix = self.channel_covariance(slope)
            by_matrix += np.diag(np.diag(by_matrix))  # the others stand in C twice
            by_inner = (root.T @ by_matrix @ outer)[entries]
            by_point = np.append(by_inner, slope[count:] * coefficients[count:])
            return -value / self._contrasts, -by_point / self._contrasts

        first = np.eye(self._channels)[entries]
        if self._estimate_noise:
            first = np.append(first, np.log(factor))
        options = {"maxiter": MAX_ITERATIONS}
        result = scipy.optimize.minimize(
            depth, first, jac=True, method="L-BFGS-B", options=options
        )
        _, coefficients = read(result.x)
        return _Maximum(coefficients, -float(result.fun), bool(result.success))


def _root(matrix: np.ndarray, usual: float) -> np.ndarray:
    """Lower triangular root of a matrix, its variances raised above 0.

    They are held against the largest, or against a usual one where that is larger.
    """
    sizes, axes = np.linalg.eigh(matrix)
    least = FIRST_SHARE * max(sizes[-1], usual, TINY)
    return np.linalg.cholesky((axes * np.maximum(sizes, least)) @ axes.T)
