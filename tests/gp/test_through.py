import jax
import jax.numpy as jnp
import numpy as np
import pytest
from stationary_fields import krige_through, matrix_of, random_mask

from dipgp import gp, kernels
from dipgp.observations import (
    BayerMosaic,
    Blur,
    Box,
    Composition,
    Decimation,
    Identity,
    gaussian_blur,
    observe,
)

GRID = (9, 8)
NOISE = 0.05
PRIOR = kernels.gaussian(1.0)
CROOKED = [[0.0, 0.3, 0.1], [0.2, 0.5, -0.1]]

# Directions in colour space that are no axes, of unlike strength.
ROTATION = np.linalg.qr(np.array([[1.0, 1, 0.2], [1, 0, -1], [1, -1, 0.5]]))[0]
COLOURS = gp.ChannelModel(jnp.asarray(ROTATION), jnp.array([2.0, 0.7, 0.3]))

MAPS = {
    "circular blur": (gaussian_blur(0.8), 1),
    "crooked blur": (Blur(CROOKED), 1),
    "valid blur": (Blur(CROOKED, "valid"), 1),
    "half": (Decimation(2), 1),
    "a third": (Decimation(3, Box()), 1),
    "mosaic": (BayerMosaic("GRBG"), 3),
    "blurred mosaic": (Composition((Blur(CROOKED, "valid"), BayerMosaic())), 3),
    "blurred half": (Composition((gaussian_blur(0.7), Decimation(2))), 3),
}


def problem(name, seed=0):
    """A map, the shape of its images, and values that it may have seen."""
    through, count = MAPS[name]
    shape = (*GRID, count)
    seen = through.output_shape(shape)
    rng = np.random.default_rng(seed)
    return through, shape, 0.6 + 0.3 * rng.standard_normal(seen)


def condition(through, shape, values, mask=None, noise_std=NOISE, **others):
    settings = {
        "tolerance": 1e-10,
        "max_iterations": 5000,
        "reach": 10,
        "channels": colours_of(shape),
        "through": through,
        "image_shape": shape,
    } | others
    return gp.condition(PRIOR, values, mask, noise_std, **settings)


def colours_of(shape):
    apart = gp.ChannelModel(jnp.eye(1), jnp.ones(1))
    return COLOURS if shape[2] == 3 else apart


def dense(through, shape, values, mask=None, noise_std=NOISE):
    mask = np.ones(values.shape[:2], bool) if mask is None else mask
    channels = colours_of(shape)
    colours = (channels.rotation * channels.variances[None]) @ channels.rotation.T
    matrix = matrix_of(through, shape)
    return krige_through(matrix, PRIOR, shape, values, mask, noise_std, colours)


def assert_near(found, expected):
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    "name",
    [n if n == "half" else pytest.param(n, marks=pytest.mark.slow) for n in MAPS],
)
def test_mean_level_and_variance_are_those_of_kriging_through_the_matrix(x64, name):
    through, shape, values = problem(name)
    mean, level, left = dense(through, shape, values)
    posterior = condition(through, shape, values)
    assert posterior.info.converged
    assert_near(posterior.mean, mean)
    assert_near(posterior.level, level)
    variance = posterior.variance(method="dense")
    assert_near(variance.value, np.diag(left).reshape(shape))


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow) for n in ("half", "blurred mosaic")],
)
def test_so_they_are_behind_a_mask_and_in_noise_of_many_strengths(x64, name):
    through, shape, values = problem(name)
    mask = random_mask(values.shape[:2], 0.6)
    noise = np.random.default_rng(1).uniform(0.03, 0.5, mask.shape)
    mean, level, left = dense(through, shape, values, mask, noise)
    hidden = np.where(mask[:, :, None], values, np.nan)
    posterior = condition(through, shape, hidden, mask, noise)
    assert_near(posterior.mean, mean)
    assert_near(posterior.level, level)
    variance = posterior.variance(method="dense")
    assert_near(variance.value, np.diag(left).reshape(shape))


@pytest.mark.slow
def test_what_is_seen_through_nothing_is_seen_as_it_is(x64):
    values = np.random.default_rng(0).random((*GRID, 3))
    mask = random_mask(GRID, 0.5)
    settings = {"tolerance": 1e-11, "reach": 10}
    plain = gp.condition(PRIOR, values, mask, NOISE, **settings)
    found = gp.condition(
        PRIOR,
        values,
        mask,
        NOISE,
        through=Identity(),
        image_shape=values.shape,
        **settings,
    )
    assert_near(found.mean, plain.mean)
    assert_near(found.level, plain.level)
    assert_near(
        found.variance(method="dense").value, plain.variance(method="dense").value
    )


@pytest.mark.slow
def test_channels_are_estimated_where_the_map_treats_all_alike(x64):
    through = gaussian_blur(0.8)
    values = np.random.default_rng(0).random((*GRID, 3)) ** [1, 2, 3]
    observation = observe(values, noise_std=NOISE)
    given = gp.estimate_channels(observation)
    settings = {"through": through, "image_shape": values.shape, "reach": 10}
    found = gp.condition(PRIOR, observation=observation, **settings)
    expected = gp.condition(PRIOR, observation=observation, channels=given, **settings)
    np.testing.assert_array_equal(found.mean, expected.mean)


