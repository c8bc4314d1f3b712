"""Random networks of great width have the second moments of the closed form.

The mean over many networks departs from the limit by its standard error, and by a bias
of order 1 / width that these numbers of networks do not resolve.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dipgp import kernels, networks
from dipgp.architecture import (
    Architecture,
    Concat,
    Convolution,
    Erf,
    Linear,
    ReLU,
    Serial,
    Upsample,
    conv_net,
    skip_net,
)

INITIALISATIONS = ["gaussian_process", "reference"]
LAGS = np.arange(7)


def input_on_a_circle(pixels, sigma):
    """As many channels as pixels, whose mean products are exp(-r^2 / (4 sigma^2)).

    Returns:
      (pixels, pixels); lags are the shorter way round.
    """
    lags = np.minimum(np.arange(pixels), pixels - np.arange(pixels))
    spectrum = np.fft.fft(np.exp(-(lags**2) / (4 * sigma**2))).real
    root = np.fft.ifft(np.sqrt(np.maximum(spectrum, 0))).real
    shifts = (np.arange(pixels) - np.arange(pixels)[:, None]) % pixels
    return jnp.asarray(np.sqrt(pixels) * root[shifts], jnp.float32)


def excess(net, initialisation, *, pixels, sigma, count, key):
    """How far networks are from the closed form, beyond four standard errors.

    Returns:
      The largest excess over lags in units of the variance; at most 0 where all is
      within four standard errors.
    """
    network = networks.build(net, initialisation=initialisation)
    z = input_on_a_circle(pixels, sigma)

    def by_lag(key):
        image = network.apply(network.init(key, z), z)
        return jnp.stack(
            [jnp.mean(image * jnp.roll(image, -lag, axis=0)) for lag in LAGS]
        )

    keys = jax.random.split(jax.random.key(key), count)
    drawn = np.asarray(jax.jit(lambda k: jax.lax.map(by_lag, k))(keys), np.float64)
    found = drawn.mean(axis=0)
    error = drawn.std(axis=0, ddof=1) / np.sqrt(count)
    expected = np.asarray(
        kernels.covariance(net, kernels.gaussian(sigma))(
            LAGS[:, None].astype(np.float32)
        )
    )
    # The comparison would be worth little if chance could hide ten per cent.
    assert np.all(error < 0.025 * found[0])
    return np.max(np.abs(found - expected) - 4 * error) / expected[0]


def plain(**settings):
    """Two hidden layers; many outputs, so that each network tells more."""
    shared = {"channels": 160, "padding": "circular", "output_channels": 32}
    return conv_net(2, input_channels=24, dimensions=1, **(shared | settings))


@pytest.mark.parametrize("initialisation", INITIALISATIONS)
@pytest.mark.parametrize(
    "settings",
    [
        {"weight_variance": 1.5, "bias_variance": 0.2},
        pytest.param(
            {"activation": Erf(1.0), "bias_variance": 0.1}, marks=pytest.mark.slow
        ),
    ],
    ids=["ReLU", "erf"],
)
def test_plain_networks(settings, initialisation):
    net = plain(**settings)
    assert excess(net, initialisation, pixels=24, sigma=1.2, count=300, key=1) <= 0


@pytest.mark.parametrize(
    "initialisation",
    ["reference", pytest.param("gaussian_process", marks=pytest.mark.slow)],
)
def test_a_wrong_variance_would_be_seen(initialisation, monkeypatch):
    right = plain(weight_variance=1.1)
    closed_form = kernels.covariance(right, kernels.gaussian(1.2))
    monkeypatch.setattr(kernels, "covariance", lambda net, input: closed_form)
    found = excess(plain(), initialisation, pixels=24, sigma=1.2, count=300, key=1)
    assert found > 0.05


@pytest.mark.parametrize("initialisation", INITIALISATIONS)
@pytest.mark.slow
def test_concatenated_branches_of_two_resolutions(initialisation):
    loud = Serial([Convolution(64, weight_variance=4.0, padding="circular"), ReLU()])
    coarse = Serial(
        [
            Convolution(128, stride=2, bias_variance=0.5, padding="circular"),
            Erf(2.0),
            Upsample(2, "nearest"),
        ]
    )
    layers = [Concat([loud, coarse]), Convolution(160, padding="circular"), ReLU()]
    net = Architecture(Serial([*layers, Convolution(32, 1)]), 24, dimensions=1)
    found = excess(net, initialisation, pixels=24, sigma=1.2, count=300, key=2)
    # The mean over phases is exact only up to the first non-linearity.
    assert found <= 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("initialisation", INITIALISATIONS)
def test_the_hourglass_with_batch_norm_and_skips(initialisation):
    pixels = 256
    net = skip_net(
        2,
        channels_down=96,
        channels_up=96,
        channels_skip=48,
        output=Linear(),
        padding="circular",
        input_channels=pixels,
        output_channels=32,
        dimensions=1,
    )
    found = excess(net, initialisation, pixels=pixels, sigma=1.2, count=60, key=3)
    # The statistics of the coarsest scale are those of a quarter of the pixels.
    assert found <= 2 / (pixels / 4) + 1e-3
