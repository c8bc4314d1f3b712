import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from example_kernels import smooth

from dipgp import kernels

INPUTS = {
    "white": kernels.white(),
    "narrow": kernels.gaussian(0.7),
    "relu": kernels.relu(smooth()),
}
# Pixels before resampling: enough that no filter reaches beyond their ends.
SIZE = 18


def down_operator(method, factor):
    """A matrix that makes one pixel of `factor`."""
    operator = np.zeros((SIZE // factor, SIZE))
    for pixel, row in enumerate(operator):
        width = factor if method == "average" else 1
        row[factor * pixel : factor * pixel + width] = 1 / width
    return operator


def up_operator(method, factor):
    """A matrix that makes `factor` pixels of one, centres staying where they are."""
    centres = (np.arange(factor * SIZE) + 0.5) / factor - 0.5
    if method == "nearest":
        return np.eye(SIZE)[np.round(centres).astype(int)]
    pulses = np.eye(SIZE)
    return np.stack(
        [np.interp(centres, range(SIZE), pulse) for pulse in pulses], axis=1
    )


def covariance_behind(operator, kernel, dimensions, pixels, reach):
    """E[y(t) y(t + r)] of y = operator x, a mean over pixels t on each axis.

    Returns:
      (reach + 1,) * dimensions array over r >= 0.
    """
    steps = np.arange(SIZE) - np.arange(SIZE)[:, None].astype(float)
    # rows[r] holds the products of weights that make y(t) and y(t + r).
    products = np.stack(
        [
            np.mean([np.outer(operator[t], operator[t + r]) for t in pixels], axis=0)
            for r in range(reach + 1)
        ]
    )
    if dimensions == 1:
        return np.einsum("rab,ab->r", products, np.asarray(kernel(steps[..., None])))
    lags = np.stack(np.broadcast_arrays(steps[:, :, None, None], steps), axis=-1)
    inner = np.einsum("abcd,scd->abs", np.asarray(kernel(lags)), products)
    return np.einsum("rab,abs->rs", products, inner)


def whole_lags(dimensions, reach):
    axes = [np.arange(reach + 1.0)] * dimensions
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)


@pytest.mark.parametrize("factor", [2, 3])
@pytest.mark.parametrize("method", ["nearest", "bilinear"])
def test_the_operators_of_these_tests_are_those_of_image_libraries(x64, method, factor):
    name = {"nearest": "nearest", "bilinear": "linear"}[method]
    expected = jax.image.resize(np.eye(SIZE), (factor * SIZE, SIZE), name)
    np.testing.assert_allclose(up_operator(method, factor), expected, atol=1e-14)


@pytest.mark.parametrize("dimensions", [1, 2])
@pytest.mark.parametrize("factor", [2, 3])
@pytest.mark.parametrize("method", ["stride", "average"])
@pytest.mark.parametrize("name", INPUTS)
def test_down_sampling_is_exact(x64, name, method, factor, dimensions):
    operator = down_operator(method, factor)
    kernel, reach = INPUTS[name], 4
    # Every pixel has the same statistics, so one is enough; two show that it is so.
    for pixel in (0, 1):
        expected = covariance_behind(operator, kernel, dimensions, [pixel], reach)
        found = kernels.downsample(kernel, factor, method)(
            whole_lags(dimensions, reach)
        )
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("dimensions", [1, 2])
@pytest.mark.parametrize("factor", [2, 3])
@pytest.mark.parametrize("method", ["nearest", "bilinear"])
@pytest.mark.parametrize("name", INPUTS)
def test_up_sampling_is_the_mean_over_phases(x64, name, method, factor, dimensions):
    operator = up_operator(method, factor)
    kernel, reach = INPUTS[name], 2 * factor + 1
    phases = factor * 6 + np.arange(factor)
    expected = covariance_behind(operator, kernel, dimensions, phases, reach)
    found = kernels.upsample(kernel, factor, method)(whole_lags(dimensions, reach))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)


def test_white_noise_behind_the_common_filters(x64):
    lags = np.arange(6.0)[:, None]
    for rule, method, expected in [
        (kernels.downsample, "ideal", [1, 0, 0, 0, 0, 0]),
        (kernels.downsample, "stride", [1, 0, 0, 0, 0, 0]),
        (kernels.downsample, "average", [0.5, 0, 0, 0, 0, 0]),
        (kernels.upsample, "ideal", [1, 0, 0, 0, 0, 0]),
        (kernels.upsample, "nearest", [1, 0.5, 0, 0, 0, 0]),
        (kernels.upsample, "bilinear", [0.625, 0.46875, 0.1875, 0.03125, 0, 0]),
    ]:
        found = rule(kernels.white(), 2, method)(lags)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("method", ["nearest", "bilinear"])
def test_in_images_the_filters_act_on_each_axis(x64, method):
    kernel = kernels.upsample(kernels.white(), 2, method)
    one_axis = np.asarray(kernel(np.arange(5.0)[:, None]))
    found = kernel(whole_lags(2, 4))
    np.testing.assert_allclose(found, np.outer(one_axis, one_axis), atol=1e-15)


def test_averaging_mixes_three_lags(x64):
    at = lambda lag: np.asarray(smooth()(lag[:, None]))  # noqa: E731
    m = np.arange(5.0)
    expected = at(2 * m) / 2 + (at(2 * m - 1) + at(2 * m + 1)) / 4
    found = kernels.downsample(smooth(), 2, "average")(m[:, None])
    np.testing.assert_allclose(found, expected, rtol=1e-14)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_nearest_neighbours_interpolate_the_covariance_linearly(x64, factor):
    r = np.linspace(-9, 9, 37)
    coarse = np.arange(-10.0, 11.0)
    expected = np.interp(r / factor, coarse, smooth()(coarse[:, None]))
    found = kernels.upsample(smooth(), factor, "nearest")(r[:, None])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)


