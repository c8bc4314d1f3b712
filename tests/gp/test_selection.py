import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from stationary_fields import deep_prior, draw, random_mask

from dipgp import gp, kernels
from dipgp.observations import BayerMosaic, Decimation, gaussian_blur, observe

GRID = (26, 24)
AMPLITUDE, NOISE = 0.4, 0.04
CANDIDATES = {
    "rough": kernels.matern(0.5, 3.0),
    "smooth": kernels.gaussian(2.0),
    "fine": kernels.gaussian(0.7),
    "network": deep_prior(3, sigma=1.2),
}
MASKS = {"everything": np.ones(GRID, bool), "half": random_mask(GRID, 0.5)}


@functools.cache
def sample(name, seed=0):
    """Of a candidate, with variance 1."""
    with jax.enable_x64(True):
        return draw(CANDIDATES[name], GRID, seed)[0]


def field(name, seed=0, amplitude=AMPLITUDE, noise=NOISE):
    """A sample of a candidate around one half, and noise."""
    grain = np.random.default_rng(seed + 1).standard_normal(GRID)
    return (0.5 + amplitude * sample(name, seed) + noise * grain).astype(np.float32)


def select(values, mask, noise_std=NOISE, **settings):
    observation = observe(values, mask, noise_std=noise_std)
    return gp.select(list(CANDIDATES.values()), observation, **settings)


@pytest.mark.parametrize("where", MASKS)
@pytest.mark.parametrize("name", CANDIDATES)
def test_the_covariance_of_a_sample_is_found(name, where):
    selection = select(field(name), MASKS[where])
    assert list(CANDIDATES)[selection.chosen[0]] == name
    assert np.argmax(selection.evidence[:, 0]) == selection.chosen[0]
    assert selection.noise_std == pytest.approx(NOISE, rel=1e-5)


@pytest.mark.parametrize("where", MASKS)
@pytest.mark.parametrize("name", ["fine", "rough"])
def test_amplitude_is_found(name, where):
    # An estimate from n effectively independent pixels is off by 1 / sqrt(2 n); fields
    # of correlation length 3 have at least 26 * 24 / (2 pi 3^2) of them.
    error = 1 / np.sqrt(2 * np.prod(GRID) / (2 * np.pi * 9))
    (amplitude,) = select(field(name), MASKS[where]).amplitudes
    # By blocks the noise ratio moves in steps of a third of a decade.
    step = 0 if where == "everything" else np.log(10) / 12
    assert abs(np.log(amplitude / AMPLITUDE)) < 3 * error + step


@pytest.mark.parametrize("where", MASKS)
@pytest.mark.parametrize("name", ["smooth", "network"])
@pytest.mark.slow
def test_noise_is_estimated_where_it_stands_out(name, where):
    mask, noise = MASKS[where], AMPLITUDE / 2
    values = field(name, noise=noise)
    selection = select(values, mask, noise_std=0.1, estimate_noise=True)
    # White noise on n pixels is known to 1 / sqrt(2 n) at best; the fields leave it at
    # least a quarter of the frequencies. Blocks know it to half a step.
    error = 1 / np.sqrt(2 * mask.sum() / 4)
    step = 0 if where == "everything" else np.log(10) / 12
    assert abs(np.log(selection.noise_std / noise)) < 4 * error + step


@pytest.mark.parametrize("estimate_noise", [False, True])
@pytest.mark.slow
def test_what_the_mask_hides_changes_nothing(estimate_noise):
    values, mask = field("rough"), MASKS["half"]
    clean = select(values, mask, estimate_noise=estimate_noise)
    for garbage in (np.nan, 1e9):
        hidden = np.where(mask, values, np.float32(garbage))
        found = select(hidden, mask, estimate_noise=estimate_noise)
        assert found.chosen == clean.chosen
        assert found.amplitudes == clean.amplitudes
        assert found.noise_std == clean.noise_std
        np.testing.assert_array_equal(found.evidence, clean.evidence)


@pytest.mark.parametrize("where", MASKS)
def test_scale_and_level_of_a_candidate_do_not_count(where):
    values, mask = field("rough"), MASKS[where]
    observation = observe(values, mask, noise_std=NOISE)
    plain = gp.select(list(CANDIDATES.values()), observation)
    raised = [kernels.bias(kernels.scale(k, 9.0), 100.0) for k in CANDIDATES.values()]
    other = gp.select(raised, observation)
    assert other.chosen == plain.chosen
    np.testing.assert_allclose(other.amplitudes, plain.amplitudes, rtol=1e-3)


