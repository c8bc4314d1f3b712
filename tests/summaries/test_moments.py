"""Streamed means and variances equal those of stored values."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dipgp.summaries import moments

VALUES = np.random.default_rng(0).standard_normal((50, 4, 3, 2)) * 3 + 1
WEIGHTS = np.random.default_rng(1).uniform(0, 2, 50) * (np.arange(50) % 3 != 0)


def gather(values, weights=None, dtype=np.float64):
    found = moments.empty(values.shape[1:], dtype)
    weights = np.ones(len(values)) if weights is None else weights
    add = jax.jit(moments.add)
    for value, weight in zip(values, weights, strict=True):
        found = add(found, value, weight)
    return found


def assert_equal(found, expected, rtol=1e-12):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol, rtol), found, expected
    )


def test_equal_weights_give_the_sample_mean_and_variance(x64):
    for weight in (1.0, 0.3):
        found = gather(VALUES, np.full(50, weight))
        np.testing.assert_allclose(found.mean, VALUES.mean(0), 1e-12)
        expected = VALUES.var(0, ddof=1)
        np.testing.assert_allclose(moments.variance(found), expected, 1e-12)


def test_weights_give_the_weighted_mean_and_its_unbiased_variance(x64):
    found = gather(VALUES, WEIGHTS)
    mean = np.average(VALUES, axis=0, weights=WEIGHTS)
    squares = np.average((VALUES - mean) ** 2, axis=0, weights=WEIGHTS)
    independent = WEIGHTS.sum() ** 2 / (WEIGHTS**2).sum()
    np.testing.assert_allclose(found.mean, mean, 1e-12)
    expected = squares / (1 - 1 / independent)
    np.testing.assert_allclose(moments.variance(found), expected, 1e-12)


def test_the_weighted_variance_has_no_bias():
    """Over many sets of five values with weights far apart."""
    weights = np.array([0.1, 1.0, 3.0, 0.5, 2.0])
    values = np.random.default_rng(2).standard_normal((5, 100_000))
    variances = np.asarray(moments.variance(gather(values, weights, np.float32)))
    error = variances.std() / np.sqrt(variances.size)
    assert abs(variances.mean() - 1) < 4 * error
    assert error < 0.005


def test_a_weight_of_zero_changes_nothing_even_for_nan():
    before = gather(VALUES[:7], dtype=np.float32)
    for first in (before, moments.empty((4, 3, 2), np.float32)):
        after = moments.add(first, np.full((4, 3, 2), np.nan, np.float32), 0.0)
        jax.tree.map(np.testing.assert_array_equal, after, first)


def test_burn_in_and_thinning_compile_into_weights(x64):
    def body(found, t):
        keep = (t >= 20) & (t % 5 == 0)
        return moments.add(
            found, jnp.asarray(VALUES)[t], jnp.where(keep, 1.0, 0.0)
        ), None

    first = moments.empty((4, 3, 2))
    found, _ = jax.lax.scan(body, first, jnp.arange(50))
    assert_equal(found, gather(VALUES[20::5]))


@pytest.mark.parametrize("cut", [0, 1, 20, 50])
def test_merged_parts_are_the_whole(x64, cut):
    parts = [gather(VALUES[a:b], WEIGHTS[a:b]) for a, b in ((0, cut), (cut, 50))]
    assert_equal(moments.merge(*parts), gather(VALUES, WEIGHTS))


def test_chains_side_by_side_merge_into_one(x64):
    chains = VALUES.reshape(5, 10, 4, 3, 2)

    def collect(chain):
        first = moments.empty((4, 3, 2))
        return jax.lax.scan(lambda m, x: (moments.add(m, x), None), first, chain)[0]

    each = jax.vmap(collect)(jnp.asarray(chains))
    ones = [jax.tree.map(lambda a, i=i: a[i], each) for i in range(5)]
    assert_equal(functools.reduce(moments.merge, ones), gather(VALUES))


def test_in_32_bits_a_large_mean_costs_no_digits_of_the_variance():
    """The mean's last digit rounds at random, and n roundings add up to sqrt(n)."""
    noise = np.random.default_rng(3).standard_normal((2000, 30))
    values = (1e4 + noise).astype(np.float32)
    exact = values.astype(np.float64)
    whole = gather(values, dtype=np.float32)
    halves = [gather(part, dtype=np.float32) for part in (values[:700], values[700:])]
    for found in (whole, moments.merge(*halves)):
        rounding = np.sqrt(2000) * np.finfo(np.float32).eps
        np.testing.assert_allclose(found.mean, exact.mean(0), rounding)
        np.testing.assert_allclose(
            moments.variance(found), exact.var(0, ddof=1), rtol=2e-3
        )
    # Sums of squares, the textbook's way, lose everything.
    naive = np.mean(values**2, 0) - np.mean(values, 0) ** 2
    assert np.abs(naive - 1).max() > 0.5


def test_fewer_than_two_values_have_no_variance():
    nothing = moments.empty((3,), np.float32)
    one = moments.add(nothing, np.arange(3, dtype=np.float32), 0.3)
    two = moments.add(one, np.ones(3, np.float32), 0.3)
    np.testing.assert_array_equal(nothing.mean, 0)
    np.testing.assert_array_equal(one.mean, [0, 1, 2])
    for found in (nothing, one):
        np.testing.assert_array_equal(moments.variance(found), np.nan)
    np.testing.assert_allclose(moments.variance(two), [0.5, 0, 0.5], atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_dtype_stays(x64, dtype):
    found = moments.add(moments.empty((2,), dtype), np.ones(2), 0.5)
    assert all(leaf.dtype == dtype for leaf in [*found, moments.variance(found)])


@pytest.mark.parametrize(
    ("named", "call"),
    [
        ("value", lambda m: moments.add(m, np.ones((4, 1)))),
        ("weight", lambda m: moments.add(m, np.ones((4, 2)), np.ones(2))),
        ("second", lambda m: moments.merge(m, moments.empty((4, 1)))),
    ],
)
def test_errors_name_the_argument(named, call):
    with pytest.raises(ValueError, match=f"^{named}: expected"):
        call(moments.empty((4, 2)))
