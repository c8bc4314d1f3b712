"""What a posterior is conditioned on, as linear equations to be solved again.

The posterior mean, its samples and its variance answer to one set of equations with
different right-hand sides.
"""

import math
from dataclasses import dataclass, field, replace

import jax
import jax.numpy as jnp

from dipgp.gp import dense, through_filter, weights
from dipgp.gp import field as field_form
from dipgp.gp import through as through_form
from dipgp.gp.colour import ChannelModel, correlate, decorrelate
from dipgp.gp.conjugate_gradients import Limits, MeanSolution
from dipgp.gp.forms import TOLERANCES, Form
from dipgp.gp.seen import Seen, SeenThrough
from dipgp.gp.toeplitz import Torus
from dipgp.kernels.stationary import Covariance
from dipgp.observations import (
    Identity,
    LinearMap,
    Observation,
    StationaryFilter,
    is_stationary,
    stationary_filter,
)

Array = jax.Array

CONVERGED, ITERATION_LIMIT, NOT_FINITE, COVARIANCE_CUT = range(4)

# Up to so many pixels dense matrices take seconds.
FEW_PIXELS = 48 * 48

# Above this share of the sill, a covariance that the torus has changed is reported.
LARGEST_COVARIANCE_ERROR = 1e-3

_ADVICE = {
    CONVERGED: "converged",
    ITERATION_LIMIT: (
        "the residual is still above the tolerance after the last iteration allowed, "
        "or rounding hides it; try a larger max_iterations, a larger noise_std, or "
        "float64"
    ),
    NOT_FINITE: (
        "the solution is not finite; look for extreme values in the image or the "
        "covariance, or try float64"
    ),
    COVARIANCE_CUT: (
        "the covariance does not level off inside the torus around the image, which "
        "has changed it; try a shorter lengthscale or a larger reach"
    ),
}


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SolveInfo:
    """How the linear solves behind a posterior went.

    Attributes:
      iterations: (C,) conjugate-gradient steps of each decorrelated channel; 0 for a
        dense solve.
      residual: (C,) of the system that was solved, computed afresh from the solution:
        relative to the values for weights; for the field a bound on the error, in the
        mean's own standard deviations (`dipgp.gp.field`).
      covariance_error: scalar; bound on the change of K by the torus, relative to its
        sill.
      code: scalar; CONVERGED, ITERATION_LIMIT, NOT_FINITE or COVARIANCE_CUT.
    """

    iterations: Array
    residual: Array
    covariance_error: Array
    code: Array

    @property
    def converged(self) -> bool:
        """Whether the mean is what it claims to be."""
        return int(self.code) == CONVERGED

    @property
    def advice(self) -> str:
        """What happened, and what to do about it."""
        return _ADVICE[int(self.code)]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class System:
    """A process, what was seen of it, and how its equations are solved.

    Attributes:
      covariances: one for each decorrelated channel.
      channels: directions of these channels in colour space.
      observation: what was seen.
      tori: the covariances around the image; None where matrices are factorised.
      form: which equations are solved, and how.
      tolerance: at which iterations stop, in the form's own terms.
      max_iterations: at most so many.
      through: what the image is seen through, before the mask; None where it is seen
        as it is, which has solvers of its own.
      image_shape: (H, W, C) of the image seen through a map, otherwise None.
      level_known: whether the process has no level but 0.
    """

    covariances: tuple[Covariance, ...]
    channels: ChannelModel
    observation: Observation
    tori: Torus | None
    form: Form = field(metadata={"static": True})
    tolerance: float = field(metadata={"static": True})
    max_iterations: int = field(metadata={"static": True})
    through: LinearMap | None = field(default=None, metadata={"static": True})
    image_shape: tuple[int, int, int] | None = field(
        default=None, metadata={"static": True}
    )
    level_known: bool = field(default=False, metadata={"static": True})

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C) of the image."""
        height, width, colours = self.image_shape or self.observation.values.shape
        return height, width, colours

    @property
    def grid(self) -> tuple[int, int]:
        """(H, W) of the image in pixels."""
        return self.shape[:2]

    @property
    def unknowns(self) -> int:
        """In one of the systems of equations that there are."""
        count = 1 if self.through is None else len(self.covariances)
        return math.prod(self.grid) * count

    @property
    def filter(self) -> StationaryFilter | None:
        """The one of stride 1 that the image is seen through, if it is seen so."""
        if self.couples_channels:
            return None
        found = stationary_filter(self.through or Identity())
        return found if found.stride == 1 else None

    @property
    def couples_channels(self) -> bool:
        """Whether what is seen of one of the prior's channels may tell of another.

        As a mosaic does; one filter for all channels, which blurs or decimates, does
        not.
        """
        return self.through is not None and not is_stationary(self.through)

    @property
    def directions(self) -> ChannelModel:
        """Channels in which the posterior falls apart into independent ones.

        The prior's, unless a map couples them: then variances are told of colours.
        """
        if not self.couples_channels:
            return self.channels
        count = len(self.covariances)
        dtype = self.observation.mask.dtype
        return ChannelModel(jnp.eye(count, dtype=dtype), jnp.ones(count, dtype))

    def data(self, values: Array) -> Array:
        """Values (h, w, c) in the form that `solve` takes, (c, h, w)."""
        if self.through is None:
            return decorrelate(values, self.channels)
        return jnp.moveaxis(values, -1, 0)

    def see(self, fields: Array) -> Array:
        """Data of independent channels (C, H, W), without mask and noise."""
        if self.through is None:
            return fields
        return self.data(self.through(correlate(fields, self.channels)))

    @property
    def seen(self) -> Seen:
        """What iterations are given; `SeenThrough` where there is a map."""
        assert self.tori is not None
        given = self.tori, self.observation, self.level_known
        if self.through is None:
            return Seen(*given)
        assert self.image_shape is not None
        return SeenThrough(*given, self.channels, self.through, self.image_shape)

    @property
    def limits(self) -> Limits:
        """Of the form's own iteration."""
        return Limits(self.tolerance, self.max_iterations)

    def solve(self, data: Array) -> MeanSolution:
        """Posterior means (C, H, W) of data (c, h, w), zero where not seen."""
        if self.tori is None:
            return dense.solve(self.covariances, data, self.observation)
        seen, by_weights = self.seen, self.form == "weights"
        if isinstance(seen, SeenThrough):
            solve_through = through_filter.solve if by_weights else through_form.solve
            return solve_through(seen, data, self.limits)
        solve = weights.solve if by_weights else field_form.solve
        return solve(seen, data, self.limits)

    def apply_posterior_covariance(self, images: Array) -> MeanSolution:
        """What is left open, as a matrix, times images (N C, H, W) along `directions`.

        Solves the field's equations, whatever the form, but those of the weights where
        all is seen through a filter. The products are `mean`.
        """
        count = len(images) // len(self.covariances)
        seen = self.stacked(count).seen
        limits = Limits(self.tolerance_of("field"), self.max_iterations)
        if not isinstance(seen, SeenThrough):
            return field_form.apply_posterior_covariance(seen, images, limits)
        if self.form == "weights":
            return through_filter.apply_posterior_covariance(seen, images, self.limits)
        if not self.couples_channels:
            return through_form.apply_posterior_covariance(seen, images, limits)
        colours = jnp.moveaxis(images.reshape(count, -1, *self.grid), 1, -1)
        each = jax.vmap(decorrelate, (0, None))(colours, self.channels)
        found = through_form.apply_posterior_covariance(
            seen, each.reshape(images.shape), limits
        )
        each = found.mean.reshape(count, -1, *self.grid)
        products = jnp.moveaxis(correlate(each, self.channels), -1, 1)
        return found._replace(mean=products.reshape(images.shape))

    def tolerance_of(self, form: Form) -> float:
        """What the tolerance is worth in equations of another form."""
        return self.tolerance * TOLERANCES[form] / TOLERANCES[self.form]

    def stacked(self, count: int) -> "System":
        """The system of `count` images at once, whose channels follow one another."""
        assert self.tori is not None
        spectrum = jnp.concatenate([self.tori.spectrum] * count)
        return replace(self, tori=replace(self.tori, spectrum=spectrum))

    def info(self, solution: MeanSolution) -> SolveInfo:
        """How it went."""
        error = jnp.zeros((), solution.mean.dtype)
        if self.tori is not None:
            error = jnp.max(self.tori.error)
        code = result_code(solution, error, self.tolerance)
        return SolveInfo(solution.iterations, solution.residual, error, code)


def result_code(solution: MeanSolution, error: Array, tolerance: float) -> Array:
    """What became of solves to a tolerance, with a bound on the torus's error."""
    # The residual computed afresh is above the recursive one that stopped the
    # iteration, the more so the nearer the tolerance is to rounding.
    failed = jnp.any(solution.residual > 3 * tolerance)
    code = jnp.where(failed, ITERATION_LIMIT, CONVERGED)
    code = jnp.where(error > LARGEST_COVARIANCE_ERROR, COVARIANCE_CUT, code)
    finite = jnp.all(jnp.isfinite(solution.mean))
    finite &= jnp.all(jnp.isfinite(solution.residual))
    return jnp.where(finite, code, NOT_FINITE)
