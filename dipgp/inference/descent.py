"""Descending a loss with any rule of optax, and averaging what comes out.

The deep image prior is a network whose parameters descend the misfit to one image
(Ulyanov, Vedaldi and Lempitsky, "Deep image prior", 2018). Noise on the network's input
belongs to the loss, which is given a key for it.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from dipgp import numerics
from dipgp.inference.method import Info, Method, Objective, Parameters, State

Array = jax.Array


def descend(loss: Objective, optimiser: optax.GradientTransformation) -> Method:
    """Moves parameters against the gradient of a loss.

    With g the gradient of the loss at parameters w and u(g, memory, w) the optimiser's
    rule, w <- w + u.

    Args:
      loss: from parameters and a key to a scalar, which is minimised, and an output.
      optimiser: the rule, such as `adam()` or `gradient_descent(0.1)`.

    Returns:
      The method. Its memory is the optimiser's state. Each step hands its whole key to
      the loss, so that steps with keys of their own see noise of their own.
    """
    evaluate = jax.value_and_grad(loss, has_aux=True)

    def init(parameters: Parameters) -> State:
        parameters = jax.tree.map(jnp.asarray, parameters)
        return State(parameters, optimiser.init(parameters), jnp.zeros((), jnp.int32))

    def step(key: Array, state: State) -> tuple[State, Info]:
        (value, output), gradient = evaluate(state.parameters, key)
        update, memory = optimiser.update(gradient, state.memory, state.parameters)
        parameters = optax.apply_updates(state.parameters, update)
        return State(parameters, memory, state.iteration + 1), Info(value, output)

    return Method(init, step)


def adam(
    learning_rate: optax.ScalarOrSchedule = 0.01, weight_decay: float = 0.0
) -> optax.GradientTransformation:
    """Adam, with weight decay as a part of the gradient.

    With g' = g + weight_decay w and the running moments of g' and its square,
    w <- w - learning_rate m / (sqrt(v) + 1e-8), both corrected for their start at zero
    (Kingma and Ba, "Adam", 2015). Decay inside the gradient is scaled along with it, as
    in PyTorch's Adam and unlike AdamW (Loshchilov and Hutter, 2019).

    Args:
      learning_rate: a positive number, or a schedule: a function of the steps taken.
      weight_decay: the paper's variant has 5e-8.

    Raises:
      ValueError: on a learning rate that is not positive, or a negative weight decay.
    """
    _check_learning_rate(learning_rate)
    numerics.check_not_negative("weight_decay", weight_decay, scalar=True)
    return optax.chain(
        optax.add_decayed_weights(weight_decay), optax.adam(learning_rate)
    )


def gradient_descent(
    learning_rate: optax.ScalarOrSchedule, momentum: float = 0.0
) -> optax.GradientTransformation:
    """Gradient descent with a heavy ball.

    t <- momentum t + g,  w <- w - learning_rate t (Polyak, "Some methods of speeding up
    the convergence of iteration methods", 1964).

    Args:
      learning_rate: a positive number, or a schedule: a function of the steps taken.
      momentum: in [0, 1).

    Raises:
      ValueError: on a number out of range.
    """
    _check_learning_rate(learning_rate)
    numerics.check_fraction("momentum", momentum)
    # Without momentum there is no trace to remember.
    return optax.sgd(learning_rate, momentum=momentum or None)


def _check_learning_rate(learning_rate: optax.ScalarOrSchedule) -> None:
    if not callable(learning_rate) or isinstance(learning_rate, type):
        numerics.check_positive("learning_rate", learning_rate, scalar=True)


class Average(NamedTuple):
    """An exponential average of outputs.

    Attributes:
      value: the average, in the outputs' shape; zero before the first of them.
      started: () bool, whether there was one.
    """

    value: Array
    started: Array


def average_init(output_like: Array | jax.ShapeDtypeStruct) -> Average:
    """The average of nothing, for outputs of a shape and dtype."""
    return Average(jnp.zeros(output_like.shape, output_like.dtype), jnp.zeros((), bool))


def average_add(
    average: Average, output: Array, decay: jax.typing.ArrayLike = 0.99
) -> Average:
    """Takes one more output into an exponential average.

    The first output is the average; after it, value <- decay value +
    (1 - decay) output. This is the reference program's average: it is not corrected for
    its start, so the first output weighs decay^n after n more.

    Args:
      average: of the outputs so far.
      output: of the average's shape.
      decay: in [0, 1); 0.99 in the reference program.
    """
    value = decay * average.value + (1 - decay) * output
    # The average keeps its dtype, whatever the decay's.
    value = jnp.where(average.started, value, output).astype(average.value.dtype)
    return Average(value, jnp.ones((), bool))
