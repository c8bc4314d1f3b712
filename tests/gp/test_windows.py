import jax.numpy as jnp
import numpy as np
import pytest
from stationary_fields import covariance_matrix, matrix_of, random_mask

from dipgp import kernels
from dipgp.gp import windows
from dipgp.observations import (
    BayerMosaic,
    Composition,
    Decimation,
    Identity,
    gaussian_blur,
    observe,
)

MOSAIC = BayerMosaic("GBRG")
SHAPE = (6, 5, 3)
WIDE = (3 * windows.SIDE + 5, 2 * windows.SIDE + 1, 3)
COLOURS = np.array([[1.0, 0.8, 0.5], [0.8, 1.2, 0.7], [0.5, 0.7, 0.8]])


def seen(shape, through=MOSAIC, mask=None, level=0.0, noise_std=0.1):
    image = np.random.default_rng(0).random(shape) + level
    return observe(through(jnp.asarray(image)), mask, noise_std=noise_std)


def test_all_windows_of_a_mosaic_are_alike(x64):
    (group,) = windows.cut(seen(WIDE), MOSAIC, WIDE)
    assert group.contrasts.shape == (6, windows.SIDE**2 - 3)


def test_a_window_with_a_pixel_less_stands_alone(x64):
    mask = np.ones(WIDE[:2], bool)
    mask[windows.SIDE + 1, 3] = False
    groups = windows.cut(seen(WIDE, mask=mask), MOSAIC, WIDE)
    assert sorted(len(group.contrasts) for group in groups) == [1, 5]
    assert min(group.basis.shape[0] for group in groups) == windows.SIDE**2 - 1


@pytest.mark.parametrize("through", [MOSAIC, Identity()], ids=["mosaic", "identity"])
def test_no_colours_level_changes_contrasts(x64, through):
    near, far = (
        windows.cut(seen(SHAPE, through, level=level), through, SHAPE)[0]
        for level in (0.0, np.array([5.0, -3.0, 8.0]))
    )
    np.testing.assert_allclose(near.contrasts, far.contrasts, rtol=0, atol=1e-12)
    values = near.basis.shape[0]
    assert near.contrasts.shape == (1, values - 3)


@pytest.mark.parametrize("through", [MOSAIC, Identity()], ids=["mosaic", "identity"])
def test_components_make_the_covariance_of_the_contrasts(x64, through):
    noise = np.random.default_rng(1).uniform(0.1, 0.3, SHAPE[:2])
    mask = random_mask(SHAPE[:2], 0.8)
    prior = kernels.matern(1.5, 2.0)
    observation = seen(SHAPE, through, mask, noise_std=noise)
    (group,) = windows.cut(observation, through, SHAPE)
    found = np.einsum("cd,cdkl->kl", COLOURS, windows.components(prior, group))
    found += windows.noise_component(group)
    matrix = matrix_of(through, SHAPE)
    count = len(matrix) // mask.size
    rows = np.repeat(mask.ravel(), count)
    whole = matrix @ np.kron(covariance_matrix(prior, SHAPE[:2]), COLOURS) @ matrix.T
    whole += np.diag(np.repeat(noise.ravel() ** 2, count))
    expected = group.basis.T @ whole[np.ix_(rows, rows)] @ group.basis
    np.testing.assert_allclose(found, expected, rtol=0, atol=5e-6)


def test_there_are_not_more_groups_than_time_allows(x64, monkeypatch):
    monkeypatch.setattr(windows, "MAX_GROUPS", 4)
    observation = seen(WIDE, mask=random_mask(WIDE[:2], 0.5))
    assert len(windows.cut(observation, MOSAIC, WIDE)) == 4


@pytest.mark.parametrize(
    "through",
    [
        pytest.param(gaussian_blur(0.8), marks=pytest.mark.slow),
        pytest.param(Decimation(2), marks=pytest.mark.slow),
        Composition((gaussian_blur(0.8), BayerMosaic())),
    ],
    ids=["blur", "decimation", "blurred mosaic"],
)
def test_a_map_that_sees_several_pixels_at_once_is_refused(through):
    image = jnp.zeros((8, 8, 3))
    observation = observe(through(image), noise_std=0.1)
    with pytest.raises(ValueError, match="through: expected a map that sees pixels"):
        windows.cut(observation, through, image.shape)


def test_pixels_that_tell_but_their_levels_are_too_few():
    mask = np.zeros(SHAPE[:2], bool)
    mask[:2, :1] = mask[0, 1] = True  # green, red and blue once each
    with pytest.raises(ValueError, match=r"mask: expected a window .* got 3 of 30"):
        windows.cut(seen(SHAPE, mask=mask), MOSAIC, SHAPE)
