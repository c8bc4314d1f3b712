"""What all maps promise, and how they follow one another."""

import functools

import jax
import jax.numpy as jnp
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
    LinearMap,
    gaussian_blur,
    motion_blur,
)

# Two sizes of kernel entries, none of them symmetric, and some below 0.
KERNEL = np.random.default_rng(5).normal(size=(3, 4)) + 0.4
ROW = [[0.2, 0.5, 0.1, 0.4]]

MAPS = {
    "identity": Identity(),
    "lanczos": Decimation(3, Lanczos(2)),
    "box": Decimation(2, Box()),
    "bilinear": Decimation(4, Bilinear()),
    "circular": Blur(KERNEL),
    "valid": Blur(KERNEL, "valid"),
    "gaussian": gaussian_blur(0.8),
    "motion": motion_blur(3.7, 30, "valid"),
    "row": Blur(ROW, "valid"),
    "mosaic": BayerMosaic("GBRG"),
    "composition": Composition(
        (Blur(KERNEL, "valid"), Decimation(2, Box()), BayerMosaic())
    ),
}
# Odd and not square for all; even and grey, and single rows, for one of each kind.
CASES = [
    *((name, (7, 11, 3)) for name in MAPS),
    *((name, (6, 6, 1)) for name in ("lanczos", "circular", "valid")),
    *((name, (1, 9, 1)) for name in ("box", "gaussian", "row")),
]


