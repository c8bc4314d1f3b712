"""The exact posterior of a stationary Gaussian process on all pixels of an image.

Model: y = m + g + noise at the observed pixels, g a Gaussian process with covariance K,
m an unknown constant. With D the noise variances and all matrices between the observed
pixels, the generalised-least-squares level and the posterior mean solve

    (K + D) a + m 1 = y,   1^T a = 0,      mean(t) = m + sum_s K(t - s) a_s

(ordinary kriging; Cressie, Statistics for Spatial Data, 1993, section 3.2). On weights
that sum to zero K and K - K(inf) act alike, so a constant in K, however large, changes
neither the mean nor the arithmetic.

The same equations are solved in either of two forms, for the weights a
(`dipgp.gp.weights`) or for the field g + m itself (`dipgp.gp.field`). Both cost a few
FFTs a step, so time and memory grow with the pixels and not with their cube and square;
which takes fewer steps depends on the mask, and in weak noise only weights arrive in
32 bits (`dipgp.gp.forms` chooses). What is seen through a linear map has both as well:
weights where the map is a filter, as for blurred and coarser pictures
(`dipgp.gp.through_filter`), the field for any (`dipgp.gp.through`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp

from dipgp import devices
from dipgp.devices import Mesh
from dipgp.gp import (
    arguments,
    conditional_draws,
    evidence,
    forms,
    toeplitz,
    variance,
)
from dipgp.gp.arguments import Method, Tolerance
from dipgp.gp.colour import ChannelModel, correlate
from dipgp.gp.conditional_draws import Samples
from dipgp.gp.evidence import Evidence
from dipgp.gp.system import SolveInfo, System
from dipgp.gp.variance import Variance
from dipgp.kernels.stationary import CovarianceLike
from dipgp.observations import LinearMap, Observation

Array = jax.Array


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Posterior:
    """A Gaussian-process posterior on every pixel.

    Attributes:
      mean: (H, W) or (H, W, C), as the values were given.
      level: scalar or (C,), the constant m, given or by generalised least squares.
      info: how the solves went; look at `info.converged`.
      system: the equations that the mean solves.
    """

    mean: Array
    level: Array
    info: SolveInfo
    system: System

    def given(self, observation: Observation) -> "Posterior":
        """The posterior of the same process where something else was seen.

        As `condition` would find it with the same arguments, a level that was given
        included, but what it works out of the covariances is used again. So are
        compiled programs: pieces of a large picture have one size.

        Args:
          observation: of the shapes that this one's has.

        Raises:
          ValueError: on other shapes.
        """
        seen = self.system.observation
        shapes = [each.values.shape for each in (seen, observation)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"observation: expected values of shape {shapes[0]}, as before, got "
                f"{shapes[1]}"
            )
        system = replace(self.system, observation=observation)
        level = jnp.reshape(self.level, -1) if system.level_known else None
        return _solved(system, level, self.mean.ndim == 2)

    def sample(
        self,
        key: Array,
        count: int = 1,
        *,
        batch: int = conditional_draws.BATCH,
        report: Callable[[str], None] = lambda message: None,
        mesh: Mesh | None = None,
    ) -> Samples:
        """Independent draws from the posterior, as exact as its mean.

        Args:
          key: of the draws; each has a key of its own, split from it.
          count: number of draws.
          batch: draws whose equations are solved together, on each device.
          report: is told how far the work is.
          mesh: devices of `dipgp.devices.make_mesh` that share the draws.

        Returns:
          (count, H, W) or (count, H, W, C), and how the solves went. On a mesh each
          device holds its own draws.

        Raises:
          ValueError: on a count or a batch below 1, or on a count that is no multiple
            of the devices.
        """
        drawn = conditional_draws.deviations(
            self.system, key, count, batch, report, mesh
        )
        values, around = drawn.values, (self.mean, self.system.channels)
        if mesh is not None:
            around = devices.replicate(around, mesh)
            moved = devices.map_shares(_around, values, around, mesh)
            return Samples(moved, drawn.info)
        return Samples(_around(values, around), drawn.info)

    def variance(
        self,
        key: Array | None = None,
        *,
        method: variance.Method = "automatic",
        solves: int = variance.SOLVES,
        batch: int = conditional_draws.BATCH,
        report: Callable[[str], None] = lambda message: None,
        mesh: Mesh | None = None,
    ) -> Variance:
        """The posterior's variance at every pixel, that of the image without noise.

        Args:
          key: of the estimators that draw; the others need none.
          method: one of the following, or "automatic", which is "dense" on small grids,
            "stationary" where everything is seen in noise of one strength, as it is or
            through a blur that goes around the borders, "probing" behind random masks
            and through other maps, and "samples" behind wide holes.
          solves: linear systems a channel that the estimators may solve; through a map
            those of all channels at once.
          batch: systems solved together, on each device.
          report: is told how far the work is.
          mesh: devices of `dipgp.devices.make_mesh` that share the systems of the
            estimators; for "samples" they divide them evenly.

        Returns:
          The variance, shaped like the mean, its standard error, and how the solves
          went.

        Raises:
          ValueError: on an unknown method, without a key where one is needed, with too
            few solves, or on a grid that is too large for dense matrices.
        """
        estimate = variance.estimate(
            self.system, key, method, solves, batch, report, mesh
        )
        if self.mean.ndim == 2:
            return estimate._replace(
                value=estimate.value[:, :, 0],
                standard_error=estimate.standard_error[:, :, 0],
            )
        return estimate

    def log_evidence(
        self,
        key: Array | None = None,
        *,
        method: evidence.Method = "automatic",
        probes: int = evidence.PROBES,
        steps: int = evidence.STEPS,
        mesh: Mesh | None = None,
    ) -> Evidence:
        """How probable the covariances make what was seen; see `gp.evidence`.

        It has derivatives by hyperparameters and noise where the covariance's are
        traced by `jax.grad` and `condition` is told its reach; under `jax.jit` the mean
        that is not asked for is not computed.

        Args:
          key: of the random signs of "lanczos".
          method: "dense" (by Cholesky's factor), "torus" (Whittle's likelihood, for
            images whose opposite sides are neighbours), "lanczos" (by random signs), or
            "automatic", which is "dense" where few pixels are observed (through a map,
            where the image is small), else "lanczos". All of them see through maps,
            "torus" through circular blurs.
          probes: random signs, each a Lanczos run and for derivatives a linear solve.
          steps: of Lanczos' iteration, whose vectors are all kept.
          mesh: devices of `dipgp.devices.make_mesh` that share the random signs, which
            they divide evenly.

        Returns:
          The log evidence summed over channels, and its errors.

        Raises:
          ValueError: on an unknown method, or one that does not fit what was seen;
            without a key where one is needed; on numbers below 1; on signs that the
            devices do not divide.
        """
        return evidence.estimate(self.system, key, method, probes, steps, mesh)


def _around(values: Array, around: tuple[Array, ChannelModel]) -> Array:
    """Deviations (N, C, H, W) of independent channels, in colours around a mean."""
    mean, channels = around
    values = correlate(values, channels)
    if mean.ndim == 2:
        values = values[..., 0]
    return mean[None] + values


def condition(
    covariance: CovarianceLike | Sequence[CovarianceLike],
    values: jax.typing.ArrayLike | None = None,
    mask: jax.typing.ArrayLike | None = None,
    noise_std: jax.typing.ArrayLike | None = None,
    *,
    observation: Observation | None = None,
    through: LinearMap | None = None,
    image_shape: tuple[int, ...] | None = None,
    channels: ChannelModel | None = None,
    level: jax.typing.ArrayLike | None = None,
    method: Method = "automatic",
    tolerance: Tolerance = None,
    max_iterations: int = 1000,
    reach: int | tuple[int, int] | None = None,
) -> Posterior:
    """Conditions a stationary Gaussian process on the observed pixels of an image.

    Args:
      covariance: K, in squared units of the values. For colour images either one for
        all channels, which then correlate as `channels` says, or a sequence with one
        for each decorrelated channel.
      values: (H, W) or (H, W, C) intensities; what the mask leaves out is not read.
      mask: (H, W), true where a pixel is observed; everything by default.
      noise_std: standard deviation of the noise in the values' units, scalar or (H, W).
      observation: instead of the three above.
      through: a map A from the image to what is seen of it, before mask and noise,
        which are then those of A f. By default the image is seen as it is.
      image_shape: (H, W, C) of the image, with a map.
      channels: directions and variances of independent channels in colour space;
        estimated from the observed pixels by default, as they are. Needed where a map
        makes another number of channels of them.
      level: the constant m where it is known, one number or (C,), the colours';
        unknown by default.
      method: "weights" or "field", the two iterative forms; "automatic" picks one by
        the mask's widest gap, and weights where the noise is weak; "dense" factorises
        the matrix, for small images. Through blur and decimation there are "weights",
        which "automatic" is, and "field", through other maps "field".
      tolerance: at which the iteration stops, or one for each form, by its name: for
        "weights" a residual relative to the values, for "field" a bound on the error
        in the mean's own standard deviations, a root mean square that may be exceeded
        inside holes. The defaults, 1e-4 and 1e-2, are within about 0.01 dB of the limit
        on photographs in float32. Single pixels may be further off, 6.5 grey levels
        of 255 where much is left open. To tighten: behind a 50 % mask and noise of 25
        grey levels the worst pixel was 0.9 off, 0.2 with {"weights": 1e-5, "field":
        1e-3} for 1.6 times the steps, and 0.01 with 1e-6 and 1e-4 for twice; an
        agreement with dense solutions to many digits takes 1e-10 and float64.
      max_iterations: conjugate-gradient steps at most.
      reach: distance in pixels, along both axes or each, from which on K is constant;
        found from K by default, needed only where JAX traces K's hyperparameters, or a
        colour image whose channels are to be estimated (`find_reach` tells it outside).

    Returns:
      The posterior of the image, in the values' dtype.

    Raises:
      ValueError: on arguments that do not fit together, and for a dense solve that
        would not fit into memory. An iteration that does not converge is no error: it
        is reported by `info`.
    """
    observation, grey = arguments.read_observation(observation, values, mask, noise_std)
    arguments.check_controls(method, tolerance, max_iterations)
    shape = arguments.shape_of_image(observation, through, image_shape, method)
    channels = arguments.channel_model(channels, observation, shape[2])
    covariances = arguments.channel_covariances(covariance, channels, shape[2])
    tori = None
    if method != "dense":
        dtype = observation.values.dtype
        tori = toeplitz.embed(covariances, shape[:2], reach, dtype)
        if method == "automatic":
            enough = forms.tolerance_of("field", tolerance)
            method = forms.choose(observation, tori, through, enough)
    assert method != "automatic"
    system = System(
        tuple(covariances),
        channels,
        observation,
        tori,
        method,
        forms.tolerance_of(method, tolerance),
        max_iterations,
        through,
        None if through is None else shape,
        level is not None,
    )
    if level is not None:
        level = arguments.read_level(level, shape[2], method, observation.values.dtype)
    return _solved(system, level, grey and shape[2] == 1)


def _solved(system: System, level: Array | None, grey: bool) -> Posterior:
    """The posterior of a system, and of a level where the system knows one.

    Args:
      system: the equations.
      level: (C,) where the system knows one, otherwise None.
      grey: whether the mean is to be (H, W).
    """
    values = system.observation.values
    if level is not None:
        flat = jnp.broadcast_to(level, system.shape)
        seen = flat if system.through is None else system.through(flat)
        values = system.observation.mask[:, :, None] * (values - seen)
    solution = system.solve(system.data(values))
    mean = correlate(solution.mean, system.channels)
    if level is None:
        rotation = system.channels.rotation
        level = jnp.matmul(rotation, solution.level, precision="highest")
    else:
        mean = mean + flat
    if grey:
        mean, level = mean[:, :, 0], level[0]
    return Posterior(mean, level, system.info(solution), system)
