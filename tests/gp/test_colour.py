import jax.numpy as jnp
import numpy as np
import pytest
from stationary_fields import random_mask

from dipgp import gp
from dipgp.gp.colour import correlate, decorrelate
from dipgp.observations import observe

COLOURS = np.array([[1.0, 0.8, 0.5], [0.8, 1.2, 0.7], [0.5, 0.7, 0.8]])
GRID = (64, 48)


def image(seed=0):
    """Independent pixels whose channels have the covariance COLOURS."""
    root = np.linalg.cholesky(COLOURS)
    white = np.random.default_rng(seed).standard_normal((*GRID, 3))
    return white @ root.T + np.array([0.5, 3.0, -2.0])


def covariance_of(model):
    rotation = np.asarray(model.rotation)
    return rotation * np.asarray(model.variances) @ rotation.T


def test_the_model_is_the_sample_covariance_at_observed_pixels(x64):
    values, mask = image(), random_mask(GRID, 0.3)
    model = gp.estimate_channels(observe(values, mask, noise_std=1e-9))
    expected = np.cov(values[mask].T, bias=True)
    expected *= 3 / np.trace(expected)
    np.testing.assert_allclose(covariance_of(model), expected, rtol=0, atol=1e-12)


def test_noise_is_taken_off(x64):
    noise_std = 0.9
    grain = noise_std * np.random.default_rng(1).standard_normal((*GRID, 3))
    model = gp.estimate_channels(observe(image() + grain, noise_std=noise_std))
    expected = COLOURS * 3 / np.trace(COLOURS)
    # A sample covariance of n Gaussian vectors with covariance S has the standard error
    # sqrt((S_ij^2 + S_ii S_jj) / n).
    total = COLOURS + noise_std**2 * np.eye(3)
    spread = np.sqrt(total**2 + np.outer(np.diag(total), np.diag(total)))
    room = 5 * spread / np.sqrt(np.prod(GRID)) * 3 / np.trace(COLOURS)
    assert np.all(np.abs(covariance_of(model) - expected) < room)


def test_the_mean_variance_is_one(x64):
    model = gp.estimate_channels(observe(7 * image(), noise_std=0.1))
    np.testing.assert_allclose(np.mean(model.variances), 1, rtol=1e-12)


def test_grey_is_one_channel_as_it_is():
    values = image()[:, :, 0].astype(np.float32)
    model = gp.estimate_channels(observe(values, noise_std=0.1))
    np.testing.assert_allclose(np.abs(model.rotation), [[1]], rtol=1e-6)
    np.testing.assert_allclose(model.variances, [1], rtol=1e-6)


@pytest.mark.parametrize(
    "values",
    [np.zeros((6, 5, 3)), np.repeat(image()[:, :, :1], 3, axis=2)],
    ids=["flat", "three equal channels"],
)
def test_channels_without_a_share_keep_a_positive_variance(values):
    observation = observe(values.astype(np.float32), noise_std=0.1)
    model = gp.estimate_channels(observation)
    assert np.all(np.asarray(model.variances) > 0)
    assert np.all(np.isfinite(model.rotation))


def test_what_the_mask_hides_has_no_say():
    values, mask = image().astype(np.float32), random_mask(GRID, 0.5)
    other = np.where(mask[:, :, None], values, np.float32(1e6))
    one, two = (
        gp.estimate_channels(observe(seen, mask, noise_std=0.1))
        for seen in (values, other)
    )
    np.testing.assert_array_equal(one.rotation, two.rotation)
    np.testing.assert_array_equal(one.variances, two.variances)


def test_decorrelated_channels_are_uncorrelated(x64):
    observation = observe(image(), noise_std=1e-9)
    model = gp.estimate_channels(observation)
    channels = np.asarray(decorrelate(observation.values, model)).reshape(3, -1)
    expected = np.asarray(model.variances) * np.trace(np.cov(channels, bias=True)) / 3
    np.testing.assert_allclose(
        np.cov(channels, bias=True), np.diag(expected), rtol=0, atol=1e-12
    )


def test_colours_come_back(x64):
    observation = observe(image(), noise_std=0.1)
    model = gp.estimate_channels(observation)
    back = correlate(decorrelate(observation.values, model), model)
    np.testing.assert_allclose(back, observation.values, rtol=0, atol=1e-13)


def test_a_rotation_by_hand_is_applied_column_by_column():
    quarter = jnp.array([[0.0, -1.0], [1.0, 0.0]])
    model = gp.ChannelModel(quarter, jnp.ones(2))
    channels = decorrelate(jnp.array([[[2.0, 3.0]]]), model)
    np.testing.assert_array_equal(channels[:, 0, 0], [3.0, -2.0])
