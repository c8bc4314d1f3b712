"""A signal of one dimension, a network for it, and the network's Gaussian process.

One description of a network is read twice: as a covariance, which is conditioned here,
and as a function of weights, which `toy_1d_network` fits and samples. The network is
depth times (convolution of 3, ReLU) and a linear read-out, without biases.

Scale. Without biases, other variances of the weights only multiply a ReLU network's
output, and each ReLU halves a variance. With the weight variance

    w = (amplitude^2 2^depth)^(1 / (depth + 1))

in the description an output has variance amplitude^2, in both readings.

Border. The network is computed on `depth` more points on either side, which are cut
off: what is left has seen no padding, as after "valid" convolutions.
"""

import functools
from dataclasses import dataclass
from typing import NamedTuple

import jax
import numpy as np
import scipy.linalg
import scipy.optimize

from dipgp import architecture, kernels, networks
from dipgp.networks.build import Variables

Array = jax.Array

# Between which amplitudes the evidence looks for its maximum.
_AMPLITUDES = (0.01, 10.0)


class Curve(NamedTuple):
    """Mean and standard deviation of a signal, both (points,)."""

    mean: np.ndarray
    std: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Model:
    """A prior on signals, in both of its readings.

    Attributes:
      sigma: width of the filter that smooths the network's random input, in points.
      depth: number of ReLU layers.
      points: of the signal.
      width: channels of the hidden layers.
      input_channels: of the random input.
      amplitude: standard deviation of an output.
    """

    sigma: float
    depth: int
    points: int
    width: int = 32
    input_channels: int = 128
    amplitude: float = 1.0

    @functools.cached_property
    def description(self) -> architecture.Architecture:
        """What both readings read."""
        power = 1 / (self.depth + 1)
        return architecture.conv_net(
            self.depth,
            channels=self.width,
            weight_variance=(self.amplitude**2 * 2**self.depth) ** power,
            input_channels=self.input_channels,
            dimensions=1,
        )

    @functools.cached_property
    def network(self) -> networks.Network:
        """The reading of finite width, with standard normal weights."""
        return networks.build(self.description, initialisation="gaussian_process")

    def covariance(self) -> np.ndarray:
        """The reading of infinite width: (points, points), in 64 bits."""
        k = kernels.covariance(self.description, kernels.gaussian(self.sigma))
        position = np.arange(self.points, dtype=np.float64)
        with jax.enable_x64(True):
            return np.asarray(k((position[:, None] - position)[:, :, None]))

    def draw_input(self, key: Array) -> Array:
        """(points + 2 depth, input channels), of variance 1."""
        grid = (self.points + 2 * self.depth,)
        return networks.gaussian_input(key, grid, self.input_channels, self.sigma)

    def output(self, variables: Variables, z: Array) -> Array:
        """The part of the network's output that no border reaches, (points,)."""
        wide = self.network.apply(variables, z)[:, 0]
        return wide[self.depth : self.depth + self.points]

    def draw_networks(self, key: Array, count: int) -> np.ndarray:
        """Outputs of random networks, each of an input of its own: (count, points)."""

        def draw(key: Array) -> Array:
            key_input, key_weights = jax.random.split(key)
            z = self.draw_input(key_input)
            return self.output(self.network.init(key_weights, z), z)

        return np.asarray(jax.lax.map(draw, jax.random.split(key, count)))


def signal(points: int) -> np.ndarray:
    """0.3 sin(8 pi x) + 0.1 sin(32 pi x) at x = 0, 1 / points, ... below 1."""
    x = np.arange(points) / points
    return 0.3 * np.sin(8 * np.pi * x) + 0.1 * np.sin(32 * np.pi * x)


def choose_points(key: Array, points: int, fraction: float) -> np.ndarray:
    """(points,) true at a random subset: that fraction of all, one at least."""
    count = max(round(fraction * points), 1)
    chosen = jax.random.choice(key, points, (count,), replace=False)
    mask = np.zeros(points, bool)
    mask[np.asarray(chosen)] = True
    return mask


def draw_process(key: Array, covariance: np.ndarray, count: int) -> np.ndarray:
    """Samples of a Gaussian process of mean zero, (count, points)."""
    # Smooth covariances are singular up to rounding, which Cholesky's factor is not.
    variances, directions = scipy.linalg.eigh(covariance)
    normals = np.asarray(jax.random.normal(key, (count, len(covariance))))
    return normals * np.sqrt(np.maximum(variances, 0)) @ directions.T


def condition(
    covariance: np.ndarray, values: np.ndarray, mask: np.ndarray, noise_std: float
) -> Curve:
    """The exact posterior of a Gaussian process of mean zero.

    With o for the observed points and A = (K_oo + noise_std^2 I)^-1 K_o: the mean is
    y A and the covariance K - K_:o A. `dipgp.gp.condition` would add an unknown level,
    which the network does not have.

    Args:
      covariance: (points, points).
      values: (points,); what the mask leaves out is not read.
      mask: (points,), true where observed.
      noise_std: standard deviation of the noise that is allowed for.
    """
    seen = covariance[mask]
    noisy = seen[:, mask] + noise_std**2 * np.eye(len(seen))
    gain = scipy.linalg.cho_solve(scipy.linalg.cho_factor(noisy), seen)
    variance = np.diag(covariance) - np.sum(gain * seen, axis=0)
    return Curve(values[mask] @ gain, np.sqrt(np.maximum(variance, 0)))


def choose_amplitude(
    covariance: np.ndarray, values: np.ndarray, mask: np.ndarray, noise_std: float
) -> float:
    """The a under which a^2 K makes the observed values most likely.

    Args as for `condition`; the covariance is that of amplitude 1.
    """
    variances, directions = scipy.linalg.eigh(covariance[np.ix_(mask, mask)])
    squares = np.square(values[mask] @ directions)

    def minus_evidence(log_amplitude: float) -> float:
        total = np.exp(2 * log_amplitude) * np.maximum(variances, 0) + noise_std**2
        return float(np.sum(squares / total + np.log(total)))

    found = scipy.optimize.minimize_scalar(
        minus_evidence, bounds=np.log(_AMPLITUDES), method="bounded"
    )
    return float(np.exp(found.x))


def choose_step_size(
    covariance: np.ndarray, mask: np.ndarray, depth: int, noise_std: float
) -> float:
    """Half of the largest step at which Langevin dynamics is surely stable.

    It is stable below 4 / curvature (`dipgp.inference.langevin`). The stiffest
    direction of N(0, 1) weights has the curvature 1 + lambda / noise_std^2, lambda the
    largest eigenvalue of the neural tangent kernel on the observed points. Each of the
    depth + 1 layers contributes K times correlations of slopes, which are at most 1,
    so that lambda is at most depth + 1 times K's.

    Args:
      covariance: (points, points), that of the model.
      mask: (points,), true where observed.
      depth: of the model.
      noise_std: standard deviation of the noise that is allowed for.
    """
    largest = float(scipy.linalg.eigvalsh(covariance[np.ix_(mask, mask)])[-1])
    return 2 / (1 + (depth + 1) * largest / noise_std**2)
