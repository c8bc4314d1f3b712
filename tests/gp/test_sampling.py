import jax
import numpy as np
import pytest

from dipgp import gp, kernels


@pytest.mark.parametrize(
    "covariance",
    [
        kernels.gaussian(1.5),
        kernels.relu(kernels.relu(kernels.white())),
        pytest.param(
            kernels.bias(kernels.matern(1.5, 2.0), 0.5), marks=pytest.mark.slow
        ),
    ],
    ids=["gaussian", "two ReLU layers", "with a level"],
)
def test_draws_have_the_covariance(covariance):
    grid, count = (3, 5), 20_000
    draws = np.asarray(gp.draw_prior(jax.random.key(0), covariance, grid, count))
    assert draws.shape == (count, *grid)
    flat = draws.reshape(count, -1)
    pixels = np.stack(np.indices(grid), -1).reshape(-1, 2).astype(np.float32)
    expected = np.asarray(covariance(pixels[:, None] - pixels))
    products = flat[:, :, None] * flat[:, None, :]
    error = products.std(axis=0) / np.sqrt(count)
    # 120 different numbers; 4.5 standard errors leave 1 in 1,000 to chance.
    assert np.max(np.abs(products.mean(axis=0) - expected) / error) < 4.5


@pytest.mark.slow
def test_draws_do_not_wrap_around():
    # A smooth field whose opposite borders would meet on a torus of the grid's size.
    grid = (1, 32)
    draws = gp.draw_prior(jax.random.key(1), kernels.gaussian(3.0), grid, 4000)
    ends = np.asarray(draws[:, 0, 0] * draws[:, 0, -1])
    assert abs(ends.mean()) < 4 * ends.std() / np.sqrt(ends.size)


def test_draws_are_those_of_the_key_in_its_precision():
    covariance = kernels.gaussian(2.0)
    one, same, other = (
        np.asarray(gp.draw_prior(jax.random.key(k), covariance, (8, 9)))
        for k in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, same)
    assert np.all(one != other)
    assert one.dtype == np.float32
    with jax.enable_x64(True):
        wide = gp.draw_prior(
            jax.random.key(0), kernels.gaussian(2.0), (8, 9), dtype=np.float64
        )
    assert wide.dtype == np.float64


@pytest.mark.parametrize(
    ("grid", "count", "complaint"),
    [
        ((8,), 1, r"grid: expected \(H, W\)"),
        ((8, 0), 1, "grid: expected .H, W."),
        ((8, 8), 0, "count: expected a whole number"),
    ],
)
def test_bad_input_is_named(grid, count, complaint):
    with pytest.raises(ValueError, match=complaint):
        gp.draw_prior(jax.random.key(0), kernels.gaussian(2.0), grid, count)
