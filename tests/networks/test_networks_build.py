"""Networks built from descriptions: layers, sizes, and their use in JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from example_networks import KEY, RESIDUAL, noise, small_hourglass
from jax.flatten_util import ravel_pytree
from scipy.special import erf

from dipgp import networks
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
    conv_net,
    skip_net,
)
from dipgp.architecture.sizes import sizes


class TestLayers:
    """What single layers do, written out with NumPy."""

    Z = np.random.default_rng(0).standard_normal((4, 6, 3))

    def output(self, body, **values):
        net = Architecture(body, input_channels=3)
        found = networks.build(net).apply({"params": values}, jnp.asarray(self.Z))
        return np.asarray(found)

    @pytest.mark.parametrize(
        ("layer", "function"),
        [
            (ReLU(), lambda u: np.maximum(u, 0)),
            (LeakyReLU(0.1), lambda u: np.where(u > 0, u, 0.1 * u)),
            (Erf(2.0), lambda u: erf(2 * u)),
            (Erf(np.inf), np.sign),
            (Linear(), lambda u: u),
            (Sigmoid(), lambda u: 1 / (1 + np.exp(-u))),
        ],
        ids=lambda value: "function" if callable(value) else repr(value),
    )
    def test_activations(self, x64, layer, function):
        np.testing.assert_allclose(self.output(layer), function(self.Z), atol=1e-15)

    @pytest.mark.parametrize("epsilon", [0.0, 0.5])
    def test_batch_norm(self, x64, epsilon):
        gamma, beta = np.array([1.0, -2.0, 3.0]), np.array([0.0, 1.0, 2.0])
        spread = self.Z.var(axis=(0, 1)) + epsilon
        expected = (self.Z - self.Z.mean(axis=(0, 1))) / np.sqrt(spread)
        plain = self.output(BatchNorm(epsilon, affine=False))
        np.testing.assert_allclose(plain, expected, atol=1e-14)
        found = self.output(BatchNorm(epsilon), gamma=gamma, beta=beta)
        np.testing.assert_allclose(found, gamma * expected + beta, atol=1e-14)

    def test_batch_norm_of_a_flat_channel_is_its_shift_with_finite_slopes(self):
        net = Architecture(BatchNorm(0.0), input_channels=3)
        network = networks.build(net)
        z = jnp.ones((4, 4, 3))
        variables = network.init(KEY, z)
        variables["params"]["beta"] += 0.5
        np.testing.assert_array_equal(network.apply(variables, z), 0.5)
        slope = jax.grad(lambda z: jnp.sum(network.apply(variables, z) ** 2))(z)
        np.testing.assert_array_equal(slope, 0)

    def test_sums_and_concatenations(self, x64):
        halves = Serial([Downsample(2, "average"), Upsample(2, "nearest")])
        blocks = self.Z.reshape(2, 2, 3, 2, 3).mean(axis=(1, 3))
        coarse = blocks.repeat(2, axis=0).repeat(2, axis=1)
        found = self.output(Sum([Linear(), halves, Linear()]))
        np.testing.assert_allclose(found, 2 * self.Z + coarse, atol=1e-14)
        found = self.output(Concat([Linear(), halves]))
        expected = np.concatenate([self.Z, coarse], axis=-1)
        np.testing.assert_allclose(found, expected, atol=1e-14)

    def test_a_convolution_with_biases_in_both_forms(self, x64):
        layer = Convolution(2, 1, weight_variance=4.0, bias_variance=9.0)
        rng = np.random.default_rng(1)
        weights, biases = rng.standard_normal((1, 1, 3, 2)), rng.standard_normal(2)
        variables = {"params": {"weights": weights, "biases": biases}}
        product = self.Z @ weights[0, 0]
        net = Architecture(layer, input_channels=3)
        for initialisation, expected in (
            ("reference", product + biases),
            ("gaussian_process", np.sqrt(4 / 3) * product + 3 * biases),
        ):
            network = networks.build(net, initialisation=initialisation)
            found = network.apply(variables, jnp.asarray(self.Z))
            np.testing.assert_allclose(found, expected, atol=1e-14)


class TestSizes:
    @pytest.mark.parametrize(
        ("size", "padded"), [(1, 64), (20, 64), (64, 64), (65, 96), (96, 96)]
    )
    def test_five_halvings_with_reflection_take_multiples_of_32_from_64_on(
        self, size, padded
    ):
        assert sizes(skip_net()).padded(size) == padded

    @pytest.mark.parametrize(
        ("net", "multiple", "smallest"),
        [
            (skip_net(5, padding="circular"), 32, 1),
            (conv_net(3), 1, 2),
            (conv_net(3, kernel_size=6), 1, 4),
            (conv_net(3, kernel_size=1), 1, 1),
            (RESIDUAL, 3, 6),
            (Architecture(Serial([Upsample(2), Downsample(6), Upsample(3)])), 3, 1),
        ],
    )
    def test_others_take_what_their_layers_need(self, net, multiple, smallest):
        found = sizes(net)
        assert (found.multiple, found.smallest) == (multiple, smallest)

    @pytest.mark.parametrize("grid", [(1, 1), (7, 13), (20, 33), (8, 8), (1, 64)])
    @pytest.mark.parametrize("colours", [1, 3])
    def test_an_image_of_any_size_comes_out_with_its_size(self, colours, grid):
        network = networks.build(skip_net(output_channels=colours))
        z = jnp.zeros((*grid, 32))
        variables = jax.eval_shape(network.init, KEY, z)
        image = jax.eval_shape(network.apply, variables, z)
        assert image.shape == (*grid, colours)

    @pytest.mark.parametrize(
        ("net", "grid"),
        [
            (small_hourglass(1), (7, 13)),
            pytest.param(RESIDUAL, (1, 1), marks=pytest.mark.slow),
            pytest.param(
                small_hourglass(
                    1, dimensions=1, downsample="average", upsample="ideal"
                ),
                (13,),
                marks=pytest.mark.slow,
            ),
            pytest.param(small_hourglass(1), (1, 1), marks=pytest.mark.slow),
            pytest.param(small_hourglass(5), (20, 33), marks=pytest.mark.slow),
        ],
    )
    def test_values_and_gradients_of_any_size_are_finite(self, net, grid):
        network = networks.build(net)
        z = noise(grid)

        @jax.jit
        def run(variables, z):
            def loss(variables):
                image = network.apply(variables, z)
                return jnp.mean(jnp.square(image - 0.3)), image

            return jax.value_and_grad(loss, has_aux=True)(variables)

        (value, image), slopes = run(network.init(KEY, z), z)
        assert image.shape == (*grid, net.output_channels)
        for array in (value, image, *jax.tree.leaves(slopes)):
            assert np.all(np.isfinite(array))

    def test_what_does_not_fit_is_mirrored_at_its_far_end_and_cut(self):
        net = small_hourglass(1)
        network = networks.build(net)
        z = noise((7, 5))
        wide = np.pad(z, ((0, 1), (0, 1), (0, 0)), mode="symmetric")
        variables = network.init(KEY, z)
        found, whole = network.apply(variables, z), network.apply(variables, wide)
        assert whole.shape == (8, 6, 3)
        np.testing.assert_array_equal(found, whole[:7, :5])

    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            (Convolution(1, stride=2), (3, 4)),
            (Downsample(3, "average"), (2, 3)),
            (Upsample(2, "nearest"), (10, 14)),
            (Serial([Upsample(3, "nearest"), Downsample(2, "stride")]), (8, 11)),
        ],
    )
    def test_other_resolutions_scale_the_size_and_round_up(self, body, expected):
        network = networks.build(Architecture(body, 4))
        z = noise((5, 7))
        image = network.apply(network.init(KEY, z), z)
        assert image.shape[:-1] == expected

    def test_a_circular_network_that_fits_commutes_with_shifts(self):
        net = small_hourglass(1, padding="circular", upsample="nearest")
        network = networks.build(net)
        z = noise((4, 8))
        variables = network.init(KEY, z)
        moved = network.apply(variables, jnp.roll(z, (2, 4), axis=(0, 1)))
        image = network.apply(variables, z)
        np.testing.assert_allclose(
            moved, jnp.roll(image, (2, 4), axis=(0, 1)), atol=1e-5
        )


class TestTransformations:
    def test_networks_built_alike_are_equal_and_hash_alike(self):
        first, second = (networks.build(small_hourglass()) for _ in range(2))
        assert first == second
        assert hash(first) == hash(second)
        assert first != networks.build(small_hourglass(), gamma="uniform")

    def test_half_precision_rounds_layers_but_neither_parameters_nor_images(self):
        layers = [Convolution(8), BatchNorm(), LeakyReLU(), Upsample(2, "ideal")]
        net = Architecture(Serial([*layers, Convolution(2, 1)]), 4)
        z = noise((16, 16))

        def run(network, variables):
            def misfit(variables):
                image = network.apply(variables, z)
                return jnp.mean(jnp.square(image - 1)), image

            gradient, image = jax.grad(misfit, has_aux=True)(variables)
            return image, ravel_pytree(gradient)[0]

        variables = networks.build(net).init(KEY, z)
        half = networks.build(net, compute_dtype="bfloat16")
        expected = run(networks.build(net), variables)
        # Batch norm cancels much of the first weights' gradient, but no rounding.
        bounds = (2**-6, 2**-4)
        found = run(half, variables)
        for own, other, bound in zip(found, expected, bounds, strict=True):
            assert own.dtype == other.dtype == jnp.float32
            error = jnp.linalg.norm(own - other) / jnp.linalg.norm(other)
            assert 2**-12 < error < bound

    def test_half_precision_leaves_batch_norms_statistics_exact(self):
        # In 8 bits the mean of these would be off by more than their spread.
        z = (100 + noise((32, 32))).astype(jnp.bfloat16).astype(jnp.float32)
        net = Architecture(BatchNorm(affine=False), 4)
        half = networks.build(net, compute_dtype="bfloat16").apply({"params": {}}, z)
        expected = networks.build(net).apply({"params": {}}, z)
        np.testing.assert_allclose(half, expected, rtol=2**-8)

    @pytest.mark.slow
    def test_chains_of_parameters_may_be_mapped(self):
        network = networks.build(small_hourglass(1, dimensions=1))
        z = noise((8,))
        many = jax.vmap(network.init, (0, None))(jax.random.split(KEY, 3), z)
        images = jax.vmap(network.apply, (0, None))(many, z)
        for i in range(3):
            one = jax.tree.map(lambda leaf, i=i: leaf[i], many)
            np.testing.assert_allclose(images[i], network.apply(one, z), atol=1e-6)

    @pytest.mark.slow
    def test_forward_derivatives_are_there_when_asked_for(self, x64):
        layers = [Convolution(5, stride=2), BatchNorm(), LeakyReLU(), Upsample(2)]
        net = Architecture(Serial(layers), 4)
        z = noise((4, 6), dtype=jnp.float64)
        network = networks.build(net)
        forward = networks.build(net, forward_differentiable=True)
        variables = network.init(KEY, z)
        direction = jax.tree.map(jnp.cos, variables)

        def loss(network):
            return lambda v: jnp.sum(jnp.sin(network.apply(v, z)))

        _, along = jax.jvp(loss(forward), (variables,), (direction,))
        slope = jax.grad(loss(network))(variables)
        products = jax.tree.map(jnp.vdot, slope, direction)
        np.testing.assert_allclose(along, sum(jax.tree.leaves(products)), rtol=1e-10)
        with pytest.raises(TypeError, match="forward-mode"):
            jax.jvp(loss(network), (variables,), (direction,))

    def test_an_optimiser_may_run_inside_a_compiled_loop(self):
        net = conv_net(1, channels=16, input_channels=4, dimensions=1)
        network = networks.build(net)
        z, target = noise((16,)), jnp.linspace(0.2, 0.8, 16)[:, None]

        def loss(variables):
            return jnp.mean(jnp.square(network.apply(variables, z) - target))

        def step(variables, _):
            value, slope = jax.value_and_grad(loss)(variables)
            return jax.tree.map(lambda v, s: v - 0.1 * s, variables, slope), value

        start = network.init(KEY, z)
        _, losses = jax.jit(lambda v: jax.lax.scan(step, v, None, length=60))(start)
        assert losses[-1] < 0.2 * losses[0]


class TestErrors:
    @pytest.mark.parametrize(
        ("z", "got"),
        [
            (np.zeros((8, 4), np.float32), r"\(8, 4\)"),
            (np.zeros((1, 8, 8, 4), np.float32), r"\(1, 8, 8, 4\)"),
            (np.zeros((8, 8, 3), np.float32), r"\(8, 8, 3\)"),
            (np.zeros((8, 0, 4), np.float32), r"\(8, 0, 4\)"),
        ],
    )
    def test_an_input_of_another_shape_is_refused(self, z, got):
        network = networks.build(small_hourglass())
        message = rf"z: expected shape \(H, W, 4\) .*, got {got}"
        with pytest.raises(ValueError, match=message):
            network.init(KEY, z)
        with pytest.raises(ValueError, match=message):
            network.apply({"params": {}}, z)

    def test_so_it_is_for_signals(self):
        network = networks.build(small_hourglass(dimensions=1))
        with pytest.raises(ValueError, match=r"z: expected shape \(L, 4\)"):
            network.init(KEY, noise((8, 8)))

    def test_whole_numbers_are_refused_as_input(self):
        network = networks.build(small_hourglass())
        with pytest.raises(ValueError, match=r"z: expected floating.* got int32"):
            network.init(KEY, np.zeros((8, 8, 4), np.int32))

    @pytest.mark.parametrize("kind", [Sum, Concat])
    def test_branches_of_different_resolution_are_refused_by_name(self, kind):
        branches = kind([Linear(), Serial([Downsample(2), Linear()])])
        net = Architecture(Serial([Convolution(4), branches]), 4)
        name = f"{kind.__name__} at body.{kind.__name__.lower()}_1"
        with pytest.raises(ValueError, match=f"net: .* {name} .* 1, 1/2 times"):
            networks.build(net)

    def test_weights_without_variance_have_no_density(self):
        net = conv_net(1, weight_variance=0.0, input_channels=4)
        message = "net: expected a weight_variance above 0, .* convolution_0/weights"
        with pytest.raises(ValueError, match=message):
            networks.build(net)
        network = networks.build(net, initialisation="gaussian_process")
        z = noise((4, 4))
        np.testing.assert_array_equal(network.apply(network.init(KEY, z), z), 0)

    @pytest.mark.parametrize("name", ["initialisation", "gamma", "compute_dtype"])
    def test_unknown_options_are_refused(self, name):
        with pytest.raises(ValueError, match=f"{name}: expected one of .*got 'zeros'"):
            networks.build(conv_net(1), **{name: "zeros"})
