import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dipgp.inference import descent
from dipgp.inference.method import Info, State

CURVATURES = np.array([0.5, 1.0, 3.0])
START = np.array([1.0, -2.0, 0.25])


def bowl(parameters, key):
    """Half of sum_i a_i w_i^2, whose output is w itself."""
    del key
    w = parameters["w"]
    return jnp.sum(jnp.asarray(CURVATURES) * jnp.square(w)) / 2, w


def run(method, steps, parameters=None, key=None):
    """The states before the first step and after each, and what the steps found."""
    key = jax.random.key(0) if key is None else key
    state = method.init({"w": jnp.asarray(START)} if parameters is None else parameters)
    step = jax.jit(method.step)
    states, infos = [state], []
    for index in range(steps):
        state, info = step(jax.random.fold_in(key, index), state)
        states.append(state)
        infos.append(info)
    return states, infos


def path(states):
    return np.stack([state.parameters["w"] for state in states])


class TestGradientDescent:
    def test_in_a_bowl_each_direction_shrinks_geometrically(self, x64):
        method = descent.descend(bowl, descent.gradient_descent(0.1))
        states, _ = run(method, 20)
        expected = START * (1 - 0.1 * CURVATURES) ** np.arange(21)[:, None]
        np.testing.assert_allclose(path(states), expected, rtol=1e-12)

    def test_a_heavy_ball_follows_its_linear_recurrence(self, x64):
        rate, momentum = 0.1, 0.8
        method = descent.descend(bowl, descent.gradient_descent(rate, momentum))
        states, _ = run(method, 20)
        # w' = (1 + momentum - rate a) w - momentum w_before, from a first plain step.
        expected = [START, (1 - rate * CURVATURES) * START]
        for _ in range(19):
            expected.append(
                (1 + momentum - rate * CURVATURES) * expected[-1]
                - momentum * expected[-2]
            )
        np.testing.assert_allclose(path(states), expected, rtol=0, atol=1e-14)

    def test_a_schedule_is_read_at_the_steps_taken(self, x64):
        schedule = optax.linear_schedule(0.2, 0.1, 2)
        method = descent.descend(bowl, descent.gradient_descent(schedule))
        states, _ = run(method, 3)
        factors = [1 - rate * CURVATURES for rate in (0.2, 0.15, 0.1)]
        np.testing.assert_allclose(
            path(states)[-1], START * np.prod(factors, axis=0), rtol=1e-6
        )

    def test_without_momentum_nothing_of_the_parameters_size_is_remembered(self):
        plain = descent.descend(bowl, descent.gradient_descent(0.1))
        heavy = descent.descend(bowl, descent.gradient_descent(0.1, 0.9))
        assert not jax.tree.leaves(run(plain, 0)[0][0].memory)
        assert [leaf.shape for leaf in jax.tree.leaves(run(heavy, 0)[0][0].memory)] == [
            START.shape
        ]


class TestAdam:
    @pytest.mark.parametrize("weight_decay", [0.0, 0.3])
    def test_weight_decay_is_part_of_the_gradient_that_the_moments_see(
        self, x64, weight_decay
    ):
        method = descent.descend(bowl, descent.adam(0.05, weight_decay))
        states, _ = run(method, 12)
        w, mean, square = START, 0.0, 0.0
        for index, found in enumerate(path(states)):
            np.testing.assert_allclose(found, w, rtol=1e-6)
            gradient = CURVATURES * w + weight_decay * w
            mean = 0.9 * mean + 0.1 * gradient
            square = 0.999 * square + 0.001 * gradient**2
            slope = mean / (1 - 0.9 ** (index + 1))
            size = np.sqrt(square / (1 - 0.999 ** (index + 1)))
            w = w - 0.05 * slope / (size + 1e-8)

    def test_without_gradient_weight_decay_alone_takes_full_steps(self, x64):
        """The mark of decay inside the gradient: its size cancels, its sign remains."""

        def flat(parameters, key):
            return 0.0 * jnp.sum(parameters["w"]), parameters["w"]

        method = descent.descend(flat, descent.adam(0.01, 5e-4))
        states, _ = run(method, 1)
        np.testing.assert_allclose(
            path(states)[1], START - 0.01 * np.sign(START), rtol=1e-4
        )

    def test_its_defaults_are_the_papers_without_decay(self, x64):
        default = run(descent.descend(bowl, descent.adam()), 3)[0]
        written = run(descent.descend(bowl, descent.adam(0.01, 0.0)), 3)[0]
        np.testing.assert_array_equal(path(default), path(written))


