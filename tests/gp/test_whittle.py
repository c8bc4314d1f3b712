import jax.numpy as jnp
import numpy as np
import pytest
from stationary_fields import draw

from dipgp import kernels
from dipgp.gp import whittle

GRID = (20, 15)
PRIORS = {
    "white": kernels.white(),
    "smooth": kernels.gaussian(1.2),
    "rough, raised": kernels.bias(kernels.matern(0.5, 2.0), 4.0),
    "network": kernels.relu(kernels.gaussian(1.0)),
}


def standard_error(power, samples):
    """Of the mean of so many independent exponential variables."""
    return power / np.sqrt(samples)


@pytest.mark.parametrize("tile", [64, 8], ids=["one tile", "many tiles"])
@pytest.mark.parametrize("name", PRIORS)
def test_expected_power_is_the_mean_of_periodograms(x64, name, tile):
    k, count = PRIORS[name], 1500
    samples = jnp.asarray(draw(k, GRID, seed=0, count=count))
    data = whittle.periodogram(samples, tile)
    expected = np.asarray(whittle.expected_power(k, data))
    found = np.asarray(data.power)
    error = np.std(found, axis=0) / np.sqrt(count)
    # The sample mean, which each periodogram takes off, touches what lies within the
    # window's main lobe around frequency zero, 2 bins wide.
    frequencies = np.abs(np.fft.fftfreq(expected.shape[0], 1 / expected.shape[0]))
    far = np.maximum(frequencies[:, None], np.arange(expected.shape[1])[None]) > 2
    off = np.abs(np.mean(found, axis=0) - expected)[far]
    # Four standard errors at each of some 100 frequencies: exceeded by chance once in
    # 16,000 each.
    assert np.all(off < 4.5 * error[far])


def test_the_expectation_is_not_the_spectral_density(x64):
    # A window of finite size leaks: ignoring it is more than the samples allow.
    k, count = PRIORS["smooth"], 400
    samples = jnp.asarray(draw(k, GRID, seed=0, count=count))
    data = whittle.periodogram(samples)
    lags = kernels.lag_grid(GRID, np.float64)
    density = np.abs(np.fft.rfft2(np.asarray(k(lags)))) * float(data.window[0, 0])
    off = np.abs(np.mean(np.asarray(data.power), axis=0) - density)
    assert np.any(off > 20 * standard_error(density + 1e-9, count))


def test_the_energy_of_an_image_is_that_of_its_periodogram(x64):
    values = draw(PRIORS["rough, raised"], GRID, seed=1, count=2)
    data = whittle.periodogram(jnp.asarray(values))
    sides = [np.sin(np.pi * (np.arange(n) + 0.5) / n) for n in GRID]
    window = sides[0][:, None] * sides[1]
    centred = values - values.mean(axis=(1, 2), keepdims=True)
    full = np.abs(np.fft.fft2(window * centred)) ** 2
    counts = np.asarray(data.counts)
    found = np.sum(counts * np.asarray(data.power), axis=(1, 2))
    np.testing.assert_allclose(found, full.sum((1, 2)) - full[:, 0, 0], rtol=1e-10)
    assert counts.sum() == np.prod(GRID) - 1
    np.testing.assert_allclose(data.window[0, 0], np.sum(window**2), rtol=1e-12)


