"""Restoration by a Gaussian process that has directions, where it finds them.

One covariance of a network, stretched along eight directions and as it is, mixed from
place to place by the evidence of small windows (`gp.localise`).
"""

import functools
import math
import time

import jax.numpy as jnp
import numpy as np

from dipgp import gp, kernels
from dipgp.gp.colour import correlate, decorrelate
from dipgp.gp.mixture import TOLERANCE
from experiments.gp_method import GPOptions
from experiments.restoration import Request, Restoration

# Of the covariance that is stretched, where the options give none.
DEPTH, SIGMA = 16, 2.8
DIRECTIONS = 8
STRETCHES = (2.0, 5.0)
# The unoriented processes: as it is, and twice as wide.
WIDENED = 2.0


def restore(request: Request, options: GPOptions) -> Restoration:
    """The posterior mean under a mixture of stretched covariances.

    Args:
      request: what was seen, as it is but for the mask.
      options: depth, sigma and tolerance. The noise is the observation's: where none is
        told that is one grey level, as the task starts from.
    """
    start = time.perf_counter()
    observation, report = request.observation, request.report
    depth = DEPTH if options.depth is None else options.depth
    sigma = SIGMA if options.sigma is None else options.sigma
    channels = gp.estimate_channels(observation)
    tolerance = options.tolerance or TOLERANCE
    found = []
    for values in decorrelate(observation.values, channels):
        seen = (values, observation.mask, observation.noise_std)
        mixture = gp.localise(candidates(depth, sigma), *seen, report=report)
        report("solving for the posterior mean")
        found.append(gp.condition_mixture(mixture, *seen, tolerance=tolerance))
    mean = np.asarray(correlate(jnp.stack([each.mean for each in found]), channels))
    infos = [each.info for each in found]
    # One that went wrong, if any did.
    info = next((each for each in infos if not each.converged), infos[0])
    return Restoration(
        mean=mean,
        seconds=time.perf_counter() - start,
        iterations=max(int(each.iterations[0]) for each in infos),
        residual=max(float(each.residual[0]) for each in infos),
        hyperparameters={
            "kernel": options.kernel,
            "prior": options.prior,
            "depth": depth,
            "sigma": sigma,
            "directions": DIRECTIONS,
            "stretches": list(STRETCHES),
            "noise_std": float(np.mean(np.asarray(observation.noise_std))),
            "colour_directions": np.asarray(channels.rotation).T.tolist(),
        },
        message=info.advice,
        converged=info.converged,
    )


@functools.cache
def candidates(depth: int, sigma: float) -> tuple[kernels.Covariance, ...]:
    """The stretched and the unoriented covariances."""
    plain = kernels.plain_network(depth, sigma)
    angles = [math.pi * step / DIRECTIONS for step in range(DIRECTIONS)]
    oriented = [kernels.stretch(plain, a, s) for s in STRETCHES for a in angles]
    return (plain, kernels.stretch(plain, 0.0, WIDENED, WIDENED), *oriented)
