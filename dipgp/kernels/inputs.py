"""Covariances of a network's random input, and usual covariances for comparison."""

import functools
import math
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np

from dipgp import numerics
from dipgp.kernels.layers import add, scale
from dipgp.kernels.stationary import Covariance, Evaluation, Lags, Moments

Array = jax.Array


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class White(Covariance):
    """K(0) = 1, K(r) = 0 elsewhere."""

    def evaluate(self, lags: Lags, at: Evaluation) -> Moments:
        """The variogram is 1 everywhere but at zero lag."""
        return _white(lags)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Gaussian(Covariance):
    """K(r) = exp(-sum_i r_i^2 / (4 sigma_i^2))."""

    sigma: jax.typing.ArrayLike

    def evaluate(self, lags: Lags, at: Evaluation) -> Moments:
        """Through expm1, exact for lags that are short against sigma."""
        return _gaussian(lags, self.sigma)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Matern(Covariance):
    """Matern covariance with variance 1 and half-integer smoothness."""

    lengthscale: jax.typing.ArrayLike
    smoothness: float = field(metadata={"static": True})

    def evaluate(self, lags: Lags, at: Evaluation) -> Moments:
        """Polynomial times exponential (Rasmussen and Williams 2006, eq. 4.17)."""
        return _matern(lags, self.lengthscale, self.smoothness)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Constant(Covariance):
    """K(r) = variance at every lag: one random level for the whole image."""

    variance: jax.typing.ArrayLike

    def evaluate(self, lags: Lags, at: Evaluation) -> Moments:
        """The variogram of a constant is 0."""
        return _constant(lags, self.variance)


@jax.jit
def _white(lags: Array) -> Moments:
    variogram = jnp.any(lags != 0, axis=-1).astype(lags.dtype)
    one = jnp.ones((), lags.dtype)
    return Moments(one, one, variogram)


@jax.jit
def _gaussian(lags: Array, sigma: Array) -> Moments:
    scaled = lags / _per_axis(sigma, lags)
    exponent = jnp.sum(jnp.square(scaled), axis=-1) / 4
    one = jnp.ones((), exponent.dtype)
    return Moments(one, one, -jnp.expm1(-exponent))


@functools.partial(jax.jit, static_argnames=("smoothness",))
def _matern(lags: Array, lengthscale: Array, smoothness: float) -> Moments:
    distance = numerics.length(lags / _per_axis(lengthscale, lags))
    x = math.sqrt(2 * smoothness) * distance
    factor_minus_one = {0.5: 0.0 * x, 1.5: x, 2.5: x + jnp.square(x) / 3}
    variogram = -jnp.expm1(-x) - factor_minus_one[smoothness] * jnp.exp(-x)
    one = jnp.ones((), x.dtype)
    return Moments(one, one, jnp.maximum(variogram, 0))


@jax.jit
def _constant(lags: Array, variance: Array) -> Moments:
    level = jnp.asarray(variance, lags.dtype)
    zeros = jnp.zeros_like(lags, shape=lags.shape[:-1])
    return Moments(level, jnp.zeros((), lags.dtype), zeros)


def white() -> Covariance:
    """White noise of variance 1: K(0) = 1 and K(r) = 0 at every other lag."""
    return White()


def gaussian(sigma: jax.typing.ArrayLike) -> Covariance:
    """White noise smoothed by a Gaussian filter, scaled to variance 1.

    K(r) = exp(-|r|^2 / (4 sigma^2)), as the filter exp(-|t|^2 / (2 sigma^2)) gives it
    on a fine grid; with the filter's taps on whole pixels it is exact to 2e-4 from
    sigma = 1 on.

    Args:
      sigma: standard deviation of the filter in pixels, a scalar or one number an axis;
        the scalar 0 is white noise.

    Raises:
      ValueError: on a sigma that is negative or not finite.
    """
    numerics.check_not_negative("sigma", sigma)
    if not numerics.is_traced(sigma) and np.all(np.asarray(sigma) == 0):
        return White()
    numerics.check_positive("sigma", sigma)
    return Gaussian(sigma)


def rbf(lengthscale: jax.typing.ArrayLike) -> Covariance:
    """Squared-exponential covariance K(r) = exp(-|r|^2 / (2 lengthscale^2)).

    Args:
      lengthscale: in pixels, a scalar or one number an axis. `gaussian(sigma)` is the
        same function with lengthscale = sqrt(2) sigma.

    Raises:
      ValueError: on a lengthscale that is not positive.
    """
    numerics.check_positive("lengthscale", lengthscale)
    return Gaussian(lengthscale / math.sqrt(2))


def matern(nu: float, lengthscale: jax.typing.ArrayLike) -> Covariance:
    """Matern covariance of variance 1 (Rasmussen and Williams 2006, eq. 4.17).

    Args:
      nu: smoothness: 0.5 (exponential), 1.5 or 2.5.
      lengthscale: in pixels, a scalar or one number an axis.

    Raises:
      ValueError: on another smoothness or a lengthscale that is not positive.
    """
    numerics.check_finite("nu", nu, scalar=True)
    if nu not in (0.5, 1.5, 2.5):
        raise ValueError(f"nu: expected 0.5, 1.5 or 2.5, got {nu!r}")
    numerics.check_positive("lengthscale", lengthscale)
    return Matern(lengthscale, float(nu))


def constant(variance: jax.typing.ArrayLike) -> Covariance:
    """K(r) = variance at every lag.

    Raises:
      ValueError: on a negative variance.
    """
    numerics.check_not_negative("variance", variance, scalar=True)
    return Constant(variance)


def uniform(low: float = 0.0, high: float = 0.1) -> Covariance:
    """Independent uniform noise on [low, high], the deep image prior's usual input.

    Its mean does not vanish, so pixels are correlated at every lag:
    K(0) = m^2 + v and K(r) = m^2, with m = (low + high) / 2 and
    v = (high - low)^2 / 12.

    Raises:
      ValueError: where low is not below high, or their squares leave 32 bits.
    """
    for name, value in (("low", low), ("high", high)):
        numerics.check_finite(name, value, scalar=True)
    if not low < high:
        raise ValueError(f"low, high: expected low < high, got {low!r}, {high!r}")
    mean, variance = (low + high) / 2, (high - low) ** 2 / 12
    if variance < numerics.SMALLEST or max(variance, mean**2) > numerics.LARGEST:
        raise ValueError(
            f"low, high: expected squares of mean and width up to {numerics.LARGEST:g} "
            f"(and a variance from {numerics.SMALLEST:g}), got {low!r}, {high!r}"
        )
    return add(scale(white(), variance), constant(mean**2))


def _per_axis(value: jax.typing.ArrayLike, lags: Array) -> Array:
    """A scalar or one number an axis, shaped to divide lags (..., D)."""
    value = jnp.asarray(value)
    if value.ndim == 0:
        return value
    if value.shape != lags.shape[-1:]:
        raise ValueError(
            "sigma, lengthscale: expected a scalar or one number for each of "
            f"{lags.shape[-1]} axes, got shape {value.shape}"
        )
    return value.reshape((1,) * (lags.ndim - 1) + value.shape)
