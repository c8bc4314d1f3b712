"""How non-linearities pass on a change of their input: E[h'(u) h'(v)] and its kin.

u and v are a channel's values at two pixels before the non-linearity h, jointly
Gaussian with variance q = K(0), covariance K(r) and variogram g = q - K(r). A change
that knows nothing of the channel itself, such as that of one weight among many, comes
out multiplied by h'(u); a change that is part of the channel, such as that of batch
norm's scale, stays correlated with it. With u = x + y, x the part that is scaled, of
covariance A(r), and y independent of it, the moments are derivatives by a and b of
E[h(a x + y) h(b x' + y')] at a = b = 1, and so are in closed form with it.

All rules give variograms without subtracting nearly equal numbers where pixels are
almost perfectly correlated: the slopes of a ReLU have E[h' h'] = 1/2 - theta / (2 pi),
theta the angle between the two pixels, which K(r) in single precision does not resolve.

References:
  Jacot, Gabriel and Hongler, Neural tangent kernel, NeurIPS 2018.
"""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from dipgp import numerics
from dipgp.kernels.nonlinearities import arc_angle
from dipgp.kernels.stationary import Covariance, Evaluation, Lags, Moments

Array = jax.Array


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Product(Covariance):
    """K1 K2, the covariance of a product of independent fields."""

    first: Covariance
    second: Covariance

    def evaluate(self, lags: Lags, at: Evaluation) -> Moments:
        """q1 q2 - K1 K2 = q1 g2 + q2 g1 - g1 g2."""
        return _multiply(at(self.first, lags), at(self.second, lags))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class RectifierSlope(Covariance):
    """E[h'(u) h'(v)] for h(u) = u where u > 0, slope * u elsewhere."""

    field: Covariance
    slope: jax.typing.ArrayLike

    def evaluate(self, lags: Lags, at: Evaluation) -> Moments:
        """(1 + a^2)/2 - (1 - a)^2/(2 pi) theta, slope a."""
        return _rectifier_slope(at(self.field, lags), self.slope)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class RectifierScale(Covariance):
    """E[h'(u) x h'(v) x'] for the leaky rectifier h and a part x of u."""

    field: Covariance
    part: Covariance
    slope: jax.typing.ArrayLike

    def evaluate(self, lags: Lags, at: Evaluation) -> Moments:
        """E[h' h'] A + (1 - a)^2/(2 pi) ((A(0) - A)^2 + 2 A(0) A g/q) / S.

        S = sqrt(q^2 - K^2). For x = u this is E[h(u) h(v)].
        """
        return _rectifier_scale(at(self.field, lags), at(self.part, lags), self.slope)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class RectifierScaleCross(Covariance):
    """E[h'(u) x h(v)] for the leaky rectifier h and a part x of u."""

    field: Covariance
    part: Covariance
    slope: jax.typing.ArrayLike

    def evaluate(self, lags: Lags, at: Evaluation) -> Moments:
        """E[h' h'] A + (1 - a)^2/(2 pi) A(0) S/q."""
        return _rectifier_scale_cross(
            at(self.field, lags), at(self.part, lags), self.slope
        )


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class RectifierShiftCross(Covariance):
    """|E[h'(u) h(v)]| for the leaky rectifier h."""

    field: Covariance
    slope: jax.typing.ArrayLike

    def evaluate(self, lags: Lags, at: Evaluation) -> Moments:
        """|1 - a^2|/2 sqrt(q/(2 pi)) (1 + K/q)."""
        return _rectifier_shift_cross(at(self.field, lags), self.slope)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ErrorFunctionSlope(Covariance):
    """E[h'(u) h'(v)] for h(u) = erf(u / sqrt(2 softness))."""

    field: Covariance
    softness: jax.typing.ArrayLike

    def evaluate(self, lags: Lags, at: Evaluation) -> Moments:
        """2/pi / sqrt(D), D = (t + q)^2 - K^2, t the softness."""
        return _error_slope(at(self.field, lags), self.softness)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ErrorFunctionScale(Covariance):
    """E[h'(u) x h'(v) x'] for h(u) = erf(u / sqrt(2 softness)) and a part x of u."""

    field: Covariance
    part: Covariance
    softness: jax.typing.ArrayLike

    def evaluate(self, lags: Lags, at: Evaluation) -> Moments:
        """E[h' h'] (A + (K (A^2 + A(0)^2) - 2 (t + q) A(0) A) / D)."""
        return _error_scale(at(self.field, lags), at(self.part, lags), self.softness)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ErrorFunctionScaleCross(Covariance):
    """E[h'(u) x h(v)] for h(u) = erf(u / sqrt(2 softness)) and a part x of u."""

    field: Covariance
    part: Covariance
    softness: jax.typing.ArrayLike

    def evaluate(self, lags: Lags, at: Evaluation) -> Moments:
        """E[h' h'] (A - A(0) K / (t + q))."""
        return _error_scale_cross(
            at(self.field, lags), at(self.part, lags), self.softness
        )


