"""Covariance rules of the layers that mix channels: weights, biases, skips, batch norm.

The filters of a convolution have independent weights, so the sum over taps only scales
a stationary covariance; neither their number nor their arrangement leaves a trace.
"""

from collections.abc import Sequence
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


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Scaled(Covariance):
    """factor * K."""

    inner: Covariance
    factor: jax.typing.ArrayLike

    def evaluate(self, lags: Lags, at: Evaluation) -> Moments:
        """Everything in proportion."""
        return _weighted_sum((at(self.inner, lags),), (self.factor,))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Correlation(Covariance):
    """K / K(0)."""

    inner: Covariance

    def evaluate(self, lags: Lags, at: Evaluation) -> Moments:
        """Everything in proportion, to variance 1."""
        return _divide_by_variance(at(self.inner, lags))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Biased(Covariance):
    """K + variance."""

    inner: Covariance
    variance: jax.typing.ArrayLike

    def evaluate(self, lags: Lags, at: Evaluation) -> Moments:
        """A bias raises every lag alike, so the variogram stays."""
        moments = at(self.inner, lags)
        return moments._replace(variance=moments.variance + jnp.asarray(self.variance))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Mixture(Covariance):
    """sum_i weights_i K_i."""

    branches: tuple[Covariance, ...]
    weights: tuple[jax.typing.ArrayLike, ...]

    def evaluate(self, lags: Lags, at: Evaluation) -> Moments:
        """Moments are linear in K."""
        moments = tuple(at(branch, lags) for branch in self.branches)
        return _weighted_sum(moments, self.weights)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Normalised(Covariance):
    """(K - K(inf)) / (K(0) - K(inf) + epsilon)."""

    inner: Covariance
    epsilon: jax.typing.ArrayLike

    def evaluate(self, lags: Lags, at: Evaluation) -> Moments:
        """The spatial mean of an endless image takes K(inf) with it."""
        return _divide_by_sill(at(self.inner, lags), self.epsilon)


# Compiled one by one: a rule then costs one compilation, however many layers use it,
# where a whole deep network in one program takes tens of seconds.


@jax.jit
def _weighted_sum(
    moments: tuple[Moments, ...], weights: tuple[jax.typing.ArrayLike, ...]
) -> Moments:
    def combine(*values: Array) -> Array:
        total = jnp.zeros((), values[0].dtype)
        for weight, value in zip(weights, values, strict=True):
            total = total + weight * value
        return total

    return Moments(*map(combine, *moments))


@jax.jit
def _divide_by_variance(moments: Moments) -> Moments:
    return Moments(*(numerics.safe_divide(m, moments.variance) for m in moments))


@jax.jit
def _divide_by_sill(moments: Moments, epsilon: Array) -> Moments:
    scale = moments.sill + epsilon
    after = numerics.safe_divide(moments.sill, scale)
    return Moments(after, after, numerics.safe_divide(moments.variogram, scale))


def scale(covariance: CovarianceLike, factor: jax.typing.ArrayLike) -> Covariance:
    """factor * K: a convolution whose weights have variance factor / fan_in.

    Raises:
      ValueError: on a factor that is negative or not finite.
    """
    numerics.check_not_negative("factor", factor, scalar=True)
    return Scaled(as_covariance(covariance), factor)


def normalize(covariance: CovarianceLike) -> Covariance:
    """K / K(0), the correlation at each lag."""
    return Correlation(as_covariance(covariance))


def bias(covariance: CovarianceLike, variance: jax.typing.ArrayLike) -> Covariance:
    """variance + K(r): a bias with that variance added in each channel.

    Raises:
      ValueError: on a variance that is negative or not finite.
    """
    numerics.check_not_negative("variance", variance, scalar=True)
    return Biased(as_covariance(covariance), variance)


def add(*covariances: CovarianceLike) -> Covariance:
    """The covariance of a sum of independent fields: the sum of theirs.

    Raises:
      ValueError: where there is nothing to add.
    """
    branches = tuple(map(as_covariance, covariances))
    if not branches:
        raise ValueError("covariances: expected at least one, got none")
    return Mixture(branches, (1.0,) * len(branches))


def skip(*branches: CovarianceLike) -> Covariance:
    """The covariance after branches with weights of their own have been added.

    The paper's rule for skip connections: the sum of the branches' covariances.

    Raises:
      ValueError: where there is no branch.
    """
    return add(*branches)


def concat(
    branches: Sequence[CovarianceLike], channels: Sequence[jax.typing.ArrayLike]
) -> Covariance:
    """The covariance after channels are laid side by side and convolved.

    The next convolution averages over all channels: sum_i c_i K_i / sum_i c_i.

    Args:
      branches: one covariance a branch.
      channels: how many channels each has.

    Raises:
      ValueError: where the two differ in length or are empty, or on channels that are
        not positive.
    """
    for name, given in (("branches", branches), ("channels", channels)):
        if not isinstance(given, Sequence):
            raise TypeError(
                f"{name}: expected one a branch, got {numerics.brief(given)}"
            )
    if not branches or len(branches) != len(channels):
        raise ValueError(
            "channels: expected one number a branch, got "
            f"{len(channels)} for {len(branches)} branches"
        )
    for count in channels:
        numerics.check_positive("channels", count, scalar=True)
    total = sum(channels[1:], start=channels[0])
    weights = tuple(count / total for count in channels)
    return Mixture(tuple(map(as_covariance, branches)), weights)


def batch_norm(
    covariance: CovarianceLike, epsilon: jax.typing.ArrayLike = 0.0
) -> Covariance:
    """The covariance after each channel is centred and scaled to unit variance.

    K' = (K - K(inf)) / (K(0) - K(inf) + epsilon). Means and variances are those of an
    endless image; on a finite one the error falls as 1 / pixels. Constant offsets
    (biases, the mean of a ReLU) go, as does the scale.

    Raises:
      ValueError: on a negative epsilon.
    """
    numerics.check_not_negative("epsilon", epsilon, scalar=True)
    return Normalised(as_covariance(covariance), epsilon)
