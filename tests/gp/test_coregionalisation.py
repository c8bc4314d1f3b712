import functools

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from stationary_fields import covariance_matrix, matrix_of

from dipgp import gp, kernels
from dipgp.observations import BayerMosaic, gaussian_blur, observe
from dipgp.summaries import psnr

COLOURS = 0.04 * np.array([[1.0, 0.9, 0.75], [0.9, 1.1, 0.9], [0.75, 0.9, 0.9]])
RANGE = 8.0
MOSAIC = BayerMosaic()
GRID = (60, 48)
SEEDS = 8
NOISE = 0.02
LOWER = np.tril_indices(3)


def prior(lags):
    """Separable, which makes samples cheap."""
    return jnp.exp(-jnp.sum(jnp.abs(lags), axis=-1) / RANGE)


@functools.cache
def fields():
    """Independent draws, three for each seed."""
    axes = [np.arange(size) for size in GRID]
    down, right = (
        np.linalg.cholesky(np.exp(-np.abs(axis[:, None] - axis) / RANGE))
        for axis in axes
    )
    white = np.random.default_rng(0).standard_normal((SEEDS, 3, *GRID))
    return down @ white @ right.T


def image(seed, colours=COLOURS):
    """A sample whose channels have the covariance COLOURS."""
    root = np.linalg.cholesky(colours)
    return 0.5 + np.einsum("dc,chw->hwd", root, fields()[seed])


def seen(seed, noise_std=NOISE, colours=COLOURS):
    grain = np.random.default_rng(seed).standard_normal((*GRID, 1))
    values = np.asarray(MOSAIC(jnp.asarray(image(seed, colours), jnp.float32)))
    return observe((values + noise_std * grain).astype(np.float32), noise_std=noise_std)


def fit(observation, candidates=prior, **settings):
    shape = (*observation.mask.shape, 3)
    settings = {"through": MOSAIC, "image_shape": shape} | settings
    return gp.fit_channels(candidates, observation, **settings)


def matrix_from(channels):
    rotation = np.asarray(channels.rotation, np.float64)
    return rotation * np.asarray(channels.variances) @ rotation.T


@pytest.mark.parametrize(
    "seeds", [[1], pytest.param(range(SEEDS), marks=pytest.mark.slow)]
)
def test_channels_never_seen_together_have_their_covariance_found(seeds):
    scores = []
    for seed in seeds:
        found = fit(seen(seed))
        assert found.converged
        away = found.channel_covariance - COLOURS
        scores.append((away / found.standard_error)[LOWER])
        assert np.all(found.standard_error < 0.1 * COLOURS)
    scores = np.array(scores)
    # In units of their own standard errors, which windows that depend on each other
    # make a fifth larger than they say.
    assert np.all(np.abs(scores.mean(axis=0)) < 3.5 * 1.2 / np.sqrt(len(seeds)))
    assert np.sqrt(np.mean(scores**2)) < 2
    np.testing.assert_allclose(
        matrix_from(found.channels), found.channel_covariance, atol=1e-7
    )


def test_the_evidence_of_a_window_is_the_log_density_of_its_contrasts():
    shape = (6, 8, 3)  # less than a window is one
    values = np.asarray(seen(0).values)[: shape[0], : shape[1]]
    found = fit(observe(values, noise_std=NOISE))
    matrix = matrix_of(MOSAIC, shape)
    fields = np.kron(covariance_matrix(prior, shape[:2]), found.channel_covariance)
    whole = matrix @ fields @ matrix.T + NOISE**2 * np.eye(len(matrix))
    # Any orthonormal basis of the contrasts will do, such as the last left vectors.
    levels = matrix @ np.kron(np.ones((shape[0] * shape[1], 1)), np.eye(3))
    basis = np.linalg.svd(levels)[0][:, 3:]
    law = scipy.stats.multivariate_normal(cov=basis.T @ whole @ basis)
    density = law.logpdf(values.ravel() @ basis)
    np.testing.assert_allclose(found.evidence, density / basis.shape[1], atol=1e-4)


def test_pixels_that_tell_nothing_of_each_other_have_their_sample_covariance():
    rng = np.random.default_rng(0)
    values = rng.standard_normal((24, 36, 3)) @ np.linalg.cholesky(COLOURS).T
    observation = observe(values.astype(np.float32), noise_std=NOISE)
    found = gp.fit_channels(kernels.white(), observation)
    tiles = values.reshape(2, 12, 3, 12, 3).swapaxes(1, 2).reshape(6, 144, 3)
    around = tiles - tiles.mean(axis=1, keepdims=True)
    expected = np.einsum("wnc,wnd->cd", around, around) / (6 * 143)
    expected -= NOISE**2 * np.eye(3)
    np.testing.assert_allclose(found.channel_covariance, expected, atol=2e-5)


