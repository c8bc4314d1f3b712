import jax
import jax.numpy as jnp
import numpy as np
import pytest
from followed_rules import SHAPE, follow, image

from dipgp.inference import stopping


def windowed(outputs, window):
    """The moving variance by its definition; infinite until the window is full."""
    outputs = np.asarray(outputs, np.float64)
    scores = np.full(len(outputs), np.inf)
    for last in range(window - 1, len(outputs)):
        inside = outputs[last - window + 1 : last + 1]
        scores[last] = np.mean(np.var(inside, axis=0))
    return scores


class TestWindowedVariance:
    @pytest.mark.parametrize("window", [2, 3, 7, 16])
    def test_it_is_the_variance_of_the_last_outputs(self, x64, window):
        outputs = np.cumsum(image(shape=(50, *SHAPE)), axis=0)
        _, scores = follow(stopping.windowed_variance(window, 1000), outputs)
        np.testing.assert_allclose(scores, windowed(outputs, window), rtol=1e-10)

    def test_a_straight_line_has_the_variance_of_equal_steps(self, x64):
        step, window = 0.01 * image(), 9
        outputs = image(1) + np.arange(40)[:, None, None, None] * step
        _, scores = follow(stopping.windowed_variance(window, 1000), outputs)
        expected = np.mean(step**2) * (window**2 - 1) / 12
        np.testing.assert_allclose(scores[window - 1 :], expected, rtol=1e-9)

    def test_the_standstill_of_a_parabola_is_found(self, x64):
        """x(t) = (t - c)^2 v varies least in the window that is centred on c."""
        turning, window, patience = 60, 11, 15
        times = np.arange(120)[:, None, None, None]
        outputs = (times - turning) ** 2 * image()
        rule = stopping.windowed_variance(window, patience)
        state, _ = follow(rule, outputs)
        newest = turning + (window - 1) // 2
        assert int(state.best_iteration) == newest
        assert int(state.stopped_at) == newest + patience
        np.testing.assert_array_equal(state.best_output, outputs[newest])

    def test_a_stride_watches_every_so_many_outputs_and_holds_fewer(self, x64):
        outputs = np.cumsum(image(shape=(60, *SHAPE)), axis=0)
        rule = stopping.windowed_variance(12, 1000, stride=3)
        state, scores = follow(rule, outputs)
        expected = np.full(60, np.inf)
        expected[::3] = windowed(outputs[::3], 4)
        np.testing.assert_allclose(scores, expected, rtol=1e-10)
        assert int(state.best_iteration) == np.argmin(expected)
        np.testing.assert_array_equal(
            state.best_output, outputs[int(state.best_iteration)]
        )
        assert max(leaf.size for leaf in jax.tree.leaves(state)) == 4 * np.prod(SHAPE)

    def test_small_variances_far_from_zero_survive_32_bits(self):
        """From 2e-3 down to 2e-7 of variance, around a half."""
        times = np.arange(400)[:, None, None, None]
        decay = 0.3 * np.exp(-times / 40) * image() + 5e-4 * image(1, (400, *SHAPE))
        outputs = (0.5 + decay).astype(np.float32)
        _, scores = follow(stopping.windowed_variance(50, 1000), outputs)
        expected = windowed(outputs, 50)
        assert expected[49] > 2e-3
        assert expected[-1] < 3e-7
        np.testing.assert_allclose(scores, expected, rtol=2e-3)

    def test_it_recovers_from_an_output_that_was_not_finite(self, x64):
        outputs = np.cumsum(image(shape=(60, *SHAPE)), axis=0)
        outputs[20, 0, 0, 0] = np.nan
        window = 8
        _, scores = follow(stopping.windowed_variance(window, 1000), outputs)
        expected = windowed(outputs, window)
        np.testing.assert_allclose(scores[:20], expected[:20], rtol=1e-10)
        since = 20 + 2 * window
        assert np.all(np.isfinite(scores[since:]))
        np.testing.assert_allclose(scores[since:], expected[since:], rtol=1e-10)

    def test_it_runs_in_pieces_as_in_one(self):
        outputs = jnp.asarray(np.cumsum(image(shape=(40, *SHAPE)), axis=0), jnp.float32)
        rule = stopping.windowed_variance(6, 1000, stride=2)
        update = jax.jit(rule.update, donate_argnums=0)
        state = rule.init(outputs[0])
        for iteration, output in enumerate(outputs):
            state = update(state, iteration, output)
        whole, _ = follow(rule, outputs)
        np.testing.assert_allclose(state.best_score, whole.best_score, rtol=1e-5)
        assert int(state.best_iteration) == int(whole.best_iteration)


class TestExponentialVariance:
    @pytest.mark.parametrize("weight", [0.1, 0.5])
    def test_it_is_the_weighted_variance_of_all_outputs(self, x64, weight):
        outputs = np.cumsum(image(shape=(30, *SHAPE)), axis=0)
        rule = stopping.exponential_variance(weight, 1000, warm_up=1)
        _, scores = follow(rule, outputs)
        assert scores[0] == np.inf
        for last in range(1, 30):
            weights = weight * (1 - weight) ** np.arange(last, -1, -1.0)
            weights[0] /= weight
            assert weights.sum() == pytest.approx(1)
            seen = outputs[: last + 1]
            mean = np.tensordot(weights, seen, 1)
            expected = np.tensordot(weights, np.mean((seen - mean) ** 2, (1, 2, 3)), 1)
            np.testing.assert_allclose(scores[last], expected, rtol=1e-10)

    def test_a_straight_line_settles_at_its_closed_form(self, x64):
        """The average lags by step / weight; v = (1 - weight) step^2 / weight^2."""
        step, weight = 0.01 * image(), 0.1
        outputs = np.arange(400)[:, None, None, None] * step
        rule = stopping.exponential_variance(weight, 1000, warm_up=1)
        _, scores = follow(rule, outputs)
        expected = (1 - weight) * np.mean(step**2) / weight**2
        np.testing.assert_allclose(scores[-1], expected, rtol=1e-9)

    def test_nothing_is_judged_before_it_has_warmed_up(self, x64):
        outputs = np.cumsum(image(shape=(30, *SHAPE)), axis=0)
        rule = stopping.exponential_variance(0.1, 1000, warm_up=20)
        _, scores = follow(rule, outputs)
        assert np.all(scores[:20] == np.inf)
        assert np.all(np.isfinite(scores[20:]))

    def test_it_remembers_one_image(self):
        state = stopping.exponential_variance().init(jnp.zeros(SHAPE))
        memory = [leaf.size for leaf in jax.tree.leaves(state.memory)]
        assert sum(memory) <= np.prod(SHAPE) + 2