@pytest.mark.slow
def test_a_far_level_costs_no_digits_in_32_bits():
    through, shape, values = problem("blurred mosaic")
    near, far = (
        condition(
            through,
            shape,
            jnp.asarray(values + level, jnp.float32),
            tolerance=1e-4,
            channels=jax.tree.map(jnp.float32, COLOURS),
        )
        for level in (0.0, 512.0)
    )
    # Numbers around 512 are told to 6e-5 in 32 bits.
    np.testing.assert_allclose(far.mean - 512, near.mean, rtol=0, atol=1e-3)
    assert far.info.converged


def assert_covariance(draws, expected):
    """Within 4.5 standard errors at all pairs, of which there are some hundreds."""
    products = draws[:, :, None] * draws[:, None, :]
    error = products.std(axis=0) / np.sqrt(len(draws))
    assert np.max(np.abs(products.mean(axis=0) - expected) / error) < 4.5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("through", "shape"),
    [
        (Decimation(2), (4, 5, 1)),
        (BayerMosaic(), (4, 3, 3)),
        (Blur(CROOKED), (4, 3, 3)),
    ],
    ids=["half", "mosaic", "blurred colours"],
)
def test_draws_have_the_covariance_that_kriging_leaves_open(through, shape):
    count, noise_std = 1000, 0.5
    values = np.full(through.output_shape(shape), 0.5, np.float32)
    posterior = condition(
        through,
        shape,
        values,
        tolerance=1e-3,
        noise_std=noise_std,
        channels=jax.tree.map(jnp.float32, colours_of(shape)),
    )
    samples = posterior.sample(jax.random.key(1), count, batch=count)
    assert samples.info.converged
    assert samples.values.shape == (count, *shape)
    around = np.asarray(samples.values - posterior.mean[None], np.float64)
    with jax.enable_x64(True):
        _, _, left = dense(through, shape, values, noise_std=noise_std)
    assert_covariance(around.reshape(count, -1), left)
    # The mean square of draws is the variance, up to sqrt(2 / draws).
    found = posterior.variance(
        jax.random.key(2), method="samples", solves=count, batch=count
    )
    off = (found.value - np.diag(left).reshape(shape)) / found.standard_error
    assert np.max(np.abs(off)) < 4
    # The mean square of 20 standardised errors or more, correlated among each other.
    assert 0.3 < np.mean(np.square(off)) < 2.5


@pytest.mark.slow
def test_it_compiles_and_has_derivatives(x64):
    through, shape, values = problem("half")

    def misfit(amplitude, values):
        found = gp.condition(
            kernels.scale(PRIOR, amplitude),
            values,
            noise_std=NOISE,
            tolerance=1e-11,
            reach=10,
            through=through,
            image_shape=shape,
            channels=colours_of(shape),
        )
        return jnp.mean(jnp.square(found.mean))

    eager = condition(through, shape, values).mean
    assert_near(jax.jit(misfit)(1.0, values), np.mean(np.square(eager)))
    slope = jax.jit(jax.grad(misfit))(1.0, values)
    step = 1e-4
    difference = misfit(1 + step, values) - misfit(1 - step, values)
    np.testing.assert_allclose(slope, difference / (2 * step), rtol=1e-5)


@pytest.mark.slow
def test_a_picture_without_channels_gives_an_image_without_channels():
    through, shape, values = problem("half")
    grey = jnp.asarray(values[:, :, 0], jnp.float32)
    posterior = condition(through, shape, grey, tolerance=1e-5, channels=None)
    assert posterior.mean.shape == GRID
    assert posterior.level.shape == ()
    assert posterior.variance(method="dense").value.shape == GRID
    assert posterior.sample(jax.random.key(0), 2).values.shape == (2, *GRID)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_shape": None}, r"image_shape: expected \(H, W, C\) .* got None"),
        ({"image_shape": (8, 8)}, r"image_shape: expected \(H, W, C\), got \(8, 8\)"),
        (
            {"image_shape": (12, 8, 1)},
            r"image_shape: .* Decimation sees \(5, 4, 1\), .* got \(12, 8, 1\), "
            r"of which it sees \(6, 4, 1\)",
        ),
        ({"through": None}, "image_shape: expected None"),
        ({"through": Decimation}, "through: expected a linear map"),
        (
            {"method": "dense"},
            'method: expected "automatic", "weights" or "field" .* Decimation, got',
        ),
    ],
    ids=["no shape", "flat shape", "wrong shape", "no map", "a class", "method"],
)
def test_what_does_not_fit_together_is_named(settings, message):
    through, shape, values = problem("half")
    settings = {"through": through, "image_shape": shape} | settings
    with pytest.raises(ValueError, match=message):
        gp.condition(PRIOR, values.astype(np.float32), noise_std=NOISE, **settings)


def test_channels_are_asked_for_where_the_map_mixes_them():
    through, shape, values = problem("mosaic")
    with pytest.raises(ValueError, match=r"channels: expected a ChannelModel .* 3"):
        condition(through, shape, values.astype(np.float32), channels=None)


def test_weights_are_for_filters(x64):
    through, shape, values = problem("mosaic")
    with pytest.raises(ValueError, match=r'"automatic" or "field" .* BayerMosaic, got'):
        condition(through, shape, values, method="weights")


def test_a_colour_that_is_never_seen_is_told():
    through, shape, values = problem("mosaic")
    green = np.asarray(through(jnp.zeros(shape).at[:, :, 1].set(1)))[:, :, 0] > 0
    with pytest.raises(ValueError, match="mask: expected pixels that tell the level"):
        condition(through, shape, values.astype(np.float32), green)
