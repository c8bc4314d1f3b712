"""Parameters drawn from a description, and the density of their prior."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from example_networks import KEY, NETS, RESIDUAL, input_of, noise, small_hourglass

from dipgp import networks
from dipgp.architecture import (
    Architecture,
    BatchNorm,
    Concat,
    Convolution,
    ReLU,
    Serial,
    conv_net,
    parameter_count,
    skip_net,
)
from dipgp.networks.blocks import Form, module


@pytest.fixture(scope="module")
def reference():
    """The reference network's parameters, as they are drawn."""
    return networks.build(skip_net()).init(KEY, jnp.zeros((1, 1, 32)))["params"]


class TestParameters:
    @pytest.mark.parametrize("name", NETS)
    def test_their_number_is_that_of_the_description(self, name):
        net = NETS[name]
        shapes = jax.eval_shape(networks.build(net).init, KEY, input_of(net))
        count = sum(leaf.size for leaf in jax.tree.leaves(shapes))
        assert count == parameter_count(net)

    @pytest.mark.parametrize("name", NETS)
    def test_those_that_are_drawn_are_those_that_are_read(self, name):
        net = NETS[name]
        z = input_of(net, 192)
        drawn = jax.eval_shape(networks.build(net).init, KEY, z)
        body = module(net.body, Form(scaled=False, forward_differentiable=False))
        read = jax.eval_shape(body.init, KEY, z)
        assert drawn["params"] == read.get("params", {})

    def test_the_reference_has_2217831(self, reference):
        assert sum(leaf.size for leaf in jax.tree.leaves(reference)) == 2_217_831

    def test_they_are_named_by_layer_and_position(self):
        variables = networks.build(RESIDUAL).init(KEY, input_of(RESIDUAL))
        names = [
            "/".join(key.key for key in path)
            for path, _ in jax.tree.leaves_with_path(variables["params"])
        ]
        assert names == sorted(
            [
                "convolution_0/weights",
                "convolution_0/biases",
                "sum_1/serial_1/convolution_1/weights",
                "sum_1/convolution_2/weights",
                "concat_4/serial_2/convolution_0/weights",
                "concat_4/serial_2/batch_norm_1/gamma",
                "concat_4/serial_2/batch_norm_1/beta",
                "convolution_6/weights",
            ]
        )

    def test_the_reference_starts_as_in_pytorch(self, reference):
        for path, leaf in jax.tree.leaves_with_path(reference):
            if path[-1].key != "weights":
                continue
            bound = 1 / np.sqrt(np.prod(leaf.shape[:-1]))
            layer = reference
            for key in path[:-1]:
                layer = layer[key.key]
            leaf, biases = np.asarray(leaf), np.asarray(layer["biases"])
            assert np.max(np.abs(biases)) <= bound * 1.000001
            assert 0.97 * bound < np.max(np.abs(leaf)) <= bound * 1.000001
            mean_square, fourth = 1 / 3, 1 / 5
            error = np.sqrt((fourth - mean_square**2) / leaf.size)
            found = np.mean(np.square(np.asarray(leaf, np.float64) / bound))
            assert abs(found - mean_square) < 4.5 * error

    def test_in_the_other_form_they_are_standard_normal(self):
        net = conv_net(2, channels=64, weight_variance=4.0, bias_variance=9.0)
        network = networks.build(net, initialisation="gaussian_process")
        start = network.init(KEY, jnp.zeros((1, 1, 32)))
        flat = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(start)])
        assert scipy.stats.kstest(flat, "norm").pvalue > 0.01

    def test_batch_norm_starts_at_one_and_zero_or_as_in_early_pytorch(self):
        net = Architecture(Serial([BatchNorm(), Convolution(1)]), 5000)
        z = jnp.zeros((1, 1, 5000))
        for initialisation in ("reference", "gaussian_process"):
            for gamma in ("ones", "uniform"):
                network = networks.build(
                    net, initialisation=initialisation, gamma=gamma
                )
                start = network.init(KEY, z)["params"]["batch_norm_0"]
                np.testing.assert_array_equal(start["beta"], 0)
                if gamma == "ones":
                    np.testing.assert_array_equal(start["gamma"], 1)
                else:
                    drawn = scipy.stats.kstest(start["gamma"], "uniform")
                    assert drawn.pvalue > 0.01

    def test_layers_and_keys_are_drawn_independently(self):
        net = conv_net(3, channels=40, input_channels=40)
        network = networks.build(net)
        start = network.init(KEY, jnp.zeros((1, 1, 40)))["params"]
        other = network.init(jax.random.key(1), jnp.zeros((1, 1, 40)))["params"]
        names = ["convolution_0", "convolution_2", "convolution_4"]
        drawn = [np.ravel(tree[n]["weights"]) for tree in (start, other) for n in names]
        correlations = np.corrcoef(drawn) - np.eye(6)
        assert np.max(np.abs(correlations)) < 4.5 / np.sqrt(drawn[0].size)

    @pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
    def test_precision_is_that_of_the_input(self, x64, dtype):
        network = networks.build(small_hourglass(1))
        z = noise((4, 4), dtype=dtype)
        variables = network.init(KEY, z)
        assert all(leaf.dtype == dtype for leaf in jax.tree.leaves(variables))
        assert network.apply(variables, z).dtype == dtype
        assert network.log_prior(variables).dtype == dtype