def test_independent_channels_have_variances_only():
    found = fit(seen(0), independent=True)
    apart = found.channel_covariance[~np.eye(3, dtype=bool)]
    np.testing.assert_array_equal(apart, 0)
    assert np.all(np.diag(found.channel_covariance) > 0)
    assert found.evidence[0] < fit(seen(0)).evidence[0]


@pytest.mark.slow
def test_the_spatial_covariance_is_chosen_too():
    candidates = [kernels.matern(0.5, 3.0), kernels.gaussian(2.0), prior]
    found = fit(seen(1), candidates)
    assert found.chosen == np.argmax(found.evidence) == 2
    scaled = fit(seen(1), [kernels.bias(kernels.scale(prior, 9.0), 4.0)])
    np.testing.assert_allclose(
        scaled.channel_covariance, found.channel_covariance, rtol=1e-3
    )


@pytest.mark.parametrize("guess", [0.01, pytest.param(0.5, marks=pytest.mark.slow)])
def test_noise_is_found_whatever_the_guess(guess):
    noise_std = 0.08
    observation = seen(2, noise_std)
    known = fit(observation)
    guessed = observation._replace(noise_std=jnp.full(GRID, guess))
    found = fit(guessed, estimate_noise=True)
    # White noise on n pixels is known to 1 / sqrt(2 n) at best; the fields leave it at
    # least half of the frequencies.
    assert abs(np.log(found.noise_std / noise_std)) < 4 / np.sqrt(np.prod(GRID))
    np.testing.assert_allclose(
        found.channel_covariance, known.channel_covariance, rtol=0.1
    )


def restore(values, channels):
    posterior = gp.condition(
        prior,
        values,
        noise_std=NOISE,
        through=MOSAIC,
        image_shape=(*values.shape[:2], 3),
        channels=channels,
        tolerance=1e-3,
        reach=40,  # where 0.007 is left of the covariance
    )
    assert posterior.info.converged
    return np.asarray(posterior.mean)


@pytest.mark.slow
def test_channels_seen_at_different_pixels_help_each_other():
    observation = seen(3)
    variances, rotation = np.linalg.eigh(COLOURS.astype(np.float32))
    models = {
        "estimated": fit(observation).channels,
        "true": gp.ChannelModel(jnp.asarray(rotation), jnp.asarray(variances)),
        "independent": fit(observation, independent=True).channels,
    }
    part = np.s_[:24, :24]
    scores = {
        name: psnr(restore(observation.values[part], model), image(3)[part])
        for name, model in models.items()
    }
    assert scores["estimated"] > scores["independent"] + 1
    assert abs(scores["estimated"] - scores["true"]) < 0.05


@pytest.mark.slow
def test_what_the_mask_hides_changes_nothing():
    observation = seen(4)
    mask = np.ones(GRID, bool)
    mask[3:20, 5:40] = False
    one, other = (
        fit(
            observe(
                np.where(mask[:, :, None], observation.values, hidden),
                mask,
                noise_std=NOISE,
            )
        )
        for hidden in (np.float32(np.nan), np.float32(9))
    )
    np.testing.assert_array_equal(one.channel_covariance, other.channel_covariance)
    assert np.all(np.isfinite(one.channel_covariance))


@pytest.mark.parametrize("estimate_noise", [False, True])
def test_a_flat_picture_has_small_finite_variances(estimate_noise):
    flat = observe(np.full((*GRID, 1), 0.5, np.float32), noise_std=NOISE)
    found = fit(flat, estimate_noise=estimate_noise)
    assert np.all(np.isfinite(found.channels.rotation))
    assert np.all(np.asarray(found.channels.variances) > 0)
    assert np.all(np.asarray(found.channels.variances) < NOISE**2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"candidates": []}, "candidates: expected at least one covariance, got none"),
        (
            {"candidates": lambda lags: 1.0 * (jnp.sum(lags**2, axis=-1) < 16)},
            "candidates: expected positive definite .* number 1",
        ),
        ({"image_shape": None}, r"image_shape: expected \(H, W, C\) .* got None"),
        ({"image_shape": (24, 12, 3)}, r"image_shape: .* got \(24, 12, 3\)"),
        ({"through": gaussian_blur(1.0)}, "image_shape: expected one of which Blur"),
        ({"through": None}, "image_shape: expected None"),
    ],
    ids=["none", "no covariance", "no shape", "wrong shape", "blur", "no map"],
)
def test_what_does_not_fit_together_is_named(settings, message):
    with pytest.raises(ValueError, match=message):
        fit(seen(0), **settings)


def test_a_colour_that_is_never_seen_is_told():
    spread = MOSAIC.adjoint(jnp.ones((*GRID, 1)), (*GRID, 3))
    green = np.asarray(spread)[:, :, 1] > 0
    with pytest.raises(ValueError, match="mask: expected pixels that tell the level"):
        fit(observe(seen(0).values, green, noise_std=NOISE))
