"""Up- and down-sampling against NumPy's formulas and exact interpolation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from dipgp.networks import resampling

# As in a network: one program, where operations one by one would be compiled so.
upsample = jax.jit(resampling.upsample, static_argnums=(1, 2))
downsample = jax.jit(resampling.downsample, static_argnums=(1, 2))

SIZES = [(7,), (1,), (6, 5), (1, 4)]


def signal(size, channels=3):
    return np.random.default_rng(0).standard_normal((*size, channels))


def along_each_axis(function, x):
    """A function of vectors applied to every axis but the last."""
    for axis in range(x.ndim - 1):
        x = np.apply_along_axis(function, axis, x)
    return x


@pytest.mark.parametrize("factor", [1, 2, 3, 4])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_bilinear_interpolates_between_pixel_centres_and_is_level_beyond(
    x64, size, factor
):
    def interpolate(values):
        positions = (np.arange(values.size * factor) + 0.5) / factor - 0.5
        return np.interp(positions, np.arange(values.size), values)

    x = signal(size)
    found = upsample(jnp.asarray(x), factor, "bilinear")
    np.testing.assert_allclose(found, along_each_axis(interpolate, x), atol=1e-14)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_nearest_repeats_pixels(x64, size):
    x = signal(size)
    found = upsample(jnp.asarray(x), 3, "nearest")
    np.testing.assert_array_equal(found, along_each_axis(lambda v: v.repeat(3), x))


@pytest.mark.parametrize("factor", [1, 2, 3])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_ideal_interpolation_passes_through_the_pixels(x64, size, factor):
    x = signal(size)
    fine = upsample(jnp.asarray(x), factor, "ideal")
    assert fine.shape == (*(factor * n for n in size), 3)
    np.testing.assert_allclose(downsample(fine, factor, "ideal"), x, atol=1e-13)


@pytest.mark.parametrize("pixels", [8, 9])
@pytest.mark.parametrize("factor", [2, 3])
def test_ideal_interpolation_is_exact_for_slow_waves_on_a_circle(x64, pixels, factor):
    def waves(positions):
        angles = 2 * np.pi * positions[:, None] / pixels
        turns = np.arange(4)[None, :]
        return np.cos(turns * angles + turns)

    x = jnp.asarray(waves(np.arange(pixels)))
    expected = waves(np.arange(pixels * factor) / factor)
    np.testing.assert_allclose(upsample(x, factor, "ideal"), expected, atol=1e-13)


def test_ideal_interpolation_takes_the_fastest_wave_for_a_cosine(x64):
    x = jnp.asarray([1.0, -1.0, 1.0, -1.0])[:, None]
    expected = np.cos(np.pi * np.arange(8) / 2)[:, None]
    np.testing.assert_allclose(upsample(x, 2, "ideal"), expected, atol=1e-14)


@pytest.mark.parametrize("method", ["stride", "ideal"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_striding_keeps_the_first_of_every_few_pixels(x64, size, method):
    x = signal(size)
    found = downsample(jnp.asarray(x), 3, method)
    np.testing.assert_array_equal(found, along_each_axis(lambda v: v[::3], x))


@pytest.mark.parametrize("size", [(6,), (9, 3)], ids=str)
def test_averaging_takes_means_of_blocks(x64, size):
    x = signal(size)
    found = downsample(jnp.asarray(x), 3, "average")
    expected = along_each_axis(lambda v: v.reshape(-1, 3).mean(axis=1), x)
    np.testing.assert_allclose(found, expected, atol=1e-15)


@pytest.mark.parametrize("method", ["nearest", "bilinear", "ideal"])
def test_a_level_image_stays_level(x64, method):
    found = upsample(jnp.full((6, 4, 3), 0.7), 2, method)
    np.testing.assert_allclose(found, 0.7, rtol=1e-14)


@pytest.mark.parametrize("method", ["nearest", "bilinear", "ideal"])
def test_upsampling_has_derivatives_of_both_modes(x64, method):
    def run(x):
        return jnp.sin(upsample(x, 2, method))

    check_grads(jax.jit(run), (jnp.asarray(signal((3, 4))),), order=1)


@pytest.mark.parametrize("method", ["nearest", "bilinear", "ideal"])
def test_single_precision_stays_single(x64, method):
    x = jnp.ones((3, 4, 2), jnp.float32)
    assert upsample(x, 2, method).dtype == jnp.float32
    assert downsample(x, 1, "average").dtype == jnp.float32
