"""Networks on a torus: what theory says of their training, and the training."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dipgp import architecture, kernels, networks
from dipgp.inference.chains import how_for_small_networks, map_chains
from dipgp.networks.build import Variables
from dipgp.progress import Report
from experiments import plain_process, small_examples
from experiments.early_stopping_options import EarlyStoppingConfig

Array = jax.Array

# Where the best iteration is looked for, and how far beyond it training goes.
_LATEST, _BEYOND = 10_000_000, 3
# A run is cut into so many pieces; each ends with a sign of life.
_PIECES = 20
# Keys are folded from the seed's by their use.
_NOISE, _NETWORKS = range(2)


class Problem(NamedTuple):
    """What is to be restored, and the prior's scale.

    Attributes:
      truth: (*shape, 1) of mean zero.
      values: (*shape, 1), the truth in noise.
      amplitude: standard deviation of a network's output before training.
    """

    truth: np.ndarray
    values: np.ndarray
    amplitude: float


class Prediction(NamedTuple):
    """What theory says.

    Attributes:
      learning_rate: for half the sum of squares.
      error: (iterations + 1,) mean squared error against the truth.
      estimate: (iterations + 1,) the same, as the noisy values alone tell it.
      stop: by what is known, the best iteration.
    """

    learning_rate: float
    error: np.ndarray
    estimate: np.ndarray
    stop: dict[str, int]


def describe(
    config: EarlyStoppingConfig, amplitude: float, width: int
) -> architecture.Architecture:
    """The network; its output has the amplitude as its standard deviation."""
    layers = config.hidden_layers
    return architecture.conv_net(
        layers,
        channels=width,
        weight_variance=(amplitude**2 * 2**layers) ** (1 / (layers + 1)),
        padding="circular",
        input_channels=config.input_width,
        dimensions=len(config.image_size),
    )


def make_problem(config: EarlyStoppingConfig) -> Problem:
    """Signal and noise, and the amplitude that makes the values most likely."""
    truth = small_examples.example(config.image_size)
    key = jax.random.fold_in(jax.random.key(config.seed), _NOISE)
    noise = np.asarray(jax.random.normal(key, truth.shape), np.float64)
    values = truth + config.added_noise * noise
    with jax.enable_x64(True):
        k = kernels.covariance(describe(config, 1.0, 1), _input(config))
        signal = np.asarray(kernels.torus_eigenvalues(k, config.image_size))
    power = np.square(np.abs(np.fft.fftn(values))) / values.size
    amplitude = plain_process.likeliest_amplitude(signal, power, config.added_noise)
    return Problem(truth[..., None], values[..., None], amplitude)


def _input(config: EarlyStoppingConfig) -> kernels.Covariance:
    return kernels.gaussian(config.input_sigma)


def predict(config: EarlyStoppingConfig, problem: Problem) -> Prediction:
    """The error at every iteration, and where to stop."""
    net = describe(config, problem.amplitude, 1)
    with jax.enable_x64(True):
        flow = kernels.gradient_flow(
            kernels.covariance(net, _input(config)),
            kernels.ntk(net, _input(config)),
            config.image_size,
        )
        rate = config.rate_fraction * float(flow.largest_learning_rate)
        noise_std = config.added_noise
        truth, values = jnp.asarray(problem.truth), jnp.asarray(problem.values)
        curves = {
            "truth": lambda t: flow.squared_error(truth, values, t, rate),
            "data": lambda t: flow.unbiased_squared_error(values, noise_std, t, rate),
            # The prior's own draws are what such networks are before training.
            "prior": lambda t: flow.squared_error_of_prior(
                flow.prior, noise_std, t, rate
            ),
        }
        coarse = np.unique(np.geomspace(1, _LATEST, 2000).astype(int))
        stop = {}
        for name, curve in curves.items():
            best = int(np.argmin(np.asarray(curve(coarse))))
            first = coarse[max(best - 1, 0)]
            near = np.unique(
                np.linspace(first, coarse[min(best + 1, coarse.size - 1)], 2000)
            ).astype(int)
            stop[name] = int(near[np.argmin(np.asarray(curve(near)))])
        iterations = np.arange(_BEYOND * stop["truth"] + 1)
        error, estimate = (
            np.asarray(curves[name](iterations)) for name in ("truth", "data")
        )
    return Prediction(rate, error, estimate, stop)


def train(
    config: EarlyStoppingConfig,
    problem: Problem,
    learning_rate: float,
    iterations: int,
    width: int,
    report: Report,
) -> np.ndarray:
    """Plain gradient descent of all weights, on half the sum of squares.

    Returns:
      (networks, iterations + 1) mean squared errors against the truth, before each
      iteration and after the last.
    """
    network = networks.build(
        describe(config, problem.amplitude, width), initialisation="gaussian_process"
    )
    root = jax.random.fold_in(jax.random.key(config.seed), _NETWORKS)
    root = jax.random.fold_in(root, width)
    inputs, weights = [], []
    for number in range(config.networks):
        key_input, key_weights = jax.random.split(jax.random.fold_in(root, number))
        z = periodic_input(key_input, config)
        inputs.append(z)
        weights.append(network.init(key_weights, z))
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *weights)
    z = jnp.stack(inputs)
    truth, values = (jnp.asarray(a, z.dtype) for a in (problem.truth, problem.values))
    found, taken = [], 0
    while taken < iterations + 1:
        length = min(max(iterations // _PIECES, 1), iterations + 1 - taken)
        stacked, errors = _descend(
            network, length, stacked, z, truth, values, learning_rate
        )
        found.append(np.asarray(errors, np.float64))
        taken += length
        report(f"{taken} iterations", taken / (iterations + 1))
    return np.concatenate(found, axis=1)


@functools.partial(jax.jit, static_argnums=(0, 1), donate_argnums=2)
def _descend(
    network: networks.Network,
    length: int,
    stacked: Variables,
    inputs: Array,
    truth: Array,
    values: Array,
    learning_rate: Array,
) -> tuple[Variables, Array]:
    """`length` iterations of each network: weights, (networks, length) errors."""

    def loss(weights: Variables, z: Array) -> tuple[Array, Array]:
        output = network.apply(weights, z)
        return jnp.sum(jnp.square(output - values)) / 2, output

    def run(arguments: tuple[Variables, Array]) -> tuple[Variables, Array]:
        weights, z = arguments

        def step(weights: Variables, _: None) -> tuple[Variables, Array]:
            slope, output = jax.grad(loss, has_aux=True)(weights, z)
            moved = jax.tree.map(lambda w, g: w - learning_rate * g, weights, slope)
            return moved, jnp.mean(jnp.square(output - truth))

        return jax.lax.scan(step, weights, None, length)

    return map_chains(run, (stacked, inputs), how_for_small_networks())


def periodic_input(key: Array, config: EarlyStoppingConfig) -> Array:
    """Normal noise on a torus with the input's covariance, (*shape, channels)."""
    shape = config.image_size
    eigenvalues = kernels.torus_eigenvalues(_input(config), shape)
    noise = jax.random.normal(key, (*shape, config.input_width))
    axes = tuple(range(len(shape)))
    spectrum = jnp.fft.fftn(noise, axes=axes) * jnp.sqrt(eigenvalues)[..., None]
    return jnp.fft.ifftn(spectrum, axes=axes).real
