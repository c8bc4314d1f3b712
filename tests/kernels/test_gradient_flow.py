"""Descent of wide networks against explicit matrices, steps, and neural-tangents."""

import collections

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from dipgp import architecture, kernels
from dipgp.architecture import LeakyReLU

SIZE = 12
SHAPES = [(SIZE,), (5, 4)]
RATE = 0.02
NET = architecture.conv_net(1, activation=LeakyReLU(0.2), bias_variance=0.1)


def input_on_a_circle(lags):
    turns = jnp.cos(2 * jnp.pi * lags / SIZE) - 1
    return jnp.exp(2.0 * jnp.sum(turns, axis=-1))


def kernels_of(input=input_on_a_circle):
    return kernels.covariance(NET, input), kernels.ntk(NET, input)


def matrix(covariance, shape):
    """Between all pairs of pixels of a torus, by the shorter way around."""
    by_lag = np.asarray(covariance(kernels.lag_grid(shape)))
    pixels = np.stack(np.indices(shape), -1).reshape(-1, len(shape))
    lags = (pixels[None] - pixels[:, None]) % np.array(shape)
    return by_lag[tuple(np.moveaxis(lags, -1, 0))]


def problem(shape, time="steps", channels=2):
    """A flow, its matrices Theta and K, and a signal (*shape, channels)."""
    input = kernels.gaussian(0.6)
    covariance, tangent = kernels_of(input)
    flow = kernels.gradient_flow(covariance, tangent, shape, time=time)
    values = np.random.default_rng(0).normal(size=(*shape, channels))
    return flow, matrix(tangent, shape), matrix(covariance, shape), values


def flat(values):
    return np.reshape(values, (-1, np.shape(values)[-1]))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_steps_are_those_of_gradient_descent(x64, shape):
    flow, theta, prior, values = problem(shape)
    mean, left = np.zeros_like(flat(values)), np.eye(len(theta))
    means, variances = [], []
    for _ in range(8):
        means.append(mean.reshape(values.shape))
        variances.append(np.diag(left @ prior @ left.T).mean())
        mean = mean - RATE * theta @ (mean - flat(values))
        left = left - RATE * theta @ left
    found = flow.mean(values, np.arange(8), RATE)
    np.testing.assert_allclose(found, means, rtol=0, atol=1e-12)
    np.testing.assert_allclose(flow.variance(np.arange(8), RATE), variances, rtol=1e-12)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_continuous_time_is_a_matrix_exponential(x64, shape):
    flow, theta, prior, values = problem(shape, time="continuous")
    for t in (0.0, 0.7, 25.0):
        left = scipy.linalg.expm(-RATE * t * theta)
        expected = (np.eye(len(theta)) - left) @ flat(values)
        found = flow.mean(values, t, RATE)
        np.testing.assert_allclose(flat(found), expected, rtol=0, atol=1e-12)
        expected = np.diag(left @ prior @ left.T).mean()
        assert float(flow.variance(t, RATE)) == pytest.approx(expected, rel=1e-12)


def test_the_linearised_network_descends_as_predicted(x64):
    # f(p) = f_0 + J p with J J' = Theta, trained on the loss by its own gradient.
    flow, theta, _, values = problem((SIZE,), channels=1)
    jacobian = np.linalg.cholesky(theta + 1e-13 * np.eye(SIZE))
    start = np.random.default_rng(1).normal(size=(SIZE, 1))

    def loss(parameters):
        output = start + jacobian @ parameters
        return jnp.sum(jnp.square(output - values)) / 2

    parameters = jnp.zeros((SIZE, 1))
    for _ in range(30):
        parameters = parameters - RATE * jax.grad(loss)(parameters)
    # The mean over starts f_0 drops what is left of this one.
    left = np.linalg.matrix_power(np.eye(SIZE) - RATE * theta, 30) @ start
    found = flow.mean(values, 30, RATE) + left
    np.testing.assert_allclose(found, start + jacobian @ parameters, atol=1e-11)


@pytest.mark.oracle
def test_neural_tangents_predicts_the_same(x64, neural_tangents):
    flow, theta, prior, values = problem((SIZE,), time="continuous")
    pair = collections.namedtuple("pair", ["nngp", "ntk"])(prior, theta)

    def kernel_fn(x1, x2, get, **_):
        return getattr(pair, get) if isinstance(get, str) else pair

    predict = neural_tangents.predict.gradient_descent_mse_ensemble(
        kernel_fn, np.arange(SIZE)[:, None], values, learning_rate=RATE
    )
    for t in (0.5, 10.0, 300.0):
        # Its loss is half the mean of squares over pixels and channels.
        theirs = predict(t * values.size, get="ntk", compute_cov=True)
        found = flow.mean(values, t, RATE)
        np.testing.assert_allclose(found, theirs.mean, rtol=0, atol=1e-11)
        found = float(flow.variance(t, RATE))
        np.testing.assert_allclose(np.diag(theirs.covariance), found, rtol=1e-9)


