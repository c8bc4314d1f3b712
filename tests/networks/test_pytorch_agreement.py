"""The hourglass against an independent construction in PyTorch, weight by weight."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dipgp import architecture, networks
from dipgp.networks import parameters

torch = pytest.importorskip(
    "torch", reason="PyTorch, the reference implementation's library, is not installed"
)
hourglass = pytest.importorskip("benchmarks.pytorch_hourglass")
to_torch = hourglass.to_torch

NETWORKS = {
    "one scale, nearest": ((8,), (6,), (4,), "nearest"),
    "two scales, one skip": ((8, 12), (6, 10), (4, 0), "bilinear"),
}
LARGER_NETWORKS = {
    "reference": ((128,) * 5, (128,) * 5, (4,) * 5, "bilinear"),
    "widths by scale": (
        (16, 32, 64, 128, 128),
        (16, 32, 64, 128, 128),
        (4,) * 5,
        "bilinear",
    ),
    "no skips": ((8, 12, 16), (6, 10, 14), (0, 0, 0), "bilinear"),
    "wide skips, nearest": ((8, 12, 16), (6, 10, 14), (16, 16, 16), "nearest"),
}


def random_parameters(network, z):
    """All parameters drawn, those of batch norm too; weights in PyTorch's range."""
    rng = np.random.default_rng(0)
    ranges = {"gamma": (0.5, 1.5), "beta": (-0.5, 0.5), "biases": (-0.1, 0.1)}

    def draw(path, array):
        bound = 1 / np.sqrt(np.prod(array.shape[:-1]))
        low, high = ranges.get(path[-1].key, (-bound, bound))
        return jnp.asarray(rng.uniform(low, high, array.shape), array.dtype)

    shapes = jax.eval_shape(network.init, jax.random.key(0), z)
    return jax.tree.map_with_path(draw, shapes)


def compare(down, up, skip, mode, *, size, dtype, tolerance):
    net = architecture.skip_net(
        len(down), channels_down=down, channels_up=up, channels_skip=skip, upsample=mode
    )
    network = networks.build(net)
    rng = np.random.default_rng(1)
    z = jnp.asarray(rng.uniform(0, 0.1, (size, size, 32)), dtype)
    target = jnp.asarray(rng.uniform(0, 1, (size, size, 3)), dtype)
    variables = random_parameters(network, z)

    @jax.jit
    @functools.partial(jax.value_and_grad, has_aux=True)
    def loss(variables):
        image = network.apply(variables, z)
        return jnp.mean(jnp.square(image - target)), image

    (value, image), slopes = loss(variables)

    other = hourglass.Hourglass(32, down, up, skip, mode).to(to_torch(z).dtype)
    found = parameters.parameters(net, "reference")
    hourglass.copy_parameters(other, variables, found)
    other.train()
    other_image = other(to_torch(z)[None])[0]
    other_value = torch.mean((other_image - to_torch(target)) ** 2)
    other_value.backward()

    def assert_near(one, reference, scale):
        one, reference = np.asarray(one), reference.detach().numpy()
        np.testing.assert_allclose(one, reference, rtol=0, atol=tolerance * scale)

    assert image.shape == (size, size, 3)
    assert_near(to_torch(image), other_image, scale=1)
    assert_near(value, other_value, scale=float(value))
    others = hourglass.ordered_parameters(other)
    # A bias that batch norm takes away has no slope but rounding.
    weights = [own for own in others[::2] for _ in range(2)]
    for one, own, weight in zip(found, others, weights, strict=True):
        slope = to_torch(hourglass.at(slopes["params"], one))
        assert_near(slope, own.grad, scale=float(weight.grad.abs().max()))


@pytest.mark.parametrize(
    "name",
    [
        "one scale, nearest",
        pytest.param("two scales, one skip", marks=pytest.mark.slow),
    ],
)
def test_output_and_gradients_are_those_of_pytorch(x64, name):
    compare(*NETWORKS[name], size=16, dtype=np.float64, tolerance=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGER_NETWORKS)
def test_so_are_those_of_the_networks_in_use(x64, name):
    compare(*LARGER_NETWORKS[name], size=64, dtype=np.float64, tolerance=1e-9)


def test_single_precision_agrees_up_to_its_rounding():
    # Batch norm divides by small deviations and amplifies rounding of 1e-7.
    compare(*NETWORKS["one scale, nearest"], size=16, dtype=np.float32, tolerance=1e-4)
