import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dipgp.inference import descent, guard
from dipgp.observations import observe

NAN, INF = float("nan"), float("inf")
watch = jax.jit(guard.watch, static_argnames="limit")


def snapshot(value):
    """Parameters, a moment and an average, all made of one number."""
    return {
        "parameters": jnp.full((3, 2), value, jnp.float32),
        "moment": jnp.full((3,), 10.0 * value, jnp.float32),
        "steps": jnp.asarray(value, jnp.int32),
    }


def assert_is(found, value):
    jax.tree.map(np.testing.assert_array_equal, found, snapshot(value))


def play(fits, refresh=None, **settings):
    """A run whose step adds 1, seen at the given fits: where it stood, and the guard.

    Returns the number that the run stands at before each step and after the last.
    """
    refresh = [True] * len(fits) if refresh is None else refresh
    stood = [0]
    keeper = guard.start(snapshot(0))
    for fit, saves in zip(fits, refresh, strict=True):
        before, after = snapshot(stood[-1]), snapshot(stood[-1] + 1)
        chosen, keeper = watch(keeper, before, after, fit, saves, **settings)
        stood.append(int(chosen["steps"]))
        assert_is(chosen, stood[-1])
    return stood, keeper


class TestFit:
    def test_an_error_of_a_tenth_everywhere_is_20_decibels(self):
        observation = observe(jnp.full((4, 5, 3), 0.5), noise_std=0.1)
        found = guard.fit_in_decibels(observation, jnp.full((4, 5, 3), 0.6))
        np.testing.assert_allclose(found, 20.0, rtol=1e-5)

    def test_only_observed_pixels_count(self):
        mask = np.zeros((4, 5))
        mask[1:3, 2] = 1
        observation = observe(jnp.full((4, 5, 2), 0.5), mask, noise_std=0.1)
        output = jnp.full((4, 5, 2), 7.0).at[1:3, 2].set(0.51)
        np.testing.assert_allclose(
            guard.fit_in_decibels(observation, output), 40.0, rtol=1e-4
        )

    def test_an_exact_fit_is_a_number(self):
        observation = observe(jnp.full((4, 5, 1), 0.5), noise_std=0.1)
        assert 300 < guard.fit_in_decibels(observation, observation.values) < 400

    @pytest.mark.parametrize("broken", [NAN, INF])
    def test_an_output_that_is_not_finite_has_no_finite_fit(self, broken):
        observation = observe(jnp.full((4, 5, 1), 0.5), noise_std=0.1)
        output = observation.values.at[0, 0, 0].set(broken)
        assert not np.isfinite(guard.fit_in_decibels(observation, output))


class TestWatch:
    def test_while_the_fit_holds_nothing_is_touched(self):
        stood, keeper = play([10, 20, 19, 25])
        assert stood == [0, 1, 2, 3, 4]
        assert int(keeper.returns) == 0
        assert int(keeper.code) == guard.GUARDING
        assert "holds" in keeper.advice
        assert_is(keeper.saved, 3)
        assert float(keeper.fit) == float(keeper.saved_fit) == 25

    def test_a_fall_puts_everything_back_to_where_the_fit_was_last_good(self):
        stood, keeper = play([10, 20, 25, 19.9])
        assert stood == [0, 1, 2, 3, 2]
        assert int(keeper.returns) == 1
        assert_is(keeper.saved, 2)
        assert float(keeper.fit) == 25

    def test_a_fall_of_no_more_than_the_tolerance_is_fluctuation(self):
        assert play([25, 20])[0] == [0, 1, 2]
        assert play([25, 19.999])[0] == [0, 1, 0]
        assert play([25, 18], tolerance_db=8.0)[0] == [0, 1, 2]

    def test_a_slow_decline_is_no_fall(self):
        stood, keeper = play([30, 26, 22, 18, 14])
        assert stood == [0, 1, 2, 3, 4, 5]
        assert int(keeper.returns) == 0

    @pytest.mark.parametrize("fit", [NAN, INF, -INF])
    def test_a_fit_that_is_not_finite_is_a_fall(self, fit):
        stood, keeper = play([20, 21, fit, 21])
        assert stood == [0, 1, 2, 1, 2]
        assert int(keeper.returns) == 1

    def test_a_run_that_fails_at_once_goes_back_to_its_beginning(self):
        stood, keeper = play([NAN, 10, 11])
        assert stood == [0, 0, 1, 2]
        assert int(keeper.returns) == 1

    def test_a_fall_goes_back_to_the_last_snapshot_that_was_saved(self):
        rarely = [i % 3 == 0 for i in range(6)]
        stood, keeper = play([10, 15, 20, 25, 30, 12], rarely)
        assert stood == [0, 1, 2, 3, 4, 5, 3]
        assert_is(keeper.saved, 3)
        assert float(keeper.saved_fit) == 25

    def test_the_way_back_up_from_an_old_snapshot_is_no_fall(self):
        first_only = [True] + 5 * [False]
        stood, keeper = play([10, 20, 30, 24, 10, 20], first_only)
        assert stood == [0, 1, 2, 3, 0, 1, 2]
        assert int(keeper.returns) == 1

    def test_a_bad_place_is_never_saved(self):
        _, keeper = play([20, NAN])
        assert_is(keeper.saved, 0)
        assert np.isfinite(keeper.saved_fit)

    def test_a_limit_below_one_is_refused(self):
        with pytest.raises(ValueError, match=r"^limit: expected at least 1, got 0"):
            play([1], limit=0)