def _product(first: Moments, second: Moments) -> Moments:
    def rule(g1: Array, g2: Array) -> Array:
        return first.variance * g2 + second.variance * g1 - g1 * g2

    return Moments(
        first.variance * second.variance,
        rule(first.sill, second.sill),
        rule(first.variogram, second.variogram),
    )


_multiply = jax.jit(_product)


@jax.jit
def _rectifier_slope(field: Moments, slope: Array) -> Moments:
    variance, sill, variogram = field
    bend = jnp.square(1 - slope) / (2 * math.pi)
    at_zero = jnp.asarray((1 + jnp.square(slope)) / 2, variance.dtype)
    return Moments(
        at_zero,
        bend * arc_angle(sill, variance),
        bend * arc_angle(variogram, variance),
    )


@jax.jit
def _rectifier_scale(field: Moments, part: Moments, slope: Array) -> Moments:
    straight = _product(_rectifier_slope(field, slope), part)
    bend = jnp.square(1 - slope) / (2 * math.pi)

    def rule(g: Array, drop: Array, straight: Array) -> Array:
        sine = _sine(g, field.variance)
        share = numerics.safe_divide(g, field.variance)
        excess = jnp.square(drop)
        excess = excess + 2 * part.variance * (part.variance - drop) * share
        return numerics.not_negative(
            straight - bend * numerics.safe_divide(excess, sine)
        )

    return Moments(
        straight.variance,
        rule(field.sill, part.sill, straight.sill),
        rule(field.variogram, part.variogram, straight.variogram),
    )


@jax.jit
def _rectifier_scale_cross(field: Moments, part: Moments, slope: Array) -> Moments:
    slopes = _rectifier_slope(field, slope)
    bend = jnp.square(1 - slope) / (2 * math.pi)

    def rule(g: Array, drop: Array, flatter: Array) -> Array:
        sine = numerics.safe_divide(_sine(g, field.variance), field.variance)
        excess = part.variance * (flatter - bend * sine)
        return excess + (slopes.variance - flatter) * drop

    return Moments(
        slopes.variance * part.variance,
        rule(field.sill, part.sill, slopes.sill),
        rule(field.variogram, part.variogram, slopes.variogram),
    )


@jax.jit
def _rectifier_shift_cross(field: Moments, slope: Array) -> Moments:
    level = jnp.abs(1 - jnp.square(slope)) / 2 / math.sqrt(2 * math.pi)
    per_variogram = level * numerics.safe_divide(
        jnp.ones_like(field.variance), numerics.safe_sqrt(field.variance)
    )
    return Moments(
        2 * level * numerics.safe_sqrt(field.variance),
        per_variogram * field.sill,
        per_variogram * field.variogram,
    )


@jax.jit
def _error_slope(field: Moments, softness: Array) -> Moments:
    variance, sill, variogram = field
    at_zero = softness * (softness + 2 * variance)

    def rule(g: Array) -> Array:
        more = g * (2 * variance - g)
        below, above = jnp.sqrt(at_zero), jnp.sqrt(at_zero + more)
        return 2 / math.pi * more / (below * above * (below + above))

    return Moments(2 / math.pi / jnp.sqrt(at_zero), rule(sill), rule(variogram))


@jax.jit
def _error_scale(field: Moments, part: Moments, softness: Array) -> Moments:
    # A + (...)/D = A (1 - 2 A(0)/(t + q + K)) + K (A(0) - A)^2 / D.
    slopes = _error_slope(field, softness)
    top = softness + 2 * field.variance
    at_zero = 1 - 2 * part.variance / top

    def inner(g: Array, drop: Array) -> Array:
        less = 2 * part.variance * g / (top * (top - g))
        ratio = (field.variance - g) / ((softness + g) * (top - g))
        straight = part.variance * less + drop * (at_zero - less)
        return straight - ratio * jnp.square(drop)

    bracket = Moments(
        part.variance * at_zero,
        inner(field.sill, part.sill),
        inner(field.variogram, part.variogram),
    )
    return _product(slopes, bracket)


@jax.jit
def _error_scale_cross(field: Moments, part: Moments, softness: Array) -> Moments:
    share = part.variance / (softness + field.variance)
    bracket = Moments(
        part.variance - share * field.variance,
        part.sill - share * field.sill,
        part.variogram - share * field.variogram,
    )
    return _product(_error_slope(field, softness), bracket)


def _sine(variogram: Array, variance: Array) -> Array:
    """sqrt(q^2 - K^2)."""
    return numerics.safe_sqrt(variogram * (2 * variance - variogram))
