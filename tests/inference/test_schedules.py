"""Step schedules: their values, their sums, and what they refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dipgp.inference import schedules

ITERATIONS = np.arange(200_000)


class TestPolynomial:
    def test_it_is_its_formula(self, x64):
        found = schedules.polynomial(0.3, 50.0, 0.6)(ITERATIONS)
        np.testing.assert_allclose(found, 0.3 * (1 + ITERATIONS / 50) ** -0.6, 1e-12)

    @pytest.mark.parametrize("power", [0.51, 0.75, 1.0])
    def test_steps_grow_without_bound_in_sum_and_their_squares_do_not(self, x64, power):
        """Against the integrals of (1 + t/b)^-p and of its square."""
        offset = 20.0
        steps = np.asarray(schedules.polynomial(1.0, offset, power)(ITERATIONS))
        far = 1 + (ITERATIONS + 1) / offset
        integral = np.log(far) if power == 1 else (far ** (1 - power) - 1) / (1 - power)
        assert np.all(np.cumsum(steps) >= offset * integral)
        assert np.sum(steps**2) <= 1 + offset / (2 * power - 1)

    @pytest.mark.parametrize("power", [0.5, 0.0, -1.0, 1.01, np.nan])
    def test_powers_that_break_a_condition_are_refused(self, power):
        with pytest.raises(ValueError, match=r"^power: expected .*\(1/2, 1\].* got"):
            schedules.polynomial(0.1, 10.0, power)


def test_a_constant_stays():
    schedule = schedules.constant(0.25)
    assert schedule(0) == schedule(10**6) == 0.25


class TestCyclical:
    def test_it_falls_along_a_cosine_and_starts_again(self):
        schedule = schedules.cyclical(0.4, 8)
        steps = np.array([schedule(t) for t in range(24)])
        np.testing.assert_allclose(
            steps[[0, 2, 4, 6]], [0.4, 0.341421, 0.2, 0.058579], 1e-5
        )
        assert np.all(np.diff(steps[:8]) < 0)
        assert np.all(steps > 0)
        np.testing.assert_array_equal(steps[:16], steps[8:])

    def test_its_phase_does_not_drift_far_out(self):
        schedule = schedules.cyclical(1.0, 1000)
        far = jnp.int32(2_000_000_123)
        np.testing.assert_array_equal(schedule(far), schedule(jnp.int32(123)))


@pytest.mark.parametrize(
    "schedule",
    [
        schedules.polynomial(0.1, 10.0, 0.7),
        schedules.constant(0.1),
        schedules.cyclical(0.1, 7),
    ],
)
def test_a_schedule_compiles_to_the_same_positive_scalar(schedule):
    for t in (0, 3, 10_000):
        plain, compiled = schedule(t), jax.jit(schedule)(jnp.int32(t))
        assert compiled.shape == ()
        assert compiled > 0
        np.testing.assert_allclose(compiled, plain, rtol=1e-5)


def test_a_number_is_a_constant_schedule_and_a_schedule_is_itself():
    schedule = schedules.cyclical(0.1, 7)
    assert schedules.as_schedule(schedule) is schedule
    assert schedules.as_schedule(0.5)(3) == 0.5
    with pytest.raises(TypeError, match="step_size: expected a number"):
        schedules.as_schedule(float)


@pytest.mark.parametrize(
    ("named", "make"),
    [
        ("initial", lambda: schedules.polynomial(0.0, 1.0)),
        ("offset", lambda: schedules.polynomial(1.0, -1.0)),
        ("step_size", lambda: schedules.constant(0.0)),
        ("step_size", lambda: schedules.as_schedule(np.inf)),
        ("initial", lambda: schedules.cyclical(-1.0, 5)),
        ("period", lambda: schedules.cyclical(1.0, 1)),
    ],
)
def test_errors_name_the_argument(named, make):
    with pytest.raises(ValueError, match=f"^{named}: expected"):
        make()
