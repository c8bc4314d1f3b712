"""The update that the reference code of the paper runs under the name of SGLD.

Adam on a loss, then independent noise on the weights of convolutions:

    w <- Adam(w, grad loss(w) + weight_decay w)
    w <- w + N(0, (2 learning_rate)^2)

It is not Langevin dynamics, and its samples are not of the posterior:

- Langevin noise has the step as its variance, weight by weight. Adam divides the step
  by the gradient's root mean square, and the noise here does not follow.
- A posterior needs the squared errors summed and divided by 2 noise_std^2. Here the
  loss is their mean, and Adam undoes any factor before it: noise_std has no influence.
- Momentum adds a second time scale, which the noise does not match either.

What it samples is set by the learning rate. It is here because the published pictures
were made with it.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from dipgp.inference import descent, langevin
from dipgp.inference.method import Info, Method, Objective, Parameters, State

Array = jax.Array


def is_convolution(leaf: Array) -> bool:
    """Whether a parameter is a kernel (k, k, C, O) or (k, C, O), by its axes."""
    return leaf.ndim >= 3


def noisy_adam(
    loss: Objective,
    learning_rate: float = 0.01,
    weight_decay: float = 5e-8,
    noisy: Callable[[Array], bool] = is_convolution,
) -> Method:
    """Adam with decay 0.9 and 0.999 and epsilon 1e-8, and noise of std 2 learning_rate.

    The weight decay is added to the gradient of every parameter before Adam sees it, as
    PyTorch's Adam does it. `State.memory` is optax's; `Info.loss` is without the decay.

    Args:
      loss: (parameters, key) -> (loss, output).
      learning_rate: positive.
      weight_decay: not negative.
      noisy: from a parameter's array to whether it receives noise; kernels of
        convolutions by default, neither biases nor parameters of normalisation.

    Returns:
      The method.

    Raises:
      ValueError: on numbers out of range.
    """
    adam = descent.adam(learning_rate, weight_decay)
    evaluate = jax.value_and_grad(loss, has_aux=True)

    def init(parameters: Parameters) -> State:
        parameters = jax.tree.map(jnp.asarray, parameters)
        return State(parameters, adam.init(parameters), jnp.zeros((), jnp.int32))

    def step(key: Array, state: State) -> tuple[State, Info]:
        key_loss, key_noise = jax.random.split(key)
        (value, output), gradient = evaluate(state.parameters, key_loss)
        updates, memory = adam.update(gradient, state.memory, state.parameters)
        parameters = optax.apply_updates(state.parameters, updates)
        parameters = _shake(key_noise, parameters, 2 * learning_rate, noisy)
        return State(parameters, memory, state.iteration + 1), Info(value, output)

    return Method(init, step)


def _shake(
    key: Array, parameters: Parameters, std: float, noisy: Callable[[Array], bool]
) -> Parameters:
    """Adds N(0, std^2) to the leaves that are noisy."""
    leaves, structure = jax.tree.flatten(parameters)
    kernels = [leaf for leaf in leaves if noisy(leaf)]
    noise = iter(langevin.standard_normals(key, kernels)) if kernels else iter(())
    shaken = [leaf + std * next(noise) if noisy(leaf) else leaf for leaf in leaves]
    return jax.tree.unflatten(structure, shaken)
