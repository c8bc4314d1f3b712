import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dipgp.gp import conjugate_gradients

SIZE = 12


def identity(x):
    return x


def spectra():
    """Eigenvalues of three matrices: condition 1, 100, and 10,000."""
    return np.stack([np.geomspace(1, worst, SIZE) for worst in (1.0, 1e2, 1e4)])


def matrices():
    rng = np.random.default_rng(0)
    found = []
    for values in spectra():
        rotation, _ = np.linalg.qr(rng.standard_normal((SIZE, SIZE)))
        found.append(rotation * values @ rotation.T)
    return np.stack(found)


def right_hand_sides():
    return np.random.default_rng(1).standard_normal((3, SIZE))


def product(matrix):
    return lambda x: jnp.einsum("nij,nj->ni", matrix, x, precision="highest")


def solve(tolerance=1e-12, limit=200, b=None, preconditioner=identity):
    b = right_hand_sides() if b is None else b
    operator = product(jnp.asarray(matrices()))
    return conjugate_gradients.solve(
        operator, jnp.asarray(b), preconditioner, tolerance, limit
    )


def test_every_system_of_a_batch_is_solved(x64):
    solution = solve()
    expected = np.linalg.solve(matrices(), right_hand_sides()[..., None])[..., 0]
    error = np.linalg.norm(solution.value - expected, axis=1)
    conditions = spectra()[:, -1]
    assert np.all(error <= 1e-12 * conditions * np.linalg.norm(expected, axis=1))


def test_right_hand_sides_may_be_images(x64):
    b = right_hand_sides().reshape(3, 3, 4)

    def operator(images):
        return product(jnp.asarray(matrices()))(images.reshape(3, -1)).reshape(b.shape)

    solution = conjugate_gradients.solve(operator, jnp.asarray(b), identity, 1e-12, 200)
    np.testing.assert_allclose(
        solution.value.reshape(3, -1), solve().value, rtol=0, atol=1e-12
    )


def test_steps_are_counted_system_by_system(x64):
    steps = np.asarray(solve(tolerance=1e-8).iterations)
    assert steps[0] == 1
    assert 1 < steps[1] < steps[2]
    alone = [
        conjugate_gradients.solve(
            product(jnp.asarray(matrix[None])),
            jnp.asarray(b[None]),
            identity,
            1e-8,
            200,
        ).iterations[0]
        for matrix, b in zip(matrices(), right_hand_sides(), strict=True)
    ]
    # Rounding decides whether a system has arrived one step earlier.
    np.testing.assert_allclose(steps, alone, atol=1)


def test_a_system_that_has_arrived_stands_still(x64):
    early = solve(limit=1).value[0]
    np.testing.assert_array_equal(solve(limit=200).value[0], early)


def test_steps_end_at_the_limit_and_the_residual_shows_it(x64):
    solution = solve(limit=4)
    np.testing.assert_array_equal(solution.iterations, [1, 4, 4])
    assert solution.residual[0] < 1e-12
    assert np.all(solution.residual[1:] > 1e-4)


