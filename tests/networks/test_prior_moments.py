"""The covariance of real networks, estimated from draws."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dipgp import kernels, networks
from dipgp.architecture import (
    Architecture,
    Concat,
    Convolution,
    Downsample,
    Linear,
    ReLU,
    Serial,
    Sigmoid,
    Upsample,
    autoencoder,
    conv_net,
)

KEY = jax.random.key(7)
LAGS = np.array([0, 1, 2, 4, 7])[:, None]


@functools.lru_cache
def smooth(grid, channels, sigma=1.2):
    """A function that draws smooth inputs; the same one each time, for the compiler."""
    return lambda key: networks.gaussian_input(key, grid, channels, sigma)


@functools.lru_cache
def noise(grid, channels):
    """A function that draws white noise, which compiles faster."""
    return lambda key: jax.random.normal(key, (*grid, channels))


def excess(estimate, expected):
    """How far beyond four standard errors the farthest lag is."""
    covariance, error, correlation, correlation_error, _ = map(np.asarray, estimate)
    far = np.abs(covariance - expected) - 4 * error
    far_ratio = np.abs(correlation - expected / expected[0]) - 4 * correlation_error
    # The comparison would be worth little if chance could hide ten per cent.
    assert np.all(error < 0.025 * expected[0])
    # Rounding is all that is left at lag 0, whose correlation is 1.
    return max(far.max() / expected[0], far_ratio.max() - 1e-6)


@pytest.mark.parametrize(
    "wrong",
    [1.0, pytest.param(1.15, marks=pytest.mark.slow)],
    ids=["right", "a wrong variance"],
)
def test_wide_networks_agree_with_the_closed_form(wrong):
    def net(factor):
        return conv_net(
            2,
            channels=160,
            weight_variance=1.5 * factor,
            bias_variance=0.2,
            input_channels=96,
            dimensions=1,
        )

    estimate = networks.estimate_covariance(
        KEY, net(1.0), LAGS, input=smooth((48,), 96), draws=300
    )
    k = kernels.covariance(net(wrong), kernels.gaussian(1.2))
    far = excess(estimate, np.asarray(k(LAGS.astype(np.float32))))
    assert (far <= 0) == (wrong == 1.0)


@pytest.mark.slow
def test_autoencoders_agree_with_the_mean_over_phases():
    net = autoencoder(
        1, channels=96, upsample="nearest", input_channels=96, dimensions=1
    )
    white = smooth((32,), 96, 0.0)
    estimate = networks.estimate_covariance(KEY, net, LAGS, input=white, draws=500)
    k = kernels.covariance(net, kernels.white())
    # The mean over phases is exact up to the first ReLU behind it.
    assert excess(estimate, np.asarray(k(LAGS.astype(np.float32)))) <= 1e-3


@pytest.mark.slow
def test_images_agree_with_the_closed_form():
    lags = np.array([(0, 0), (0, 1), (1, 0), (2, -1), (-2, 1), (3, 3)])
    net = conv_net(1, channels=48, input_channels=48)
    anisotropic = smooth((16, 14), 48, (1.5, 0.7))
    estimate = networks.estimate_covariance(
        KEY, net, lags, input=anisotropic, draws=300
    )
    k = kernels.covariance(net, kernels.gaussian(np.array([1.5, 0.7])))
    assert excess(estimate, np.asarray(k(lags.astype(np.float32)))) <= 0
    # Opposite lags read other pixels, but the same products in expectation.
    between = estimate.covariance[3] - estimate.covariance[4]
    assert 0 < abs(between) < 4 * estimate.standard_error[3]


WITH_TAPS = Architecture(
    Serial(
        [
            Convolution(6, 2),
            ReLU(),
            Serial([Convolution(2, 3, 2, 1.3, 0.2, "zeros"), Linear()]),
        ]
    ),
    input_channels=4,
    dimensions=1,
)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    "integrated", [True, pytest.param(False, marks=pytest.mark.slow)]
)
@pytest.mark.slow
def test_streaming_gives_the_numbers_of_all_draws_at_once(integrated):
    grid, draws, lags = (24,), 11, np.array([-1, 3])
    estimates = [
        networks.estimate_covariance(
            KEY,
            WITH_TAPS,
            lags[:, None],
            input=noise(grid, 4),
            draws=draws,
            batch=batch,
            integrate_read_out=integrated,
        )
        for batch in (1, 4)
    ]
    hidden = Architecture(Serial(WITH_TAPS.body.layers[:2]), 4, dimensions=1)
    network = networks.build(
        hidden if integrated else WITH_TAPS, initialisation="gaussian_process"
    )
    # Three pixels may see a border at an end of 24, one of 12 behind the stride of 2.
    t = np.arange(1 + 1, 12 - 1 - 3)
    products = []
    for number in range(draws):
        keys = jax.random.split(jax.random.fold_in(KEY, number))
        z = noise(grid, 4)(keys[0])
        h = np.asarray(network.apply(network.init(keys[1], z), z))
        here = [(h[t] * h[t + r]).mean() for r in (0, *lags)]
        if integrated:
            here = [
                0.2
                + 1.3
                * np.mean(
                    [(h[2 * t + j] * h[2 * (t + r) + j]).mean() for j in (-1, 0, 1)]
                )
                for r in (0, *lags)
            ]
        products.append(here)
    products = np.array(products)
    mean = products.mean(axis=0)
    joint = np.cov(products.T) / draws
    slopes = np.stack([-mean[1:] / mean[0] ** 2, np.full(2, 1 / mean[0])])
    for estimate in estimates:
        assert estimate.covariance.dtype == np.float64
        assert estimate.draws == draws
        np.testing.assert_allclose(estimate.covariance, mean[1:], rtol=1e-10)
        np.testing.assert_allclose(estimate.correlation, mean[1:] / mean[0], rtol=1e-10)
        error = np.sqrt(np.diag(joint))[1:]
        np.testing.assert_allclose(estimate.standard_error, error, rtol=1e-9)
        for lag in (1, 2):
            block = joint[np.ix_([0, lag], [0, lag])]
            expected = np.sqrt(slopes[:, lag - 1] @ block @ slopes[:, lag - 1])
            found = estimate.correlation_error[lag - 1]
            np.testing.assert_allclose(found, expected, rtol=1e-8)


def test_an_integrated_read_out_tells_the_same_with_less_noise():
    exact, sampled = (
        networks.estimate_covariance(
            jax.random.key(seed),
            WITH_TAPS,
            LAGS[:4],
            input=noise((48,), 4),
            draws=3000,
            integrate_read_out=seed == 1,
        )
        for seed in (1, 2)
    )
    for value, error in (
        ("covariance", "standard_error"),
        ("correlation", "correlation_error"),
    ):
        errors = np.array([getattr(found, error) for found in (exact, sampled)])
        between = getattr(exact, value) - getattr(sampled, value)
        allowed = 4 * np.linalg.norm(errors, axis=0) + 1e-6
        assert np.all(np.abs(between) < allowed)
        assert np.all(errors[0, 1:] < 0.7 * errors[1, 1:])
    assert np.all(sampled.standard_error < 0.05 * sampled.covariance[0])


@pytest.mark.slow
def test_standard_errors_are_the_spread_of_repeated_estimates():
    net, repeats = conv_net(2, channels=4, input_channels=3, dimensions=1), 400
    draw = functools.partial(
        networks.estimate_covariance,
        net=net,
        lags=LAGS[:4],
        input=noise((24,), 3),
        draws=60,
    )
    keys = jax.random.split(KEY, repeats)
    found = jax.jit(lambda keys: jax.lax.map(draw, keys))(keys)
    # Repeats tell a variance to sqrt(2 / 400) = 7 %, less skewness. The delta method
    # holds at first order in 1 / 60.
    for value, error, tolerance in (
        (found.covariance, found.standard_error, 0.3),
        (found.correlation[:, 1:], found.correlation_error[:, 1:], 0.35),
    ):
        ratio = np.mean(np.square(error), axis=0) / np.var(value, axis=0, ddof=1)
        np.testing.assert_allclose(ratio, 1, atol=tolerance)


def with_padding(layer, padding):
    """The same layers with other borders."""
    if isinstance(layer, Convolution):
        return Convolution(**(vars(layer) | {"padding": padding}))
    if isinstance(layer, Serial):
        return Serial([with_padding(inner, padding) for inner in layer.layers])
    if isinstance(layer, Concat):
        return Concat([with_padding(branch, padding) for branch in layer.branches])
    return layer


RESAMPLED = Serial(
    [
        Convolution(3, 4),
        ReLU(),
        Concat(
            [
                Serial(
                    [
                        Convolution(3, 3, stride=3),
                        ReLU(),
                        Upsample(3, "bilinear"),
                        Downsample(2, "average"),
                    ]
                ),
                Downsample(2, "stride"),
            ]
        ),
        Convolution(3, 2),
        Upsample(2, "nearest"),
        ReLU(),
        Convolution(1, 3),
    ]
)


@pytest.mark.parametrize(
    "integrated", [True, pytest.param(False, marks=pytest.mark.slow)]
)
def test_no_padding_is_seen(integrated):
    def estimate(padding):
        net = Architecture(with_padding(RESAMPLED, padding), 2, dimensions=1)
        # As many pixels as are needed, so that the outermost count.
        inside = networks.interior(net)
        size = 2 * inside.reach + inside.period + 2
        grid = (-(-size // 6) * 6,)
        return networks.estimate_covariance(
            KEY,
            net,
            LAGS[:3],
            input=noise(grid, 2),
            draws=3,
            integrate_read_out=integrated,
        )

    first, second = estimate("zeros"), estimate("circular")
    np.testing.assert_allclose(first.covariance, second.covariance, rtol=1e-5)


@pytest.mark.parametrize(
    ("net", "reach", "period"),
    [
        (conv_net(3, dimensions=1), 3, 1),
        (conv_net(1, kernel_size=5), 2, 1),
        # Down: 1 pixel of 2, then of 4. Up: 2 * 1 + 1, a convolution, and again.
        (autoencoder(2), 10, 4),
        (autoencoder(2, upsample="nearest", kernel_size=1), 0, 4),
        (Architecture(Serial([Upsample(2, "nearest"), Convolution(1, 3, 2)])), 1, 1),
        (Architecture(Upsample(3, "bilinear")), 1, 3),
        (Architecture(Upsample(2, "ideal")), np.inf, 2),
        (Architecture(RESAMPLED, 2), 5, 6),
    ],
)
def test_what_borders_reach_is_read_off_the_description(net, reach, period):
    inside = networks.interior(net)
    assert inside.period == period
    if net.body is not RESAMPLED:
        assert inside.reach == reach


def test_a_network_that_ends_otherwise_is_drawn_whole():
    net = Architecture(Serial([Convolution(2, 1), Sigmoid()]), 3, dimensions=1)
    arguments = {"input": noise((12,), 3), "draws": 9}
    found = [
        networks.estimate_covariance(
            KEY, net, LAGS[:2], integrate_read_out=integrated, **arguments
        )
        for integrated in (True, False)
    ]
    np.testing.assert_array_equal(found[0].covariance, found[1].covariance)


def test_networks_on_a_circle_need_no_margin():
    net = conv_net(
        1, channels=2, input_channels=2, dimensions=1, padding="circular", kernel_size=1
    )
    fixed = jnp.tile(noise((5,), 2)(KEY), (2, 1))
    found = networks.estimate_covariance(
        KEY, net, [[0], [5]], input=lambda key: fixed, draws=4, margin=0
    )
    np.testing.assert_allclose(found.correlation, 1, rtol=1e-6)


class TestBadInput:
    net = conv_net(1, channels=2, input_channels=2, dimensions=1)

    @pytest.mark.parametrize(
        ("changes", "sentence"),
        [
            ({"lags": [0, 1]}, r"lags: expected shape \(n, 1\).*got \(2,\)"),
            ({"lags": np.zeros((0, 1))}, "lags: expected shape .* at least one lag"),
            ({"lags": [[0.5]]}, "lags: expected whole pixels, got"),
            ({"draws": 1}, "draws: expected a whole number of at least 2 .* got 1"),
            ({"draws": 2.5}, "draws: expected a whole number .* got 2.5"),
            ({"draws": 2**63}, "draws: expected a whole number .* and at most 268435"),
            ({"batch": 10**18}, "batch: expected a whole number .* got 1000"),
            ({"batch": 0}, "batch: expected a whole number of at least 1, got 0"),
            ({"margin": -1}, "margin: expected an integer of at least 0, got -1"),
            ({"input": noise((9,), 3)}, r"input: .* gives \(L, 2\).* got \(9, 3\)"),
            ({"input": noise((9, 9), 2)}, r"input: .* got \(9, 9, 2\)"),
            ({"input": noise((3,), 2)}, "input: expected pixels .* 4 at least .*got 3"),
            (
                {"net": autoencoder(2, input_channels=2, dimensions=1)},
                "input: expected sizes that are multiples of 4, .* got 9",
            ),
            (
                {
                    "net": autoencoder(
                        1, input_channels=2, dimensions=1, upsample="ideal"
                    )
                },
                "margin: expected a number of pixels .* 'ideal'",
            ),
        ],
    )
    def test_it_is_named_before_any_work(self, changes, sentence):
        arguments = {
            "net": self.net,
            "lags": [[0], [1]],
            "input": noise((9,), 2),
            "draws": 2,
        }
        with pytest.raises(ValueError, match=sentence):
            networks.estimate_covariance(KEY, **(arguments | changes))
