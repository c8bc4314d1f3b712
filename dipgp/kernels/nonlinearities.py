"""Covariance rules of pointwise non-linearities: K'(r) = E[h(u) h(v)].

u and v are the values of a zero-mean Gaussian field at two pixels, with variance
q = K(0) and covariance K(r) = q cos(theta). In terms of the variogram g = q - K(r):

    theta = 2 atan2(sqrt(g), sqrt(2 q - g))

which stays accurate where arccos(K / q) has lost its digits, next to correlation 1.

References:
  Cho and Saul, Kernel methods for deep learning, NIPS 2009 (ReLU).
  Williams, Computing with infinite networks, NIPS 1997 (erf).
  Cheng et al., A Bayesian perspective on the deep image prior, CVPR 2019, section 3.
"""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from dipgp import numerics
from dipgp.kernels.stationary import (
    Covariance,
    CovarianceLike,
    Evaluation,
    Lags,
    Moments,
    as_covariance,
)

Array = jax.Array

# sin(x) - x cos(x) = sum_k (-1)^(k+1) 2k / (2k+1)! x^(2k+1)
_SERIES = tuple(
    (-1) ** (k + 1) * 2 * k / math.factorial(2 * k + 1) for k in range(1, 8)
)


def _angle(variogram: Array, variance: Array) -> Array:
    below = jnp.sqrt(jnp.maximum(variogram, 0))
    above = jnp.sqrt(jnp.maximum(2 * variance - variogram, 0))
    return 2 * jnp.atan2(below, above)


def _sine_minus_angle_cosine(angle: Array) -> Array:
    square = jnp.square(angle)
    series = jnp.zeros_like(angle)
    for coefficient in reversed(_SERIES):
        series = coefficient + square * series
    direct = jnp.sin(angle) - angle * jnp.cos(angle)
    return jnp.where(angle < 0.5, angle * square * series, direct)


@jax.custom_jvp
def arc_excess(variogram: Array, variance: Array) -> Array:
    """q (sin(theta) - theta cos(theta)), the part of the ReLU rule that bends.

    Args:
      variogram: g = q (1 - cos(theta)), any shape.
      variance: q, a scalar.
    """
    return variance * _sine_minus_angle_cosine(_angle(variogram, variance))


@arc_excess.defjvp
def _arc_excess_jvp(
    primals: tuple[Array, Array], tangents: tuple[Array, Array]
) -> tuple[Array, Array]:
    # d/dg = theta and d/dq = sin(theta) - theta, finite at both ends.
    angle = arc_angle(*primals)
    change = angle * tangents[0] + (jnp.sin(angle) - angle) * tangents[1]
    return arc_excess(*primals), change


@jax.custom_jvp
def arc_angle(variogram: Array, variance: Array) -> Array:
    """The angle theta between two pixels, arccos of their correlation.

    Its slope is infinite at correlation +-1; the gradient there is taken to be 0, which
    is right at zero lag, where the correlation is 1 whatever the hyperparameters.
    """
    return _angle(variogram, variance)


@arc_angle.defjvp
def _arc_angle_jvp(
    primals: tuple[Array, Array], tangents: tuple[Array, Array]
) -> tuple[Array, Array]:
    variogram, variance = primals
    sine = numerics.safe_sqrt(variogram * (2 * variance - variogram))
    change = tangents[0] - numerics.safe_divide(variogram, variance) * tangents[1]
    return arc_angle(*primals), numerics.safe_divide(change, sine)


@jax.custom_jvp
def arcsine_drop(variogram: Array, variance: Array, softness: Array) -> Array:
    """asin(q / (q + t)) - asin((q - g) / (q + t)), without cancellation.

    Args:
      variogram: g, any shape.
      variance: q, a scalar.
      softness: t >= 0, a scalar; at t = 0 the result is the angle theta.
    """
    at_zero = jnp.sqrt(softness * (softness + 2 * variance))
    at_lag = (softness + variogram) * (softness + 2 * variance - variogram)
    return 2 * jnp.atan2(variogram, at_zero + jnp.sqrt(jnp.maximum(at_lag, 0)))