def test_curves_are_means_over_networks_and_noise(x64):
    flow, theta, prior, truth = problem((5, 4))
    noise = 0.3 * np.random.default_rng(2).normal(size=truth.shape)
    steps = np.array([0, 1, 5, 40])
    given = flow.squared_error(truth, truth + noise, steps, RATE)
    expected = flow.expected_squared_error(truth, 0.3, steps, RATE)
    for index, t in enumerate(steps):
        left = np.linalg.matrix_power(np.eye(len(theta)) - RATE * theta, int(t))
        spread = np.trace(left @ prior @ left.T) / len(theta)
        mean = flat(truth + noise) - left @ flat(truth + noise)
        error = np.mean(np.square(mean - flat(truth))) + spread
        assert float(given[index]) == pytest.approx(error, rel=1e-10)
        fitted = np.eye(len(theta)) - left
        bias = np.mean(np.square(left @ flat(truth)))
        error = bias + spread + 0.3**2 * np.sum(np.square(fitted)) / len(theta)
        assert float(expected[index]) == pytest.approx(error, rel=1e-10)


def test_the_error_is_known_without_the_truth(x64):
    """Stein's estimate is right on average over the noise, at every iteration."""
    flow, _, _, truth = problem((SIZE,), channels=1)
    counts, noise_std = np.array([0, 3, 40, 1000]), 0.5
    random = np.random.default_rng(3)
    noisy = truth + noise_std * random.normal(size=(4000, *truth.shape))
    estimate = jax.vmap(
        lambda y: flow.unbiased_squared_error(y, noise_std, counts, RATE)
    )
    found = np.asarray(estimate(noisy))
    expected = flow.expected_squared_error(truth, noise_std, counts, RATE)
    error = found.std(axis=0) / np.sqrt(len(found))
    assert np.max(np.abs(found.mean(axis=0) - expected) / error) < 4
    # And far from the truth's own power, which is what fitting nothing costs.
    assert np.ptp(np.asarray(expected)) > 20 * error.max()


def test_the_error_over_a_prior_is_the_mean_over_its_truths(x64):
    flow, _, _, _ = problem((SIZE,), channels=1)
    signal = kernels.torus_eigenvalues(kernels.gaussian(0.8), (SIZE,))
    counts, noise_std = np.array([0, 3, 40, 1000]), 0.5
    random = np.random.default_rng(4)
    spectra = np.fft.fft(random.normal(size=(4000, SIZE))) * np.sqrt(signal)
    truths = np.fft.ifft(spectra).real[:, :, None]
    expected = jax.vmap(
        lambda x: flow.expected_squared_error(x, noise_std, counts, RATE)
    )
    over_truths = np.asarray(expected(truths))
    error = over_truths.std(axis=0) / np.sqrt(len(truths))
    found = flow.squared_error_of_prior(signal, noise_std, counts, RATE)
    deviation = np.abs(over_truths.mean(axis=0) - found)
    assert np.all(deviation <= 4 * error + 1e-12)


def test_eigenvalues_are_those_of_the_matrix(x64):
    covariance, _ = kernels_of()
    found = kernels.torus_eigenvalues(covariance, (SIZE,))
    expected = np.linalg.eigvalsh(matrix(covariance, (SIZE,)))
    np.testing.assert_allclose(np.sort(np.ravel(found)), expected, atol=1e-12)


def test_early_stopping_pays_where_there_is_noise(x64):
    flow, *_ = problem((SIZE,))
    pixels = np.arange(SIZE)[:, None]
    truth = np.cos(2 * np.pi * pixels / SIZE)
    rate = float(flow.largest_learning_rate) / 4
    steps = np.arange(0, 4000, 50)
    noisy = np.asarray(flow.expected_squared_error(truth, 0.5, steps, rate))
    best = int(np.argmin(noisy))
    assert 0 < best < len(steps) - 1
    clean = np.asarray(flow.expected_squared_error(truth, 0.0, steps, rate))
    assert np.all(np.diff(clean) <= 1e-15)


def test_the_largest_learning_rate_is_where_descent_turns(x64):
    flow, theta, _, _ = problem((SIZE,))
    limit = float(flow.largest_learning_rate)
    assert limit == pytest.approx(2 / np.linalg.eigvalsh(theta)[-1], rel=1e-12)
    below, above = (
        flow.variance(np.array([10, 4000]), f * limit) for f in (0.99, 1.01)
    )
    assert below[1] < below[0]
    assert above[1] > 1e6 * above[0]


