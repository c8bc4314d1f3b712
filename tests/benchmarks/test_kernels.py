import jax
import numpy as np
import pytest

from benchmarks import kernels, neural_tangents_oracle


@pytest.mark.slow
@pytest.mark.oracle
@pytest.mark.usefixtures("x64")
def test_both_sides_of_the_comparison_compute_the_same_covariance():
    try:
        neural_tangents_oracle.load()
    except ImportError as error:
        pytest.skip(str(error))
    values = np.asarray(kernels.closed_form(2, 8))
    pairs = kernels.all_pairs(2, 8)
    np.testing.assert_allclose(pairs[0].reshape(8, 8), values, rtol=1e-12)


@pytest.mark.usefixtures("x64")
def test_the_input_repeats_around_the_torus():
    around = kernels.torus_input(12, 2.0)
    lags = np.array([[3.0, 1.0]])
    np.testing.assert_allclose(around(lags), around(lags - 12.0), rtol=1e-4)


def test_sigma_may_be_traced():
    traced = jax.jit(lambda sigma: kernels.closed_form(1, 8, sigma))(2.0)
    np.testing.assert_allclose(traced, kernels.closed_form(1, 8), rtol=1e-5)
