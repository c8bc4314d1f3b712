import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from followed_rules import SHAPE, follow, image

from dipgp.inference import descent, stopping
from dipgp.observations import observe


class TestLeastScore:
    def scores(self, values, patience):
        """Follows outputs whose score is their own value."""
        rule = stopping.least_score(lambda output: output[0], patience)
        return follow(rule, np.asarray(values, np.float32)[:, None])

    def test_the_lowest_score_before_the_stop_is_the_choice(self):
        state, scores = self.scores([5, 3, 4, 2, 6, 7, 8, 1], patience=3)
        assert int(state.best_iteration) == 3
        assert float(state.best_score) == 2
        assert float(state.best_output[0]) == 2
        assert bool(state.stopped)
        assert int(state.stopped_at) == 6
        np.testing.assert_array_equal(scores, [5, 3, 4, 2, 6, 7, 8, 1])

    def test_until_it_stops_the_choice_is_the_best_so_far(self):
        state, _ = self.scores([5, 3, 4, 2, 6, 7], patience=3)
        assert not state.stopped
        assert int(state.stopped_at) == -1
        assert int(state.best_iteration) == 3

    def test_of_equal_scores_the_first_counts(self):
        state, _ = self.scores([2, 2, 2, 2], patience=3)
        assert int(state.best_iteration) == 0
        assert int(state.stopped_at) == 3

    def test_a_score_that_is_not_a_number_is_never_chosen(self):
        state, _ = self.scores([np.nan, 4, np.nan, 3, np.nan], patience=3)
        assert int(state.best_iteration) == 3
        assert not state.stopped

    def test_where_nothing_was_judged_there_is_no_choice_and_no_end(self):
        state, _ = self.scores([np.nan] * 9, patience=3)
        assert int(state.best_iteration) == -1
        assert float(state.best_score) == np.inf
        assert not state.stopped

    def test_patience_is_counted_in_iterations(self):
        rule = stopping.least_score(lambda output: output[0], 20)
        state = rule.init(jnp.zeros(1))
        for iteration, score in [(0, 2.0), (10, 1.0), (20, 3.0), (30, 3.0), (40, 0.0)]:
            state = rule.update(state, iteration, jnp.full(1, score))
        assert int(state.best_iteration) == 10
        assert int(state.stopped_at) == 30

    def test_chains_have_rules_of_their_own_under_vmap(self):
        rule = stopping.least_score(lambda output: output[0], 2)
        values = jnp.array([[3.0, 2, 1, 0], [0, 1, 2, 3]])[..., None]
        states = jax.vmap(rule.init)(values[:, 0])
        for index in range(4):
            states = jax.vmap(rule.update, (0, None, 0))(
                states, index, values[:, index]
            )
        assert list(states.best_iteration) == [3, 0]
        assert list(states.stopped_at) == [-1, 2]


