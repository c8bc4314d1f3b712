"""A covariance whose fields are drawn out along one direction.

K(T r), with T a rotation followed by a division of both axes: what is as long as it is
wide in a field of K is an ellipse in this one, as near an edge of an image. Any
invertible linear map of the lags leaves a covariance positive semi-definite.
"""

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
class Stretched(Covariance):
    """K(u / along, v / across), u and v the lag's parts along an angle and across."""

    inner: Covariance
    angle: jax.typing.ArrayLike
    along: jax.typing.ArrayLike
    across: jax.typing.ArrayLike

    def evaluate(self, lags: Lags, at: Evaluation) -> Moments:
        """The same field on a ruler that differs by direction.

        Raises:
          ValueError: on the lags of signals, which have no directions.
        """
        if lags.shape[-1] != 2:
            raise ValueError(
                "lags: expected shape (..., 2) for a stretched covariance, got "
                f"{lags.shape}"
            )
        turned = _turn(jnp.asarray(lags), self.angle, self.along, self.across)
        return at(self.inner, turned)


def stretch(
    covariance: CovarianceLike,
    angle: jax.typing.ArrayLike,
    along: jax.typing.ArrayLike,
    across: jax.typing.ArrayLike = 1.0,
) -> Covariance:
    """The covariance of images that are stretched along one direction.

    Args:
      covariance: of the images before that.
      angle: of the direction, in radians from the second axis (to the right) towards
        the first (down).
      along: factor by which fields get longer in this direction.
      across: factor by which they get longer at right angles to it.

    Raises:
      ValueError: on a factor that is not positive.
    """
    numerics.check_finite("angle", angle, scalar=True)
    numerics.check_positive("along", along, scalar=True)
    numerics.check_positive("across", across, scalar=True)
    return Stretched(as_covariance(covariance), angle, along, across)


@jax.jit
def _turn(lags: Array, angle: Array, along: Array, across: Array) -> Array:
    """The lag's parts across and along the direction, each divided by its factor."""
    angle, along, across = (jnp.asarray(x, lags.dtype) for x in (angle, along, across))
    down, right = lags[..., 0], lags[..., 1]
    cosine, sine = jnp.cos(angle), jnp.sin(angle)
    return jnp.stack(
        [
            (cosine * down - sine * right) / across,
            (sine * down + cosine * right) / along,
        ],
        axis=-1,
    )