class TestGivingUp:
    def test_after_as_many_returns_to_one_place_it_stands_still_and_says_so(self):
        stood, keeper = play([20] + 3 * [NAN] + [21, 22], limit=3)
        assert stood == [0, 1, 0, 0, 0, 0, 0]
        assert int(keeper.code) == guard.GAVE_UP
        assert int(keeper.returns) == 3
        assert "smaller learning rate" in keeper.advice

    def test_a_good_fit_at_the_place_itself_is_no_progress(self):
        """The snapshot always fits; it is the step from it that fails."""
        stood, keeper = play([20, NAN] + 2 * [20, NAN], limit=3)
        assert stood == [0, 1, 0, 1, 0, 1, 0]
        assert int(keeper.code) == guard.GAVE_UP

    def test_nor_are_good_steps_that_fall_before_the_next_saving(self):
        once = [True] + 9 * [False]
        _, keeper = play([20] + 3 * [20, 21, NAN], once, limit=3)
        assert int(keeper.code) == guard.GAVE_UP

    def test_progress_starts_the_count_again(self):
        stood, keeper = play(4 * [20, 21, NAN], limit=2)
        assert int(keeper.returns) == 4
        assert int(keeper.repeats) == 1
        assert int(keeper.code) == guard.GUARDING
        assert stood[-1] > 1


def guarded_run(method, parameters, keys, observation, **settings):
    """A compiled run of descent, with everything but the keys in the snapshot."""

    def iteration(carry, key):
        (state, average), keeper = carry
        moved, info = method.step(key, state)
        after = moved, descent.average_add(average, info.output)
        fit = guard.fit_in_decibels(observation, info.output)
        chosen, keeper = guard.watch(
            keeper, (state, average), after, fit, True, **settings
        )
        return (chosen, keeper), fit

    first = (
        method.init(parameters),
        descent.average_init(observation.values),
    )
    run = jax.jit(lambda carry: jax.lax.scan(iteration, carry, keys), donate_argnums=0)
    return run((first, guard.start(first)))


def disturbed(observation, bad_keys):
    """A loss that is spoilt by some keys."""

    def loss(parameters, key):
        spoilt = jnp.any(jax.random.key_data(key)[-1] == bad_keys)
        output = parameters + jnp.where(spoilt, 10.0, 0.0)
        return jnp.sum(jnp.square(output - observation.values)), output

    return loss


class TestInADescent:
    OBSERVATION = observe(jnp.linspace(0, 1, 12).reshape(3, 4, 1), noise_std=0.1)

    def run(self, bad, count=30, **settings):
        # The last word of these keys is their number.
        keys = jax.vmap(jax.random.key)(jnp.arange(count))
        loss = disturbed(self.OBSERVATION, jnp.asarray(bad, jnp.uint32))
        method = descent.descend(loss, descent.adam(0.02))
        return guarded_run(
            method, jnp.zeros((3, 4, 1)), keys, self.OBSERVATION, **settings
        )

    def test_a_collapse_leaves_no_trace_in_parameters_moments_or_averages(self):
        nowhere = 10_000
        ((found, keeper), fits) = self.run([7, 19], 30)
        # Each collapse costs the step that was spoilt and the one that led there.
        ((expected, clean), _) = self.run([nowhere], 30 - 2 * 2)
        assert int(keeper.returns) == 2
        assert int(clean.returns) == 0
        assert list(np.flatnonzero(np.asarray(fits) < -15)) == [7, 19]
        jax.tree.map(np.testing.assert_array_equal, found, expected)

    def test_without_a_guard_the_same_collapse_does_harm(self):
        ((found, _), _) = self.run([7, 19], 30, tolerance_db=INF)
        ((expected, _), _) = self.run([10_000], 30)
        state, average = found
        assert np.max(np.abs(state.parameters - expected[0].parameters)) > 0.1
        assert np.max(np.abs(average.value - expected[1].value)) > 0.05

    def test_keys_made_from_what_is_put_back_fail_for_ever(self):
        """Why the random key, or a counter it is made from, stays out of snapshots."""
        bad = jnp.asarray([7], jnp.uint32)
        loss = disturbed(self.OBSERVATION, bad)
        method = descent.descend(loss, descent.adam(0.02))
        same_again = method._replace(
            step=lambda _, state: method.step(jax.random.key(state.iteration), state)
        )
        keys = jax.random.split(jax.random.key(0), 60)
        (((state, _), keeper), _) = guarded_run(
            same_again, jnp.zeros((3, 4, 1)), keys, self.OBSERVATION, limit=5
        )
        assert int(keeper.code) == guard.GAVE_UP
        assert int(keeper.returns) == 5
        assert int(state.iteration) == 6


def test_chains_under_vmap_are_guarded_each_for_itself():
    fits = np.array([[10, 20, 30, 31, 32], [10, 20, 3, 20, 21], [10, NAN, 10, 4, 10]])
    saves = np.array([True, True, False, True, False])

    def run(fits):
        def iteration(carry, seen):
            here, keeper = carry
            after = jax.tree.map(lambda leaf: leaf + 1, here)
            chosen, keeper = guard.watch(keeper, here, after, *seen)
            return (chosen, keeper), chosen["steps"]

        first = {"steps": jnp.zeros((), jnp.int32), "w": jnp.zeros(4)}
        return jax.lax.scan(iteration, (first, guard.start(first)), (fits, saves))

    together = jax.jit(jax.vmap(run))(fits)
    apart = [run(row) for row in fits]
    jax.tree.map(lambda a, *b: np.testing.assert_array_equal(a, b), together, *apart)
    assert list(together[0][1].returns) == [0, 1, 2]
