"""The samplers of `dipgp.inference`, right ones and ones known to be wrong.

All see the log density of `linear_model`. A constant step eps leaves a covariance of
(H - eps/4 H G H)^-1 in the place of H^-1 (`dipgp.inference.langevin`); with the small
step of the right ones, variances are at most 2.3 % too large.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax

from dipgp.inference import langevin, noisy_adam
from dipgp.inference.langevin import RootMeanSquare
from dipgp.inference.method import Method, Objective

Array = jax.Array

STEP_SIZE = 0.02
# Largest stable step of the example's steepest direction: 4 / 4.6.
LARGE_STEP_SIZE = 0.5
FROZEN_AFTER = 200


class Sampler(NamedTuple):
    """A sampler and how long it takes to forget its start.

    Attributes:
      name: of the sampler.
      make: from a log density to the method.
      steps: after which what is left of a start in the prior is below 1 %.
      right: whether it samples the posterior, but for the bias of a small step.
    """

    name: str
    make: Callable[[Objective], Method]
    steps: int
    right: bool


def _preconditioner() -> RootMeanSquare:
    return RootMeanSquare(frozen_after=FROZEN_AFTER, decay=0.95)


def _noisy_adam(log_density: Objective) -> Method:
    def loss(parameters: Array, key: Array) -> tuple[Array, Array]:
        value, output = log_density(parameters, key)
        return -value, output

    # All parameters get the noise: they are no kernels of convolutions.
    return noisy_adam.noisy_adam(loss, noisy=lambda leaf: True)


def _twice(log_density: Objective) -> Objective:
    """Twice the log density, whose drift is the right one without its 1/2."""

    def doubled(parameters: Array, key: Array) -> tuple[Array, Array]:
        value, output = log_density(parameters, key)
        return 2 * value, output

    return doubled


def right_samplers() -> list[Sampler]:
    """Langevin dynamics in all its forms."""
    return [
        Sampler("plain", lambda p: langevin.sgld(p, STEP_SIZE), 400, right=True),
        Sampler(
            "momentum 0.8",
            lambda p: langevin.sgld(p, STEP_SIZE, momentum=0.8),
            150,
            right=True,
        ),
        Sampler(
            "preconditioned, frozen",
            lambda p: langevin.sgld(p, STEP_SIZE, preconditioner=_preconditioner()),
            FROZEN_AFTER + 600,
            right=True,
        ),
        Sampler(
            "preconditioned, frozen, momentum 0.8",
            lambda p: langevin.sgld(
                p, STEP_SIZE, preconditioner=_preconditioner(), momentum=0.8
            ),
            FROZEN_AFTER + 150,
            right=True,
        ),
    ]


def wrong_samplers() -> list[Sampler]:
    """Faults that the checks must find, and an update that is no sampler."""
    return [
        Sampler(
            "temperature 2",
            lambda p: langevin.sgld(p, STEP_SIZE, temperature=2.0),
            400,
            right=False,
        ),
        Sampler(
            "drift without its 1/2",
            lambda p: langevin.sgld(_twice(p), STEP_SIZE),
            400,
            right=False,
        ),
        Sampler(
            f"step of {LARGE_STEP_SIZE}",
            lambda p: langevin.sgld(p, LARGE_STEP_SIZE),
            50,
            right=False,
        ),
        Sampler("noisy Adam", _noisy_adam, 1500, right=False),
    ]
