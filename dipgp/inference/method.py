"""What every way of fitting or sampling a network's parameters has in common.

A method is a pair of pure functions, so that one compiled loop runs them all. It knows
nothing of networks: it is given a function of parameters and a key.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

Array = jax.Array
#: A pytree of arrays, such as a network's weights.
Parameters = Any
#: From parameters and a key to a scalar and an output, the image that the parameters
#: give. The key is for what is random in every evaluation, such as noise on the input.
Objective = Callable[[Parameters, Array], tuple[Array, Array]]


class State(NamedTuple):
    """What the next step needs.

    Attributes:
      parameters: where the method stands.
      memory: what it remembers beside them: moments of gradients, a preconditioner.
      iteration: () int32, steps taken so far.
    """

    parameters: Parameters
    memory: Any
    iteration: Array


class Info(NamedTuple):
    """What a step found where it stood before it moved.

    Attributes:
      loss: () what is descended, up to a constant: a loss, or the negative log density.
      output: the objective's second value at the same parameters.
    """

    loss: Array
    output: Array


class Method(NamedTuple):
    """A way to move through parameters.

    Attributes:
      init: from parameters to the state before the first step.
      step: (key, state) -> (state, info); pure, compiled by whoever runs it.
    """

    init: Callable[[Parameters], State]
    step: Callable[[Array, State], tuple[State, Info]]
