import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stationary_fields import (
    covariance_matrix,
    deep_prior,
    hourglass,
    level_far_away,
)

from dipgp import gp, kernels
from dipgp.gp import toeplitz

REACHES = {
    "white": kernels.white(),
    "short": kernels.gaussian(1.0),
    "raised far from zero": kernels.bias(kernels.gaussian(1.0), 5.0),
    "rough": kernels.matern(0.5, 1.0),
    "wider than the grid": kernels.relu(kernels.gaussian(4.0)),
    "wider along one axis": kernels.gaussian(np.array([0.7, 4.0])),
}
GRIDS = [(8, 8), (7, 13), (1, 11), (9, 1)]


def product_with_torus(torus, shape):
    """All columns of the operator: (H W, H W)."""
    identity = jnp.eye(np.prod(shape)).reshape(-1, *shape)
    columns = torus.filter(identity, torus.spectrum[0])
    return np.asarray(columns).reshape(len(identity), -1)


def differences_from_far_away(k, shape):
    return covariance_matrix(k, shape) - level_far_away(k)


@pytest.mark.parametrize("name", REACHES)
@pytest.mark.parametrize("shape", GRIDS, ids=str)
def test_product_equals_the_matrix_of_differences_from_far_away(x64, name, shape):
    k = REACHES[name]
    torus = toeplitz.embed([k], shape, reach=40, dtype=np.float64)
    expected = differences_from_far_away(k, shape)
    np.testing.assert_allclose(
        product_with_torus(torus, shape), expected, rtol=0, atol=1e-10
    )
    assert torus.error[0] < 1e-10


@pytest.mark.parametrize("shape", [(7, 13), (8, 8)], ids=str)
def test_a_covariance_that_is_no_mirror_image_of_itself_is_told_by_half_its_lags(
    x64, shape
):
    k = kernels.stretch(kernels.gaussian(1.0), angle=0.5, along=3.0)
    torus = toeplitz.embed([k], shape, reach=40, dtype=np.float64)
    found, expected = product_with_torus(torus, shape), covariance_matrix(k, shape)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)
    mirrored = covariance_matrix(
        kernels.stretch(kernels.gaussian(1.0), angle=-0.5, along=3.0), shape
    )
    assert np.max(np.abs(found - mirrored)) > 0.1


def test_the_ends_of_a_long_row_are_no_neighbours(x64):
    # Longer than twice the reach, which alone would not keep them apart.
    k, shape = kernels.gaussian(1.0), (1, 40)
    torus = toeplitz.embed([k], shape, dtype=np.float64)
    expected = differences_from_far_away(k, shape)
    found = product_with_torus(torus, shape)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_product_with_a_network_of_two_scales_is_exact_too(x64):
    k, shape = hourglass(), (7, 13)
    torus = toeplitz.embed([k], shape, reach=40, dtype=np.float64)
    np.testing.assert_allclose(
        product_with_torus(torus, shape),
        differences_from_far_away(k, shape),
        rtol=0,
        atol=1e-10,
    )


@pytest.mark.parametrize("name", REACHES)
def test_with_the_reach_found_the_product_is_exact_up_to_error(x64, name):
    k, shape = REACHES[name], (7, 13)
    torus = toeplitz.embed([k], shape, dtype=np.float64)
    expected = differences_from_far_away(k, shape)
    change = np.max(np.abs(product_with_torus(torus, shape) - expected))
    assert change <= (torus.error[0] + 1e-12) * expected[0, 0]
    assert torus.error[0] < 1e-5