class TestDiscrepancy:
    RATE = 0.05
    NOISE = 0.1

    def flow(self, steps=80, mask=None, noise_std=NOISE):
        """Gradient descent of |f - y|^2 / 2 from zero: f_k = (1 - (1 - rate)^k) y."""
        observation = observe(jnp.asarray(image()), mask, noise_std=noise_std)

        def loss(f, key):
            del key
            weight = observation.mask[:, :, None]
            return jnp.sum(weight * jnp.square(f - observation.values)) / 2, f

        method = descent.descend(loss, descent.gradient_descent(self.RATE))
        keys = jax.random.split(jax.random.key(0), steps)
        _, infos = jax.lax.scan(
            lambda state, key: method.step(key, state),
            method.init(jnp.zeros(SHAPE)),
            keys,
        )
        return observation, infos.output

    def expected(self, scaled_values, tau):
        """The first k at which (1 - rate)^(2 k) mean(y^2 / noise^2) is at most tau."""
        level = np.mean(scaled_values**2)
        return int(np.ceil(np.log(tau / level) / (2 * np.log(1 - self.RATE))))

    @pytest.mark.parametrize("tau", [0.5, 1.0, 4.0])
    def test_a_gradient_flow_is_stopped_at_the_time_of_its_formula(self, x64, tau):
        observation, outputs = self.flow()
        state, scores = follow(stopping.discrepancy(observation, tau), outputs)
        expected = self.expected(image() / self.NOISE, tau)
        assert 0 < expected < 80
        assert int(state.stopped_at) == int(state.best_iteration) == expected
        np.testing.assert_array_equal(state.best_output, outputs[expected])
        assert scores[expected] <= tau < scores[expected - 1]

    def test_noise_may_differ_between_pixels_and_pixels_be_missing(self, x64):
        mask = np.ones(SHAPE[:2])
        mask[1:3, 2:] = 0
        noise = np.random.default_rng(3).uniform(0.05, 0.3, SHAPE[:2])
        observation, outputs = self.flow(120, mask, noise)
        state, _ = follow(stopping.discrepancy(observation), outputs)
        seen = (image() / noise[:, :, None])[mask == 1]
        assert int(state.stopped_at) == self.expected(seen, 1.0)

    def test_a_run_that_never_gets_there_keeps_its_closest_output(self, x64):
        observation, outputs = self.flow(10)
        state, scores = follow(stopping.discrepancy(observation), outputs)
        assert not state.stopped
        assert int(state.best_iteration) == 9
        assert np.all(np.diff(scores) < 0)

    def test_the_truth_itself_scores_one(self):
        """Within 4 standard errors of sqrt(2 / n)."""
        truth = 0.5 + 0.1 * image(0, (64, 64, 1))
        grain = image(1, truth.shape)
        noise = 0.07
        seen = observe((truth + noise * grain).astype(np.float32), noise_std=noise)
        _, scores = follow(stopping.discrepancy(seen), truth[None].astype(np.float32))
        assert abs(scores[0] - 1) < 4 * np.sqrt(2 / truth.size)


class TestHeldOut:
    @pytest.mark.parametrize("fraction", [0.05, 0.5, 0.9])
    @pytest.mark.parametrize("dtype", [bool, np.float32])
    def test_the_observed_pixels_are_split_in_two_and_no_others(self, fraction, dtype):
        mask = (np.random.default_rng(0).random((20, 30)) < 0.4).astype(dtype)
        fit, held = stopping.hold_out(jax.random.key(0), jnp.asarray(mask), fraction)
        np.testing.assert_array_equal(np.asarray(fit) + np.asarray(held), mask)
        assert not np.any((np.asarray(fit) != 0) & (np.asarray(held) != 0))
        assert fit.dtype == held.dtype == dtype
        assert np.sum(held) == np.round(fraction * np.sum(mask))

    def test_a_mask_may_be_split_inside_a_compiled_program(self):
        mask, key = jnp.ones((6, 7)).at[2].set(0), jax.random.key(0)
        plain = stopping.hold_out(key, mask, 0.3)
        compiled = jax.jit(lambda mask: stopping.hold_out(key, mask, 0.3))(mask)
        np.testing.assert_array_equal(compiled, plain)

    @pytest.mark.parametrize("fraction", [1e-3, 0.999])
    def test_neither_side_is_left_empty(self, fraction):
        mask = np.zeros((4, 5))
        mask[0, :3] = 1
        fit, held = stopping.hold_out(jax.random.key(0), mask, fraction)
        assert sorted([int(np.sum(fit)), int(np.sum(held))]) == [1, 2]

    def test_every_observed_pixel_is_held_out_equally_often(self):
        """Within 5 standard errors of the share, over independent splits."""
        mask, share, splits = np.ones((6, 7)), 1 / 3, 600
        split = jax.jit(jax.vmap(lambda key: stopping.hold_out(key, mask, share)[1]))
        held = split(jax.random.split(jax.random.key(0), splits))
        error = np.sqrt(share * (1 - share) / splits)
        assert np.max(np.abs(np.mean(held, axis=0) - share)) < 5 * error

    def test_a_fit_is_stopped_where_it_is_closest_to_the_held_out_pixels(self, x64):
        """Outputs (1 + s) y at the held-out pixels are closest at s = 0."""
        values = image()
        mask = np.ones(SHAPE[:2])
        _, held = stopping.hold_out(jax.random.key(0), mask, 0.3)
        observation = observe(jnp.asarray(values), mask, noise_std=0.1)
        shrinks = np.abs(np.arange(50) - 20)[:, None, None, None] / 50
        # At the other pixels the fit just improves.
        outputs = np.where(
            np.asarray(held)[:, :, None] != 0,
            (1 + shrinks) * values,
            values + 1 / (1 + np.arange(50))[:, None, None, None],
        )
        rule = stopping.held_out_error(observation._replace(mask=held), patience=7)
        state, scores = follow(rule, outputs)
        assert int(state.best_iteration) == 20
        assert int(state.stopped_at) == 27
        seen = values[np.asarray(held) != 0]
        np.testing.assert_allclose(scores[30], np.mean((0.2 * seen) ** 2), rtol=1e-9)

    @pytest.mark.parametrize(
        ("named", "mask", "fraction"),
        [
            ("fraction", np.ones((3, 3)), 0.0),
            ("fraction", np.ones((3, 3)), 1.0),
            ("mask", np.ones(3), 0.5),
            ("mask", np.eye(1), 0.5),
            ("mask", np.full((3, 3), np.nan), 0.5),
        ],
    )
    def test_errors_name_the_argument(self, named, mask, fraction):
        with pytest.raises(ValueError, match=f"^{named}: expected"):
            stopping.hold_out(jax.random.key(0), mask, fraction)