class TestPrior:
    @pytest.mark.parametrize("initialisation", ["reference", "gaussian_process"])
    def test_it_is_the_sum_of_normal_log_densities(self, x64, initialisation):
        layers = [
            Convolution(6, 3, weight_variance=2.0, bias_variance=0.3),
            BatchNorm(),
            Concat([Convolution(2, 1), Serial([ReLU(), BatchNorm(affine=False)])]),
        ]
        net = Architecture(Serial(layers), input_channels=4)
        network = networks.build(net, initialisation=initialisation)
        values = jax.tree.map(
            lambda a: a + 0.3, network.init(KEY, noise((4, 4), dtype=jnp.float64))
        )
        first, norm, concat = (
            values["params"][name]
            for name in ("convolution_0", "batch_norm_1", "concat_2")
        )
        own = initialisation == "reference"
        terms = [
            (first["weights"], 0.0, np.sqrt(2 / 36) if own else 1.0),
            (first["biases"], 0.0, np.sqrt(0.3) if own else 1.0),
            (norm["gamma"], 1.0, 1.0),
            (norm["beta"], 0.0, 1.0),
            (concat["convolution_0"]["weights"], 0.0, np.sqrt(1 / 6) if own else 1.0),
        ]
        expected = sum(np.sum(scipy.stats.norm.logpdf(*term)) for term in terms)
        np.testing.assert_allclose(network.log_prior(values), expected, rtol=1e-12)

    def test_its_slope_in_the_weights_is_minus_weight_by_variance(self, x64):
        network = networks.build(conv_net(1, channels=3, input_channels=4))
        values = network.init(KEY, noise((4, 4), dtype=jnp.float64))
        slopes = jax.grad(network.log_prior)(values)
        weights = values["params"]["convolution_0"]["weights"]
        found = slopes["params"]["convolution_0"]["weights"]
        np.testing.assert_allclose(found, -weights * 36, rtol=1e-12)

    def test_a_network_without_parameters_has_density_one(self):
        network = networks.build(NETS["no parameters"])
        assert network.log_prior(network.init(KEY, noise((2, 2)))) == 0

    def test_parameters_of_another_network_are_refused(self):
        network = networks.build(conv_net(1, channels=3, input_channels=4))
        wider = networks.build(conv_net(1, channels=5, input_channels=4))
        with_norm = networks.build(small_hourglass(1))
        variables = network.init(KEY, noise((4, 4)))
        with pytest.raises(ValueError, match=r"variables: expected shape \(3, 3, 4, 5"):
            wider.log_prior(variables)
        with pytest.raises(ValueError, match="variables: expected concat_0/serial_0/"):
            with_norm.log_prior(variables)
