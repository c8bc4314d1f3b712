import numpy as np
import pytest
from stationary_fields import covariance_matrix, deep_prior, draw, random_mask

from dipgp import kernels
from dipgp.gp import blocks

GRID = (14, 11)


def example(share=0.6):
    """Two channels and a mask."""
    values = draw(kernels.gaussian(1.5), GRID, seed=0, count=2)
    return values, random_mask(GRID, share)


def restricted_log_likelihood(matrix, values):
    """Of values (n,) with covariance (n, n) and an unknown level, from its definition.

    The density of n - 1 contrasts: any orthonormal basis of what sums to zero.
    """
    count = len(values)
    contrasts = np.linalg.svd(np.ones((1, count)))[2][1:]
    inner = contrasts @ matrix @ contrasts.T
    seen = contrasts @ values
    _, log_determinant = np.linalg.slogdet(inner)
    return -(seen @ np.linalg.solve(inner, seen) + log_determinant) / 2


@pytest.mark.parametrize("ratio", [1e-2, 1.0])
@pytest.mark.parametrize(
    "k",
    [kernels.gaussian(1.0), kernels.bias(kernels.matern(0.5, 2.0), 3.0), deep_prior(4)],
    ids=["smooth", "rough, raised", "network"],
)
def test_evidence_is_the_restricted_likelihood(x64, k, ratio):
    values, mask = example()
    data = blocks.cut(values, mask)
    assert len(data.blocks) == 1
    stats = blocks.statistics(k, data, ratio)
    sill = float(k(np.zeros(2)) - k(np.array([1e6, 1e6])))
    seen = np.flatnonzero(mask)
    signal = covariance_matrix(k, GRID)[np.ix_(seen, seen)] / sill
    matrix = signal + ratio * np.eye(seen.size)
    variance = np.array([0.3, 2.0])
    found = blocks.evidence(stats, variance) * (seen.size - 1)
    expected = [
        restricted_log_likelihood(v * matrix, channel.ravel()[seen])
        for v, channel in zip(variance, values, strict=True)
    ]
    # Contrasts of orthonormal rows lose the level's own log n.
    differences = found - (np.array(expected) - np.log(seen.size) / 2)
    # lags are evaluated in 32 bits; the log determinant of smooth matrices is
    # sensitive to that by 1e-7 / ratio for each pixel.
    np.testing.assert_allclose(differences, 0, atol=1e-6 * seen.size / ratio)
    assert stats.pixels == seen.size - 1
    np.testing.assert_allclose(stats.sill, sill, rtol=1e-6)


def test_several_blocks_add_up(x64, monkeypatch):
    monkeypatch.setattr(blocks, "PIXELS_PER_BLOCK", 20)
    values, mask = example()
    data = blocks.cut(values, mask)
    assert len(data.blocks) > 1
    k = kernels.gaussian(1.0)
    whole = blocks.statistics(k, data, 0.1)
    each = [
        blocks.statistics(k, blocks.Blocks((block,), data.shape), 0.1)
        for block in data.blocks
    ]
    np.testing.assert_allclose(
        whole.quadratic, sum(part.quadratic for part in each), rtol=1e-12
    )
    np.testing.assert_allclose(
        whole.log_determinant, sum(part.log_determinant for part in each), rtol=1e-12
    )
    assert whole.pixels == sum(part.pixels for part in each)


def test_a_constant_added_to_the_image_changes_nothing(x64):
    values, mask = example()
    k = kernels.gaussian(1.0)
    low = blocks.statistics(k, blocks.cut(values, mask), 0.1)
    high = blocks.statistics(k, blocks.cut(values + 5, mask), 0.1)
    np.testing.assert_allclose(high.quadratic, low.quadratic, rtol=1e-9)


def test_the_quadratic_form_is_on_average_the_pixels_less_one(x64):
    k, count = kernels.gaussian(1.0), 400
    fields = draw(k, GRID, seed=2, count=count)
    fields += 0.1**0.5 * np.random.default_rng(3).standard_normal(fields.shape)
    stats = blocks.statistics(k, blocks.cut(fields, random_mask(GRID, 0.5)), 0.1)
    # Each is chi-squared with `pixels` degrees of freedom.
    error = np.sqrt(2 * stats.pixels / count)
    assert abs(np.mean(stats.quadratic) - stats.pixels) < 4 * error


def test_the_best_variance_is_the_quadratic_form_a_pixel(x64):
    values, mask = example()
    stats = blocks.statistics(kernels.gaussian(1.0), blocks.cut(values, mask), 0.1)
    top = stats.quadratic / stats.pixels
    height = blocks.evidence(stats, top)
    assert np.all(height > blocks.evidence(stats, 1.05 * top))
    assert np.all(height > blocks.evidence(stats, 0.95 * top))


@pytest.mark.parametrize("share", [1.0, 0.5, 0.05])
def test_blocks_lie_within_the_image_and_hold_what_is_observed(share):
    shape = (90, 70)
    values = np.arange(90.0 * 70).reshape(1, *shape)
    mask = random_mask(shape, share)
    data = blocks.cut(values, mask)
    seen = set(values[0][mask].tolist())
    height, width = data.shape
    assert height <= 90
    assert width <= 70
    for block in data.blocks:
        assert set(block.values[:, 0].tolist()) <= seen
        assert np.all(block.lags < (2 * height - 1) * (2 * width - 1))
        assert np.all(np.diag(block.lags) == (height - 1) * (2 * width - 1) + width - 1)
    sizes = [len(block.values) for block in data.blocks]
    assert np.mean(sizes) < 1.5 * blocks.PIXELS_PER_BLOCK


def test_what_the_mask_hides_is_never_read():
    values, mask = example()
    hidden = np.where(mask, values, np.nan)
    for one, two in zip(
        blocks.cut(values, mask).blocks, blocks.cut(hidden, mask).blocks, strict=True
    ):
        np.testing.assert_array_equal(one.values, two.values)


def test_one_pixel_is_too_few():
    mask = np.zeros(GRID)
    mask[3, 3] = 1
    with pytest.raises(ValueError, match=r"mask: .*at least two.* got 1 of 154"):
        blocks.cut(np.zeros((1, *GRID)), mask)


def test_a_function_that_is_no_covariance_is_refused():
    values, mask = example()
    box = kernels.as_covariance(lambda lags: (abs(lags).max(-1) < 3) * 1.0)
    with pytest.raises(ValueError, match="positive definite"):
        blocks.statistics(box, blocks.cut(values, mask), 1e-6)
