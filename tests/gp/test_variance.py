import jax
import numpy as np
import pytest
from stationary_fields import (
    deep_prior,
    krige_through,
    mask_with_hole,
    matrix_of,
    open_covariance,
    random_mask,
)

from dipgp import gp, kernels
from dipgp.gp import toeplitz, variance
from dipgp.gp.system import System
from dipgp.observations import (
    BayerMosaic,
    Blur,
    Decimation,
    gaussian_blur,
    observe,
)

GRID, LARGER = (8, 7), (24, 20)
PRIOR = deep_prior(2, sigma=1.0)


def posterior(mask, noise_std=0.2, method="automatic", covariance=PRIOR, **settings):
    rng = np.random.default_rng(0)
    values = 0.5 + 0.2 * rng.standard_normal(mask.shape).astype(np.float32)
    settings = {"tolerance": 1e-5, "reach": 12} | settings
    return gp.condition(covariance, values, mask, noise_std, method=method, **settings)


def expected_variance(mask, noise_std=0.2):
    return np.diag(open_covariance(PRIOR, mask, noise_std)).reshape(mask.shape)


@pytest.mark.parametrize("mask", [random_mask(GRID, 0.3), mask_with_hole(GRID)])
def test_on_small_grids_it_is_that_of_kriging(x64, mask):
    found = posterior(mask, method="dense").variance()
    np.testing.assert_allclose(found.value, expected_variance(mask), atol=1e-6)
    assert not np.any(found.standard_error)
    assert found.info.converged


@pytest.mark.slow
def test_seen_in_full_it_is_the_closed_form_away_from_borders():
    mask = np.ones((24, 24), bool)
    known = posterior(mask)
    found = known.variance(method="stationary").value
    exact = known.variance(method="dense").value
    inside = (slice(9, -9),) * 2
    np.testing.assert_allclose(found[inside], exact[inside], rtol=2e-3)
    # At the corner less is known, which the closed form does not see.
    assert exact[0, 0] > 1.1 * found[0, 0]


def test_blurred_it_is_the_closed_form_away_from_borders(x64):
    shape, blur = (17, 18, 1), Blur([[0.0, 0.3, 0.1], [0.2, 0.5, -0.1]])
    prior, values = kernels.matern(0.5, 1.0), np.zeros(shape)
    found = gp.condition(
        prior, values, noise_std=0.3, through=blur, image_shape=shape, reach=24
    ).variance(method="stationary")
    matrix, mask = matrix_of(blur, shape), np.ones(shape[:2], bool)
    _, _, left = krige_through(matrix, prior, shape, values, mask, 0.3)
    exact = np.diag(left).reshape(shape)
    inside = (slice(7, -7),) * 2
    np.testing.assert_allclose(found.value[inside], exact[inside], rtol=1e-3)
    # A sharper picture in the same noise leaves less open.
    sharp = gp.condition(prior, values, noise_std=0.3, reach=24)
    assert found.value[0, 0] > 1.5 * sharp.variance(method="stationary").value[0, 0]


@pytest.mark.parametrize(
    "method", [pytest.param("samples", marks=pytest.mark.slow), "probing"]
)
def test_estimates_are_off_by_their_standard_error(method):
    mask = random_mask(LARGER, 0.5)
    found = posterior(mask, method="field")
    estimate = found.variance(jax.random.key(0), method=method, solves=32)
    error = np.asarray(estimate.value - expected_variance(mask))
    typical = np.asarray(estimate.standard_error)
    assert typical.shape == mask.shape
    assert np.all(typical > 0)
    # The mean square of 240 standardised errors, correlated over some three pixels
    # each way: about 30 independent numbers, of relative error 1/4.
    for part in (mask, ~mask):
        assert 0.4 < np.mean(np.square(error / typical)[part]) < 2


def test_probing_is_nearer_than_as_many_samples():
    mask = random_mask(LARGER, 0.5)
    found, exact = posterior(mask, method="field"), expected_variance(mask)
    errors = {
        method: np.asarray(
            found.variance(jax.random.key(1), method=method, solves=32).value - exact
        ).std()
        for method in ("samples", "probing")
    }
    assert errors["probing"] < errors["samples"] / 2


@pytest.mark.slow
def test_one_solve_for_each_pixel_is_exact():
    mask = random_mask(GRID, 0.5)
    found = posterior(mask, method="field").variance(
        jax.random.key(0), method="probing", solves=128
    )
    # But for the solves, which stop at 1 %.
    np.testing.assert_allclose(found.value, expected_variance(mask), rtol=5e-3)
    assert np.max(found.standard_error) < 1e-3


