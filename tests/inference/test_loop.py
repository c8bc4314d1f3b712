import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dipgp.inference import descent, guard, langevin, loop, stopping
from dipgp.inference.method import Info, Method, State
from dipgp.observations import observe

TARGET = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4, 1)
OBSERVATION = observe(TARGET, noise_std=0.1)
LIKE = jax.ShapeDtypeStruct(TARGET.shape, TARGET.dtype)


def fit(image):
    return guard.fit_in_decibels(OBSERVATION, image)


def psnr(image):
    return -10 * jnp.log10(jnp.mean((image - TARGET) ** 2))


def quadratic(parameters, key):
    del key
    return 0.5 * jnp.sum((parameters - TARGET) ** 2), parameters


def normal(parameters, key):
    value, image = quadratic(parameters, key)
    return -value / 0.01, image


def counter():
    """A method whose outputs are the iterations."""

    def init(parameters):
        return State(parameters, (), jnp.zeros((), jnp.int32))

    def step(key, state):
        del key
        output = jnp.full(TARGET.shape, state.iteration, jnp.float32)
        moved = State(state.parameters, (), state.iteration + 1)
        return moved, Info(jnp.zeros(()), output)

    return Method(init, step)


def run(method, plan, lengths, start=None, key=0):
    start = jnp.zeros(TARGET.shape) if start is None else start
    progress = loop.begin(method, start, jax.random.key(key), LIKE)
    traces = []
    for length in lengths:
        progress, trace = loop.compile_advance(method, plan, length)(progress)
        traces.append(trace)
    return progress, jax.tree.map(lambda *parts: np.concatenate(parts), *traces)


def anything_goes(**settings):
    """A plan that never puts a run back."""
    return loop.Plan(fit=lambda image: jnp.zeros(()), **settings)


def test_a_run_cut_into_other_lengths_is_the_same_run():
    method = langevin.sgld(normal, 1e-3)
    plan = loop.Plan(fit=fit, burn_in=3, thinning=2, scores={"psnr": psnr})
    whole, trace = run(method, plan, [12])
    parts, pieces = run(method, plan, [5, 1, 6])
    for one, other in zip(jax.tree.leaves(whole), jax.tree.leaves(parts), strict=True):
        if jnp.issubdtype(one.dtype, jax.dtypes.prng_key):
            one, other = jax.random.key_data(one), jax.random.key_data(other)
        np.testing.assert_array_equal(one, other)
    for name, numbers in trace.items():
        np.testing.assert_array_equal(numbers, pieces[name])


def test_other_keys_give_other_noise():
    method, plan = langevin.sgld(normal, 1e-3), loop.Plan(fit=fit)
    one, _ = run(method, plan, [3], key=0)
    other, _ = run(method, plan, [3], key=1)
    assert np.all(one.output != other.output)


def test_each_step_draws_anew():
    """The outputs are the keys' own draws."""

    def step(key, state):
        output = jax.random.normal(key, TARGET.shape)
        return state, Info(jnp.zeros(()), output)

    drawing = Method(counter().init, step)
    plan = anything_goes(scores={"mean": jnp.mean})
    _, trace = run(drawing, plan, [4, 2])
    assert len(set(trace["mean"].tolist())) == 6


def test_samples_are_counted_after_burn_in_and_thinned():
    progress, _ = run(counter(), anything_goes(burn_in=4, thinning=3), [12])
    # Outputs 4, 7 and 10.
    samples = progress.collected.samples
    np.testing.assert_allclose(samples.weight, 3)
    np.testing.assert_allclose(samples.mean, np.full(TARGET.shape, 7.0))
    np.testing.assert_allclose(samples.deviation, np.full(TARGET.shape, 18.0))


def test_samples_are_weighed_as_the_plan_says():
    plan = anything_goes(sample_weight=lambda iteration: 1.0 + iteration)
    progress, _ = run(counter(), plan, [3])
    expected = (0 * 1 + 1 * 2 + 2 * 3) / 6
    mean = progress.collected.samples.mean
    np.testing.assert_allclose(mean, np.full(TARGET.shape, expected), rtol=1e-6)