def draw(seed, shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


@functools.partial(jax.jit, static_argnums=0)
def see(linear_map, image):
    return linear_map(image)


@functools.partial(jax.jit, static_argnums=0)
def see_and_spread(linear_map, image, values):
    """A f, A^T y, A^T (A f - y), and what JAX makes of the latter.

    It is the gradient of half the squared misfit, by which networks are fitted.
    """

    def loss(image):
        return 0.5 * jnp.sum((linear_map(image) - values) ** 2)

    seen = linear_map(image)
    back, misfit = (linear_map.adjoint(y, image.shape) for y in (values, seen - values))
    return seen, back, misfit, jax.grad(loss)(image)


@pytest.mark.parametrize(
    ("name", "shape"),
    CASES,
    ids=[f"{name}-{'x'.join(map(str, shape))}" for name, shape in CASES],
)
def test_the_adjoint_is_the_transpose_and_what_jax_derives(x64, name, shape):
    linear_map = MAPS[name]
    image, values = draw(1, shape), draw(2, linear_map.output_shape(shape))
    seen, back, misfit, gradient = see_and_spread(linear_map, image, values)
    size = np.linalg.norm(seen) * np.linalg.norm(values)
    assert abs(np.vdot(seen, values) - np.vdot(image, back)) <= 1e-12 * size
    np.testing.assert_allclose(gradient, misfit, atol=1e-12)


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_shapes_are_foretold_and_precision_is_the_images(x64, name, dtype):
    linear_map = MAPS[name]
    image = jax.ShapeDtypeStruct((7, 11, 3), dtype)
    seen = jax.eval_shape(linear_map, image)
    assert (seen.shape, seen.dtype) == (linear_map.output_shape(image.shape), dtype)
    back = jax.eval_shape(lambda values: linear_map.adjoint(values, (7, 11, 3)), seen)
    assert (back.shape, back.dtype) == ((7, 11, 3), dtype)


@pytest.mark.parametrize("name", ["lanczos", "valid"])
def test_single_precision_is_nearly_double_precision(x64, name):
    image, values = draw(3, (7, 11, 3)), draw(4, MAPS[name].output_shape((7, 11, 3)))
    exact = see_and_spread(MAPS[name], image, values)
    singles = (image.astype("float32"), values.astype("float32"))
    for rough, sharp in zip(see_and_spread(MAPS[name], *singles), exact, strict=True):
        np.testing.assert_allclose(rough, sharp, atol=1e-4)


def test_forward_derivatives_are_the_map_itself(x64):
    linear_map = MAPS["composition"]
    image, direction = draw(4, (7, 11, 3)), draw(5, (7, 11, 3))
    along = jax.jit(lambda *at: jax.jvp(linear_map, at[:1], at[1:])[1])(
        image, direction
    )
    np.testing.assert_allclose(along, see(linear_map, direction), atol=1e-12)


def test_all_of_them_are_linear_maps_and_equal_ones_share_a_program():
    assert all(isinstance(linear_map, LinearMap) for linear_map in MAPS.values())
    assert len(set(MAPS.values())) == len(MAPS)
    before, image = see._cache_size(), jnp.ones((4, 5, 1))
    for kernel in (np.eye(2), [[1, 0], [0, 1]], np.ones((2, 2))):
        see(Composition([Blur(kernel), Decimation(2)]), image)
    assert see._cache_size() == before + 2


class TestComposition:
    def test_it_is_the_product_of_its_maps_matrices(self, x64):
        shape = (5, 4, 3)
        maps = (gaussian_blur(0.5), Decimation(2), BayerMosaic())

        def matrix(linear_map, shape):
            basis = jnp.eye(np.prod(shape)).reshape(-1, *shape)
            columns = jax.jit(jax.vmap(linear_map))(basis)
            return np.asarray(columns).reshape(len(basis), -1).T

        product, before = np.eye(np.prod(shape)), shape
        for linear_map in maps:
            product = matrix(linear_map, before) @ product
            before = linear_map.output_shape(before)
        found = matrix(Composition(maps), shape)
        assert found.shape == (6, 60)
        np.testing.assert_allclose(found, product, atol=1e-13)

    @pytest.mark.parametrize("maps", [(), None, Identity()])
    def test_no_maps_are_refused(self, maps):
        with pytest.raises(ValueError, match=r"maps: expected a sequence.*try Ident"):
            Composition(maps)

    @pytest.mark.parametrize("stray", [jnp.sin, Identity, "blur"])
    def test_what_is_no_linear_map_is_refused(self, stray):
        with pytest.raises(ValueError, match="maps: expected linear maps, got"):
            Composition((Identity(), stray))

    def test_maps_that_do_not_fit_each_other_are_refused(self):
        maps = Composition((BayerMosaic(), BayerMosaic()))
        with pytest.raises(ValueError, match=r"three channels.*got 1"):
            maps(jnp.ones((4, 4, 3)))


@pytest.mark.parametrize("name", ["gaussian", "box", "mosaic"])
def test_half_precision_is_computed_in_single(name):
    seen = MAPS[name](jnp.ones((8, 8, 3), jnp.float16))
    assert seen.dtype == jnp.float32
    back = MAPS[name].adjoint(seen.astype(jnp.float16), (8, 8, 3))
    assert back.dtype == jnp.float32


@pytest.mark.parametrize("name", MAPS)
class TestBadInput:
    @pytest.mark.parametrize("shape", [(4, 4), (1, 4, 4, 3), (0, 4, 1)])
    def test_what_is_no_image_is_refused(self, name, shape):
        with pytest.raises(ValueError, match=r"image: expected \(H, W, C\)"):
            MAPS[name](jnp.zeros(shape))

    def test_integers_are_refused(self, name):
        with pytest.raises(ValueError, match=r"image: expected floating.*uint8; try"):
            MAPS[name](jnp.zeros((8, 8, 3), jnp.uint8))

    def test_values_of_another_image_are_refused(self, name):
        with pytest.raises(ValueError, match=r"values: expected shape .*got \(5, 2, 2"):
            MAPS[name].adjoint(jnp.zeros((5, 2, 2)), (9, 8, 3))

    def test_values_that_are_integers_are_refused(self, name):
        seen = MAPS[name].output_shape((9, 8, 3))
        with pytest.raises(ValueError, match=r"values: expected floating.*int32"):
            MAPS[name].adjoint(jnp.zeros(seen, jnp.int32), (9, 8, 3))
