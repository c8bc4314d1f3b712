"""R-hat and effective sample sizes of chains whose mixing is known."""

import sys

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from dipgp.summaries import diagnostics

array_stats = pytest.importorskip("arviz_stats.base").array_stats


def autoregressive(chains, draws, shape, correlation, seed=0):
    """Standard normal sequences, each draw correlated with the one before."""
    random = np.random.default_rng(seed)
    noise = random.standard_normal((chains, draws, *shape))
    noise[:, 1:] *= np.sqrt(1 - correlation**2)
    for t in range(1, draws):
        noise[:, t] += correlation * noise[:, t - 1]
    return noise


def tail_size(draws, correlation, probability=0.05):
    """The effective sample size for being below a quantile of such a sequence."""
    edge = norm.ppf(probability)
    total = 1.0
    for lag in range(1, 60):
        c = correlation**lag
        both = multivariate_normal([0, 0], [[1, c], [c, 1]]).cdf([edge, edge])
        total += 2 * (both - probability**2) / (probability * (1 - probability))
    return draws / total


class TestEffectiveSampleSize:
    @pytest.mark.parametrize("correlation", [0.0, 0.5, 0.8])
    def test_a_known_correlation_gives_the_known_size(self, correlation):
        """Averaged over 100 pixels; single ones scatter by 10 %."""
        draws = 4 * 1000
        samples = autoregressive(4, 1000, (10, 10), correlation)
        found = diagnostics.diagnose(samples)
        exact = draws * (1 - correlation) / (1 + correlation)
        np.testing.assert_allclose(found.bulk.mean(), exact, rtol=0.06)
        assert np.abs(found.bulk / exact - 1).max() < 0.5
        # The worse of two quantiles is a little below either.
        ratio = found.tail.mean() / tail_size(draws, correlation)
        assert 0.85 < ratio < 1.03

    def test_one_chain_is_enough(self):
        samples = autoregressive(1, 2000, (5, 5), 0.5)
        found = diagnostics.diagnose(samples)
        np.testing.assert_allclose(found.bulk.mean(), 2000 / 3, rtol=0.1)


class TestRhat:
    def test_chains_of_one_law_have_one(self):
        for chains in (1, 4):
            samples = autoregressive(chains, 1000, (6, 5), 0.3)
            rhat = diagnostics.diagnose(samples).rhat
            assert np.all(np.abs(rhat - 1) < 0.03)

    def test_a_chain_elsewhere_is_seen(self):
        samples = autoregressive(4, 500, (6, 5), 0.3)
        samples[0] += 1.5
        assert np.all(diagnostics.diagnose(samples).rhat > 1.1)

    def test_a_single_chain_that_moves_away_is_seen(self):
        samples = autoregressive(1, 500, (6, 5), 0.3)
        samples[:, 250:] += 1.5
        assert np.all(diagnostics.diagnose(samples).rhat > 1.1)

    def test_a_chain_of_another_width_is_seen(self):
        samples = autoregressive(4, 500, (6, 5), 0.3)
        samples[0] *= 4
        assert np.all(diagnostics.diagnose(samples).rhat > 1.1)

    @pytest.mark.parametrize("draws", [4, 5, 101])
    def test_it_equals_arviz(self, draws):
        samples = autoregressive(3, draws, (4, 2), 0.6)
        samples[0, :, 0] += 1.0
        expected = array_stats.rhat(samples, 0, 1, method="rank")
        found = diagnostics.diagnose(samples).rhat
        np.testing.assert_allclose(found, expected, rtol=1e-12)

    def test_chains_that_stand_still_apart_have_an_infinite_one(self):
        samples = np.repeat(np.array([[[0.0]], [[1.0]]]), 10, axis=1)
        assert diagnostics.diagnose(samples).rhat == np.inf


class TestShapes:
    @pytest.mark.parametrize("shape", [(), (7,), (3, 4), (3, 4, 2)])
    def test_results_have_the_shape_of_a_sample(self, shape):
        found = diagnostics.diagnose(autoregressive(2, 10, shape, 0.0))
        assert [field.shape for field in found] == [shape] * 3

    def test_each_pixel_stands_for_itself(self, monkeypatch):
        samples = autoregressive(2, 50, (3, 4, 2), 0.5).astype(np.float32)
        whole = diagnostics.diagnose(samples)
        monkeypatch.setattr(diagnostics, "_BLOCK", 5)
        blocks = diagnostics.diagnose(samples)
        one = diagnostics.diagnose(samples[:, :, 1, 2, 0])
        for field, cut, single in zip(whole, blocks, one, strict=True):
            np.testing.assert_array_equal(field, cut)
            np.testing.assert_array_equal(field[1, 2, 0], single)

    @pytest.mark.parametrize("bad", [np.nan, np.inf, "constant"])
    def test_a_pixel_that_says_nothing_is_nan_and_spares_the_others(self, bad):
        samples = autoregressive(2, 50, (2, 2), 0.5)
        clean = diagnostics.diagnose(samples)
        if bad == "constant":
            samples[:, :, 0, 1] = 0.25
        else:
            samples[1, 7, 0, 1] = bad
        found = diagnostics.diagnose(samples)
        where = np.array([[False, True], [False, False]])
        for field, expected in zip(found, clean, strict=True):
            np.testing.assert_array_equal(field, np.where(where, np.nan, expected))


class TestErrors:
    @pytest.mark.parametrize(
        "shape", [(2, 3, 8, 8), (1, 0, 8, 8), (0, 10, 8, 8), (10,), ()]
    )
    def test_too_few_samples_are_refused_by_name(self, shape):
        with pytest.raises(ValueError, match=r"^samples: expected .* got"):
            diagnostics.diagnose(np.zeros(shape))

    def test_a_missing_library_is_told_with_its_extra(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "arviz_stats.base", None)
        with pytest.raises(ImportError, match=r"dipgp\[diagnostics\]"):
            diagnostics.diagnose(np.zeros((2, 10, 4)))