def test_a_step_that_is_exactly_right_learns_a_frequency_at_once(x64):
    flow = kernels.GradientFlow(jnp.array([2.0, 1.0, 0.5, 1.0]), jnp.ones(4))
    left = flow.remaining(np.array([0, 1, 2, 3]), 1.0)
    expected = np.power(1.0 - np.array([2, 1, 0.5, 1]), np.arange(4)[:, None])
    np.testing.assert_allclose(left, expected, rtol=1e-14)


def test_descent_on_a_mean_of_squares_is_slower(x64):
    flow, theta, _, values = problem((SIZE,))
    mean = np.zeros_like(values)
    for _ in range(5):
        gradient = 2 * (mean - values) / values.size
        mean = mean - 0.3 * theta @ gradient
    rate = kernels.rate_for_mean(0.3, values.size)
    np.testing.assert_allclose(flow.mean(values, 5, rate), mean, rtol=0, atol=1e-13)


def test_single_precision_keeps_slow_frequencies():
    rates = np.array([1.0, 1e-3, 1e-6, 1e-9])
    steps = np.array([1, 1000, 10**6])
    flow = kernels.GradientFlow(jnp.asarray(rates, jnp.float32), jnp.ones(4))
    learnt = 1 - flow.remaining(steps, 1.0)
    assert learnt.dtype == jnp.float32
    expected = -np.expm1(steps[:, None] * np.log1p(-rates[1:]))
    np.testing.assert_allclose(learnt[:, 1:], expected, rtol=1e-5, atol=1e-7)


def test_a_constant_level_is_one_frequency(x64):
    level = kernels.constant(0.3)
    flow = kernels.gradient_flow(level, kernels.add(level, kernels.white()), (4, 6))
    expected = np.ones((4, 6))
    expected[0, 0] += 24 * 0.3
    np.testing.assert_allclose(flow.rates, expected, rtol=1e-14)
    np.testing.assert_allclose(flow.prior, expected - 1, atol=1e-14)


@pytest.mark.slow
def test_flows_go_through_jit_and_grad(x64):
    flow, _, _, values = problem((SIZE,))
    steps = np.array([1, 4])

    def final(flow, rate):
        return flow.squared_error(values, values, steps, rate).sum()

    expected = final(flow, RATE)
    assert float(jax.jit(final)(flow, RATE)) == pytest.approx(float(expected))
    slope = float(jax.grad(final, argnums=1)(flow, RATE))
    difference = (final(flow, RATE + 1e-6) - final(flow, RATE - 1e-6)) / 2e-6
    assert slope == pytest.approx(float(difference), rel=1e-6)
    assert flow.mean(values, steps, RATE).shape == (2, *values.shape)
    assert flow.mean(values, 3, RATE).shape == values.shape
    assert flow.variance(np.zeros((2, 3)), RATE).shape == (2, 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f, y: f.mean(y, 1, -0.1), "learning_rate: expected finite positive"),
        (lambda f, y: f.mean(y, -1, RATE), "iterations: expected finite numbers >= 0"),
        (lambda f, y: f.mean(y, 0.5, RATE), "iterations: expected whole numbers"),
        (lambda f, y: f.variance([1, 0.5], RATE), "iterations: expected whole numbers"),
        (lambda f, y: f.mean(y[1:], 1, RATE), r"values: expected shape \(12, C\)"),
        (lambda f, y: f.mean(y[:, 0], 1, RATE), r"values: expected shape \(12, C\)"),
        (
            lambda f, y: f.squared_error(y[:3], y, 1, RATE),
            r"truth: expected shape \(12, C\), got \(3, 2\)",
        ),
        (
            lambda f, y: f.squared_error(y, y[:, :1], 1, RATE),
            r"values: expected the truth's shape \(12, 2\), got \(12, 1\)",
        ),
        (lambda f, y: f.expected_squared_error(y, -1.0, 1, RATE), "noise_std"),
    ],
)
def test_what_cannot_be_run_is_refused(call, message):
    flow, _, _, values = problem((SIZE,))
    with pytest.raises(ValueError, match=message):
        call(flow, values)


def test_a_prior_of_another_size_is_refused():
    flow, _, _, _ = problem((SIZE,))
    with pytest.raises(ValueError, match=r"signal: expected shape \(12,\), got \(3,\)"):
        flow.squared_error_of_prior(np.ones(3), 0.1, 1, RATE)


def test_what_cannot_be_built_is_refused():
    covariance, tangent = kernels_of()
    with pytest.raises(ValueError, match="time: expected one of steps, continuous"):
        kernels.gradient_flow(covariance, tangent, (4,), time="stochastic")
    with pytest.raises(ValueError, match="shape: expected"):
        kernels.gradient_flow(covariance, tangent, (4, 0))
    with pytest.raises(ValueError, match="size: expected"):
        kernels.rate_for_mean(0.1, 0)
