"""Which of the iterative forms solves for a posterior mean, and how far.

The one place that decides; the forms are told in `dipgp.gp.posterior`.
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np

from dipgp import numerics
from dipgp.gp import field
from dipgp.gp.toeplitz import Torus
from dipgp.observations import LinearMap, Observation, is_stationary
from dipgp.observations.observation import gaps_are_narrow

Form = Literal["weights", "field", "dense"]

# With no missing pixel this far from an observed one, the field form is ahead, by 1.2
# to 2 times; wider holes and sparser pixels take it several times the weights' steps.
WIDEST_GAP = 3.0

# Photographs are then within 0.01 dB of the limit. A residual relative to the values
# for weights, a bound on the error for the field.
TOLERANCES: Mapping[Form, float] = {"weights": 1e-4, "field": 1e-2, "dense": 1.0}


def choose(
    observation: Observation,
    tori: Torus,
    through: LinearMap | None,
    tolerance: float = TOLERANCES["field"],
) -> Form:
    """The iterative form that takes less time and arrives.

    Weights where JAX traces mask, noise or covariance; with nothing or much missing in
    one place; and in noise so weak that rounding hides the field's errors and not
    those of weights. Seen through a map, weights wherever it is a filter.

    Args:
      observation: mask and noise.
      tori: the covariances, one a channel.
      through: what the image is seen through, if it is not seen as it is.
      tolerance: the field's.
    """
    if through is not None:
        return "weights" if is_stationary(through) else "field"
    if numerics.is_traced((observation.mask, observation.noise_std, tori)):
        return "weights"
    mask = np.asarray(observation.mask)
    if bool(mask.all()) or not gaps_are_narrow(mask, WIDEST_GAP):
        return "weights"
    return "weights" if field.noise_is_weak(observation, tori, tolerance) else "field"


def tolerance_of(
    form: Form, tolerance: float | Mapping[Form, float] | None = None
) -> float:
    """A form's own tolerance: as told for it or for whichever it is, or the usual."""
    if isinstance(tolerance, Mapping):
        tolerance = tolerance.get(form)
    return TOLERANCES[form] if tolerance is None else tolerance
