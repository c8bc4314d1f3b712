"""The one place that loads neural-tangents, an independent reading of networks.

neural-tangents computes the covariance between all pairs of pixels of an infinitely
wide network, border and all. On a torus with a stationary input it must agree with the
closed forms of `dipgp.kernels`, and its cost is what the closed forms save.

Its last release, 0.6.5, imports names that JAX has moved or removed since. They are
lent for the time of the import; none of them takes part in what is called here.
"""

import contextlib
import importlib
import importlib.util
import math
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any, Literal
from unittest import mock

import jax
import jax.core
import jax.extend.core
import jax.numpy as jnp
import numpy as np
from jax.interpreters import ad

from dipgp import architecture
from dipgp.kernels import Covariance, lag_grid

PACKAGE = "neural_tangents"
INSTALL = "pip install --no-deps neural-tangents==0.6.5 frozendict"

Array = jax.Array
Padding = Literal["CIRCULAR", "SAME"]


def load() -> types.ModuleType:
    """Imports neural-tangents under the JAX that is installed.

    Returns:
      The package, without its experimental part (the only one that needs TensorFlow).

    Raises:
      ImportError: where it cannot be imported, with the line that installs it.
    """
    if PACKAGE in sys.modules:
        return sys.modules[PACKAGE]
    try:
        with _names_that_it_imports():
            return importlib.import_module(PACKAGE)
    except (ImportError, AttributeError) as error:
        for name in [name for name in sys.modules if _belongs(name)]:
            del sys.modules[name]
        raise ImportError(
            f"neural-tangents cannot be imported ({error}); try: {INSTALL}"
        ) from error


def _belongs(name: str) -> bool:
    return name == PACKAGE or name.startswith(f"{PACKAGE}.")


@contextlib.contextmanager
def _names_that_it_imports() -> Iterator[None]:
    """Lends JAX the names that it had when neural-tangents was written."""
    moved = ("Jaxpr", "JaxprEqn", "Literal", "Primitive", "Var")
    lent = [(jax.core, name, getattr(jax.extend.core, name)) for name in moved]
    lent.append((ad, "zeros_like_p", object()))
    sys.modules[f"{PACKAGE}.experimental"] = types.ModuleType("experimental")
    with contextlib.ExitStack() as stack:
        for module, name, value in lent:
            if not hasattr(module, name):
                stack.enter_context(mock.patch.object(module, name, value, create=True))
        if importlib.util.find_spec("jax.util") is None:
            stack.callback(sys.modules.pop, "jax.util")
            sys.modules["jax.util"] = _list_functions()
        yield


def _list_functions() -> types.ModuleType:
    """What has gone from jax.util: map and zip that return lists."""
    module = types.ModuleType("jax.util")
    vars(module)["safe_map"] = lambda function, *lists: list(map(function, *lists))
    vars(module)["safe_zip"] = lambda *lists: list(zip(*lists, strict=True))
    return module


def kernel_function(
    net: architecture.Architecture, padding: Padding = "CIRCULAR"
) -> Callable[..., Any]:
    """The network as neural-tangents' kernel function.

    Args:
      net: whatever its own padding.
      padding: of every convolution: "CIRCULAR", on a torus, or "SAME", with zeros
        beyond the border.

    Returns:
      Maps a `neural_tangents.Kernel` of the input to that of the output.

    Raises:
      ValueError: on a layer that is not translated; it is named.
      ImportError: as `load` does.
    """
    return _layer(load().stax, net.body, net.dimensions, padding)[2]


