import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from dipgp import kernels
from dipgp.gp import condition_matrix

pytestmark = pytest.mark.usefixtures("x64")

POINTS = np.array([1, 2, 5, 9])
VALUES = np.array([0.3, -0.2, 0.5, 0.1])


def covariance(points=12, sigma=1.5):
    position = np.arange(points, dtype=float)
    lags = (position[:, None] - position)[:, :, None]
    return np.asarray(kernels.relu(kernels.gaussian(sigma))(lags))


def joint_law(noise_std):
    """Mean and covariance of all points given the observed, by block inversion."""
    k = covariance()
    precision = np.linalg.inv(k[np.ix_(POINTS, POINTS)] + np.diag(noise_std**2))
    gain = k[:, POINTS] @ precision
    return gain @ VALUES, k - gain @ k[POINTS]


class TestPosterior:
    @pytest.mark.parametrize("noise_std", [0.1, np.array([0.1, 0.5, 1.0, 0.01])])
    def test_it_is_the_conditional_law_of_the_joint_gaussian(self, noise_std):
        mean, law = joint_law(np.broadcast_to(noise_std, 4))
        got = condition_matrix(covariance(), VALUES, POINTS, noise_std)
        np.testing.assert_allclose(got.mean, mean, atol=1e-12)
        np.testing.assert_allclose(got.variance, np.diag(law), atol=1e-12)

    def test_the_evidence_is_the_density_of_what_was_seen(self):
        law = covariance()[np.ix_(POINTS, POINTS)] + 0.2**2 * np.eye(4)
        got = condition_matrix(covariance(), VALUES, POINTS, 0.2)
        expected = scipy.stats.multivariate_normal(np.zeros(4), law).logpdf(VALUES)
        np.testing.assert_allclose(got.log_evidence, expected, rtol=1e-12)

    def test_without_noise_it_goes_through_the_points_and_is_sure_of_them(self):
        got = condition_matrix(covariance(), VALUES, POINTS, 0.0)
        np.testing.assert_allclose(got.mean[POINTS], VALUES, atol=1e-10)
        np.testing.assert_allclose(got.variance[POINTS], 0, atol=1e-10)
        assert (got.variance >= 0).all()

    def test_columns_are_independent_channels(self):
        both = np.stack([VALUES, VALUES[::-1]], axis=1)
        got = condition_matrix(covariance(), both, POINTS, 0.1)
        alone = [condition_matrix(covariance(), v, POINTS, 0.1) for v in both.T]
        means = np.stack([one.mean for one in alone], axis=1)
        np.testing.assert_allclose(got.mean, means, atol=1e-13)
        np.testing.assert_allclose(
            got.log_evidence, sum(one.log_evidence for one in alone), rtol=1e-13
        )

    def test_its_precision_is_the_covariances(self):
        single = covariance().astype(np.float32)
        got = condition_matrix(single, VALUES, POINTS, 0.1)
        assert {part.dtype for part in got} == {jnp.dtype("float32")}
        exact = condition_matrix(covariance(), VALUES, POINTS, 0.1)
        np.testing.assert_allclose(got.mean, exact.mean, atol=1e-5)

    def test_half_precision_is_computed_in_single(self):
        half = covariance().astype(np.float16)
        got = condition_matrix(half, VALUES, POINTS, 0.1)
        same = condition_matrix(half.astype(np.float32), VALUES, POINTS, 0.1)
        np.testing.assert_array_equal(got.mean, same.mean)
        assert got.mean.dtype == np.float32

    @pytest.mark.slow
    def test_the_evidence_has_a_gradient_and_goes_through_jit_and_vmap(self):
        k = covariance()

        def evidence(scale):
            return condition_matrix(scale * k, VALUES, POINTS, 0.1).log_evidence

        step = 1e-5
        slope = (evidence(1 + step) - evidence(1 - step)) / (2 * step)
        np.testing.assert_allclose(jax.grad(evidence)(1.0), slope, rtol=1e-7)
        scales = jnp.array([0.5, 1.0, 2.0])
        np.testing.assert_allclose(
            jax.jit(jax.vmap(evidence))(scales),
            [evidence(scale) for scale in scales],
            rtol=1e-12,
        )


class TestBadInput:
    @pytest.mark.parametrize(
        ("changes", "complaint"),
        [
            ({"covariance": np.ones((2, 3))}, r"covariance: .*square.*\(2, 3\)"),
            ({"covariance": np.ones((2, 2), int)}, "covariance: .*floating.*int"),
            ({"observed": np.ones(12, bool)}, "observed: .*bool.*flatnonzero"),
            ({"covariance": np.full((12, 12), np.nan)}, "covariance: .*finite"),
            ({"covariance": -covariance()}, "covariance: .*positive definite"),
            ({"observed": POINTS - 2}, "observed: .*from 0 to 11, got -1"),
            ({"observed": POINTS + 2**40}, "observed: .*from 0 to 11, got 1099"),
            ({"values": VALUES[:3]}, r"values: .*4 observed.*\(3,\)"),
            ({"noise_std": np.ones(3)}, r"noise_std: .*4.*\(3,\)"),
        ],
    )
    def test_the_argument_and_what_was_expected_are_named(self, changes, complaint):
        given = {
            "covariance": covariance(),
            "values": VALUES,
            "observed": POINTS,
            "noise_std": 0.1,
        }
        with pytest.raises(ValueError, match=complaint):
            condition_matrix(**(given | changes))
