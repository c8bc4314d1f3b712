"""One network in the comparison of covariances: closed form and random draws.

Three estimates are made of cos theta(r) = C(r) / C(0), on one set of lags:

    wide        networks of n channels,
    narrow      networks of n / 2 channels,
    limit       2 wide - narrow, without the bias of order 1 / n.
"""

import functools
import time
from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import numpy as np
import scipy.integrate
import scipy.special

from dipgp import architecture, kernels, networks
from dipgp.architecture.sizes import sizes

Array = jax.Array

# Pixels, at least, whose products a draw averages.
PIXELS = 64
# Where each part looks; what is far is constant.
_LAGS = {
    "depth": tuple(range(1, 13)),
    "sigma": tuple(range(8, 121, 8)),
    "autoencoder": (2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 80, 96),
}


class Estimate(NamedTuple):
    """cos theta at the lags of a case, and its standard error."""

    correlation: np.ndarray
    error: np.ndarray


@dataclass(frozen=True)
class Case:
    """A network and its input.

    Attributes:
      part: of the comparison: depth, sigma or autoencoder.
      depth: ReLU layers, or halvings and then doublings.
      sigma: of the input, exp(-r^2 / (4 sigma^2)); white if 0.
    """

    part: Literal["depth", "sigma", "autoencoder"]
    depth: int
    sigma: float

    @property
    def title(self) -> str:
        """For a line of the table."""
        kind = "autoencoder" if self.part == "autoencoder" else "plain"
        return f"{kind}, depth {self.depth}, sigma {self.sigma:g}"

    @property
    def lags(self) -> np.ndarray:
        """(n,) whole pixels above 0."""
        return np.array(_LAGS[self.part])

    def network(self, channels: int) -> architecture.Architecture:
        """The description, in one dimension."""
        if self.part == "autoencoder":
            return architecture.autoencoder(
                self.depth,
                channels=channels,
                downsample="stride",
                upsample="bilinear",
                input_channels=channels,
                dimensions=1,
            )
        return architecture.conv_net(
            self.depth, channels=channels, input_channels=channels, dimensions=1
        )

    def closed_form(self, lags: np.ndarray) -> np.ndarray:
        """cos theta at lags (n,), in 64 bits."""
        with jax.enable_x64(True):
            k = kernels.covariance(self.network(2), kernels.gaussian(self.sigma))
            values = np.asarray(k(np.append(0.0, lags)[:, None]))
        return values[1:] / values[0]

    def estimate(self, key: Array, channels: int, draws: int) -> Estimate:
        """From random networks, whose read-outs are integrated out."""
        net = self.network(channels)
        inside = networks.interior(net)
        periods = -(-PIXELS // inside.period)
        needed = periods * inside.period + 2 * int(inside.reach) + self.lags.max()
        grid = (sizes(net).padded(int(needed)),)
        found = networks.estimate_covariance(
            key,
            net,
            self.lags[:, None],
            input=functools.partial(_input, grid, channels, self.sigma),
            draws=draws,
        )
        return Estimate(
            np.asarray(found.correlation, np.float64),
            np.asarray(found.correlation_error, np.float64),
        )


def _input(grid: tuple[int], channels: int, sigma: float, key: Array) -> Array:
    return networks.gaussian_input(key, grid, channels, sigma)


class Comparison(NamedTuple):
    """A case's numbers at its lags.

    Attributes:
      case: which.
      channels: of the wide networks.
      closed_form: (n,) cos theta.
      estimates: wide, narrow, limit.
      seconds: of drawing.
    """

    case: Case
    channels: int
    closed_form: np.ndarray
    estimates: dict[str, Estimate]
    seconds: float

    def difference(self, name: str) -> float:
        """The largest from the closed form."""
        found = self.estimates[name].correlation - self.closed_form
        return float(np.max(np.abs(found)))

    def deviation(self, name: str) -> float:
        """The largest difference in standard errors."""
        found = self.estimates[name]
        return float(np.max(np.abs(found.correlation - self.closed_form) / found.error))


def compare(case: Case, key: Array, channels: int, draws: int) -> Comparison:
    """Draws a case's networks and evaluates its closed form."""
    begun = time.monotonic()
    key_wide, key_narrow = jax.random.split(key)
    wide = case.estimate(key_wide, channels, draws)
    narrow = case.estimate(key_narrow, channels // 2, draws)
    limit = Estimate(
        2 * wide.correlation - narrow.correlation,
        np.sqrt(4 * wide.error**2 + narrow.error**2),
    )
    return Comparison(
        case,
        channels,
        case.closed_form(case.lags),
        {"wide": wide, "narrow": narrow, "limit": limit},
        time.monotonic() - begun,
    )


def expected_maximum(count: int) -> float:
    """Mean of the largest |x| of independent standard normal variables.

    The integral of 1 - erf(x / sqrt(2))^count from 0 on.
    """

    def exceeded(x: float) -> float:
        return 1 - scipy.special.erf(x / np.sqrt(2)) ** count

    return float(scipy.integrate.quad(exceeded, 0, np.inf)[0])
