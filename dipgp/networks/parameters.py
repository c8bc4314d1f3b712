"""A network's parameters, read off its description: shapes, prior, first values.

The prior is that of `dipgp.kernels`, independent normal distributions with the
description's variances: N(0, weight_variance / fan_in) for weights and
N(0, bias_variance) for biases where parameters carry these variances ("reference"),
N(0, 1) for both where the forward pass does ("gaussian_process"). The description says
nothing of batch norm's scale and shift; theirs are N(1, 1) and N(0, 1), one unit around
where they start.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp

from dipgp import architecture
from dipgp.architecture import layer_channels
from dipgp.architecture.layers import child_name

Array = jax.Array
Initialisation = Literal["reference", "gaussian_process"]
Gamma = Literal["ones", "uniform"]
# Arrays by name, nested by the names of the layers that hold them.
Parameters = dict[str, Any]


@dataclass(frozen=True)
class Parameter:
    """One array of parameters.

    Attributes:
      path: names of the layers around it, from the outermost, and then its own:
        weights, biases, gamma or beta.
      shape: weights are (k, k, C, O) or (k, C, O), the others have one axis.
      mean: of the prior.
      std: standard deviation of the prior.
    """

    path: tuple[str, ...]
    shape: tuple[int, ...]
    mean: float
    std: float

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


def parameters(
    net: architecture.Architecture, initialisation: Initialisation
) -> list[Parameter]:
    """All parameters of a network, in the order of its layers."""
    in_function = initialisation == "gaussian_process"
    found = _walk(net.body, (), net.input_channels, net.dimensions)
    return [
        Parameter(path, shape, mean, 1.0 if in_function else std)
        for path, shape, mean, std in found
    ]


def _walk(
    layer: architecture.Layer, path: tuple[str, ...], channels: int, dimensions: int
) -> Iterator[tuple[tuple[str, ...], tuple[int, ...], float, float]]:
    """Path, shape, mean and standard deviation, those of the description."""
    match layer:
        case architecture.Convolution():
            shape = weight_shape(layer, channels, dimensions)
            yield (*path, "weights"), shape, 0.0, weight_std(layer, shape)
            if layer.bias_variance > 0:
                std = math.sqrt(layer.bias_variance)
                yield (*path, "biases"), (layer.channels,), 0.0, std
        case architecture.BatchNorm(affine=True):
            yield (*path, "gamma"), (channels,), 1.0, 1.0
            yield (*path, "beta"), (channels,), 0.0, 1.0
        case architecture.Serial():
            for position, inner in enumerate(layer.layers):
                name = child_name(position, inner)
                yield from _walk(inner, (*path, name), channels, dimensions)
                channels = layer_channels(inner, channels)
        case architecture.Sum() | architecture.Concat():
            for position, branch in enumerate(layer.branches):
                name = child_name(position, branch)
                yield from _walk(branch, (*path, name), channels, dimensions)


def weight_shape(
    layer: architecture.Convolution, channels: int, dimensions: int
) -> tuple[int, ...]:
    """(k, k, C, O) or (k, C, O) for a convolution that reads C channels."""
    return (*(layer.kernel_size,) * dimensions, channels, layer.channels)


def weight_std(layer: architecture.Convolution, shape: tuple[int, ...]) -> float:
    """sqrt(weight_variance / fan_in) for weights of a shape."""
    return math.sqrt(layer.weight_variance / math.prod(shape[:-1]))


def draw(
    key: Array,
    found: list[Parameter],
    initialisation: Initialisation,
    gamma: Gamma,
    dtype: jax.typing.DTypeLike,
) -> Parameters:
    """First values of the parameters.

    Args:
      key: of all draws.
      found: as `parameters` returns them.
      initialisation: "reference" draws weights and biases from the uniform
        distribution with the prior's mean and variance, "gaussian_process" from the
        prior itself.
      gamma: "ones", or "uniform" for U(0, 1).
      dtype: of the arrays.
    """
    key_weights, key_gamma = jax.random.split(key)
    drawn = [p for p in found if p.path[-1] in ("weights", "biases")]
    gammas = [p for p in found if p.path[-1] == "gamma"]
    # One draw for all: XLA takes as long to compile each as the rest of the network.
    shape = (sum(p.size for p in drawn),)
    if initialisation == "gaussian_process":
        units = jax.random.normal(key_weights, shape, dtype)
    else:
        bound = math.sqrt(3)
        units = jax.random.uniform(key_weights, shape, dtype, -bound, bound)
    values = {p: jnp.full(p.shape, p.mean, dtype) for p in found}
    values |= {p: p.std * unit for p, unit in _split(units, drawn)}
    if gamma == "uniform":
        shape = (sum(p.size for p in gammas),)
        values |= dict(_split(jax.random.uniform(key_gamma, shape, dtype), gammas))
    return _nest(values)


def _split(flat: Array, found: list[Parameter]) -> Iterator[tuple[Parameter, Array]]:
    start = 0
    for parameter in found:
        part = flat[start : start + parameter.size]
        yield parameter, part.reshape(parameter.shape)
        start += parameter.size


def _nest(values: dict[Parameter, Array]) -> Parameters:
    tree: Parameters = {}
    for parameter, value in values.items():
        node = tree
        for name in parameter.path[:-1]:
            node = node.setdefault(name, {})
        node[parameter.path[-1]] = value
    return tree


def log_density(values: Parameters, found: list[Parameter]) -> Array:
    """The log density of the prior, with its normalising constants.

    sum_i -(p_i - mean_i)^2 / (2 std_i^2) - log(2 pi std_i^2) / 2

    Args:
      values: nested as `draw` returns them.
      found: as `parameters` returns them.

    Returns:
      Scalar.

    Raises:
      ValueError: where the values are those of another network.
    """
    total: Array | float = 0.0
    constant = 0.0
    for parameter in found:
        value = _find(values, parameter)
        total += jnp.sum(jnp.square((value - parameter.mean) / parameter.std))
        constant += parameter.size * math.log(math.sqrt(2 * math.pi) * parameter.std)
    return jnp.asarray(-total / 2 - constant)


def _find(values: Any, parameter: Parameter) -> Array:
    node, path = values, "/".join(parameter.path)
    for name in parameter.path:
        if name not in node:
            raise ValueError(f"variables: expected {path} among them, which is missing")
        node = node[name]
    if node.shape != parameter.shape:
        raise ValueError(
            f"variables: expected shape {parameter.shape} of {path}, got {node.shape}"
        )
    return node