@pytest.mark.parametrize("shape", [(5, 4), (4, 5), (1, 9)], ids=str)
def test_a_tile_larger_than_the_image_is_the_image(shape):
    values = jnp.asarray(np.random.default_rng(0).random((1, *shape)), jnp.float32)
    data = whittle.periodogram(values, tile=128)
    assert data.power.shape == (1, shape[0], shape[1] // 2 + 1)
    same = whittle.periodogram(values, tile=max(shape))
    np.testing.assert_array_equal(data.power, same.power)


def test_a_constant_added_to_the_image_changes_nothing(x64):
    values = jnp.asarray(draw(PRIORS["smooth"], GRID, seed=2))
    low, high = whittle.periodogram(values), whittle.periodogram(values + 3)
    np.testing.assert_allclose(low.power, high.power, rtol=1e-9, atol=1e-11)


AMPLITUDE, NOISE = 0.6, 0.3


def fits(estimate_noise, first_guess):
    """Fits to 48 samples, and the standard errors of log amplitude and log noise.

    The errors are those of independent frequencies (the inverse of the information)
    times 1.5: a sine window, whose fourth moment is 1.5 times the square of its second
    along each axis, leaves 1 / 1.5^2 of the frequencies independent.
    """
    k, grid = PRIORS["network"], (24, 24)
    fields = AMPLITUDE * draw(k, grid, seed=3, count=48)
    grain = np.random.default_rng(4).standard_normal(fields.shape)
    data = whittle.periodogram(jnp.asarray(fields + NOISE * grain))
    shape = whittle.expected_power(k, data)
    signal, noise = (
        AMPLITUDE**2 * np.asarray(shape),
        NOISE**2 * float(data.window[0, 0]),
    )
    shares = np.stack([signal, np.full_like(signal, noise)]) / (signal + noise)
    counts = np.asarray(data.counts)
    # Logarithms of standard deviations count twice in those of variances.
    information = 2 * np.einsum("hw,ihw,jhw->ij", counts, shares, shares)
    if not estimate_noise:
        information = information[:1, :1]
    errors = 1.5 * np.sqrt(np.diag(np.linalg.inv(information)))
    return whittle.fit(shape, data, jnp.asarray(first_guess), estimate_noise), errors


def assert_within(estimates, truth, error):
    """Mean and spread of the logarithms of n estimates are what their error says."""
    logs = np.log(np.asarray(estimates))
    # The likelihood's own bias is of the order of its variance.
    assert abs(np.mean(logs) - np.log(truth)) < 4 * error / logs.size**0.5 + error**2
    # A standard deviation of n draws is known to 1 / sqrt(2 n).
    assert np.std(logs) < error * (1 + 4 / np.sqrt(2 * logs.size))


def test_amplitude_is_recovered_where_the_noise_is_known(x64):
    fit, (error,) = fits(estimate_noise=False, first_guess=NOISE)
    assert_within(fit.amplitude, AMPLITUDE, error)
    np.testing.assert_allclose(fit.noise_std, NOISE, rtol=1e-12)


@pytest.mark.parametrize("first_guess", [0.05, 1.0])
def test_amplitude_and_noise_are_recovered_from_any_guess(x64, first_guess):
    fit, (error, error_of_noise) = fits(estimate_noise=True, first_guess=first_guess)
    assert_within(fit.amplitude, AMPLITUDE, error)
    assert_within(fit.noise_std, NOISE, error_of_noise)


def test_the_fit_is_at_the_top(x64):
    k = PRIORS["network"]
    field = jnp.asarray(draw(k, (24, 24), seed=5))
    data = whittle.periodogram(field)
    shape = whittle.expected_power(k, data)
    fit = whittle.fit(shape, data, jnp.asarray(0.05))

    def likelihood(amplitude):
        mean = amplitude**2 * shape + 0.05**2 * data.window[0, 0]
        terms = data.power[0] / mean + jnp.log(mean)
        return float(-jnp.sum(data.counts * terms) / (2 * jnp.sum(data.counts)))

    top = float(fit.amplitude[0])
    np.testing.assert_allclose(fit.evidence[0], likelihood(top), rtol=1e-10)
    assert likelihood(top) > max(likelihood(1.02 * top), likelihood(0.98 * top))


@pytest.mark.parametrize("estimate_noise", [False, True])
def test_a_channel_that_does_not_vary_has_next_to_no_amplitude(estimate_noise):
    grain = np.random.default_rng(0).standard_normal((16, 16)).astype(np.float32)
    data = whittle.periodogram(jnp.stack([jnp.full((16, 16), 0.5), grain]))
    shape = whittle.expected_power(PRIORS["smooth"], data)
    fit = whittle.fit(shape, data, jnp.asarray(0.1), estimate_noise)
    assert np.isfinite(np.asarray(fit.evidence)).all()
    assert 0 < fit.amplitude[0] < 1e-3
    assert fit.amplitude[1] > 0.1
