"""The reference code's update: Adam as PyTorch runs it, then noise on convolutions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dipgp.inference.noisy_adam import is_convolution, noisy_adam

SHAPES = {
    "kernel": (3, 3, 8, 16),
    "kernel of a row": (3, 8, 16),
    "dense": (8, 16),
    "bias": (16,),
}


def parameters(seed=0):
    random = np.random.default_rng(seed)
    return {
        name: jnp.asarray(random.standard_normal(shape), jnp.float32)
        for name, shape in SHAPES.items()
    }


def quadratic(tree, key):
    del key
    return 0.5 * sum(jnp.sum(jnp.square(leaf)) for leaf in tree.values()), tree["bias"]


def still(leaf):
    return False


METHOD = noisy_adam(quadratic, 0.03)
STEP = jax.jit(METHOD.step)
STILL = noisy_adam(quadratic, 0.03, noisy=still)


def travel(method, start, steps, seed=0):
    keys = jax.random.split(jax.random.key(seed), steps)
    state, infos = jax.jit(
        lambda start: jax.lax.scan(
            lambda state, key: method.step(key, state), method.init(start), keys
        )
    )(start)
    return state, infos


def adam(start, gradient, learning_rate, weight_decay, steps):
    """Algorithm 1 of Kingma and Ba (2015), the decay added to the gradient."""
    w, m, v = np.asarray(start, np.float64), 0.0, 0.0
    for t in range(1, steps + 1):
        g = gradient(w) + weight_decay * w
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        step = m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        w = w - learning_rate * step
    return w


def test_kernels_of_convolutions_are_told_by_their_axes():
    noisy = [name for name, leaf in parameters().items() if is_convolution(leaf)]
    assert noisy == ["kernel", "kernel of a row"]


@pytest.mark.parametrize("weight_decay", [5e-8, 0.5])
def test_without_noise_it_is_adam_with_the_decay_in_the_gradient(weight_decay):
    start = parameters()
    method = noisy_adam(quadratic, 0.03, weight_decay=weight_decay, noisy=still)
    state, _ = travel(method, start, 20)
    for name, leaf in start.items():
        expected = adam(leaf, lambda w: w, 0.03, weight_decay, 20)
        np.testing.assert_allclose(state.parameters[name], expected, atol=2e-5)


def test_noise_of_twice_the_learning_rate_meets_convolutions_only():
    key, state = jax.random.key(0), METHOD.init(parameters())
    shaken, still = (
        step(key, state)[0].parameters for step in (STEP, jax.jit(STILL.step))
    )
    for name in SHAPES:
        noise = np.asarray(shaken[name] - still[name])
        if name.startswith("kernel"):
            tolerance = 4 / np.sqrt(2 * noise.size)
            np.testing.assert_allclose(np.std(noise), 0.06, rtol=tolerance)
            assert abs(np.mean(noise)) < 4 * 0.06 / np.sqrt(noise.size)
        else:
            np.testing.assert_array_equal(noise, 0)


def test_the_predicate_chooses_what_is_noisy():
    method = noisy_adam(quadratic, 0.03, noisy=lambda leaf: leaf.shape == (16,))
    key, state = jax.random.key(0), METHOD.init(parameters())
    shaken, still = (jax.jit(m.step)(key, state)[0].parameters for m in (method, STILL))
    assert [name for name in SHAPES if np.any(shaken[name] != still[name])] == ["bias"]


def test_leaves_and_steps_get_noise_of_their_own():
    flat = noisy_adam(
        lambda tree, key: (0.0 * jnp.sum(tree["a"]), jnp.stack([*tree.values()])),
        0.03,
        noisy=lambda leaf: True,
    )
    start = {"a": jnp.zeros(1000), "b": jnp.zeros(1000)}
    _, infos = travel(flat, start, 4)
    noise = np.diff(infos.output, axis=0).reshape(6, 1000)
    correlations = np.corrcoef(noise)[np.triu_indices(6, 1)]
    assert np.abs(correlations).max() < 4 / np.sqrt(1000)


def test_what_it_samples_does_not_depend_on_the_noise_of_the_data():
    """Adam undoes a factor of the loss; the variance of a posterior would follow it."""

    def spread(precision):
        def loss(tree, key):
            del key
            return 0.5 * precision * jnp.sum(jnp.square(tree["kernel"])), None

        method = noisy_adam(loss, 0.01, weight_decay=0.0)
        state, _ = travel(method, {"kernel": jnp.zeros((10, 10, 20))}, 500)
        return np.var(state.parameters["kernel"])

    once, hundred_times = spread(1.0), spread(100.0)
    np.testing.assert_allclose(hundred_times, once, rtol=0.01)
    # Neither is near the posterior's 1 / precision.
    assert not 0.5 < once < 2
    assert not 0.005 < hundred_times < 0.02


def test_loss_and_output_are_those_where_the_step_began():
    start = parameters()
    state, info = STEP(jax.random.key(0), METHOD.init(start))
    loss, output = quadratic(start, None)
    np.testing.assert_allclose(info.loss, loss, rtol=1e-6)
    np.testing.assert_array_equal(info.output, output)
    assert state.iteration == 1


def test_the_same_keys_give_the_same_bits_in_a_loop_and_a_scan():
    state = METHOD.init(parameters())
    for key in jax.random.split(jax.random.key(5), 6):
        state, _ = STEP(key, state)
    scanned, _ = travel(METHOD, parameters(), 6, seed=5)
    jax.tree.map(np.testing.assert_array_equal, scanned, state)


@pytest.mark.parametrize(
    ("named", "arguments"),
    [
        ("learning_rate", {"learning_rate": 0.0}),
        ("weight_decay", {"weight_decay": -1.0}),
    ],
)
def test_errors_name_the_argument(named, arguments):
    with pytest.raises(ValueError, match=f"^{named}: expected"):
        noisy_adam(quadratic, **arguments)
