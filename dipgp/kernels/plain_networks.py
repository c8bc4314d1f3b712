"""Covariances of plain ReLU networks, as candidates for what an image may be like.

`gp.select` chooses among them by the evidence: depth says how fast a covariance falls
near zero lag, the width of the input's filter on which scale.
"""

import functools
import itertools

from dipgp import architecture
from dipgp.kernels.covariance import covariance
from dipgp.kernels.inputs import gaussian
from dipgp.kernels.stationary import Covariance

DEPTHS = (1, 2, 4, 8, 16, 32)
SIGMAS = (0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6)


@functools.cache
def plain_network(depth: int, sigma: float) -> Covariance:
    """That of a plain ReLU network on Gaussian-filtered noise.

    Args:
      depth: number of hidden layers.
      sigma: width of the filter in pixels.
    """
    return covariance(architecture.conv_net(depth), input=gaussian(sigma))


def plain_networks(
    depth: int | None = None, sigma: float | None = None
) -> dict[tuple[int, float], Covariance]:
    """Those of a lattice of depths and widths.

    Args:
      depth: number of hidden layers; by default each of `DEPTHS`.
      sigma: width of the input's filter in pixels; by default each of `SIGMAS`.

    Returns:
      (depth, sigma) to covariance.
    """
    depths = DEPTHS if depth is None else (depth,)
    sigmas = SIGMAS if sigma is None else (sigma,)
    pairs = itertools.product(depths, sigmas)
    return {pair: plain_network(*pair) for pair in pairs}
