import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from dipgp.observations import (
    log_likelihood,
    mean_squared_error,
    observe,
    widest_gap,
)
from dipgp.observations.observation import gaps_are_narrow

VALUES = np.linspace(0, 1, 24, dtype=np.float32).reshape(3, 4, 2)
MASK = np.arange(12).reshape(3, 4) % 2 == 0

IMAGE = np.random.default_rng(0).uniform(size=VALUES.shape).astype(np.float32)
NOISE_STD = np.linspace(0.1, 0.6, 12, dtype=np.float32).reshape(3, 4)


def test_everything_is_observed_by_default():
    observation = observe(VALUES, noise_std=0.1)
    np.testing.assert_array_equal(observation.values, VALUES)
    np.testing.assert_array_equal(observation.mask, np.ones((3, 4)))
    np.testing.assert_allclose(observation.noise_std, np.full((3, 4), 0.1))


def test_grey_values_gain_a_channel():
    assert observe(VALUES[:, :, 0], noise_std=0.1).values.shape == (3, 4, 1)


def test_values_outside_the_mask_become_zero_and_may_be_nan():
    values = np.where(MASK[:, :, None], VALUES, np.nan)
    observation = observe(values, MASK, noise_std=0.1)
    expected = np.where(MASK[:, :, None], VALUES, 0)
    np.testing.assert_array_equal(observation.values, expected)


def test_noise_outside_the_mask_is_never_looked_at():
    noise_std = np.where(MASK, 0.1, np.nan)
    assert np.isfinite(observe(VALUES, MASK, noise_std=noise_std).noise_std).all()


def test_any_number_but_zero_observes():
    masks = [MASK, MASK.astype(np.uint8) * 255, MASK * 0.5]
    for mask in masks:
        np.testing.assert_array_equal(observe(VALUES, mask, noise_std=0.1).mask, MASK)


def test_values_keep_float32_and_mask_takes_it():
    observation = observe(VALUES, MASK, noise_std=0.1)
    assert {part.dtype for part in observation} == {jnp.dtype("float32")}


@pytest.mark.usefixtures("x64")
def test_values_keep_float64_and_mask_takes_it():
    observation = observe(VALUES.astype(np.float64), MASK, noise_std=0.1)
    assert {part.dtype for part in observation} == {jnp.dtype("float64")}


def test_halves_become_float32():
    seen = observe(np.full((2, 3), 0.5, np.float16), noise_std=0.1)
    assert [part.dtype for part in seen] == 3 * [np.float32]


def test_observing_can_be_traced():
    traced = jax.jit(observe)(VALUES, MASK, noise_std=0.1)
    for part, expected in zip(
        traced, observe(VALUES, MASK, noise_std=0.1), strict=True
    ):
        np.testing.assert_array_equal(part, expected)


@pytest.mark.parametrize("shape", [(), (4,), (2, 3, 4, 1)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match="values: expected shape"):
        observe(np.zeros(shape, np.float32), noise_std=0.1)


def test_no_pixels_are_refused():
    with pytest.raises(ValueError, match="at least one pixel"):
        observe(np.zeros((0, 4), np.float32), noise_std=0.1)


def test_integers_are_refused():
    with pytest.raises(ValueError, match="values / 255"):
        observe(np.zeros((3, 4), np.uint8), noise_std=0.1)


def test_masks_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"mask: expected the image's \(3, 4\)"):
        observe(VALUES, MASK.T, noise_std=0.1)


def test_noise_of_another_size_is_refused():
    with pytest.raises(ValueError, match="noise_std: expected a scalar"):
        observe(VALUES, MASK, noise_std=np.full((4, 3), 0.1))


def test_masks_with_nothing_observed_are_refused():
    with pytest.raises(ValueError, match="at least one observed pixel"):
        observe(VALUES, np.zeros((3, 4), bool), noise_std=0.1)


def test_masks_with_nan_are_refused():
    with pytest.raises(ValueError, match="mask: expected finite"):
        observe(VALUES, np.full((3, 4), np.nan), noise_std=0.1)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_observed_values_that_are_not_finite_are_refused(bad):
    with pytest.raises(ValueError, match="values: expected finite"):
        observe(np.full((3, 4), bad, np.float32), noise_std=0.1)


@pytest.mark.parametrize("bad", [0.0, -0.1, np.nan, np.inf])
def test_impossible_noise_is_refused(bad):
    with pytest.raises(ValueError, match="noise_std: expected"):
        observe(VALUES, MASK, noise_std=bad)


def test_the_log_likelihood_is_the_sum_of_normal_log_densities():
    observation = observe(VALUES, MASK, noise_std=NOISE_STD)
    densities = scipy.stats.norm.logpdf(VALUES, IMAGE, NOISE_STD[:, :, None])
    got = log_likelihood(observation, IMAGE)
    np.testing.assert_allclose(got, densities[MASK].sum(), rtol=1e-5)


def test_the_mean_squared_error_counts_observed_pixels_only():
    observation = observe(VALUES, MASK, noise_std=NOISE_STD)
    expected = np.mean((VALUES - IMAGE)[MASK] ** 2)
    got = mean_squared_error(observation, IMAGE)
    np.testing.assert_allclose(got, expected, rtol=1e-5)


@pytest.mark.parametrize("share", [0.02, 0.2, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("width", [1.0, 1.5, 3.0, 5.0])
def test_gaps_are_narrow_where_the_widest_is(share, width):
    rng = np.random.default_rng(0)
    for _ in range(20):
        mask = rng.random((13, 9)) < share
        mask[4, 7] = True
        assert gaps_are_narrow(mask, width) == (widest_gap(mask) < width)
