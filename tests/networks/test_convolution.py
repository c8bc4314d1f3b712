"""The convolution and its derivatives against XLA's own, of an extended signal."""

import functools
import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.test_util import check_grads

from dipgp.networks.convolution import convolve

MODES = {"reflect": "reflect", "zeros": "constant", "circular": "wrap"}
TAPS, STRIDES = (1, 2, 3, 4, 5), (1, 2, 3)


def reference(x, kernel, stride, padding):
    """XLA's convolution of a signal that NumPy's rules extend."""
    taps, dimensions = kernel.shape[0], x.ndim - 1
    border = [((taps - 1) // 2, taps // 2)] * dimensions + [(0, 0)]
    x = jnp.pad(x, border, mode=MODES[padding])
    layout = ("NWC", "WIO", "NWC") if dimensions == 1 else ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(
        x[None], kernel, (stride,) * dimensions, "VALID", dimension_numbers=layout
    )[0]


def example(size, taps, *, channels=(3, 4), seed=0):
    """A signal and a kernel."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((*size, channels[0]))
    kernel = rng.standard_normal((*[taps] * len(size), *channels))
    return jnp.asarray(x), jnp.asarray(kernel)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def value_and_gradients(function, stride, padding, x, kernel):
    """The output, and the gradients of its product with fixed numbers."""
    y, pull_back = jax.vjp(lambda *a: function(*a, stride, padding), x, kernel)
    slope = jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape)
    return y, *pull_back(slope)


def assert_equal_to_reference(size, taps, stride, padding, filters=4):
    x, kernel = example(size, taps, channels=(3, filters))
    found = value_and_gradients(convolve, stride, padding, x, kernel)
    expected = value_and_gradients(reference, stride, padding, x, kernel)
    assert found[0].shape == (*(-(-n // stride) for n in size), filters)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)


# Every pair of two settings; all triples are in the slow test.
SIGNALS = [
    (taps, STRIDES[(taps + i) % 3], padding)
    for taps, (i, padding) in itertools.product(TAPS, enumerate(MODES))
]
IMAGES = [
    (taps, stride, [*MODES][(taps + stride) % 3])
    for taps, stride in itertools.product((2, 3, 5), STRIDES)
]


@pytest.mark.parametrize(("taps", "stride", "padding"), SIGNALS)
def test_of_signals_it_is_the_convolution_of_the_extended_one(
    x64, taps, stride, padding
):
    assert_equal_to_reference((11,), taps, stride, padding)


@pytest.mark.parametrize(("taps", "stride", "padding"), IMAGES)
def test_of_images_it_is_the_convolution_of_the_extended_one(
    x64, taps, stride, padding
):
    assert_equal_to_reference((7, 10), taps, stride, padding)


# In strips of 32 rows and of one row; a signal has one row only.
@pytest.mark.parametrize("size", [(64, 70), (67, 60), (4000,)], ids=str)
def test_gradients_of_large_images_are_sums_over_strips(x64, size):
    assert_equal_to_reference(size, 3, 1, "reflect", filters=40)


@pytest.mark.slow
@pytest.mark.parametrize("padding", MODES)
@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("taps", TAPS)
@pytest.mark.parametrize("size", [(12,), (9, 8)], ids=str)
def test_it_is_so_with_all_settings(x64, size, taps, stride, padding):
    assert_equal_to_reference(size, taps, stride, padding)


@pytest.mark.parametrize("stride", [1, 2])
def test_gradients_equal_finite_differences(x64, stride):
    def run(x, kernel):
        return jnp.sin(convolve(x, kernel, stride, "reflect"))

    check_grads(jax.jit(run), example((5, 6), 3), order=1, modes=["rev"])


@pytest.mark.parametrize("stride", [1, 2])
def test_gradients_may_be_differentiated_again_in_reverse(x64, stride):
    x, kernel = example((6,), 3)

    def squared_slope(function, kernel):
        slope = jax.grad(lambda k: jnp.sum(function(x, k, stride, "zeros") ** 3))
        return jnp.sum(slope(kernel) ** 2)

    slopes = jax.jit(jax.grad(squared_slope, argnums=1), static_argnums=0)
    found, expected = slopes(convolve, kernel), slopes(reference, kernel)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


@pytest.mark.parametrize("stride", [1, 2])
def test_forward_derivatives_are_there_when_asked_for(x64, stride):
    point = example((6, 5), 3)
    direction = example((6, 5), 3, seed=1)

    def run(function):
        return jax.jvp(lambda *a: function(*a, stride, "circular"), point, direction)

    asked = functools.partial(convolve, forward_differentiable=True)
    for one, other in zip(run(asked), run(reference), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)
    with pytest.raises(TypeError, match="forward-mode"):
        run(convolve)


def test_a_compiled_loop_gives_the_same_as_one_step_after_another(x64):
    x, kernel = example((8, 8), 3, channels=(3, 3))

    def step(kernel, _):
        slope = jax.jit(jax.grad(lambda k: jnp.sum(jnp.sin(convolve(x, k)))))(kernel)
        return kernel - 0.1 * slope, None

    looped, _ = jax.jit(lambda k: lax.scan(step, k, None, length=3))(kernel)
    for _ in range(3):
        kernel, _ = step(kernel, None)
    np.testing.assert_allclose(looped, kernel, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("stride", "axes"), [(1, (0, None)), (2, (None, 0)), (1, (0, 0))]
)
def test_many_at_once_are_the_same_as_one_by_one(x64, stride, axes):
    x, kernel = example((9,), 3)
    xs = jnp.stack([jnp.roll(x, i, axis=0) for i in range(3)])
    kernels = kernel[None] + jnp.arange(3.0).reshape(3, 1, 1, 1)
    given = [
        a if axis == 0 else a[0] for a, axis in zip((xs, kernels), axes, strict=True)
    ]

    @jax.jit
    @functools.partial(jax.grad, argnums=(0, 1))
    def slopes(x, kernel):
        return jnp.sum(jnp.sin(convolve(x, kernel, stride)))

    found = jax.vmap(slopes, axes)(*given)
    for i in range(3):
        one = slopes(
            *(a[i] if axis == 0 else a for a, axis in zip(given, axes, strict=True))
        )
        for all_of_them, of_one in zip(found, one, strict=True):
            np.testing.assert_allclose(all_of_them[i], of_one, rtol=0, atol=1e-12)


@pytest.mark.parametrize("padding", MODES)
@pytest.mark.parametrize("size", [1, 2])
def test_a_signal_may_be_shorter_than_the_border(x64, size, padding):
    x, kernel = example((size,), 5)
    extended = np.pad(x, ((2, 2), (0, 0)), mode=MODES[padding])
    windows = np.stack([extended[i : i + 5] for i in range(size)])
    expected = np.einsum("ltc,tco->lo", windows, kernel)
    np.testing.assert_allclose(convolve(x, kernel, 1, padding), expected, atol=1e-12)


def test_other_devices_get_the_value_and_the_gradient_of_xla():
    x, kernel = (a.astype(jnp.float32) for a in example((8, 8), 3))

    def convolutions(platform, **settings):
        """How the signal and the kernel are laid out in each convolution."""

        def run(x, kernel):
            return jnp.sum(jnp.square(convolve(x, kernel, **settings)))

        traced = jax.jit(jax.grad(run, argnums=(0, 1))).trace(x, kernel)
        program = traced.lower(lowering_platforms=(platform,)).as_text()
        return re.findall(r"stablehlo.convolution.* dim_numbers = (\S+ \S+)", program)

    own = convolutions("cpu")
    by_xla = convolutions("cpu", forward_differentiable=True)
    assert convolutions("cuda") == by_xla
    assert len(own) == len(by_xla) == 3
    assert own != by_xla


def test_single_precision_stays_single(x64):
    x, kernel = (a.astype(jnp.float32) for a in example((6, 6), 3))
    for array in value_and_gradients(convolve, 2, "reflect", x, kernel):
        assert array.dtype == jnp.float32


@pytest.mark.parametrize(
    ("named", "arguments"),
    [
        ("padding", {"padding": "same"}),
        ("x, kernel", {"x": jnp.zeros((4, 4, 4, 3))}),
        ("x, kernel", {"kernel": jnp.zeros((3, 3, 2))}),
    ],
)
def test_errors_name_the_argument(named, arguments):
    good = {"x": jnp.zeros((4, 4, 3)), "kernel": jnp.zeros((3, 3, 3, 2))}
    with pytest.raises(ValueError, match=f"^{named}: expected"):
        convolve(**(good | arguments))
