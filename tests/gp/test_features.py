import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dipgp.gp import condition_features, condition_matrix

POINTS = np.array([1, 2, 5, 9, 11])
VALUES = np.array([0.3, -0.2, 0.5, 0.1, 0.4])
# Fewer features than observed points, as many, and more.
COUNTS = [3, 5, 8]


def draw_features(count):
    return np.random.default_rng(count).normal(size=(12, count))


def by_matrix(features, values, noise_std):
    return condition_matrix(features @ features.T, values, POINTS, noise_std)


@pytest.mark.usefixtures("x64")
class TestPosterior:
    @pytest.mark.parametrize("noise_std", [0.3, np.array([0.1, 0.5, 1.0, 0.3, 0.2])])
    @pytest.mark.parametrize("count", COUNTS)
    def test_it_is_that_of_the_features_covariance_matrix(self, count, noise_std):
        features = draw_features(count)
        got = condition_features(features, VALUES, POINTS, noise_std)
        expected = by_matrix(features, VALUES, noise_std)
        for ours, theirs in zip(got, expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)

    @pytest.mark.parametrize("count", COUNTS)
    def test_columns_are_independent_channels(self, count):
        features = draw_features(count)
        both = np.stack([VALUES, VALUES[::-1]], axis=1)
        got = condition_features(features, both, POINTS, 0.3)
        expected = by_matrix(features, both, 0.3)
        for ours, theirs in zip(got, expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)

    @pytest.mark.parametrize(
        "values", [VALUES, np.stack([VALUES, VALUES[::-1]], 1)], ids=["one", "two"]
    )
    @pytest.mark.parametrize("count", COUNTS)
    def test_the_evidence_has_the_derivatives_of_the_matrix_evidence(
        self, count, values
    ):
        given = (draw_features(count), values, np.full(POINTS.size, 0.3))

        def ours(features, values, noise_std):
            told = condition_features(features, values, POINTS, noise_std)
            return told.log_evidence

        def theirs(*arguments):
            return by_matrix(*arguments).log_evidence

        got = jax.grad(ours, (0, 1, 2))(*given)
        expected = jax.grad(theirs, (0, 1, 2))(*given)
        for one, other in zip(got, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-10)


def test_single_precision_stays_near_where_noise_is_weak():
    features = draw_features(3)
    # Values that the features explain, so that the misfit is a small difference.
    values = features[POINTS] @ np.array([0.3, -0.2, 0.1])
    got = condition_features(features.astype(np.float32), values, POINTS, 0.01)
    assert {part.dtype for part in got} == {jnp.dtype("float32")}
    with jax.enable_x64(True):
        exact = condition_features(features, values, POINTS, 0.01)
    np.testing.assert_allclose(got.mean, exact.mean, atol=1e-4)
    np.testing.assert_allclose(got.log_evidence, exact.log_evidence, atol=1e-2)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"features": np.ones(12)}, r"features: .*\(points, features\).*\(12,\)"),
        ({"features": np.ones((12, 2), int)}, "features: .*floating.*int"),
        ({"features": np.full((12, 2), np.inf)}, "features: .*finite"),
        ({"observed": POINTS + 12}, "observed: .*from 0 to 11, got 1"),
        ({"observed": [0, 1, 2, 3, 2**40]}, "observed: .*to 2147.*, got .0, 1"),
        ({"values": VALUES[:3]}, r"values: .*5 observed.*\(3,\)"),
        ({"noise_std": 0.0}, "noise_std: expected finite positive numbers"),
        ({"noise_std": 1e-256}, "noise_std: expected finite positive numbers"),
        ({"noise_std": 1e-25}, "noise_std: expected more of it"),
        ({"noise_std": np.ones(3)}, r"noise_std: .*5.*\(3,\)"),
        ({"observed": np.ones(5, bool)}, "observed: .*bool.*flatnonzero"),
    ],
)
def test_the_argument_and_what_was_expected_are_named(changes, complaint):
    given = {
        "features": draw_features(3),
        "values": VALUES,
        "observed": POINTS,
        "noise_std": 0.1,
    }
    with pytest.raises(ValueError, match=complaint):
        condition_features(**(given | changes))