def test_discrepancies_are_from_an_observation():
    with pytest.raises(TypeError, match="observation: expected dipgp"):
        stopping.discrepancy(None)


class TestOneRun:
    def test_serves_all_rules_and_tells_what_each_choice_costs(self, x64):
        """A fit of the image first and the noise ten times slower, ever less steady."""
        height, steps, noise = 32, 400, 0.2
        truth = np.zeros((height, height, 1))
        truth[8:20, 10:26] = 1.0
        grain = noise * image(5, truth.shape)
        times = np.arange(steps)[:, None, None, None]
        outputs = (1 - 0.97**times) * truth + (1 - 0.997**times) * grain
        outputs = outputs + 1e-4 * times * image(6, outputs.shape)
        errors = np.mean((outputs - truth) ** 2, axis=(1, 2, 3))
        psnr = -10 * np.log10(errors)
        observation = observe(jnp.asarray(truth + grain), noise_std=noise)
        rules = {
            "known noise": stopping.discrepancy(observation),
            "window": stopping.windowed_variance(20, 100),
            "moving": stopping.exponential_variance(0.1, 100, warm_up=20),
            "oracle": stopping.least_score(
                lambda output: jnp.mean(jnp.square(output - truth)), 100
            ),
        }
        gaps = {
            name: stopping.gap_to_best(
                psnr, int(follow(rule, outputs)[0].best_iteration)
            )
            for name, rule in rules.items()
        }
        assert gaps["oracle"] == 0
        last = stopping.gap_to_best(psnr, steps - 1)
        assert max(gaps.values()) < last - 2
        assert max(gaps["window"], gaps["moving"]) < 2


def test_the_gap_is_what_the_best_output_has_more():
    assert stopping.gap_to_best([20.0, 25.0, 24.5, 22.0], 2) == 0.5
    assert stopping.gap_to_best([20.0, 25.0, 24.5, 22.0], 1) == 0.0


@pytest.mark.parametrize(
    ("named", "make"),
    [
        ("patience", lambda: stopping.least_score(jnp.sum, 0)),
        ("tau", lambda: stopping.discrepancy(observe(image(), noise_std=1.0), 0.0)),
        ("window", lambda: stopping.windowed_variance(1)),
        ("window", lambda: stopping.windowed_variance(10, stride=3)),
        ("window", lambda: stopping.windowed_variance(10, stride=10)),
        ("stride", lambda: stopping.windowed_variance(10, stride=0)),
        ("patience", lambda: stopping.windowed_variance(10, 0)),
        ("weight", lambda: stopping.exponential_variance(0.0)),
        ("weight", lambda: stopping.exponential_variance(1.0)),
        ("patience", lambda: stopping.exponential_variance(0.1, 0)),
        ("warm_up", lambda: stopping.exponential_variance(0.1, 10, 0)),
        ("iteration", lambda: stopping.gap_to_best([1.0, 2.0], -1)),
        ("iteration", lambda: stopping.gap_to_best([1.0, 2.0], 2)),
        ("psnr_trace", functools.partial(stopping.gap_to_best, [[1.0]], 0)),
        ("psnr_trace", functools.partial(stopping.gap_to_best, [np.nan], 0)),
    ],
)
def test_errors_name_the_argument(named, make):
    with pytest.raises(ValueError, match=f"^{named}: expected"):
        make()
