import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from example_kernels import EXAMPLES, bell, smooth

from dipgp import kernels
from dipgp.kernels.filtering import Filtered
from dipgp.kernels.shared import Shared
from dipgp.kernels.stationary import Covariance, Function, as_covariance
from dipgp.kernels.stretching import Stretched

GRIDS = [(36,), (8, 6)]


def all_lags(shape, spacing=1.0):
    """Lags between all pairs of points of a grid, (points, points, D)."""
    axes = [spacing * np.arange(size, dtype=np.float64) for size in shape]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    points = points.reshape(-1, len(shape))
    return points[None] - points[:, None]


def every_subclass(kind):
    for subclass in kind.__subclasses__():
        yield subclass
        yield from every_subclass(subclass)


def inside(kernel):
    """A covariance and all those that it is made of."""
    leaves = lambda k: isinstance(k, Covariance) and k is not kernel  # noqa: E731
    yield kernel
    if isinstance(kernel, Shared):
        yield from inside(kernel.root)
    for leaf in jax.tree.leaves(kernel, is_leaf=leaves):
        if isinstance(leaf, Covariance):
            yield from inside(leaf)


def shaken(kernel):
    """The same kernel with other hyperparameters."""
    return jax.tree.map(lambda leaf: 1.125 * leaf, kernel)


def test_the_examples_hold_every_kind_of_covariance():
    found = {type(part) for kernel in EXAMPLES.values() for part in inside(kernel)}
    # Other tests have covariances of their own.
    everything = every_subclass(Covariance)
    dipgps = {kind for kind in everything if kind.__module__.startswith("dipgp")}
    # Examples have any number of axes; these have as many as their taps, and two
    # (test_filtering and test_stretching have them).
    assert found == dipgps - {Filtered, Stretched}


@functools.cache
def matrix_of(name, shape):
    """Covariances between all pairs of points half a pixel apart."""
    with jax.enable_x64(True):
        return np.asarray(EXAMPLES[name](all_lags(shape, spacing=0.5)))


@pytest.mark.parametrize("shape", GRIDS, ids=str)
@pytest.mark.parametrize("name", EXAMPLES)
def test_covariance_matrices_are_positive_semidefinite(name, shape):
    matrix = matrix_of(name, shape)
    np.testing.assert_allclose(matrix, matrix.T, rtol=0, atol=1e-14)
    assert np.linalg.eigvalsh(matrix)[0] >= -1e-13 * np.trace(matrix)


@pytest.mark.parametrize("shape", GRIDS, ids=str)
@pytest.mark.parametrize("name", EXAMPLES)
def test_no_lag_is_further_from_zero_than_the_variance(x64, name, shape):
    matrix = matrix_of(name, shape)
    variance = kernels.variance(EXAMPLES[name], len(shape))
    assert variance > 0
    np.testing.assert_allclose(np.diag(matrix), variance, rtol=1e-15)
    assert np.all(np.abs(matrix) <= variance * (1 + 1e-15))