@arcsine_drop.defjvp
def _arcsine_drop_jvp(
    primals: tuple[Array, Array, Array], tangents: tuple[Array, Array, Array]
) -> tuple[Array, Array]:
    variogram, variance, softness = primals
    total = variance + softness
    at_zero = numerics.safe_sqrt(softness * (softness + 2 * variance))
    at_lag = numerics.safe_sqrt(
        (softness + variogram) * (softness + 2 * variance - variogram)
    )
    by_variogram = numerics.safe_divide(jnp.ones_like(at_lag), at_lag)
    by_variance = numerics.safe_divide(
        softness, total * at_zero
    ) - numerics.safe_divide(softness + variogram, total * at_lag)
    by_softness = numerics.safe_divide(
        variance - variogram, total * at_lag
    ) - numerics.safe_divide(variance, total * at_zero)
    change = (
        by_variogram * tangents[0]
        + by_variance * tangents[1]
        + by_softness * tangents[2]
    )
    return arcsine_drop(*primals), change


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class LeakyRectified(Covariance):
    """A field after u -> u where u > 0, slope * u elsewhere."""

    inner: Covariance
    slope: jax.typing.ArrayLike

    def evaluate(self, lags: Lags, at: Evaluation) -> Moments:
        """K' = (1+a^2)/2 K + (1-a)^2/(2 pi) (sqrt(q^2 - K^2) - theta K), slope a."""
        return _rectify(at(self.inner, lags), self.slope)


@jax.jit
def _rectify(moments: Moments, slope: Array) -> Moments:
    variance, sill, variogram = moments
    gain = (1 + jnp.square(slope)) / 2
    bend = jnp.square(1 - slope) / (2 * math.pi)

    def rule(g: Array) -> Array:
        return numerics.not_negative(gain * g - bend * arc_excess(g, variance))

    return Moments(gain * variance, rule(sill), rule(variogram))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ErrorFunction(Covariance):
    """A field after u -> erf(u / sqrt(2 softness)); sign(u) at softness 0."""

    inner: Covariance
    softness: jax.typing.ArrayLike

    def evaluate(self, lags: Lags, at: Evaluation) -> Moments:
        """K' = 2/pi asin(K / (q + t)), t the softness."""
        return _apply_error_function(at(self.inner, lags), self.softness)


@jax.jit
def _apply_error_function(moments: Moments, softness: Array) -> Moments:
    variance, sill, variogram = moments
    softness = jnp.asarray(softness, variance.dtype)

    def rule(g: Array) -> Array:
        return 2 / math.pi * arcsine_drop(g, variance, softness)

    # K'(0) = 2/pi asin(q / (q + t)) is the drop from K = q to K = 0.
    return Moments(rule(variance), rule(sill), rule(variogram))


def relu(covariance: CovarianceLike) -> Covariance:
    """The covariance after max(u, 0): K(0)/(2 pi) (sin t + (pi - t) cos t).

    cos t = K(r) / K(0). The variance halves; the mean is not 0 afterwards, so K' levels
    off above 0. Cheng et al. 2019, section 3; Cho and Saul 2009.
    """
    return LeakyRectified(as_covariance(covariance), 0.0)


def leaky_relu(
    covariance: CovarianceLike, slope: jax.typing.ArrayLike = 0.2
) -> Covariance:
    """The covariance after u -> u where u > 0, slope * u elsewhere.

    K' = ((1+a)/2)^2 K + (1-a)^2/(2 pi) (sqrt(K(0)^2 - K^2) + K asin(K / K(0))), a the
    slope: 0 is ReLU, 1 the identity, -1 the absolute value.

    Raises:
      ValueError: on a slope that is not finite.
    """
    numerics.check_finite("slope", slope, scalar=True)
    return LeakyRectified(as_covariance(covariance), slope)


def erf(
    covariance: CovarianceLike, scale: jax.typing.ArrayLike = math.inf
) -> Covariance:
    """The covariance after erf(scale * u); by default the limit that the paper writes.

    K' = 2/pi asin(2 s^2 K / (1 + 2 s^2 K(0))) for scale s (Williams 1997). As s grows
    this becomes 2/pi asin(K / K(0)) (Cheng et al. 2019, section 3), which is the rule
    of sign(u): the two differ by about (2/pi) / (s sqrt(K(0))) at zero lag.

    Args:
      covariance: of the field before the non-linearity.
      scale: positive; infinity, the default, is the paper's rule.

    Raises:
      ValueError: on a scale that is not positive.
    """
    if not isinstance(scale, float) or scale != math.inf:
        numerics.check_positive("scale", scale, scalar=True)
    softness = 0.5 / (scale * scale)
    return ErrorFunction(as_covariance(covariance), softness)