class TestDescend:
    def test_a_step_tells_what_it_found_before_it_moved(self):
        method = descent.descend(bowl, descent.gradient_descent(0.1))
        states, infos = run(method, 3)
        for state, info in zip(states, infos, strict=False):
            assert isinstance(state, State)
            assert isinstance(info, Info)
            loss, output = bowl(state.parameters, None)
            np.testing.assert_allclose(info.loss, loss, rtol=1e-6)
            np.testing.assert_array_equal(info.output, output)

    def test_steps_are_counted(self):
        states, _ = run(descent.descend(bowl, descent.adam()), 3)
        assert [int(state.iteration) for state in states] == [0, 1, 2, 3]
        assert states[-1].iteration.dtype == jnp.int32

    def test_noise_in_the_loss_is_fresh_in_each_step_and_follows_from_the_keys(self):
        def noisy(parameters, key):
            noise = jax.random.normal(key, START.shape)
            return jnp.sum(jnp.square(parameters["w"])), noise

        method = descent.descend(noisy, descent.adam())
        _, infos = run(method, 3)
        _, again = run(method, 3)
        _, others = run(method, 3, key=jax.random.key(1))
        noises = np.stack([info.output for info in infos])
        assert len(np.unique(noises)) == noises.size
        np.testing.assert_array_equal(noises, np.stack([i.output for i in again]))
        assert not np.any(noises == np.stack([i.output for i in others]))

    def test_it_runs_inside_a_compiled_loop(self):
        method = descent.descend(bowl, descent.adam(0.05))
        state = method.init({"w": jnp.asarray(START)})
        keys = jax.random.split(jax.random.key(0), 200)
        scan = jax.jit(
            lambda state: jax.lax.scan(lambda s, k: method.step(k, s), state, keys)
        )
        final, infos = scan(state)
        assert int(final.iteration) == 200
        assert infos.loss[-1] < 1e-2 * infos.loss[0]
        assert jax.tree.structure(final) == jax.tree.structure(state)

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_parameters_keep_their_dtype(self, x64, dtype):
        start = {"w": jnp.asarray(START, dtype)}
        method = descent.descend(
            lambda p, key: (jnp.sum(jnp.square(p["w"])), p["w"]),
            descent.adam(0.01, 5e-8),
        )
        states, infos = run(method, 2, start)
        assert states[-1].parameters["w"].dtype == dtype
        assert infos[-1].loss.dtype == dtype


class TestAverage:
    def outputs(self, count=5):
        return np.random.default_rng(0).standard_normal((count, 4, 3, 2))

    def test_it_starts_at_the_first_output(self):
        (output,) = self.outputs(1)
        average = descent.average_init(jnp.asarray(output, jnp.float32))
        assert not average.started
        average = descent.average_add(average, jnp.asarray(output, jnp.float32))
        assert average.started
        np.testing.assert_array_equal(average.value, output.astype(np.float32))

    def test_weights_fall_off_geometrically_and_the_first_takes_the_rest(self, x64):
        outputs, decay = self.outputs(), 0.7
        average = descent.average_init(jax.ShapeDtypeStruct(outputs[0].shape, float))
        for output in outputs:
            average = jax.jit(descent.average_add)(average, jnp.asarray(output), decay)
        weights = [decay**4] + [0.3 * decay**k for k in (3, 2, 1, 0)]
        assert sum(weights) == pytest.approx(1)
        np.testing.assert_allclose(
            average.value, np.tensordot(weights, outputs, 1), rtol=1e-12
        )

    def test_a_constant_output_is_its_own_average(self):
        output = jnp.full((2, 2, 1), 0.3)
        average = descent.average_init(output)
        for _ in range(50):
            average = descent.average_add(average, output)
        np.testing.assert_allclose(average.value, output, rtol=1e-5)

    def test_it_keeps_the_outputs_dtype_through_a_compiled_loop(self, x64):
        outputs = jnp.asarray(self.outputs(), jnp.float32)
        decay = jnp.asarray(0.9)

        def add(average, output):
            return descent.average_add(average, output, decay), None

        average, _ = jax.lax.scan(add, descent.average_init(outputs[0]), outputs)
        assert average.value.dtype == jnp.float32


@pytest.mark.parametrize(
    ("named", "make"),
    [
        ("learning_rate", lambda: descent.adam(0.0)),
        ("learning_rate", lambda: descent.adam(float("nan"))),
        ("weight_decay", lambda: descent.adam(0.01, -1e-8)),
        ("learning_rate", lambda: descent.gradient_descent(-0.1)),
        ("momentum", lambda: descent.gradient_descent(0.1, 1.0)),
        ("momentum", lambda: descent.gradient_descent(0.1, -0.5)),
    ],
)
def test_errors_name_the_argument(named, make):
    with pytest.raises(ValueError, match=f"^{named}: expected"):
        make()
