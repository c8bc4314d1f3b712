import numpy as np
import pytest
import scipy.stats

from dipgp.gp import linear_covariance
from dipgp.gp.linear_covariance import Part

TRUTH = np.array([0.7, 0.4])


def parts(seed, counts=(60, 25)):
    """Vectors of two sizes under the same coefficients."""
    rng = np.random.default_rng(seed)
    found = []
    for size, count in zip((4, 6), counts, strict=True):
        roots = rng.standard_normal((2, size, size))
        basis, fixed = roots @ roots.transpose(0, 2, 1), 0.3 * np.eye(size)
        covariance = np.tensordot(TRUTH, basis, axes=1) + fixed
        vectors = rng.multivariate_normal(np.zeros(size), covariance, count)
        found.append(Part(basis, fixed, vectors, vectors.T @ vectors))
    return found


def test_the_log_density_is_that_of_the_vectors():
    expected = 0.0
    for part in parts(0):
        covariance = np.tensordot(TRUTH, part.basis, axes=1) + part.fixed
        law = scipy.stats.multivariate_normal(cov=covariance)
        expected += law.logpdf(part.vectors).sum()
    value, _ = linear_covariance.log_density(parts(0), TRUTH)
    np.testing.assert_allclose(value, expected, rtol=1e-12)


def test_its_derivatives_are_its_differences():
    seen, step = parts(1), 1e-5
    _, slope = linear_covariance.log_density(seen, TRUTH)
    expected = [
        linear_covariance.log_density(seen, TRUTH + shift)[0]
        - linear_covariance.log_density(seen, TRUTH - shift)[0]
        for shift in step * np.eye(2)
    ]
    np.testing.assert_allclose(slope, np.divide(expected, 2 * step), rtol=1e-6)


def test_moments_give_the_coefficients_on_average():
    found = np.array(
        [linear_covariance.moment_estimate(parts(seed)) for seed in range(200)]
    )
    error = found.std(axis=0) / np.sqrt(len(found))
    assert np.all(np.abs(found.mean(axis=0) - TRUTH) < 4 * error)
    assert np.all(error < 0.1)


def test_errors_of_a_variance_are_those_of_the_mean_square():
    # With G = t, the maximum is the mean square and its error that of a mean.
    vectors = np.random.default_rng(2).standard_t(8, (500, 1))
    one, none = np.ones((1, 1, 1)), np.zeros((1, 1))
    part = Part(one, none, vectors, vectors.T @ vectors)
    squares = vectors[:, 0] ** 2
    error = linear_covariance.error_covariance([part], np.array([squares.mean()]))
    expected = squares.var(ddof=1) / len(squares)
    np.testing.assert_allclose(error, [[expected]], rtol=1e-12)


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_vectors_tell_no_error(count):
    (first, _) = parts(3, (count, 1))
    assert np.all(np.isinf(linear_covariance.error_covariance([first], TRUTH)))