@pytest.mark.slow
def test_colours_share_it_as_the_channel_model_says():
    mask = random_mask((6, 5), 0.5)
    values = np.random.default_rng(0).random((6, 5, 3)).astype(np.float32)
    found = gp.condition(PRIOR, values, mask, 0.2, method="field", reach=12)
    variances = found.variance()
    assert variances.value.shape == variances.standard_error.shape == (6, 5, 3)
    channels = found.system.channels
    expected = 0
    parts = zip(channels.rotation.T, channels.variances, strict=True)
    for direction, variance_there in parts:
        prior = kernels.scale(PRIOR, float(variance_there))
        each = np.diag(open_covariance(prior, mask, 0.2)).reshape(6, 5, 1)
        expected = expected + each * np.square(np.asarray(direction))[None, None]
    np.testing.assert_allclose(variances.value, expected, rtol=1e-3)
    many = found.variance(jax.random.key(0), method="samples", solves=1000, batch=1000)
    off = np.asarray((many.value - expected) / many.standard_error)
    assert np.max(np.abs(off)) < 4.5


@pytest.mark.parametrize(
    ("mask", "noise_std", "form", "expected"),
    [
        (np.ones((8, 8), bool), 0.1, "automatic", "dense"),
        (np.ones((50, 50), bool), 0.1, "automatic", "stationary"),
        (random_mask((50, 50), 0.5), 0.1, "automatic", "probing"),
        (mask_with_hole((50, 50)), 0.1, "automatic", "samples"),
        (np.ones((50, 50), bool), np.eye(50) + 1, "automatic", "samples"),
    ],
)
def test_the_estimator_follows_from_what_is_seen(mask, noise_std, form, expected):
    found = posterior(mask, noise_std, form, max_iterations=1)
    assert variance.choose(found.system) == expected


def unsolved(through, shape, mask=None):
    """A system whose mean nobody asks for."""
    values = np.zeros(through.output_shape(shape), np.float32)
    each, count = (PRIOR,) * shape[2], shape[2]
    return System(
        each,
        gp.ChannelModel(np.eye(count), np.ones(count)),
        observe(values, mask, noise_std=0.1),
        toeplitz.embed(each, shape[:2], 12),
        "field",
        1e-5,
        100,
        through,
        shape,
    )


@pytest.mark.parametrize(
    ("through", "shape", "mask", "expected"),
    [
        (gaussian_blur(0.7), (20, 20, 1), None, "dense"),
        (gaussian_blur(0.7), (50, 50, 1), None, "stationary"),
        (gaussian_blur(0.7, "valid"), (50, 50, 1), None, "probing"),
        (gaussian_blur(0.7), (50, 50, 1), random_mask((50, 50), 0.5), "probing"),
        (gaussian_blur(0.7), (50, 50, 1), mask_with_hole((50, 50)), "samples"),
        (Decimation(2), (50, 50, 1), None, "probing"),
        (BayerMosaic(), (30, 30, 3), None, "probing"),
    ],
    ids=["small", "blur", "valid blur", "mask", "hole", "half", "mosaic"],
)
def test_and_from_the_map_that_it_is_seen_through(through, shape, mask, expected):
    assert variance.choose(unsolved(through, shape, mask)) == expected


@pytest.mark.parametrize(
    ("through", "shape"),
    [(Decimation(2), (8, 8, 1)), (BayerMosaic(), (4, 4, 3))],
    ids=["half", "mosaic"],
)
def test_the_closed_form_is_of_filters_of_stride_1(through, shape):
    with pytest.raises(ValueError, match="one filter of stride 1"):
        variance.estimate(unsolved(through, shape), None, "stationary", 2, 1, print)


def test_each_colour_of_a_mosaic_is_probed_by_itself():
    system, key = unsolved(BayerMosaic(), (4, 4, 3)), jax.random.key(0)
    with pytest.raises(
        ValueError, match="solves: expected a whole number of at least 6, got 5"
    ):
        variance.estimate(system, key, "probing", 5, 1, print)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"method": "magic"}, "method: expected one of automatic, dense"),
        ({"method": "samples"}, "key: expected a key"),
        ({"method": "probing"}, "key: expected a key"),
        ({"method": "stationary"}, 'method: expected another than "stationary"'),
        (
            {"method": "samples", "key": 0, "solves": 1},
            "solves: expected a whole number of at least 2",
        ),
        (
            {"method": "probing", "key": 0, "solves": 1},
            "solves: expected a whole number of at least 2",
        ),
    ],
)
def test_bad_input_is_named(settings, complaint):
    if "key" in settings:
        settings = settings | {"key": jax.random.key(settings["key"])}
    with pytest.raises(ValueError, match=complaint):
        posterior(random_mask(GRID, 0.5)).variance(**settings)


def test_probing_needs_an_iterative_form():
    found = posterior(random_mask(GRID, 0.5), method="dense")
    with pytest.raises(ValueError, match='expected "dense" or "samples"'):
        found.variance(jax.random.key(0), method="probing")


def test_dense_matrices_that_do_not_fit_are_refused():
    found = posterior(np.ones((400, 300), bool), max_iterations=1)
    with pytest.raises(ValueError, match="would take"):
        found.variance(method="dense")
