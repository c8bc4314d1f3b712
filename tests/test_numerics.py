import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dipgp import numerics


def both_modes(function, *arguments):
    """Gradient with respect to the first argument, reverse and forward."""
    return jax.grad(function)(*arguments), jax.jacfwd(function)(*arguments)


def test_safe_sqrt_is_the_root_and_zero_below_zero():
    x = jnp.asarray([-4.0, -0.0, 0.0, 1e-30, 4.0])
    np.testing.assert_allclose(numerics.safe_sqrt(x), [0, 0, 0, 1e-15, 2], rtol=1e-6)


@pytest.mark.parametrize(
    ("x", "slope"), [(-4.0, 0.0), (0.0, 0.0), (0.25, 1.0), (4.0, 0.25)]
)
def test_the_slope_of_safe_sqrt_is_right_inside_and_zero_at_the_edge(x, slope):
    for gradient in both_modes(numerics.safe_sqrt, x):
        assert gradient == pytest.approx(slope, abs=0)


def test_safe_divide_is_the_quotient_and_zero_over_zero():
    quotient = numerics.safe_divide(
        jnp.asarray([1.0, 1.0, 0.0, -3.0]), jnp.asarray([4.0, 0.0, 0.0, 2.0])
    )
    np.testing.assert_array_equal(quotient, [0.25, 0, 0, -1.5])


@pytest.mark.parametrize(
    ("above", "below", "slopes"),
    [(3.0, 2.0, (0.5, -0.75)), (3.0, 0.0, (0, 0)), (0.0, 0.0, (0, 0))],
)
def test_safe_divide_has_no_slope_where_the_denominator_is_zero(above, below, slopes):
    for mode in (jax.jacrev, jax.jacfwd):
        found = mode(numerics.safe_divide, argnums=(0, 1))(
            jnp.asarray(above), jnp.asarray(below)
        )
        np.testing.assert_array_equal(found, slopes)


def test_length_is_euclidean_with_a_unit_gradient_and_none_at_zero():
    vectors = jnp.asarray([[3.0, -4.0], [0.0, 0.0]])
    np.testing.assert_allclose(numerics.length(vectors), [5, 0], rtol=1e-6)
    total = lambda vectors: jnp.sum(numerics.length(vectors))  # noqa: E731
    for gradient in both_modes(total, vectors):
        np.testing.assert_allclose(gradient, [[0.6, -0.8], [0, 0]], rtol=1e-6)


def test_the_safe_functions_keep_the_precision_they_are_given(x64):
    for dtype in (jnp.float32, jnp.float64):
        x = jnp.asarray([2.0, 3.0], dtype)
        assert numerics.safe_sqrt(x).dtype == dtype
        assert numerics.safe_divide(x, x).dtype == dtype
        assert numerics.length(x).dtype == dtype


def test_only_arrays_inside_a_trace_are_traced():
    assert not numerics.is_traced({"a": jnp.ones(2), "b": 1.0, "c": None})
    seen = []
    jax.jit(lambda x: seen.append(numerics.is_traced([0.0, {"x": x}])))(1.0)
    jax.vmap(lambda x: seen.append(numerics.is_traced(x)))(jnp.ones(2))
    assert seen == [True, True]


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf, [1.0, 0.0]])
def test_what_is_not_positive_is_refused_by_name(value):
    with pytest.raises(ValueError, match="width: expected finite positive numbers"):
        numerics.check_positive("width", value)


@pytest.mark.parametrize("value", [2**40, [0, -(2**40)], np.array([2**40])])
def test_whole_numbers_of_more_bits_than_jax_counts_with_are_refused(value):
    with pytest.raises(ValueError, match="count: expected whole numbers from -2147"):
        numerics.check_real("count", value)
    numerics.check_real("count", np.asarray(value, float))
    with jax.enable_x64(True):
        numerics.check_real("count", value)


def test_places_are_those_that_are_there():
    numerics.check_indices("place", [0, 3], 4)
    for value in ([0, 4], [-1], 2**70):
        with pytest.raises(ValueError, match="place: expected whole numbers from 0 to"):
            numerics.check_indices("place", value, 4)


@pytest.mark.parametrize("value", [-1e-9, math.nan, math.inf, [1.0, -1.0]])
def test_what_is_negative_or_not_finite_is_refused_by_name(value):
    with pytest.raises(ValueError, match=r"width: expected finite numbers >= 0"):
        numerics.check_not_negative("width", value)


@pytest.mark.parametrize("value", [1e-30, 2, np.float32(3), [1.0, 2.0], jnp.ones(3)])
def test_positive_numbers_pass_both_checks(value):
    numerics.check_positive("width", value)
    numerics.check_not_negative("width", value)


def test_zero_is_not_negative():
    numerics.check_not_negative("width", [0.0, 0])


def test_nothing_is_said_about_values_that_are_being_traced():
    def check(value):
        numerics.check_positive("width", value)
        numerics.check_not_negative("width", value)
        return value

    assert jax.jit(check)(-1.0) == -1


def test_whole_numbers_are_told_from_others():
    numerics.check_whole_number("factor", 2, least=2)
    numerics.check_whole_number("factor", np.int64(3), least=2)
    for value in (1, 2.0, 2.5, float("nan"), "2", None):
        expected = f"factor: expected a whole number of at least 2, got {value!r}"
        with pytest.raises(ValueError, match=expected):
            numerics.check_whole_number("factor", value, least=2)