@pytest.mark.parametrize("name", EXAMPLES)
def test_covariances_level_off_at_their_sill(x64, name):
    far = np.array(
        [[3e4, -3e4], [0.0, 4e4], [4e4, 0.0], [1e5, 1.0], [2, -3e4], [5e4, 9]]
    )
    moments = EXAMPLES[name].moments(far)
    np.testing.assert_allclose(moments.variogram, moments.sill, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("name", EXAMPLES)
def test_covariances_are_pytrees_that_survive_flattening(name):
    kernel = EXAMPLES[name]
    leaves, structure = jax.tree.flatten(kernel)
    again = jax.tree.unflatten(structure, leaves)
    assert again == kernel
    assert jax.tree.structure(shaken(kernel)) == structure
    hash(structure)


@functools.cache
def program_of(name):
    """Values and gradients of a kernel, compiled with kernel and lags as arguments.

    From (kernel, lags), a direction in which to change them, and a weight for each lag:
    the values, and the slopes of their weighted sum in reverse and in forward mode.
    """

    @jax.jit
    def program(arguments, direction, weights):
        def weighted(arguments):
            kernel, lags = arguments
            values = kernel(lags)
            return jnp.sum(weights * values), values

        reverse, values = jax.grad(weighted, has_aux=True)(arguments)
        _, (forward, _) = jax.jvp(weighted, (arguments,), (direction,))
        return values, reverse, forward

    return program


@functools.cache
def problem_of(name):
    """Arguments of a kernel's program, with lags off the kinks of interpolation."""
    random = np.random.default_rng(2)
    lags = random.integers(-5, 5, (6, 2)) + random.choice([0.2, 0.7], (6, 1))
    arguments = jax.tree.map(np.float64, EXAMPLES[name]), lags
    direction = jax.tree.map(  # a hyperparameter of 0 is the end of its range
        lambda leaf: random.uniform(-1, 1, leaf.shape) * (leaf != 0), arguments
    )
    return arguments, direction, random.uniform(-1, 1, 6)


EDGES = np.array([[0, 0], [0, 1], [1e-9, 0], [2, 2], [-0.5, 0.5], [1e5, -1e5]])


# Compiling these takes long.
DEEP = ("tangent", "tangent erf", "hourglass")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if name in DEEP else name
        for name in EXAMPLES
    ],
)
def test_traced_kernels_and_lags_give_what_concrete_ones_give(x64, name):
    (kernel, lags), direction, weights = problem_of(name)
    for kernel_now, lags_now in [(kernel, lags), (shaken(kernel), EDGES)]:
        arguments = kernel_now, lags_now
        values, _, _ = program_of(name)(arguments, direction, weights)
        expected = np.asarray(kernel_now(lags_now))
        tolerance = 1e-14 * kernels.variance(kernel_now)
        np.testing.assert_allclose(values, expected, rtol=0, atol=tolerance)
    # Both calls share a program: hyperparameters are no part of its key.
    assert program_of(name)._cache_size() == 1


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if "tangent" in name else name
        for name in EXAMPLES
    ],
)
def test_gradients_match_finite_differences_in_both_modes(x64, name):
    arguments, direction, weights = problem_of(name)
    values, reverse, forward = program_of(name)(arguments, direction, weights)
    along = jax.tree.map(lambda slope, way: np.sum(slope * way), reverse, direction)
    scale = 1e-9 * (1 + float(np.abs(values).sum()))
    forward = float(forward)
    assert sum(jax.tree.leaves(along)) == pytest.approx(forward, rel=1e-9, abs=scale)
    step = 1e-5
    ends = []
    for sign in (1, -1):
        moved = jax.tree.map(lambda x, way: x + sign * step * way, arguments, direction)  # noqa: B023
        ends.append(np.sum(weights * program_of(name)(moved, direction, weights)[0]))
    difference = float(ends[0] - ends[1]) / (2 * step)
    assert forward == pytest.approx(difference, rel=2e-6, abs=scale)


@pytest.mark.parametrize("name", EXAMPLES)
def test_values_and_gradients_are_finite_at_zero_lag_and_far_away(x64, name):
    (kernel, _), direction, weights = problem_of(name)
    found = program_of(name)((kernel, EDGES), direction, weights)
    for number in jax.tree.leaves(found):
        assert np.isfinite(number).all()


@pytest.mark.parametrize("name", EXAMPLES)
def test_hyperparameters_can_be_mapped_over(x64, name):
    pair = EXAMPLES[name], shaken(EXAMPLES[name])
    if not jax.tree.leaves(pair):
        pytest.skip("it has no hyperparameters")
    _, lags = problem_of(name)[0]
    expected = np.stack([kernel(lags) for kernel in pair])
    stacked = jax.tree.map(lambda *both: np.float64(both), *pair)
    values = jax.jit(jax.vmap(lambda kernel: kernel(lags)))(stacked)
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-14 * expected.max())


@pytest.mark.parametrize(
    "name", ["matern 5/2", "function", "hourglass", "up nearest", "deep erf"]
)
def test_lags_can_be_mapped_over(x64, name):
    kernel, lags = EXAMPLES[name], np.linspace(-2, 3, 24).reshape(3, 4, 2)
    values = jax.jit(jax.vmap(jax.vmap(lambda lags: kernel(lags))))(lags)
    expected = np.asarray(kernel(lags))
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-14 * expected.max())


@pytest.mark.parametrize("name", EXAMPLES)
def test_covariances_can_be_keys_such_as_those_of_compiled_functions(name):
    assert {EXAMPLES[name]: 1}[EXAMPLES[name]] == 1


