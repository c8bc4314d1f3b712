"""The steps of Langevin dynamics: bits, dtypes, sizes, and what they report."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from many_chains import MEAN, PRECISION, TARGET, gaussian

from dipgp.inference import langevin, schedules
from dipgp.inference.langevin import RootMeanSquare


def random_density(parameters, key):
    """Neither Gaussian nor of one shape or dtype, and random."""
    wide, low = parameters["wide"], parameters["low"].astype(jnp.float32)
    value = -jnp.sum(jnp.cosh(wide)) - 0.5 * jnp.sum(jnp.square(low))
    return value + jax.random.normal(key) * wide[0, 0], jnp.sin(wide)


TREE = {"wide": jnp.ones((2, 3)), "low": jnp.ones(4, jnp.float16)}
STEPS = schedules.polynomial(0.1, 5.0, 1.0)
KEYS = jax.random.split(jax.random.key(12), 10)
SETTINGS = {
    "plain": {},
    "cold and preconditioned": {
        "temperature": 0.3,
        "preconditioner": RootMeanSquare(frozen_after=6),
    },
    "gliding": {"momentum": 0.9},
    "gliding and preconditioned": {
        "momentum": 0.5,
        "preconditioner": RootMeanSquare(frozen_after=6),
    },
}


@functools.cache
def compiled(name):
    """The method that the tests below share, its step and ten steps in one scan."""
    method = langevin.sgld(random_density, STEPS, **SETTINGS[name])

    def ten_steps(keys):
        state, infos = jax.lax.scan(
            lambda state, key: method.step(key, state), method.init(TREE), keys
        )
        return state, infos.loss

    return method, jax.jit(method.step), jax.jit(ten_steps)


@pytest.mark.parametrize("name", SETTINGS)
class TestReproducibility:
    def test_a_scan_is_the_loop_and_its_repetition_the_same_bit_for_bit(self, name):
        method, step, ten_steps = compiled(name)
        state, losses = method.init(TREE), []
        for key in KEYS:
            state, info = step(key, state)
            losses.append(info.loss)
        first = ten_steps(KEYS)
        # Two programs, which the compiler of jaxlib 0.12 rounds differently.
        for found, expected in zip(
            jax.tree.leaves(first),
            jax.tree.leaves((state, np.stack(losses))),
            strict=True,
        ):
            rtol = 1e-3 if found.dtype == jnp.float16 else 1e-6
            np.testing.assert_allclose(found, expected, rtol)
        jax.tree.map(np.testing.assert_array_equal, ten_steps(KEYS), first)

    def test_other_keys_give_another_chain(self, name):
        _, _, ten_steps = compiled(name)
        one, other = (ten_steps(keys)[0].parameters for keys in (KEYS, KEYS[::-1]))
        assert np.all(one["wide"] != other["wide"])

    def test_dtypes_stay(self, name):
        state, _ = compiled(name)[2](KEYS)
        assert state.parameters["wide"].dtype == jnp.float32
        assert state.parameters["low"].dtype == jnp.float16
        assert state.iteration == 10

    def test_chains_side_by_side_equal_chains_alone(self, name):
        _, _, ten_steps = compiled(name)
        keys = jnp.stack([KEYS, KEYS[::-1]])
        pair, losses = jax.jit(jax.vmap(ten_steps))(keys)
        for i in range(2):
            state, loss = ten_steps(keys[i])
            np.testing.assert_allclose(losses[i], loss, rtol=1e-5)
            for leaf, rtol in (("wide", 1e-4), ("low", 1e-2)):
                np.testing.assert_allclose(
                    pair.parameters[leaf][i], state.parameters[leaf], rtol
                )

    def test_the_optax_transformation_takes_the_same_steps(self, name):
        key = jax.random.key(13)
        method, step, _ = compiled(name)
        link = langevin.transformation(key, STEPS, **SETTINGS[name])

        @jax.jit
        def follow(t, parameters, memory):
            key_density, _ = jax.random.split(jax.random.fold_in(key, t))
            slope, _ = jax.grad(random_density, has_aux=True)(parameters, key_density)
            gradient = jax.tree.map(jnp.negative, slope)
            updates, memory = link.update(gradient, memory)
            return optax.apply_updates(parameters, updates), memory

        state, parameters, memory = method.init(TREE), TREE, link.init(TREE)
        for t in range(10):
            state, _ = step(jax.random.fold_in(key, t), state)
            parameters, memory = follow(t, parameters, memory)
        jax.tree.map(np.testing.assert_array_equal, parameters, state.parameters)
        jax.tree.map(np.testing.assert_array_equal, memory.memory, state.memory)


def test_leaves_get_noise_of_their_own():
    method = langevin.sgld(lambda p, key: (0.0 * jnp.sum(p["a"]), None), 1.0)
    start = {"a": jnp.zeros(1000), "b": jnp.zeros(1000)}
    state, _ = method.step(jax.random.key(14), method.init(start))
    correlation = np.corrcoef(state.parameters["a"], state.parameters["b"])[0, 1]
    assert abs(correlation) < 4 / np.sqrt(1000)


def test_loss_and_output_are_those_where_the_step_began():
    method = langevin.sgld(TARGET, 0.1)
    start = jnp.arange(4.0)[None]
    _, info = method.step(jax.random.key(15), method.init(start))
    away = np.arange(4) - MEAN
    np.testing.assert_allclose(info.loss, 0.5 * away @ PRECISION @ away, rtol=1e-6)
    np.testing.assert_array_equal(info.output, start)


@pytest.mark.parametrize("schedule", [STEPS, optax.linear_schedule(0.3, 0.1, 5)])
def test_each_step_has_the_size_that_the_schedule_gives_its_iteration(schedule):
    method = langevin.sgld(
        lambda parameters, key: (jnp.sum(parameters), parameters),
        schedule,
        temperature=0,
    )
    state, places = method.init(jnp.zeros(1)), []
    for key in KEYS:
        state, info = method.step(key, state)
        places.append(info.output[0])
    sizes = [float(schedule(t)) / 2 for t in range(9)]
    np.testing.assert_allclose(np.diff(places), sizes, rtol=1e-5)


def test_a_schedule_may_return_a_number():
    key, start = jax.random.key(17), jnp.ones((1, 4))
    ends = [
        langevin.sgld(TARGET, step_size).step(
            key, langevin.sgld(TARGET, 0.1).init(start)
        )
        for step_size in (0.1, lambda iteration: 0.1)
    ]
    jax.tree.map(np.testing.assert_array_equal, *ends)


@pytest.mark.parametrize(("step_size", "finite"), [(3.9, True), (4.1, False)])
def test_a_step_too_large_ends_in_a_loss_that_is_not_finite(step_size, finite):
    method = langevin.sgld(gaussian(np.zeros(1), np.eye(1)), step_size)
    _, infos = jax.lax.scan(
        lambda state, key: method.step(key, state),
        method.init(jnp.ones((1, 1))),
        jax.random.split(jax.random.key(16), 2000),
    )
    assert np.isfinite(infos.loss).all() == finite
    assert np.isfinite(infos.loss[-1]) == finite


@pytest.mark.parametrize(
    ("named", "make"),
    [
        ("step_size", lambda: langevin.sgld(TARGET, 0.0)),
        ("step_size", lambda: langevin.sgld(TARGET, -1)),
        ("temperature", lambda: langevin.sgld(TARGET, 1.0, temperature=-1.0)),
        ("momentum", lambda: langevin.sgld(TARGET, 1.0, momentum=1.0)),
        ("momentum", lambda: langevin.sgld(TARGET, 1.0, momentum=-0.1)),
        ("step_size", lambda: langevin.transformation(jax.random.key(0), np.nan)),
        ("frozen_after", lambda: RootMeanSquare(frozen_after=0)),
        ("decay", lambda: RootMeanSquare(frozen_after=1, decay=1.0)),
        ("epsilon", lambda: RootMeanSquare(frozen_after=1, epsilon=0.0)),
        ("maximum", lambda: RootMeanSquare(frozen_after=1, maximum=-1.0)),
    ],
)
def test_errors_name_the_argument(named, make):
    with pytest.raises(ValueError, match=f"^{named}: expected"):
        make()