def test_bilinear_pixels_have_a_variance_between_their_neighbours(x64):
    found = kernels.variance(kernels.upsample(smooth(), 2, "bilinear"), dimensions=1)
    expected = 0.625 + 0.375 * smooth()([1.0])
    assert float(found) == pytest.approx(float(expected), rel=1e-14)


@pytest.mark.parametrize("factor", [2, 3])
def test_ideal_rules_are_those_of_the_paper(x64, factor):
    lags = kernels.lag_grid((7, 6))
    down, up = kernels.downsample(smooth(), factor), kernels.upsample(smooth(), factor)
    np.testing.assert_array_equal(down(lags), smooth()(factor * lags))
    np.testing.assert_allclose(up(lags), smooth()(lags / factor), rtol=1e-14)
    there_and_back = kernels.upsample(down, factor)
    np.testing.assert_allclose(there_and_back(lags), smooth()(lags), rtol=1e-14)


@pytest.mark.parametrize(
    ("rule", "method", "errors"),
    [
        (kernels.downsample, "average", [0.111, 0.030, 0.0078]),
        (kernels.upsample, "bilinear", [0.083, 0.023, 0.0058]),
        (kernels.upsample, "nearest", [0.050, 0.015, 0.0039]),
    ],
    ids=["average", "bilinear", "nearest"],
)
def test_the_ideal_rule_misses_filters_by_little_on_smooth_fields(rule, method, errors):
    lags = np.arange(-20.0, 21.0)[:, None]
    for sigma, error in zip([1.0, 2.0, 4.0], errors, strict=True):
        kernel = kernels.gaussian(sigma)
        gap = np.abs(rule(kernel, 2)(lags) - rule(kernel, 2, method)(lags)).max()
        assert gap == pytest.approx(error, rel=0.03)


@pytest.mark.parametrize(
    ("rule", "methods"),
    [
        (kernels.downsample, ["ideal", "stride", "average"]),
        (kernels.upsample, ["ideal", "nearest", "bilinear"]),
    ],
)
def test_a_factor_of_one_changes_nothing(x64, rule, methods):
    lags = kernels.lag_grid((7, 6))
    for method in methods:
        found = rule(smooth(), 1, method)(lags)
        np.testing.assert_allclose(found, smooth()(lags), rtol=0, atol=1e-15)


@pytest.mark.parametrize(
    ("rule", "method"),
    [
        (kernels.downsample, "average"),
        (kernels.upsample, "nearest"),
        (kernels.upsample, "bilinear"),
    ],
)
@pytest.mark.parametrize("factor", [2, 3])
def test_filters_keep_a_constant_level(x64, rule, method, factor):
    raised = rule(kernels.bias(smooth(), 3.0), factor, method)
    lags = kernels.lag_grid((6, 6))
    expected = 3 + rule(smooth(), factor, method)(lags)
    np.testing.assert_allclose(raised(lags), expected, rtol=1e-14)
    moments = raised.moments(lags)
    assert float(moments.variance - moments.sill) == pytest.approx(3, rel=1e-14)


@pytest.mark.parametrize(("method", "dimensions"), [("nearest", 1), ("bilinear", 2)])
def test_lags_between_pixels_are_traced_as_they_are_read(x64, method, dimensions):
    kernel = kernels.upsample(kernels.downsample(smooth(), 2, "average"), 3, method)
    lags = np.random.default_rng(3).uniform(-8, 8, (50, dimensions))
    expected = np.asarray(kernel(lags))
    found = jax.jit(lambda lags: kernel(lags))(lags)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)


def nested(depth):
    kernel = kernels.white()
    for _ in range(depth):
        kernel = kernels.upsample(kernel, 2, "bilinear")
    return kernel


def test_nests_of_traced_lags_are_refused_before_they_fill_the_memory():
    lags = kernels.lag_grid((64, 64))
    jax.eval_shape(nested(2).__call__, lags)
    message = r"lags: resampling \d+ traced lags .* \d+ times; pass them as a NumPy"
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(nested(3).__call__, lags)


def test_nests_of_concrete_lags_of_a_grid_share_their_work():
    found = jax.jit(lambda: nested(6)(kernels.lag_grid((64, 64))))()
    assert found.shape == (64, 64)
    assert np.all(np.asarray(found) <= found[0, 0])


@pytest.mark.parametrize("rule", [kernels.downsample, kernels.upsample])
@pytest.mark.parametrize("factor", [0, -2, 1.5, 10**18])
def test_factors_that_are_no_positive_integers_are_refused(rule, factor):
    with pytest.raises(ValueError, match="factor: expected a whole number"):
        rule(smooth(), factor)


def test_unknown_methods_are_refused_with_those_that_exist():
    with pytest.raises(ValueError, match="ideal, stride, average, got 'bilinear'"):
        kernels.downsample(smooth(), 2, "bilinear")
    with pytest.raises(ValueError, match="ideal, nearest, bilinear, got 'average'"):
        kernels.upsample(smooth(), 2, "average")


def test_resampled_gradients_by_lag_follow_the_slopes_of_the_rule(x64):
    kernel = kernels.upsample(kernels.white(), 2, "nearest")
    slope = jax.jit(jax.grad(lambda lag: kernel(jnp.stack([lag]))))
    # 1 - |r| / 2 up to |r| = 2, then 0.
    for lag, expected in [(0.5, -0.5), (-1.5, 0.5), (1.0 + 1e-9, -0.5), (2.5, 0.0)]:
        assert float(slope(lag)) == pytest.approx(expected, abs=1e-12)
    assert math.isfinite(slope(0.0))
