"""Signals behind batch norm against JAX's own derivatives of the formula."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dipgp.networks import normalisation
from dipgp.networks.normalisation import Normalised

CHANNELS = 3


def leak(y):
    return jnp.where(y > 0, y, 0.1 * y)


def product(y, weights):
    return jnp.square(y @ weights)


def read(x, gamma, beta, weights, *, plain, epsilon=1e-3):
    signal = Normalised(x, gamma, beta, epsilon, (leak,), plain)
    return signal.then(jnp.sin).read(product, weights)


@pytest.mark.parametrize("shape", [(5, 4), (7,)], ids=["image", "line"])
def test_values_and_slopes_are_those_of_the_formula(x64, shape):
    shapes = [(*shape, CHANNELS), (CHANNELS,), (CHANNELS,), (CHANNELS, 2)]
    rng = np.random.default_rng(0)
    arguments = [rng.standard_normal(each) for each in shapes]

    def formula(x, gamma, beta, weights):
        axes = tuple(range(len(shape)))
        mean, variance = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
        gamma, beta = (v.reshape(mean.shape) for v in (gamma, beta))
        y = gamma * (x - mean) / jnp.sqrt(variance + 1e-3) + beta
        return product(jnp.sin(leak(y)), weights)

    @jax.jit
    def values_and_slopes(slope, *arguments):
        functions = [
            formula,
            *(functools.partial(read, plain=p) for p in (False, True)),
        ]
        pairs = [jax.vjp(function, *arguments) for function in functions]
        return [(value, *pull_back(slope)) for value, pull_back in pairs]

    slope = rng.standard_normal((*shape, 2))
    expected, *both = values_and_slopes(slope, *arguments)
    for found in both:
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)


def test_a_signal_as_it_stands_is_its_own_value():
    x = jnp.arange(6.0).reshape(2, 3)
    assert normalisation.value(x) is x


def test_gradients_keep_one_image_for_each_norm():
    pixels, channels, norms = 4096, 16, 5
    x = jnp.ones((pixels, channels))
    weights = jnp.ones((norms, channels, channels))

    def images(plain):
        """What a compiled gradient holds on its way, in images."""

        def loss(x, weights):
            ones = jnp.ones(channels)
            for each in weights:
                x = read(x, ones, ones, each, plain=plain)
            return x.sum()

        compiled = jax.jit(jax.grad(loss, argnums=(0, 1))).lower(x, weights).compile()
        return compiled.memory_analysis().temp_size_in_bytes / x.nbytes

    found = images(plain=False)
    # Beside what is kept, little more than the image whose slope is computed.
    assert found < norms + 2.5
    # How much more JAX's own derivative keeps is the compiler's to say: 10 to 15.
    assert 1.5 * found < images(plain=True)