def test_the_residual_is_that_of_the_value(x64):
    solution = solve(limit=4)
    b = right_hand_sides()
    left = b - np.einsum("nij,nj->ni", matrices(), solution.value)
    expected = np.linalg.norm(left, axis=1) / np.linalg.norm(b, axis=1)
    np.testing.assert_allclose(solution.residual, expected, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("tolerance", [1e-2, 1e-5, 1e-9])
def test_the_residual_keeps_to_the_tolerance(x64, tolerance):
    assert np.all(solve(tolerance=tolerance).residual <= 1.01 * tolerance)


def test_nothing_on_the_right_gives_nothing_on_the_left(x64):
    b = right_hand_sides()
    b[1] = 0
    solution = solve(b=b)
    np.testing.assert_array_equal(solution.value[1], 0)
    assert solution.iterations[1] == 0
    assert solution.residual[1] == 0
    np.testing.assert_array_equal(solution.value[2], solve().value[2])


def test_the_inverse_as_preconditioner_takes_one_step(x64):
    inverse = product(jnp.asarray(np.linalg.inv(matrices())))
    solution = solve(tolerance=1e-8, preconditioner=inverse)
    np.testing.assert_array_equal(solution.iterations, 1)


def test_a_singular_system_stops_instead_of_dividing_by_zero():
    b = jnp.array([[1.0, 1.0, 0.0]])
    keep_first = jnp.array([[1.0, 0.0, 0.0]])
    solution = conjugate_gradients.solve(
        lambda x: keep_first * x, b, identity, 1e-6, 50
    )
    assert np.all(np.isfinite(solution.value))
    assert solution.residual[0] > 0.1


def test_gradients_are_those_of_the_dense_solution(x64):
    target = jnp.asarray(np.random.default_rng(2).standard_normal((3, SIZE)))

    def by_iteration(matrix, b):
        operator = product(matrix)
        value = conjugate_gradients.solve(operator, b, identity, 1e-13, 500).value
        return jnp.sum(value * target)

    def by_factorisation(matrix, b):
        return jnp.sum(jnp.linalg.solve(matrix, b[..., None])[..., 0] * target)

    at = jnp.asarray(matrices()[:2]), jnp.asarray(right_hand_sides()[:2])
    target = target[:2]
    found = jax.grad(by_iteration, argnums=(0, 1))(*at)
    expected = jax.grad(by_factorisation, argnums=(0, 1))(*at)
    for part, whole in zip(found, expected, strict=True):
        scale = np.max(np.abs(whole))
        np.testing.assert_allclose(part, whole, rtol=0, atol=1e-9 * scale)


def test_residuals_may_be_measured_by_a_metric_and_in_a_unit(x64):
    """Those of a bound on the inverse bound the error in the system's own norm."""
    operator, b = product(jnp.asarray(matrices())), jnp.asarray(right_hand_sides())
    bound, unit = 1 / spectra()[:, 0], 0.5
    found = conjugate_gradients.solve(
        operator,
        b,
        identity,
        1e-3,
        200,
        lambda residuals: jnp.asarray(bound)[:, None] * residuals,
        jnp.full(3, unit),
    )
    left = np.linalg.norm(b - operator(found.value), axis=1) * np.sqrt(bound)
    np.testing.assert_allclose(found.residual, left / unit, rtol=1e-6)
    error = found.value - np.linalg.solve(matrices(), np.asarray(b)[..., None])[..., 0]
    energy = np.sqrt(np.sum(error * operator(error), axis=1))
    assert np.all(energy <= found.residual * unit * (1 + 1e-9) + 1e-14)
    assert np.all(found.residual <= 1e-3)
    fewer = solve(tolerance=1e-9).iterations
    assert np.all(found.iterations[1:] < fewer[1:])


def test_a_unit_that_is_too_large_for_a_right_hand_side_is_its_own_length(x64):
    """So that derivatives, whose sides are of any size, are as near as solutions."""
    operator = product(jnp.asarray(matrices()))
    b = 1e-9 * jnp.asarray(right_hand_sides())
    large = jnp.full(3, 1e3)
    found = conjugate_gradients.solve(
        operator, b, identity, 1e-12, 200, identity, large
    )
    np.testing.assert_array_equal(found.value, solve(b=b).value)
    np.testing.assert_array_equal(found.residual, solve(b=b).residual)


def from_start(start, tolerance=1e-8, max_iterations=200, every=1):
    operator, b = product(jnp.asarray(matrices())), jnp.asarray(right_hand_sides())
    lengths = functools.partial(jnp.linalg.norm, axis=1)
    return conjugate_gradients.iterate(
        operator,
        start,
        b - operator(start),
        identity,
        tolerance * lengths(b),
        max_iterations,
        lengths,
        every,
    )


def exact():
    return np.linalg.solve(matrices(), right_hand_sides()[..., None])[..., 0]


def test_a_good_start_saves_steps_and_changes_no_solution(x64):
    near = jnp.asarray(exact() * (1 + 1e-6))
    found, steps = from_start(near)
    _, cold = from_start(jnp.zeros_like(near))
    assert np.all(steps[1:] < cold[1:])
    np.testing.assert_allclose(found, exact(), rtol=0, atol=1e-5)
    np.testing.assert_array_equal(from_start(jnp.asarray(exact()))[1], 0)


@pytest.mark.parametrize("max_iterations", [1, 6, 200])
def test_who_looks_now_and_then_takes_a_few_more_steps(x64, max_iterations):
    none = jnp.zeros((3, SIZE))
    _, steps = from_start(none, max_iterations=max_iterations)
    found, more = from_start(none, max_iterations=max_iterations, every=4)
    assert np.all(more <= max_iterations)
    arrived = np.asarray(steps) < max_iterations
    # Systems whose direction breaks down before the next look stand still there.
    assert np.all((more >= steps) & (more < np.asarray(steps) + 4))
    if max_iterations == 200:
        assert np.all(arrived)
        np.testing.assert_allclose(found, exact(), rtol=0, atol=1e-5)