def _layer(
    stax: Any, layer: architecture.Layer, dimensions: int, padding: Padding
) -> Any:
    match layer:
        case architecture.Convolution():
            axes = "HW"[-dimensions:]
            return stax.Conv(
                layer.channels,
                (layer.kernel_size,) * dimensions,
                (layer.stride,) * dimensions,
                padding=padding,
                W_std=math.sqrt(layer.weight_variance),
                b_std=math.sqrt(layer.bias_variance) or None,
                dimension_numbers=(f"N{axes}C", f"{axes}IO", f"N{axes}C"),
            )
        case architecture.ReLU():
            return stax.Relu()
        case architecture.LeakyReLU():
            return stax.LeakyRelu(layer.slope)
        case architecture.Erf():
            finite = math.isfinite(layer.scale)
            return stax.Erf(b=layer.scale) if finite else stax.Sign()
        case architecture.Linear():
            return stax.Identity()
        case architecture.Downsample(method="average"):
            block = (layer.factor,) * dimensions
            return stax.AvgPool(block, block)
        case architecture.Serial() if not layer.layers:
            return stax.Identity()
        case architecture.Serial():
            layers = [_layer(stax, x, dimensions, padding) for x in layer.layers]
            return stax.serial(*layers)
        case architecture.Sum() | architecture.Concat():
            branches = [
                _layer(stax, branch, dimensions, padding) for branch in layer.branches
            ]
            summed = isinstance(layer, architecture.Sum)
            return stax.serial(
                stax.FanOut(len(branches)),
                stax.parallel(*branches),
                stax.FanInSum() if summed else stax.FanInConcat(axis=-1),
            )
    raise ValueError(f"net: {layer} is not translated to neural-tangents")


def input_kernel(input: Covariance, shape: tuple[int, ...]) -> Any:
    """A stationary input on a torus, as neural-tangents' starting point.

    Args:
      input: its covariance; should have the torus' periods.
      shape: (L,) or (H, W).

    Returns:
      A `neural_tangents.Kernel` of one image with the full covariance of its pixels, as
      an image of endlessly many channels would have it.
    """
    identity = load().stax.Identity()[2]
    blank = jnp.zeros((1, *shape, 1))
    start = identity(blank, None, None, diagonal_spatial=False)
    full = _all_pairs(np.asarray(input(lag_grid(shape))))[None]
    return start.replace(cov1=jnp.asarray(full), nngp=jnp.asarray(full[None]), ntk=None)


def _all_pairs(by_lag: np.ndarray) -> np.ndarray:
    """(H, W) by lag to (H, H, W, W) by pixels, each axis' two pixels side by side."""
    lags = [(np.arange(n) - np.arange(n)[:, None]) % n for n in by_lag.shape]
    if len(lags) == 1:
        return by_lag[lags[0]]
    return by_lag[lags[0][:, :, None, None], lags[1]]


def dense_covariance(
    net: architecture.Architecture, input: Covariance, shape: tuple[int, ...]
) -> np.ndarray:
    """Covariances of the output between all pairs of pixels of a torus.

    Args:
      net: the network.
      input: covariance of its input; should have the torus' periods.
      shape: of the input, (L,) or (H, W).

    Returns:
      (pixels, pixels) array over the output's pixels, row by row.

    Raises:
      ValueError, ImportError: as `kernel_function` does.
    """
    after = kernel_function(net)(input_kernel(input, shape))
    return _pixels(after, after.nngp)


def dense_tangent(
    net: architecture.Architecture, input: Covariance, shape: tuple[int, ...]
) -> np.ndarray:
    """The neural tangent kernel between all pairs of pixels of a torus.

    Args:
      net: the network.
      input: covariance of its input; should have the torus' periods.
      shape: of the input, (L,) or (H, W).

    Returns:
      (pixels, pixels) array over the output's pixels, row by row.

    Raises:
      ValueError, ImportError: as `kernel_function` does.
    """
    start = input_kernel(input, shape)
    after = kernel_function(net)(start.replace(ntk=jnp.zeros_like(start.nngp)))
    return _pixels(after, after.ntk)


def _pixels(kernel: Any, values: Array) -> np.ndarray:
    """(pixels, pixels) from the axes that neural-tangents keeps."""
    pairs = np.asarray(values)[0, 0]
    if pairs.ndim == 4:
        # (H', H', W', W'), or with the axes' order reversed.
        order = (2, 0, 3, 1) if kernel.is_reversed else (0, 2, 1, 3)
        pairs = pairs.transpose(order)
    return pairs.reshape(math.isqrt(pairs.size), -1)
