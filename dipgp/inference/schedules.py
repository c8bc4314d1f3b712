"""Step sizes of a Markov chain as functions of its iteration.

Stochastic gradient Langevin dynamics forgets its start and loses its discretisation
bias where (Welling and Teh, 2011, equation 2)

    sum_t eps_t = infinity   and   sum_t eps_t^2 < infinity.

With steps that shrink, the chain spends the time eps_t at its t-th state. Averages over
the posterior weight that state by eps_t: sum_t eps_t f(w_t) / sum_t eps_t. A schedule
is itself that weight: `moments.add(moments, f(w_t), weight=schedule(t))`, where t is
the iteration of the state before the step that leaves it.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from dipgp import numerics

Array = jax.Array
#: From an iteration, 0 for the first, to the step taken there; optax has more of them.
Schedule = Callable[[jax.typing.ArrayLike], jax.typing.ArrayLike]


def polynomial(
    initial: jax.typing.ArrayLike, offset: jax.typing.ArrayLike, power: float = 0.55
) -> Schedule:
    """eps_t = initial (1 + t / offset)^(-power), which satisfies both conditions.

    Args:
      initial: the first step, positive.
      offset: iterations during which the step hardly changes, positive.
      power: in (1/2, 1]. At 1/2 and below the squares have no finite sum; above 1 the
        steps have one, and the chain stands still before it arrives.

    Returns:
      The schedule.

    Raises:
      ValueError: on arguments out of these ranges.
    """
    numerics.check_positive("initial", initial, scalar=True)
    numerics.check_positive("offset", offset, scalar=True)
    numerics.check_real("power", power)
    if np.ndim(power) or not 0.5 < power <= 1:
        raise ValueError(
            "power: expected a number in (1/2, 1], where the steps sum to infinity and "
            f"their squares do not, got {power!r}"
        )

    def step_size(iteration: jax.typing.ArrayLike) -> Array:
        return (
            jnp.asarray(initial, float)
            * (1 + jnp.asarray(iteration) / offset) ** -power
        )

    return step_size


def constant(step_size: jax.typing.ArrayLike) -> Schedule:
    """eps_t = step_size, whose squares have no finite sum.

    The chain samples a law that departs from the posterior by O(step_size), for ever.
    Along an eigenvector of a Gaussian posterior's precision, with eigenvalue lambda,
    the variance is 1 / (1 - step_size lambda / 4) times what it should be.

    Args:
      step_size: positive.

    Returns:
      The schedule.

    Raises:
      ValueError: where the step is not positive.
    """
    # Steps are not squared, and a chain that diverges is told of by its guard.
    numerics.check_between("step_size", step_size, 0, 1e38)

    def same(iteration: jax.typing.ArrayLike) -> Array:
        del iteration
        return jnp.asarray(step_size)

    return same


def cyclical(initial: jax.typing.ArrayLike, period: int) -> Schedule:
    """eps_t = initial / 2 (1 + cos(pi (t mod period) / period)).

    A large step at the start of each period leaves one mode, the small ones at its end
    sample the next. Repeated for ever the squares have no finite sum, so that, as with
    a constant step, a bias remains; it is that of the steps whose samples are kept.

    Args:
      initial: the largest step, positive.
      period: iterations, at least 2.

    Returns:
      The schedule.

    Raises:
      ValueError: on arguments out of these ranges.

    References:
      Zhang et al., "Cyclical stochastic gradient MCMC for Bayesian deep learning",
      ICLR, 2020, equation 1.
    """
    numerics.check_positive("initial", initial, scalar=True)
    numerics.check_whole_number("period", period, least=2)

    def step_size(iteration: jax.typing.ArrayLike) -> Array:
        phase = jnp.asarray(iteration) % period / period
        return jnp.asarray(initial, float) / 2 * (1 + jnp.cos(math.pi * phase))

    return step_size


def as_schedule(step_size: jax.typing.ArrayLike | Schedule) -> Schedule:
    """A schedule as it is, a number as a constant one."""
    if isinstance(step_size, type):  # which may be called as well
        raise TypeError(
            f"step_size: expected a number or a schedule, got {step_size!r}"
        )
    if callable(step_size):
        return step_size
    return constant(step_size)
