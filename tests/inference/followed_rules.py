"""Outputs of a method that rules of stopping follow."""

import jax
import jax.numpy as jnp
import numpy as np

SHAPE = (4, 5, 2)


def image(seed=0, shape=SHAPE):
    return np.random.default_rng(seed).standard_normal(shape)


def follow(rule, outputs, first=0):
    """The last state of a rule that has seen outputs, and its scores, compiled."""
    outputs = jnp.asarray(outputs)

    def see(state, step):
        state = rule.update(state, *step)
        return state, state.score

    iterations = first + jnp.arange(len(outputs))
    scan = jax.jit(lambda state: jax.lax.scan(see, state, (iterations, outputs)))
    state, scores = scan(rule.init(outputs[0]))
    return state, np.asarray(scores)