@pytest.mark.parametrize("name", ["up nearest", "up bilinear", "hourglass"])
def test_gradients_by_hyperparameters_run_over_a_whole_grid(x64, name):
    lags = kernels.lag_grid((5, 4))
    kernel = jax.tree.map(np.float64, EXAMPLES[name])
    traced = jax.jacrev(lambda kernel, lags: kernel(lags))
    expected = jax.tree.leaves(jax.jit(traced)(kernel, lags))
    found = jax.tree.leaves(jax.jit(jax.jacrev(lambda kernel: kernel(lags)))(kernel))
    for grid, each in zip(found, expected, strict=True):
        assert np.isfinite(grid).all()
        np.testing.assert_allclose(grid, each, rtol=0, atol=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", EXAMPLES)
def test_values_have_the_precision_of_lags_and_hyperparameters(x64, name, dtype):
    kernel = jax.tree.map(dtype, EXAMPLES[name])
    lags = np.ones((6, 2), dtype)
    assert jax.eval_shape(lambda kernel: kernel(lags), kernel).dtype == dtype
    assert (
        jax.eval_shape(lambda kernel, lags: kernel(lags), kernel, lags).dtype == dtype
    )


@pytest.mark.parametrize(
    "name", ["gaussian", "function", "down average", "up bilinear"]
)
@pytest.mark.parametrize("shape", [(2,), (1,), (3, 2), (2, 0, 1), (2, 3, 4, 1)])
def test_values_have_the_shape_of_the_lags(name, shape):
    assert EXAMPLES[name](np.ones(shape)).shape == shape[:-1]


def test_a_lag_grid_holds_the_frequencies_order_of_lags():
    grid = kernels.lag_grid((4, 3))
    assert grid.shape == (4, 3, 2)
    np.testing.assert_array_equal(grid[:, 0, 0], [0, 1, -2, -1])
    np.testing.assert_array_equal(grid[0, :, 1], [0, 1, -1])
    np.testing.assert_array_equal(grid[0, 0], [0, 0])
    np.testing.assert_array_equal(kernels.lag_grid((5,))[:, 0], [0, 1, 2, -2, -1])
    np.testing.assert_array_equal(kernels.lag_grid((1, 1)), [[[0, 0]]])


def test_a_lag_grid_has_the_default_precision_or_the_one_asked_for(x64):
    assert kernels.lag_grid((3,)).dtype == np.float64
    assert kernels.lag_grid((3,), np.float32).dtype == np.float32
    with jax.enable_x64(False):
        assert kernels.lag_grid((3,)).dtype == np.float32


@pytest.mark.parametrize("shape", [(), (0,), (4, -1), (2, 2, 2)])
def test_a_lag_grid_of_no_signal_or_image_is_refused(shape):
    with pytest.raises(ValueError, match=r"shape: expected \(L,\) or \(H, W\)"):
        kernels.lag_grid(shape)


@pytest.mark.parametrize("lags", [0.0, np.zeros(3), np.zeros((2, 4)), np.zeros((2, 0))])
def test_lags_that_are_no_vectors_of_one_or_two_numbers_are_refused(lags):
    with pytest.raises(ValueError, match="lags: expected shape"):
        smooth()(lags)
    with pytest.raises(ValueError, match="lags: expected shape"):
        jax.jit(lambda lags: smooth()(lags))(lags)


def test_whole_numbers_and_lists_are_lags_as_well():
    expected = np.exp(-np.array([0, 1, 4]) / 9)
    for lags in (
        [[0], [1], [2]],
        np.array([[0], [1], [2]]),
        jnp.asarray([[0], [1], [2]]),
    ):
        values = smooth()(lags)
        assert values.dtype == jnp.float32
        np.testing.assert_allclose(values, expected, rtol=1e-6)


@pytest.mark.parametrize("dimensions", [1, 2])
def test_the_variance_is_the_covariance_at_zero_lag(dimensions):
    kernel = kernels.downsample(kernels.white(), 2, method="average")
    assert kernels.variance(kernel, dimensions) == 0.5**dimensions
    assert kernels.variance(lambda lags: 3 * bell(lags), dimensions) == 3


def test_a_plain_function_serves_as_a_covariance():
    lags = kernels.lag_grid((6, 6))
    wrapped = as_covariance(bell)
    assert isinstance(wrapped, Function)
    assert as_covariance(wrapped) is wrapped
    for rule in (
        kernels.relu,
        kernels.erf,
        kernels.batch_norm,
        kernels.normalize,
        lambda k: kernels.bias(kernels.scale(k, 2.0), variance=0.1),
        lambda k: kernels.skip(k, k),
        lambda k: kernels.upsample(kernels.downsample(k, 2, "average"), 2, "nearest"),
    ):
        expected = np.asarray(rule(smooth())(lags))
        np.testing.assert_allclose(rule(bell)(lags), expected, rtol=1e-5, atol=1e-7)


def test_batch_norm_reads_a_plain_function_far_away():
    raised = lambda lags: 0.25 + 0.5 * bell(lags)  # noqa: E731
    lags = kernels.lag_grid((6, 6))
    found = kernels.batch_norm(raised)(lags)
    np.testing.assert_allclose(found, smooth()(lags), rtol=0, atol=1e-6)


@pytest.mark.parametrize("covariance", [None, 2.0, "white", np.eye(3)])
def test_what_cannot_be_called_is_no_covariance(covariance):
    with pytest.raises(TypeError, match="covariance: expected a function of lags"):
        as_covariance(covariance)


def test_a_covariance_without_moments_says_so():
    class Empty(Covariance):
        pass

    with pytest.raises(NotImplementedError, match="Empty has no moments"):
        Empty()(np.zeros((3, 2)))


def test_more_layers_than_python_can_nest_are_refused():
    covariance = kernels.gaussian(2.0)
    for _ in range(2000):
        covariance = kernels.relu(covariance)
    with pytest.raises(ValueError, match="at most some 300 layers"):
        covariance(np.zeros((1, 2)))