def test_output_and_average_are_kept_apart_where_they_are_to_be_read():
    plan = anything_goes(read_at=3, average_decay=0.5)
    progress, _ = run(counter(), plan, [8])
    output, average = progress.reading
    np.testing.assert_allclose(output, np.full(TARGET.shape, 2.0))
    # 0, then (0 + 1) / 2, then (1/2 + 2) / 2.
    np.testing.assert_allclose(average, np.full(TARGET.shape, 1.25))
    np.testing.assert_allclose(progress.output, np.full(TARGET.shape, 7.0))


def test_scores_are_those_of_output_average_and_mean():
    method = descent.descend(quadratic, descent.gradient_descent(0.1))
    plan = loop.Plan(fit=fit, burn_in=2, scores={"psnr": psnr})
    progress, trace = run(method, plan, [6])
    average = progress.collected.average.value
    mean = progress.collected.samples.mean
    np.testing.assert_allclose(trace["psnr"][-1], psnr(progress.output), rtol=1e-6)
    np.testing.assert_allclose(trace["psnr_average"][-1], psnr(average), rtol=1e-6)
    np.testing.assert_allclose(trace["psnr_mean"][-1], psnr(mean), rtol=1e-6)
    assert np.isnan(trace["psnr_mean"][:2]).all()
    assert np.isfinite(trace["psnr_mean"][2:]).all()


def breaking(at):
    """Descent whose loss is NaN once, at the evaluation that the key's count marks."""
    method = descent.descend(quadratic, descent.gradient_descent(0.1))
    bad = jax.random.fold_in(jax.random.key(0), at)

    def step(key, state):
        state, info = method.step(key, state)
        same = jnp.all(jax.random.key_data(key) == jax.random.key_data(bad))
        broken = jnp.where(same, jnp.nan, 1.0)
        return (
            state._replace(parameters=state.parameters * broken),
            Info(info.loss * broken, info.output * broken),
        )

    return Method(method.init, step)


def test_a_step_that_breaks_is_put_back_and_nothing_of_it_remains():
    plan = loop.Plan(fit=fit, scores={"psnr": psnr})
    progress, trace = run(breaking(at=25), plan, [60])
    assert np.isnan(trace["loss"][25])
    assert np.isfinite(np.delete(trace["loss"], 25)).all()
    np.testing.assert_array_equal(trace["returns"][[24, 25, 59]], [0, 1, 1])
    finite = [progress.state.parameters, progress.collected.average.value]
    for array in (*finite, progress.collected.samples.mean):
        assert np.isfinite(array).all()
    # The steps since the last snapshot are made again, no more than ten.
    assert 50 <= progress.state.iteration < 60
    assert progress.taken == 60


@pytest.mark.parametrize("stray", [0.0, np.nan, np.zeros((0, 3)), None])
def test_tolerances_are_positive_or_infinite(stray):
    assert anything_goes(tolerance_db=np.inf).tolerance_db == np.inf
    with pytest.raises(ValueError, match="tolerance_db: expected"):
        anything_goes(tolerance_db=stray)


def test_lengths_below_one_are_refused():
    with pytest.raises(ValueError, match="length: expected at least 1, got 0"):
        loop.compile_advance(counter(), anything_goes(), 0)


def test_the_start_survives_the_loop():
    start = jnp.ones(TARGET.shape)
    method = descent.descend(quadratic, descent.gradient_descent(0.1))
    run(method, loop.Plan(fit=fit), [2], start=start)
    np.testing.assert_array_equal(start, np.ones(TARGET.shape))


class TestRules:
    def test_a_rule_keeps_output_and_average_of_its_choice(self):
        """The outputs are 0, 1, 2, ..., and 3 is what the rule wants."""

        def distance(output):
            return jnp.abs(output[0, 0, 0] - 3)

        rules = {"three": stopping.least_score(distance, patience=4)}
        plan = anything_goes(average_decay=0.5, rules=rules)
        method, start = counter(), jnp.zeros(TARGET.shape)
        progress = loop.begin(method, start, jax.random.key(0), LIKE, plan.rules)
        progress, trace = loop.compile_advance(method, plan, 12)(progress)
        choice = progress.choices["three"]
        assert choice.rule.best_iteration == 3
        assert choice.rule.stopped_at == 7
        np.testing.assert_array_equal(choice.rule.best_output, 3)
        # Half of 3, a quarter of 2, and the rest of 1 and 0.
        np.testing.assert_allclose(choice.average, 1.5 + 0.5 + 0.125, rtol=1e-6)
        np.testing.assert_array_equal(trace["three"], np.abs(np.arange(12) - 3))
