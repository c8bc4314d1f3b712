"""A valid, small call of each public function, to be broken: descriptions, kernels."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.abuse_calls import Call, key
from dipgp import architecture, kernels, networks
from dipgp.architecture import sizes

_GRID = (6, 5)


def at_lags(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same, its covariance evaluated at some lags."""

    @functools.wraps(function)
    def evaluated(**arguments: Any) -> Any:
        return function(**arguments)(kernels.lag_grid(_GRID))

    return evaluated


def _unpacked(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """A function of several, as one of an argument that holds them."""

    def packed(**arguments: Any) -> Any:
        given = arguments[name]
        return function(*given) if isinstance(given, tuple | list) else function(given)

    return packed


def calls() -> list[Call]:
    """Of `dipgp.architecture`, `dipgp.kernels` and `dipgp.networks`."""
    return [*_descriptions(), *_covariances(), *_readings(), *_networks()]


def _descriptions() -> list[Call]:
    body = architecture.Serial([architecture.Convolution(4), architecture.ReLU()])
    net = architecture.conv_net(2, channels=4)
    layer: dict[str, tuple[Any, dict[str, Any]]] = {
        "Convolution": (
            architecture.Convolution,
            {
                "channels": 4,
                "kernel_size": 3,
                "stride": 1,
                "weight_variance": 1.0,
                "bias_variance": 0.1,
                "padding": "reflect",
            },
        ),
        "BatchNorm": (architecture.BatchNorm, {"epsilon": 1e-5, "affine": True}),
        "LeakyReLU": (architecture.LeakyReLU, {"slope": 0.2}),
        "Erf": (architecture.Erf, {"scale": 1.0}),
        "Downsample": (architecture.Downsample, {"factor": 2, "method": "stride"}),
        "Upsample": (architecture.Upsample, {"factor": 2, "method": "nearest"}),
        "Serial": (architecture.Serial, {"layers": (body, body)}),
        "Sum": (architecture.Sum, {"branches": (body, body)}),
        "Concat": (architecture.Concat, {"branches": (body, body)}),
        "Architecture": (
            architecture.Architecture,
            {"body": body, "input_channels": 4, "dimensions": 2},
        ),
        "conv_net": (
            architecture.conv_net,
            {
                "depth": 2,
                "channels": 4,
                "kernel_size": 3,
                "activation": architecture.ReLU(),
                "weight_variance": 1.0,
                "bias_variance": 0.0,
                "padding": "reflect",
                "input_channels": 4,
                "output_channels": 1,
                "dimensions": 2,
            },
        ),
        "autoencoder": (
            architecture.autoencoder,
            {
                "depth": 2,
                "channels": 4,
                "downsample": "stride",
                "upsample": "bilinear",
                "dimensions": 2,
            },
        ),
        "skip_net": (
            architecture.skip_net,
            {
                "scales": 2,
                "channels_down": (4, 4),
                "channels_up": (4, 4),
                "channels_skip": 2,
            },
        ),
        "layer_channels": (
            architecture.layer_channels,
            {"layer": body, "input_channels": 4},
        ),
        "parameter_count": (architecture.parameter_count, {"net": net}),
        "sizes.sizes": (sizes.sizes, {"net": net}),
    }
    return [Call(f"architecture.{name}", *each) for name, each in layer.items()]


def _covariances() -> list[Call]:
    k = kernels.gaussian(2.0)
    several = (k, kernels.white())
    rules: dict[str, tuple[Any, dict[str, Any]]] = {
        "gaussian": (kernels.gaussian, {"sigma": 2.0}),
        "rbf": (kernels.rbf, {"lengthscale": 2.0}),
        "matern": (kernels.matern, {"nu": 1.5, "lengthscale": 2.0}),
        "constant": (kernels.constant, {"variance": 1.0}),
        "uniform": (kernels.uniform, {"low": 0.0, "high": 0.1}),
        "scale": (kernels.scale, {"covariance": k, "factor": 2.0}),
        "bias": (kernels.bias, {"covariance": k, "variance": 2.0}),
        "relu": (kernels.relu, {"covariance": k}),
        "leaky_relu": (kernels.leaky_relu, {"covariance": k, "slope": 0.2}),
        "erf": (kernels.erf, {"covariance": k, "scale": 1.0}),
        "normalize": (kernels.normalize, {"covariance": k}),
        "batch_norm": (kernels.batch_norm, {"covariance": k, "epsilon": 1e-5}),
        "add": (_unpacked(kernels.add, "covariances"), {"covariances": several}),
        "skip": (_unpacked(kernels.skip, "branches"), {"branches": several}),
        "concat": (kernels.concat, {"branches": several, "channels": (4, 128)}),
        "downsample": (
            kernels.downsample,
            {"covariance": k, "factor": 2, "method": "stride"},
        ),
        "upsample": (
            kernels.upsample,
            {"covariance": k, "factor": 2, "method": "bilinear"},
        ),
        "filtered": (
            kernels.filtered,
            {"covariance": k, "taps": np.ones((3, 3)) / 9, "stride": 1},
        ),
        "stretch": (
            kernels.stretch,
            {"covariance": k, "angle": 0.3, "along": 2.0, "across": 1.0},
        ),
        "as_covariance": (kernels.as_covariance, {"covariance": k}),
    }
    return [
        Call(f"kernels.{name}", at_lags(function), arguments)
        for name, (function, arguments) in rules.items()
    ]


def _readings() -> list[Call]:
    k, net = kernels.gaussian(2.0), architecture.conv_net(2, channels=4)
    both = {"net": net, "input": k}
    dense = functools.partial(kernels.dense, largest=64)
    return [
        Call("kernels.covariance", at_lags(kernels.covariance), both),
        Call("kernels.ntk", at_lags(kernels.ntk), both),
        Call("kernels.variance", kernels.variance, {"covariance": k, "dimensions": 2}),
        Call("kernels.lag_grid", kernels.lag_grid, {"shape": _GRID, "dtype": None}),
        Call("kernels.dense", dense, {**both, "shape": _GRID}),
        Call(
            "kernels.dense, of an input",
            functools.partial(dense, net),
            {"input": np.ones((*_GRID, 32), np.float32)},
        ),
        Call(
            "kernels.stationarity_gap",
            kernels.stationarity_gap,
            {**both, "shape": _GRID},
        ),
        Call(
            "kernels.torus_eigenvalues",
            kernels.torus_eigenvalues,
            {"covariance": k, "shape": _GRID},
        ),
        Call(
            "kernels.gradient_flow",
            lambda **arguments: kernels.gradient_flow(**arguments).rates,
            {"covariance": k, "tangent": k, "shape": _GRID, "time": "steps"},
        ),
        Call(
            "kernels.rate_for_mean",
            kernels.rate_for_mean,
            {"learning_rate": 0.1, "size": 30},
        ),
    ]


def _networks() -> list[Call]:
    net = architecture.conv_net(1, channels=4, input_channels=4)
    built = networks.build(net)
    z = networks.uniform_input(key(), _GRID, 4)
    variables = built.init(key(), z)
    grid = {"grid": _GRID, "channels": 4}
    white = functools.partial(networks.uniform_input, grid=(11, 10), channels=4)
    return [
        Call(
            "networks.build",
            lambda **arguments: networks.build(**arguments).apply(variables, z),
            {
                "net": net,
                "initialisation": "reference",
                "gamma": "ones",
                "forward_differentiable": False,
            },
        ),
        Call("networks.Network.init", built.init, {"key": key(), "z": np.asarray(z)}),
        Call(
            "networks.Network.apply",
            built.apply,
            {"variables": variables, "z": np.asarray(z)},
        ),
        Call("networks.Network.log_prior", built.log_prior, {"variables": variables}),
        Call(
            "networks.uniform_input",
            networks.uniform_input,
            {"key": key(), **grid, "scale": 0.1},
        ),
        Call(
            "networks.gaussian_input",
            networks.gaussian_input,
            {"key": key(), **grid, "sigma": 1.0},
        ),
        Call("networks.meshgrid_input", networks.meshgrid_input, {"grid": _GRID}),
        Call("networks.interior", networks.interior, {"net": net}),
        Call(
            "networks.estimate_covariance",
            functools.partial(networks.estimate_covariance, input=white),
            {
                "key": key(),
                "net": net,
                "lags": np.array([[0, 0], [0, 1]]),
                "draws": 2,
                "batch": 1,
                "margin": 1,
            },
        ),
    ]
