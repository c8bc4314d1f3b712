import re

import jax
import numpy as np
import pytest

from dipgp import gp, kernels
from dipgp.gp import dense


def test_a_dense_covariance_of_an_image_is_refused_with_what_it_would_take():
    # 65,536 pixels: three matrices of 65,536^2 numbers of 4 bytes, 16 GiB each
    values = np.zeros((256, 256), np.float32)
    with pytest.raises(ValueError, match=re.escape("48.0 GiB")):
        gp.condition(kernels.gaussian(2.0), values, None, 0.1, method="dense")


def test_memory_grows_with_the_square_of_what_was_observed():
    assert dense.memory_gib(64**2, np.float64) == 3 * 0.125
    assert dense.memory_gib(128**2, np.float64) == 3 * 2
    assert dense.memory_gib(128**2, np.float32) == 3 * 1


def test_only_observed_pixels_take_memory():
    values = np.full((190, 190), 0.5, np.float32)
    mask = np.zeros((190, 190), bool)
    assert dense.memory_gib(mask.size, np.float32) > dense.MEMORY_LIMIT_GIB
    mask[::32, ::32] = True
    posterior = gp.condition(kernels.white(), values, mask, 0.1, method="dense")
    np.testing.assert_allclose(posterior.mean, 0.5, rtol=1e-6)


def test_a_traced_mask_is_refused():
    def condition(mask):
        values = np.zeros((4, 4), np.float32)
        return gp.condition(kernels.white(), values, mask, 0.1, method="dense")

    with pytest.raises(ValueError, match=r"mask: .*traces"):
        jax.jit(condition)(np.ones((4, 4)))


def test_the_table_has_all_lags_of_a_grid(x64):
    k = kernels.bias(kernels.gaussian(np.array([1.0, 2.0])), 0.5)
    table = dense.lag_table(k, (3, 4), np.float64)
    assert table.shape == (5, 7)
    for down in range(-2, 3):
        for right in range(-3, 4):
            expected = k(np.array([down, right], float)) - 0.5
            np.testing.assert_allclose(
                table[down + 2, right + 3], expected, rtol=0, atol=1e-15
            )
