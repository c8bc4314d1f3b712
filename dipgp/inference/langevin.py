"""Stochastic gradient Langevin dynamics: posterior samples by noisy gradient steps.

The update, written here once:

    w <- w + eps/2 G grad log p(w) + sqrt(eps temperature G) N(0, 1)

where p(w) is the posterior density up to a factor, likelihood times prior. With G = 1
and temperature 1 it is that of Welling and Teh (2011), equation 4: noise of variance
eps, and a log-likelihood that sums over the data and does not average.

Momentum. Langevin dynamics with inertia remembers a velocity u, standard normal when at
rest, and keeps the part a of it from one step to the next. With g the gradient of
-log p, h = sqrt(eps) and S = sqrt(G),

    u <- a (u - h/2 S g) - h/2 S g + sqrt((1 - a^2) temperature) N(0, 1)
    w <- w + h S u

At a = 0 this is the update above. A random walk becomes a glide of about 1 / (1 - a)
steps: where the target is wide, the chain forgets its past (1 + a) / (1 - a) times as
fast for the same gradients, 19 times at a = 0.9. It is kick, friction and kick of a
symmetric splitting (Leimkuhler and Matthews, 2013), so that what follows on the step
size holds for every a. Noise in the gradient itself, as from minibatches or from a
noisy input, heats the chain (1 + a) / (1 - a) times as much too.

Step size. With H the Hessian of -log p, a Gaussian posterior's chain is stable while
eps G H has eigenvalues below 4, and its stationary covariance is exactly
temperature (H - eps/4 H G H)^-1 instead of temperature H^-1: a bias of O(eps), which
shrinks with the steps of a schedule.

Divergence. A chain whose step is too large leaves every bound. `Info.loss` then turns
infinite or NaN and never recovers; whoever runs the chain looks at it. A bounded
network without a prior can hide this: its loss only stays high.

Batch normalisation. A likelihood that sees weights through it depends on their
direction u = w/|w| alone. Under a prior N(0, s^2 I) direction and radius are
independent, so the posterior is p(u | y) p(|w|): the direction's law does not depend on
s, and the radius keeps its prior. A step eps on w moves the direction as a step
eps/|w|^2 would on the sphere, since gradient and displacement both scale with 1/|w|.
Hence scale invariance is harmless for the stationary law and merely rescales the
effective angular step, to about eps/(s^2 d) for d weights. Scaling s by c, eps by c^2
and the start by c leaves every direction of the chain as it was. Two conditions: there
is a prior, since without one noise drives |w|^2 up by about eps d a step and the
direction slows down for ever; and |w|^2 stays far above eps, since the gradient is
infinite at w = 0, which many weights make sure of and two or three do not.

References:
  Welling and Teh, "Bayesian learning via stochastic gradient Langevin dynamics", 2011.
  Li et al., "Preconditioned stochastic gradient Langevin dynamics for deep neural
  networks", 2016.
  Leimkuhler and Matthews, "Rational construction of stochastic numerical methods for
  molecular sampling", 2013.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from dipgp import numerics
from dipgp.inference.method import Info, Method, Objective, Parameters, State
from dipgp.inference.schedules import Schedule, as_schedule

Array = jax.Array


@dataclass(frozen=True, kw_only=True)
class RootMeanSquare:
    """A step for each parameter: the inverse root of its gradient's mean square.

        V <- V + max(1 - decay, 1/(t + 1)) (g^2 - V),
        G = min(1 / (epsilon + sqrt(V)), maximum)

    with g the gradient of the potential -log p, prior included. That is the moving
    average of Li et al. (2016) after a start in which all gradients count alike.

    Scale. Li et al. average the gradient over N data; here it is the sum, whose root
    mean square is N times theirs. Hence G is 1/N of theirs, and a step eps here is
    their N eps, an `epsilon` here their N epsilon. With the sum the scale has a
    meaning: for a Gaussian posterior of precision H the mean of g_i^2 is H_ii, so that
    G_i is about the posterior standard deviation of w_i given the others, at most the
    prior's.

    Bias. A G that follows w needs the drift Gamma_i = sum_j dG_ij/dw_j, left out here.
    Its absence is no small matter. Where V is faster than w (steps so small that w
    moves little in 1 / (1 - decay) iterations, gradients exact) and coordinates are
    independent, the chain samples p(w)/G(w), about p(w) |g(w)|: the variance of a
    Gaussian doubles, however small eps is. Where V is slower it averages over the
    posterior, is nearly constant, and the bias is small; with decay 0.99 and
    eps sqrt(H) = 0.02, variances come out 1.3 times too large. Including the
    (1 - decay) Gamma of Li et al. would correct only the newest gradient's part in V.
    Freezing corrects it all: with V fixed, G is a constant matrix and the chain is
    plain Langevin dynamics in scaled coordinates, right for any G > 0.

    Outliers. An element whose gradient happened to be small while V was gathered gets a
    step too long for its curvature, and one such element among a million ends the
    chain. With `floored`, max(V, mean of V over the element's array) stands for V in G.

    Attributes:
      frozen_after: iterations after which V stays as it is; samples from before are
        not to be kept. None lets it adapt for ever and accepts the bias.
      decay: of the moving average, in [0, 1).
      epsilon: added to sqrt(V), in the units of the gradient; positive.
      maximum: the largest G, positive. The prior's standard deviation is a natural
        choice, so 1 for standard normal weights.
      floored: whether no element's V counts less than its array's mean.

    Raises:
      ValueError: on attributes out of these ranges.
    """

    frozen_after: int | None
    decay: float = 0.99
    epsilon: float = 1e-5
    maximum: float = 1.0
    floored: bool = False

    def __post_init__(self) -> None:
        if self.frozen_after is not None:
            numerics.check_whole_number("frozen_after", self.frozen_after, least=1)
        numerics.check_fraction("decay", self.decay)
        numerics.check_positive("epsilon", self.epsilon, scalar=True)
        if self.maximum != math.inf:
            numerics.check_positive("maximum", self.maximum, scalar=True)

    def accumulate(self, mean_square: Any, gradient: Any, iteration: Array) -> Any:
        """V after one more gradient, both pytrees of one structure."""
        rate = jnp.maximum(1 - self.decay, 1 / (iteration + 1))
        if self.frozen_after is not None:
            rate = jnp.where(iteration < self.frozen_after, rate, 0)

        def average(v: Array, g: Array) -> Array:
            moved = v + rate.astype(v.dtype) * (jnp.square(g) - v)
            # A gradient that is not finite must not thaw what is frozen.
            return jnp.where(rate > 0, moved, v)

        return jax.tree.map(average, mean_square, gradient)

    def scale(self, mean_square: Any) -> Any:
        """G, the diagonal preconditioner, from V."""

        def invert(v: Array) -> Array:
            if self.floored:
                v = jnp.maximum(v, jnp.mean(v))
            return jnp.minimum(1 / (self.epsilon + jnp.sqrt(v)), self.maximum)

        return jax.tree.map(invert, mean_square)


class Memory(NamedTuple):
    """What a chain remembers beside its parameters.

    Attributes:
      mean_square: V of the preconditioner, or () without one.
      velocity: u, or () without momentum.
    """

    mean_square: Any
    velocity: Any


class TransformationState(NamedTuple):
    """What the optax transformation remembers.

    Attributes:
      key: the key of the whole chain; step t uses `fold_in(key, t)`.
      iteration: () int32, steps taken so far.
      memory: of the update.
    """

    key: Array
    iteration: Array
    memory: Memory


def sgld(
    log_density: Objective,
    step_size: jax.typing.ArrayLike | Schedule,
    *,
    temperature: jax.typing.ArrayLike = 1.0,
    preconditioner: RootMeanSquare | None = None,
    momentum: float = 0.0,
) -> Method:
    """Samples parameters from a density known up to a factor.

        w <- w + eps/2 G grad log p(w) + sqrt(eps temperature G) N(0, 1)

    The limit law is p^(1/temperature), as eps goes to 0. `State.memory` is a `Memory`.
    `Info.loss` is -log p where the step began; a chain that diverged shows there as
    infinity or NaN.

    Args:
      log_density: (parameters, key) -> (log p, output); log p may be an unbiased
        estimate, whose randomness comes from the key alone.
      step_size: eps, a positive number or a schedule.
      temperature: 1 for the posterior, 0 for gradient descent.
      preconditioner: G; 1 by default.
      momentum: a, the part of the velocity that a step keeps, in [0, 1).

    Returns:
      The method.

    Raises:
      ValueError: on a step, a temperature or a momentum out of range.
    """
    update = _Update(as_schedule(step_size), temperature, preconditioner, momentum)
    evaluate = jax.value_and_grad(log_density, has_aux=True)

    def init(parameters: Parameters) -> State:
        parameters = jax.tree.map(jnp.asarray, parameters)
        return State(parameters, update.init(parameters), jnp.zeros((), jnp.int32))

    def step(key: Array, state: State) -> tuple[State, Info]:
        # The noise must not depend on what was random in the gradient.
        key_density, key_noise = jax.random.split(key)
        (value, output), slope = evaluate(state.parameters, key_density)
        gradient = jax.tree.map(jnp.negative, slope)
        change, memory = update(key_noise, gradient, state.memory, state.iteration)
        parameters = jax.tree.map(jnp.add, state.parameters, change)
        return State(parameters, memory, state.iteration + 1), Info(-value, output)

    return Method(init, step)


def transformation(
    key: Array,
    step_size: jax.typing.ArrayLike | Schedule,
    *,
    temperature: jax.typing.ArrayLike = 1.0,
    preconditioner: RootMeanSquare | None = None,
    momentum: float = 0.0,
) -> optax.GradientTransformation:
    """The same update as a link of an optax chain.

    Gradients of the potential -log p go in, the change of the parameters comes out.
    Step t equals that of `sgld` with the key `fold_in(key, t)`.

    Args:
      key: of the noise of all steps.
      step_size: as for `sgld`.
      temperature: as for `sgld`.
      preconditioner: as for `sgld`.
      momentum: as for `sgld`.

    Returns:
      The transformation.

    Raises:
      ValueError: on a step, a temperature or a momentum out of range.
    """
    update = _Update(as_schedule(step_size), temperature, preconditioner, momentum)

    def init(parameters: Parameters) -> TransformationState:
        iteration = jnp.zeros((), jnp.int32)
        return TransformationState(key, iteration, update.init(parameters))

    def apply(
        updates: optax.Updates,
        state: optax.OptState,
        params: optax.Params | None = None,
    ) -> tuple[optax.Updates, optax.OptState]:
        del params
        _, key_noise = jax.random.split(jax.random.fold_in(state.key, state.iteration))
        change, memory = update(key_noise, updates, state.memory, state.iteration)
        return change, TransformationState(state.key, state.iteration + 1, memory)

    return optax.GradientTransformation(init, apply)


@dataclass(frozen=True)
class _Update:
    """The change of the parameters from the gradient of the potential."""

    step_size: Schedule
    temperature: jax.typing.ArrayLike
    preconditioner: RootMeanSquare | None
    momentum: float

    def __post_init__(self) -> None:
        numerics.check_not_negative("temperature", self.temperature, scalar=True)
        numerics.check_fraction("momentum", self.momentum)

    def init(self, parameters: Parameters) -> Memory:
        zeros = jax.tree.map(jnp.zeros_like, parameters)
        return Memory(
            mean_square=() if self.preconditioner is None else zeros,
            velocity=zeros if self.momentum else (),
        )

    def __call__(
        self, key: Array, gradient: Any, memory: Memory, iteration: Array
    ) -> tuple[Any, Memory]:
        leaves, structure = jax.tree.flatten(gradient)
        mean_square = memory.mean_square
        if self.preconditioner is None:
            scales = [jnp.ones((), g.dtype) for g in leaves]
        else:
            mean_square = self.preconditioner.accumulate(
                mean_square, gradient, iteration
            )
            scales = jax.tree.leaves(self.preconditioner.scale(mean_square))
        # Without momentum the velocity is drawn anew: zeros stand for what is lost.
        past = jax.tree.leaves(memory.velocity) or [jnp.zeros_like(g) for g in leaves]
        step_size = self.step_size(iteration)
        noise = standard_normals(key, leaves)
        velocities, changes = [], []
        for arguments in zip(past, noise, leaves, scales, strict=True):
            velocity, change = self._leaf(*arguments, step_size)
            velocities.append(velocity)
            changes.append(change)
        kept = jax.tree.unflatten(structure, velocities) if self.momentum else ()
        return jax.tree.unflatten(structure, changes), Memory(mean_square, kept)

    def _leaf(
        self,
        velocity: Array,
        noise: Array,
        gradient: Array,
        scale: Array,
        step_size: jax.typing.ArrayLike,
    ) -> tuple[Array, Array]:
        """Velocity and change of the parameters."""
        stride = jnp.sqrt(jnp.asarray(step_size, gradient.dtype) * scale)
        heat = (1 - self.momentum**2) * jnp.asarray(self.temperature, gradient.dtype)
        kick = stride / 2 * gradient
        velocity = self.momentum * (velocity - kick) - kick + jnp.sqrt(heat) * noise
        return velocity, stride * velocity


def standard_normals(key: Array, leaves: Sequence[Array]) -> list[Array]:
    """Independent N(0, 1) draws in the shapes and dtypes of some arrays.

    Drawn as one vector: a generator in the program for each of a network's many arrays
    made it take five times as long to compile.
    """
    sizes = [leaf.size for leaf in leaves]
    dtype = jnp.result_type(*leaves)
    drawn = jax.random.normal(key, (sum(sizes),), dtype)
    ends = itertools.accumulate(sizes)
    return [
        drawn[end - size : end].reshape(leaf.shape).astype(leaf.dtype)
        for end, size, leaf in zip(ends, sizes, leaves, strict=True)
    ]
