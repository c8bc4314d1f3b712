"""Second moments between all pairs of pixels, rule by rule and as a whole."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pixel_recursion
import pytest
from example_kernels import bell
from small_grids import GRIDS, as_matrix, signal

from dipgp import architecture, kernels
from dipgp.architecture import (
    Architecture,
    BatchNorm,
    Concat,
    Convolution,
    Downsample,
    Erf,
    LeakyReLU,
    Linear,
    ReLU,
    Serial,
    Sigmoid,
    Sum,
    Upsample,
)
from dipgp.kernels import pixel_operators
from dipgp.networks import resampling
from dipgp.networks.convolution import convolve

PADDINGS = ["reflect", "zeros", "circular"]


def random_moments(shape):
    """Positive definite second moments without any symmetry of the grid."""
    pixels = math.prod(shape)
    root = np.random.default_rng(2).standard_normal((pixels, 2 * pixels))
    return jnp.asarray((root @ root.T / pixels).reshape(*shape, *shape))


# -- each linear map ----------------------------------------------------------------


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize(
    ("kernel_size", "stride"), [(1, 2), (2, 1), (2, 3), (3, 1), (3, 2), (4, 1), (5, 2)]
)
def test_taps_read_the_pixels_that_the_networks_convolution_reads(
    x64, kernel_size, stride, padding
):
    for size in (1, 2, 5, 8):
        pixels = np.arange(1.0, size + 1)
        # One filter a tap.
        each = jnp.eye(kernel_size)[:, None, :]
        expected = convolve(jnp.asarray(pixels[:, None]), each, stride, padding)
        sources = pixel_operators.continued(size, kernel_size, padding)
        wide = np.append(pixels, 0.0)[sources]
        taps = [wide[tap : tap + size : stride] for tap in range(kernel_size)]
        found = np.stack(taps, axis=1)
        np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("factor", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 5, 8])
def test_resampling_is_that_of_networks(x64, size, factor):
    for up in ("nearest", "bilinear", "ideal"):
        expected = resampling.upsample(jnp.eye(size), factor, up)
        found = pixel_operators.upsampling(size, factor, up)
        np.testing.assert_allclose(found, expected, atol=1e-14)
    for down in ("stride", "ideal", "average"):
        fine = factor * size if down == "average" else factor * size + 1
        expected = resampling.downsample(jnp.eye(fine), factor, down)
        found = pixel_operators.downsampling(fine, factor, down)
        np.testing.assert_allclose(found, expected, atol=1e-15)


# -- whole networks against the plain recursion -------------------------------------


def deep(padding):
    return [
        Convolution(4, 3, 1, 1.3, 0.2, padding),
        ReLU(),
        Convolution(4, 2, 2, 1.5, 0.0, padding),
        LeakyReLU(-0.3),
        Convolution(4, 4, 1, 2.0, 0.1, padding),
        Erf(1.5),
        Upsample(2, "bilinear"),
        Convolution(1, 5, 1, 1.0, 0.1, padding),
    ]


RESAMPLING = [
    [Convolution(4), Downsample(2, "average"), ReLU(), Upsample(2, "nearest")],
    [Convolution(4, 5), Downsample(2, "stride"), Erf(1.0), Upsample(2, "ideal")],
    [Upsample(3, "bilinear"), ReLU(), Convolution(2, padding="zeros"), Downsample(2)],
]
OTHERS = [
    [
        Convolution(4),
        BatchNorm(0.1),
        ReLU(),
        Convolution(4),
        BatchNorm(),
        Erf(math.inf),
    ],
    [
        Convolution(4, padding="zeros"),
        Sum([Serial(), Serial([ReLU(), Convolution(4, bias_variance=0.1)])]),
        Erf(2.0),
        Convolution(1),
    ],
]


def check_recursion(layers, shape):
    start = random_moments(shape)
    net = Architecture(Serial(layers), dimensions=len(shape))
    found = kernels.dense(net, second_moment=start)
    expected, after = pixel_recursion.moments(layers, as_matrix(start), shape)
    assert found.shape == (*after, *after)
    scale = expected.max()
    np.testing.assert_allclose(as_matrix(found), expected, rtol=0, atol=1e-12 * scale)


@pytest.mark.parametrize("shape", GRIDS, ids=str)
@pytest.mark.parametrize(
    "layers", [*map(deep, PADDINGS), *RESAMPLING, *OTHERS], ids=lambda _: "net"
)
def test_networks_follow_the_recursion_with_explicit_matrices(x64, layers, shape):
    check_recursion(layers, shape)


def test_images_follow_the_recursion_with_explicit_matrices(x64):
    layers = [Convolution(4, 4, 1, 1.3, 0.2, "zeros"), ReLU(), Convolution(4, 3, 2)]
    check_recursion([*layers, Erf(1.0), Upsample(2, "bilinear")], (8, 6))


@pytest.mark.parametrize("shape", GRIDS, ids=str)
def test_a_given_input_enters_by_its_mean_product_over_channels(x64, shape):
    layers = deep("reflect")
    net = Architecture(Serial(layers), input_channels=3, dimensions=len(shape))
    z = signal(shape)
    rows = np.asarray(z).reshape(-1, 3)
    expected, _ = pixel_recursion.moments(layers, rows @ rows.T / 3, shape)
    found = as_matrix(kernels.dense(net, z))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * expected.max())


@pytest.mark.parametrize("shape", GRIDS, ids=str)
def test_a_random_input_has_its_covariance_at_every_lag_inside(x64, shape):
    net = Architecture(Serial(), dimensions=len(shape))
    pixels = np.stack(np.indices(shape), axis=-1).reshape(math.prod(shape), -1)
    lags = (pixels[None] - pixels[:, None]).astype(float)
    found = kernels.dense(net, bell, shape)
    assert found.shape == (*shape, *shape)
    np.testing.assert_allclose(as_matrix(found), bell(lags), rtol=0, atol=1e-15)
    white = as_matrix(kernels.dense(net, shape=shape))
    np.testing.assert_array_equal(white, np.eye(len(pixels)))


def test_concatenated_channels_are_averaged_and_each_normalised_by_itself(x64):
    shape = (12,)
    start = random_moments(shape)
    loud = [Convolution(3, weight_variance=9.0), BatchNorm(0.1)]
    quiet = [Convolution(9, 5), ReLU(), BatchNorm(0.1)]
    last = [Convolution(4, 2), Erf(1.0)]
    branches = [Serial(loud[:1]), Serial(quiet[:2]), Serial()]
    layers = [Concat(branches), BatchNorm(0.1), *last]
    net = Architecture(Serial(layers), input_channels=4, dimensions=1)
    parts = [
        pixel_recursion.moments(branch, as_matrix(start), shape)[0]
        for branch in (loud, quiet, [BatchNorm(0.1)])
    ]
    joined = (3 * parts[0] + 9 * parts[1] + 4 * parts[2]) / 16
    expected, _ = pixel_recursion.moments(last, joined, shape)
    found = kernels.dense(net, second_moment=start)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    "shape", [(13,), pytest.param((5, 7), marks=pytest.mark.slow)], ids=str
)
def test_sizes_that_do_not_fit_are_continued_and_cut_as_by_networks(x64, shape):
    layers = [Convolution(4, stride=2), ReLU(), Upsample(2, "bilinear")]
    body = Serial([*layers, Convolution(1, 2)])
    net = Architecture(body, input_channels=3, dimensions=len(shape))
    z = signal(shape)
    padding = [(0, size % 2) for size in shape]
    wide = jnp.pad(z, [*padding, (0, 0)], mode="symmetric")
    kept = tuple(map(slice, shape))
    np.testing.assert_allclose(
        kernels.dense(net, z),
        kernels.dense(net, wide)[kept + kept],
        rtol=0,
        atol=1e-15,
    )


# -- what every second moment is ----------------------------------------------------


def hourglass(scales=1, **settings):
    shared = {"channels_down": 6, "channels_up": 8, "channels_skip": 2}
    return architecture.skip_net(
        scales, output=Linear(), input_channels=4, dimensions=1, **(shared | settings)
    )


@pytest.mark.parametrize(
    ("scales", "batch_norm"),
    [
        (1, False),
        pytest.param(1, True, marks=pytest.mark.slow),
        pytest.param(2, True, marks=pytest.mark.slow),
    ],
)
def test_it_is_symmetric_and_positive_semi_definite(x64, scales, batch_norm):
    net = hourglass(scales, batch_norm=batch_norm)
    found = np.asarray(kernels.dense(net, bell, (20,)))
    assert found.shape == (20, 20)
    np.testing.assert_allclose(found, found.T, rtol=0, atol=1e-15 * found.max())
    assert np.linalg.eigvalsh(found).min() > -1e-14 * found.max()


@pytest.mark.parametrize(
    "layers",
    [
        [Convolution(4, stride=2), ReLU(), Upsample(2), Convolution(4), Erf(2.0)],
        pytest.param([hourglass(2, batch_norm=False).body], marks=pytest.mark.slow),
    ],
    ids=["short", "hourglass"],
)
def test_single_and_double_precision_agree(x64, layers):
    net = Architecture(Serial(layers), input_channels=4, dimensions=1)
    z = jnp.asarray(signal((20,), 4))
    double = kernels.dense(net, z)
    single = kernels.dense(net, z.astype(jnp.float32))
    assert (single.dtype, double.dtype) == (jnp.float32, jnp.float64)
    np.testing.assert_allclose(single, double, rtol=0, atol=2e-6 * double.max())


def test_an_image_transposed_gives_the_moments_transposed(x64):
    layers = [Convolution(4, 2, bias_variance=0.1), ReLU(), Convolution(1, 3, 2)]
    net = Architecture(Serial(layers), input_channels=3)
    z = signal((4, 7))
    found = kernels.dense(net, jnp.swapaxes(z, 0, 1))
    expected = jnp.transpose(kernels.dense(net, z), (1, 0, 3, 2))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("activation", [ReLU(), LeakyReLU(-1.0), Erf(2.0)], ids=repr)
def test_variances_after_a_non_linearity_are_exact(x64, activation):
    net = Architecture(Serial([activation]), dimensions=1)
    start = random_moments((9,))
    before = np.diag(np.asarray(start))
    found = np.diag(np.asarray(kernels.dense(net, second_moment=start)))
    expected = {
        "ReLU": before / 2,
        "LeakyReLU": before,
        "Erf": 2 / np.pi * np.arcsin(before / (before + 1 / 8)),
    }[type(activation).__name__]
    np.testing.assert_allclose(found, expected, rtol=1e-15)


def test_pixels_that_are_alike_stay_alike(x64):
    net = Architecture(
        Serial([Convolution(4, 1), Upsample(2, "nearest"), Erf(math.inf)]), 3, 1
    )
    found = np.asarray(kernels.dense(net, signal((7,))))
    np.testing.assert_array_equal(found[0::2], found[1::2])
    np.testing.assert_array_equal(np.diag(found), 1.0)


def test_pixels_without_variance_stay_so(x64):
    z = signal((6,)).at[2].set(0.0)
    for activation in (ReLU(), Erf(1.0), Erf(math.inf)):
        net = Architecture(Serial([Convolution(4, 1), activation]), 3, 1)
        found = np.asarray(kernels.dense(net, z))
        np.testing.assert_array_equal(found[2], 0.0)
        assert np.isfinite(found).all()


def test_slopes_with_respect_to_the_input_are_finite_and_right(x64):
    net = Architecture(
        Serial([Convolution(4, 1), ReLU(), Convolution(4, 1), Erf(1.0)]), 3, 1
    )
    z, change = signal((6,)), signal((6,))[::-1]

    def far(step):
        return kernels.dense(net, z + step * change)[0, 4]

    difference = (far(1e-5) - far(-1e-5)) / 2e-5
    assert float(jax.grad(far)(0.0)) == pytest.approx(float(difference), rel=1e-7)


# -- what cannot be read ------------------------------------------------------------


NET = Architecture(Serial([Convolution(4), ReLU()]), input_channels=3, dimensions=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input": bell}, r"shape: expected \(L,\) in pixels .* got None"),
        ({"input": bell, "shape": (4, 4)}, r"shape: expected .* got \(4, 4\)"),
        ({"input": bell, "shape": (0,)}, r"shape: expected .* got \(0,\)"),
        ({"input": np.ones((5, 2))}, r"input: expected .* \(L, 3\) .* \(5, 2\)"),
        ({"input": np.ones((0, 3))}, r"input: expected .* at least one pixel"),
        ({"input": np.full((5, 3), 1e8)}, "input: .* mean square up to .* 1e.16"),
        ({"input": np.full((5, 3), np.nan)}, "input: expected finite numbers"),
        ({"input": np.ones((5, 3), int)}, "input: expected floating-point"),
        ({"input": np.ones((5, 3)), "shape": (5,)}, "shape: expected none beside"),
        ({"second_moment": np.eye(5), "shape": (5,)}, "second_moment: expected alone"),
        ({"second_moment": np.ones((5, 4))}, r"second_moment: .* \(L, L\)"),
        ({"second_moment": np.triu(np.ones((5, 5)))}, "second_moment: .* symmetric"),
        ({"second_moment": -np.eye(5)}, "variances from 0 to .* from -1 to 1"),
        ({"second_moment": np.full((5, 5), np.nan)}, "expected finite numbers"),
        ({"shape": (5,), "largest": 0}, "largest: expected an integer"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        kernels.dense(NET, **arguments)


def test_a_covariance_that_would_not_fit_into_memory_is_refused_with_its_size():
    with pytest.raises(ValueError, match=r"128x128 = 16384, .* take 2 GiB"):
        kernels.dense(architecture.conv_net(1), shape=(128, 128))
    net = Architecture(Serial([Upsample(2), Downsample(2)]), dimensions=1)
    assert kernels.dense(net, shape=(8,), largest=16).shape == (8, 8)
    with pytest.raises(ValueError, match="at most 15 pixels, got 16 = 16"):
        kernels.dense(net, shape=(8,), largest=15)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([ReLU(), Convolution(4)], r"ReLU\(\) follows the given input"),
        ([BatchNorm(), Convolution(4)], "BatchNorm.* reads the given input"),
        ([Sum([Serial(), Convolution(3)]), Erf()], "Erf.* follows the given input"),
        ([Convolution(4), ReLU(), Erf()], "Erf.* follows another non-linearity"),
        ([Sum([Serial(), Serial()])], "2 branches of a Sum do not end in a convol"),
        ([Convolution(4), Sigmoid()], r"Sigmoid\(\) has no closed-form"),
    ],
    ids=lambda value: "",
)
def test_layers_without_a_closed_form_are_named(layers, message):
    net = Architecture(Serial(layers), input_channels=3, dimensions=1)
    with pytest.raises(ValueError, match=message):
        kernels.dense(net, np.ones((5, 3)))


def test_a_random_input_may_meet_a_non_linearity_first(x64):
    net = Architecture(Serial([ReLU(), Convolution(4, 1)]), dimensions=1)
    found = kernels.dense(net, bell, (5,))
    expected = kernels.relu(bell)(np.arange(5.0)[:, None])
    np.testing.assert_allclose(found[0], expected, atol=1e-15)
