import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import scipy.stats

from dipgp.gp import restricted

pytestmark = pytest.mark.usefixtures("x64")


def draw_problem(levels):
    random = np.random.default_rng(levels)
    factor = random.normal(size=(7, 7))
    matrix = factor @ factor.T + np.eye(7)
    return matrix, random.normal(size=7), random.normal(size=(7, levels))


@pytest.mark.parametrize("levels", [1, 3])
def test_it_is_the_density_of_contrasts(levels):
    matrix, values, columns = draw_problem(levels)
    contrasts = scipy.linalg.null_space(columns.T)
    law = scipy.stats.multivariate_normal(
        np.zeros(7 - levels), contrasts.T @ matrix @ contrasts
    )
    # Harville's form keeps |L^T L|, and leaves the powers of 2 pi to others.
    constant = (7 - levels) * np.log(2 * np.pi) / 2
    constant -= np.linalg.slogdet(columns.T @ columns)[1] / 2
    expected = law.logpdf(contrasts.T @ values) + constant
    got = restricted.log_density(matrix, values, columns)
    np.testing.assert_allclose(got, expected, rtol=1e-12)


@pytest.mark.parametrize("levels", [1, 3])
def test_its_derivatives_are_its_differences(levels):
    matrix, values, columns = draw_problem(levels)
    random = np.random.default_rng(9)
    change = random.normal(size=(7, 7))
    change, shift = change + change.T, random.normal(size=7)

    def along(t):
        return restricted.log_density(matrix + t * change, values + t * shift, columns)

    step = 1e-5
    difference = (along(step) - along(-step)) / (2 * step)
    np.testing.assert_allclose(jax.grad(along)(0.0), difference, rtol=1e-7)
    _, pushed = jax.jvp(along, (0.0,), (1.0,))
    np.testing.assert_allclose(pushed, difference, rtol=1e-7)


def test_a_level_changes_nothing():
    matrix, values, columns = draw_problem(2)
    lifted = values + columns @ np.array([3.0, -1.0])
    np.testing.assert_allclose(
        restricted.log_density(matrix, values, columns),
        restricted.log_density(matrix, lifted, columns),
        rtol=1e-10,
    )


def test_a_matrix_that_is_not_positive_definite_gives_nan():
    _, values, columns = draw_problem(1)
    assert jnp.isnan(restricted.log_density(-np.eye(7), values, columns))