@pytest.mark.parametrize("where", MASKS)
def test_each_channel_chooses_for_itself(where):
    # Strengths apart, the channels' covariance is diagonal up to sampling error.
    values = np.stack([field("smooth", 3), field("rough", 5, AMPLITUDE / 3)], axis=-1)
    selection = select(values, MASKS[where])
    order = np.argsort(-np.asarray(selection.amplitudes))
    names = [list(CANDIDATES)[selection.chosen[channel]] for channel in order]
    assert names == ["smooth", "rough"]
    assert len(selection.covariances) == 2
    assert selection.evidence.shape == (len(CANDIDATES), 2)


@pytest.mark.parametrize("where", MASKS)
def test_a_selection_is_ready_to_condition_on(where):
    values, mask = field("smooth"), MASKS[where]
    selection = select(values, mask)
    posterior = gp.condition(
        selection.covariances,
        values,
        mask,
        selection.noise_std,
        channels=selection.channels,
    )
    assert posterior.info.converged
    variance = kernels.variance(selection.covariances[0])
    np.testing.assert_allclose(variance, selection.amplitudes[0] ** 2, rtol=1e-4)
    truth = 0.5 + AMPLITUDE * sample("smooth")
    assert np.sqrt(np.mean((posterior.mean - truth) ** 2)) < NOISE


def test_the_search_says_how_far_it_is():
    news = []
    select(field("fine"), MASKS["everything"], report=news.append)
    assert len(news) == len(CANDIDATES)
    assert "1 of 4" in news[0]


def test_no_candidate_is_an_error():
    observation = observe(jnp.zeros((4, 4)), noise_std=0.1)
    with pytest.raises(ValueError, match=r"^candidates: "):
        gp.select([], observation)


def test_a_single_pixel_is_too_few_to_tell():
    mask = np.zeros(GRID, bool)
    mask[5, 5] = True
    with pytest.raises(ValueError, match="mask: expected at least two"):
        select(field("fine"), mask)


THROUGH = {"blurred": gaussian_blur(0.8, "valid"), "half": Decimation(2)}


# Compiling takes the time: two of the eight cases show both maps and both likelihoods.
QUICK = (("rough", "half", "half"),)


@pytest.mark.parametrize(
    ("name", "how", "where"),
    [
        case if case in QUICK else pytest.param(*case, marks=pytest.mark.slow)
        for case in itertools.product(["rough", "fine"], THROUGH, MASKS)
    ],
)
def test_it_is_found_in_what_is_seen_through_a_filter(name, how, where):
    through, grid = THROUGH[how], (2 * GRID[0], 2 * GRID[1])
    k = CANDIDATES[name]
    image = 0.5 + AMPLITUDE * gp.draw_prior(jax.random.key(4), k, grid)[0]
    seen = np.asarray(through(image[:, :, None]))
    noise = 0.02 * np.random.default_rng(1).standard_normal(seen.shape)
    mask = None if where == "everything" else random_mask(seen.shape[:2], 0.5)
    values = (seen + noise).astype(np.float32)
    found = select(values, mask, 0.02, through=through)
    assert list(CANDIDATES)[found.chosen[0]] == name
    # The error of an amplitude as above, for fewer pixels that tell of it.
    error = 1 / np.sqrt(2 * seen.size / (2 * np.pi * 9))
    step = 0 if where == "everything" else np.log(10) / 12
    assert abs(np.log(found.amplitudes[0] / AMPLITUDE)) < 3 * error + step
    # What is chosen is the image's covariance, not that of what was seen.
    lags = np.array([[0.0, 0.0], [0.0, 1.0], [2.0, 1.0]])
    np.testing.assert_allclose(
        found.covariances[0](lags), found.amplitudes[0] ** 2 * k(lags), rtol=1e-4
    )


def test_a_mosaic_is_refused():
    with pytest.raises(ValueError, match=r"through.*: expected blur"):
        select(field("fine"), MASKS["everything"], through=BayerMosaic())


def test_an_image_that_is_traced_is_refused():
    with pytest.raises(ValueError, match="observation: expected known values"):
        jax.jit(lambda values: select(values, None).noise_std)(field("fine"))