def test_images_may_come_in_batches_with_a_covariance_each(x64):
    shape = (5, 6)
    each = [kernels.gaussian(1.0), kernels.scale(kernels.white(), 3.0)]
    tori = toeplitz.embed(each, shape, dtype=np.float64)
    images = np.random.default_rng(0).standard_normal((2, *shape))
    found = tori.apply(jnp.asarray(images))
    for k, image, product in zip(each, images, found, strict=True):
        expected = covariance_matrix(k, shape) @ image.ravel()
        np.testing.assert_allclose(product.ravel(), expected, rtol=0, atol=1e-6)
    assert tori.spectrum.shape == (2, tori.size[0], tori.size[1] // 2 + 1)
    assert tori.error.shape == (2,)


def test_covariances_share_the_torus_of_the_one_that_reaches_furthest():
    short, long = kernels.gaussian(1.0), kernels.gaussian(3.0)
    shape = (30, 20)
    alone = toeplitz.embed([long], shape)
    together = toeplitz.embed([short, long], shape)
    assert together.size == alone.size
    assert toeplitz.embed([short], shape).size < alone.size
    np.testing.assert_array_equal(together.spectrum[1], alone.spectrum[0])


@pytest.mark.parametrize("name", REACHES)
def test_no_eigenvalue_is_negative_however_narrow_the_margin(name):
    torus = toeplitz.embed([REACHES[name]], (9, 10), reach=2)
    assert np.all(torus.spectrum >= 0)
    assert np.all(np.isfinite(torus.spectrum))


@settings(max_examples=20, deadline=None)
@given(st.floats(0.3, 6.0))
def test_error_bounds_what_a_margin_too_narrow_does(sigma):
    shape = (7, 13)
    with jax.enable_x64(True):
        k = kernels.gaussian(jnp.asarray(sigma))
        torus = toeplitz.embed([k], shape, 3, np.float64)
        change = product_with_torus(torus, shape) - covariance_matrix(k, shape)
        error = float(torus.error[0])
    assert np.max(np.abs(change)) <= error + 1e-12


def test_error_tells_of_a_margin_too_narrow(x64):
    k, shape = kernels.gaussian(3.0), (16, 16)
    errors = [
        float(toeplitz.embed([k], shape, reach, np.float64).error[0])
        for reach in (2, 6, 12, 30)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 0.1
    assert errors[-1] < 1e-10


def test_error_tells_of_a_ridge_along_the_diagonal(x64):
    def ridge(lags):
        along, across = lags[..., 0] + lags[..., 1], lags[..., 0] - lags[..., 1]
        return jnp.exp(-jnp.square(along / 60) - jnp.square(across))

    k = kernels.as_covariance(ridge)
    down, right = gp.find_reach(k, (24, 24), np.float64)
    assert max(down, right) < 6
    assert toeplitz.embed([k], (24, 24), dtype=np.float64).error[0] > 0.1


def test_a_torus_is_no_larger_than_grid_and_reach():
    shape = (200, 150)
    size = toeplitz.embed([kernels.gaussian(1.0)], shape).size
    # The next size with small prime factors is at most an eighth away.
    assert np.all(np.array(size) <= (np.array(shape) + 8) * 1.125)
    assert np.all(np.array(size) >= np.array(shape) + 7)


class TestFindReach:
    def test_white_noise_reaches_no_neighbour(self):
        assert gp.find_reach(kernels.white(), (20, 30)) == (1, 1)

    def test_a_constant_reaches_no_neighbour(self):
        assert gp.find_reach(kernels.constant(3.0), (20, 30)) == (1, 1)

    @pytest.mark.parametrize("sigma", [0.5, 1.0, 2.5])
    def test_a_gaussian_reaches_where_it_has_faded(self, x64, sigma):
        # exp(-r^2 / (4 sigma^2)) = REACH_TOLERANCE
        fades = 2 * sigma * np.sqrt(-np.log(toeplitz.REACH_TOLERANCE))
        reach = int(np.floor(fades)) + 1
        found = gp.find_reach(kernels.gaussian(sigma), (40, 40), np.float64)
        assert found == (reach, reach)

    def test_axes_may_differ(self):
        down, right = gp.find_reach(kernels.gaussian(np.array([1.0, 3.0])), (60, 60))
        assert down < right

    def test_a_constant_added_changes_nothing(self, x64):
        k = kernels.gaussian(2.0)
        raised = kernels.bias(k, 100.0)
        reaches = [gp.find_reach(each, (50, 50), np.float64) for each in (k, raised)]
        assert reaches[0] == reaches[1]

    def test_it_is_cut_at_twice_the_longer_side(self):
        assert gp.find_reach(kernels.gaussian(100.0), (10, 20)) == (64, 64)
        assert gp.find_reach(kernels.gaussian(100.0), (50, 20)) == (100, 100)


class TestTracedHyperparameters:
    def test_they_need_a_reach(self):
        def error(sigma):
            return toeplitz.embed([kernels.gaussian(sigma)], (8, 8)).error[0]

        with pytest.raises(ValueError, match=r"reach: .*traces"):
            jax.jit(error)(1.0)

    def test_with_a_reach_they_give_the_same_torus(self):
        def spectrum(sigma):
            return toeplitz.embed([kernels.gaussian(sigma)], (8, 8), 9).spectrum

        np.testing.assert_allclose(
            jax.jit(spectrum)(1.0), spectrum(1.0), rtol=0, atol=1e-5
        )


@pytest.mark.parametrize("reach", [0, -3, 2.5, "far", (3, 0), (1, 2, 3)])
def test_a_reach_is_a_positive_integer(reach):
    with pytest.raises(ValueError, match="reach: expected a positive integer"):
        toeplitz.embed([kernels.white()], (8, 8), reach)


def test_a_deep_prior_reaches_hardly_further_than_its_input():
    shallow, deep = (gp.find_reach(deep_prior(d), (64, 64))[0] for d in (1, 8))
    assert shallow <= deep <= 2 * shallow
