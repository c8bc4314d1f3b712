import jax
import numpy as np
import pytest

from dipgp.observations import (
    BayerMosaic,
    Bilinear,
    Blur,
    Box,
    Composition,
    Decimation,
    Identity,
    Lanczos,
    gaussian_blur,
    stationary_filter,
)
from dipgp.observations.stationary_filter import goes_around, is_stationary

CROOKED = Blur([[0.0, 0.3, 0.1], [0.2, 0.5, -0.4]], "valid")
MAPS = {
    "nothing": Identity(),
    "blur": CROOKED,
    "circular blur": gaussian_blur(0.6),
    "lanczos": Decimation(2, Lanczos(1)),
    "block": Decimation(3, Box()),
    "triangle": Decimation(3, Bilinear()),
    "blur, then half": Composition((CROOKED, Decimation(2, Box()))),
    "half, then blur": Composition((Decimation(2, Box()), CROOKED)),
    "half of half": Composition((Decimation(2, Bilinear()), Decimation(2, Box()))),
}


@pytest.mark.parametrize("name", MAPS)
def test_a_sample_far_from_borders_sees_the_filter_and_neighbours_see_it_moved(
    x64, name
):
    linear_map, shape = MAPS[name], (40, 44, 1)
    taps, stride = stationary_filter(linear_map)
    height, width, _ = linear_map.output_shape(shape)
    middle = np.zeros((3, height, width, 1))
    row, column = height // 2, width // 2
    middle[0, row, column] = middle[1, row + 1, column] = middle[2, row, column + 1] = 1
    spread = jax.vmap(lambda values: linear_map.adjoint(values, shape))(middle)
    here, below, right = np.asarray(spread)[..., 0]
    np.testing.assert_allclose(np.roll(here, stride, 0), below, atol=1e-12)
    np.testing.assert_allclose(np.roll(here, stride, 1), right, atol=1e-12)
    rows, columns = (np.flatnonzero(np.abs(here).max(a) > 1e-12) for a in (1, 0))
    seen = here[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    inside = np.abs(taps) > 1e-12
    tall, wide = (np.flatnonzero(inside.any(axis)) for axis in (1, 0))
    cut = taps[tall[0] : tall[-1] + 1, wide[0] : wide[-1] + 1]
    np.testing.assert_allclose(seen, cut, atol=1e-12)


@pytest.mark.parametrize("size", [(7, 6), (4, 2)], ids=["wide", "narrow"])
def test_its_power_is_that_of_a_bright_pixel_blurred_on_a_torus(x64, size):
    blur = Blur(CROOKED.kernel, "circular")
    pixel = np.zeros((*size, 1))
    pixel[1, 1] = 1
    seen = np.fft.rfft2(np.asarray(blur(pixel))[:, :, 0])
    power = stationary_filter(blur).power(size)
    np.testing.assert_allclose(power, np.abs(seen) ** 2, atol=1e-12)


@pytest.mark.parametrize(
    "linear_map",
    [BayerMosaic(), Composition((gaussian_blur(1.0), BayerMosaic()))],
    ids=["mosaic", "blurred mosaic"],
)
def test_mosaics_are_no_filters(linear_map):
    with pytest.raises(ValueError, match=r"through, .*: expected blur, .* BayerMosaic"):
        stationary_filter(linear_map)


@pytest.mark.parametrize("name", MAPS)
def test_filters_are_known_as_such(name):
    assert is_stationary(MAPS[name])


def test_one_mosaic_among_maps_makes_them_no_filter():
    assert not is_stationary(BayerMosaic())
    assert not is_stationary(Composition((gaussian_blur(1.0), BayerMosaic())))


@pytest.mark.parametrize(
    ("linear_map", "expected"),
    [
        (Identity(), False),
        (Decimation(2), False),
        (CROOKED, False),
        (gaussian_blur(1.0), True),
        (Composition((gaussian_blur(1.0), Decimation(2))), True),
        (Composition((Composition((gaussian_blur(1.0),)), CROOKED)), False),
        (Composition((CROOKED, Composition((gaussian_blur(1.0),)))), True),
    ],
    ids=["nothing", "half", "valid", "circular", "to half", "to valid", "from valid"],
)
def test_the_last_blur_says_whether_opposite_sides_are_neighbours(linear_map, expected):
    assert goes_around(linear_map) is expected
