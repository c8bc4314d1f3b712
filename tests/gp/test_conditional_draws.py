import jax
import jax.numpy as jnp
import numpy as np
import pytest
from stationary_fields import deep_prior, mask_with_hole, open_covariance, random_mask

from dipgp import gp, kernels

GRID = (5, 4)
DRAWS = 1500


def posterior(method, mask, noise_std, colours=0, covariance=None, **settings):
    rng = np.random.default_rng(0)
    shape = (*mask.shape, colours) if colours else mask.shape
    values = 0.5 + 0.2 * rng.standard_normal(shape).astype(np.float32)
    k = deep_prior(2, sigma=1.0) if covariance is None else covariance
    settings = {"tolerance": 1e-4, "reach": 10} | settings
    return gp.condition(k, values, mask, noise_std, method=method, **settings)


def assert_covariance(draws, expected):
    """Within 4.5 standard errors at all pairs, of which there are some hundreds."""
    products = draws[:, :, None] * draws[:, None, :]
    error = products.std(axis=0) / np.sqrt(len(draws))
    assert np.max(np.abs(products.mean(axis=0) - expected) / error) < 4.5


@pytest.mark.parametrize(
    ("method", "mask"),
    [
        pytest.param("weights", mask_with_hole(GRID), marks=pytest.mark.slow),
        ("field", random_mask(GRID, 0.5)),
        ("dense", mask_with_hole(GRID)),
    ],
)
def test_draws_have_mean_and_covariance_of_the_kriging_error(method, mask):
    # Noise of its own at each pixel, and a level that nothing tells but the data.
    noise_std = np.linspace(0.05, 0.8, mask.size).reshape(GRID).astype(np.float32)
    found = posterior(method, mask, noise_std)
    samples = found.sample(jax.random.key(1), DRAWS, batch=DRAWS)
    assert samples.info.converged
    values = np.asarray(samples.values, np.float64)
    assert values.shape == (DRAWS, *GRID)
    around = (values - np.asarray(found.mean)).reshape(DRAWS, -1)
    error = around.std(axis=0) / np.sqrt(DRAWS)
    assert np.max(np.abs(around.mean(axis=0)) / error) < 4
    expected = open_covariance(deep_prior(2, sigma=1.0), mask, noise_std)
    assert_covariance(around, expected)


@pytest.mark.slow
def test_colours_vary_together_as_the_channel_model_says():
    mask, count = random_mask((4, 3), 0.5), DRAWS
    found = posterior("field", mask, 0.3, colours=3)
    samples = found.sample(jax.random.key(2), count, batch=count)
    around = np.asarray(samples.values - found.mean[None], np.float64)
    channels = found.system.channels
    rotation = np.asarray(channels.rotation, np.float64)
    expected = 0
    for direction, variance in zip(rotation.T, channels.variances, strict=True):
        prior = kernels.scale(deep_prior(2, sigma=1.0), float(variance))
        each = open_covariance(prior, mask, 0.3)
        expected = expected + np.kron(each, np.outer(direction, direction))
    assert_covariance(around.reshape(count, -1), expected)


def test_draws_go_through_what_is_seen_without_noise_and_differ_elsewhere():
    mask = random_mask(GRID, 0.5)
    found = posterior("weights", mask, 1e-3)
    values = np.asarray(found.sample(jax.random.key(0), 3).values)
    at = values - np.asarray(found.mean)
    assert np.abs(at[:, mask]).max() < 6e-3
    assert np.ptp(values[:, ~mask], axis=0).min() > 0.01


@pytest.mark.slow
def test_each_draw_has_its_own_key_whatever_the_batch():
    found = posterior("field", random_mask(GRID, 0.5), 0.1)
    key = jax.random.key(3)
    together = np.asarray(found.sample(key, 5, batch=5).values)
    one_by_one = np.asarray(found.sample(key, 5, batch=1).values)
    np.testing.assert_allclose(one_by_one, together, atol=1e-4)
    again = np.asarray(found.sample(key, 5, batch=5).values)
    np.testing.assert_array_equal(again, together)
    assert len({draw.tobytes() for draw in together}) == 5


@pytest.mark.slow
def test_samples_are_drawn_under_jit_and_in_the_values_precision(x64):
    mask = random_mask(GRID, 0.5)
    k = kernels.gaussian(1.0)

    @jax.jit
    def draw(values, key):
        found = gp.condition(k, values, mask, 0.1, reach=12, method="field")
        return found.sample(key, 2).values

    values = jnp.zeros(GRID, jnp.float64)
    drawn = draw(values, jax.random.key(0))
    assert drawn.dtype == np.float64
    eager = gp.condition(k, values, mask, 0.1, reach=12, method="field")
    np.testing.assert_allclose(drawn, eager.sample(jax.random.key(0), 2).values)


@pytest.mark.slow
def test_a_solve_that_stops_early_is_told():
    found = posterior("weights", random_mask(GRID, 0.5), 0.01, max_iterations=1)
    info = found.sample(jax.random.key(0), 2).info
    assert not info.converged
    assert "max_iterations" in info.advice


def test_progress_is_told():
    told = []
    found = posterior("field", random_mask(GRID, 0.5), 0.1)
    found.sample(jax.random.key(0), 5, batch=2, report=told.append)
    assert told == [f"posterior samples: {n} of 5" for n in (0, 2, 4)]


@pytest.mark.parametrize(("count", "batch", "name"), [(0, 1, "count"), (1, 0, "batch")])
def test_bad_numbers_are_named(count, batch, name):
    found = posterior("field", random_mask(GRID, 0.5), 0.1)
    with pytest.raises(ValueError, match=f"{name}: expected a whole number"):
        found.sample(jax.random.key(0), count, batch=batch)
    with pytest.raises(ValueError, match="count: expected at most"):
        found.sample(jax.random.key(0), 2**30)
    with pytest.raises(TypeError, match=r"key: expected a jax.random.key, got 2"):
        found.sample(2)
