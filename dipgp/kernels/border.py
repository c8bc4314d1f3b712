"""How far borders carry a network's second moments away from the stationary ones."""

import jax
import jax.numpy as jnp

from dipgp import architecture, numerics
from dipgp.kernels.covariance import covariance
from dipgp.kernels.dense import LARGEST, Shape, dense, toeplitz
from dipgp.kernels.stationary import CovarianceLike, variance

Array = jax.Array


def stationarity_gap(
    net: architecture.Architecture,
    input: CovarianceLike | None,
    shape: Shape,
    *,
    largest: int = LARGEST,
) -> Array:
    """The largest error of the stationary closed form, for each pixel.

    gap(t) = max_r |C(t, t + r) - K(r)| / K(0)

    over all lags r that end inside the image, with C from `kernels.dense` and K from
    `kernels.covariance`. Padding is what makes them differ near the border; resampling,
    whose closed form is a mean over phases or the "ideal" rule, everywhere.

    Args:
      net: the network.
      input: covariance of one channel of its random input; None is white noise.
      shape: (L,) or (H, W) of the input, which ends at the border.
      largest: as in `kernels.dense`.

    Returns:
      One number for each pixel of the output, (L',) or (H', W'), 0 where the closed
      form is exact.

    Raises:
      ValueError: as `kernels.dense` does.
    """
    exact = dense(net, input, shape, largest=largest)
    stationary = covariance(net, input)
    closed_form = toeplitz(stationary, exact.shape[: net.dimensions])
    second = tuple(range(net.dimensions, exact.ndim))
    error = jnp.max(jnp.abs(exact - closed_form), axis=second)
    return numerics.safe_divide(error, variance(stationary, net.dimensions))
