"""What batch norm lets through of changes of its input.

Of a change d of a channel x it leaves d - mean(d) - rho x over its standard deviation,
x less its mean and rho = Cov(d, x) / (Var x + epsilon), means and covariances over
pixels. The change that one weight among many makes is uncorrelated with x. Correlated
are, behind a non-linearity, changes that were the same at all pixels before it (biases,
the shifts of another batch norm), and everywhere those of another batch norm's scale.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax

from dipgp import numerics
from dipgp.kernels.stationary import Covariance, Evaluation, Lags, Moments

Array = jax.Array


class Correlated(NamedTuple):
    """A change of a channel that is correlated with the channel itself.

    Attributes:
      weight: its value far away is the change's squared size.
      cross: covariance with the channel, at size 1.
    """

    weight: Covariance
    cross: Covariance


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class NormalisedTangent(Covariance):
    """Theta behind a batch norm, without its own parameters'."""

    tangent: Covariance
    field: Covariance
    correlated: tuple[Correlated, ...]
    epsilon: jax.typing.ArrayLike

    def evaluate(self, lags: Lags, at: Evaluation) -> Moments:
        """(Theta + sum_i w_i (rho_i^2 K - 2 rho_i C_i)) / (K(0) + epsilon).

        Theta, K and the cross-covariances C_i less their values at infinity, and
        rho_i = C_i(0) / (K(0) + epsilon).
        """
        correlated = tuple(
            (at(weight, lags), at(cross, lags)) for weight, cross in self.correlated
        )
        return _normalise(
            at(self.tangent, lags), at(self.field, lags), correlated, self.epsilon
        )


@jax.jit
def _normalise(
    tangent: Moments,
    field: Moments,
    correlated: tuple[tuple[Moments, Moments], ...],
    epsilon: Array,
) -> Moments:
    scale = field.sill + epsilon
    sill, variogram = tangent.sill, tangent.variogram
    for weight, cross in correlated:
        size = weight.variance - weight.sill
        share = numerics.safe_divide(cross.sill, scale)
        # d - rho x has covariance C_dd - 2 rho C_dx + rho^2 C_xx.
        sill = sill + size * share * (share * field.sill - 2 * cross.sill)
        change = share * field.variogram - 2 * cross.variogram
        variogram = variogram + size * share * change
    after = numerics.safe_divide(numerics.not_negative(sill), scale)
    variogram = numerics.safe_divide(numerics.not_negative(variogram), scale)
    return Moments(after, after, variogram)
