"""Small chains that are quick to compile: matrices that shrink, and are stirred."""

import jax
import jax.numpy as jnp


def advance(carry):
    """A few steps of noisy shrinking, mixed by a matrix product."""

    def step(carry, _):
        key, key_noise = jax.random.split(carry["key"])
        noise = jax.random.normal(key_noise, carry["w"].shape)
        w = 0.5 * jnp.tanh(carry["w"] @ carry["w"].T) + noise
        return {"key": key, "w": w}, jnp.mean(w)

    return jax.lax.scan(step, carry, length=5)


def begin(chains):
    """So many chains before their first step, each with a key of its own."""
    keys = jax.random.split(jax.random.key(0), chains)
    return {"key": keys, "w": jnp.zeros((chains, 3, 3))}
