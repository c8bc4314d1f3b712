import numpy as np
import pytest
import scipy.stats

from benchmarks import rank_statistics

DRAWS, BINS, COUNT = 15, 8, 2000


def ranks_of(spread, seed=0):
    """Ranks of standard normal truths among draws of another standard deviation."""
    rng = np.random.default_rng(seed)
    truth, draws = rng.standard_normal(COUNT), rng.standard_normal((COUNT, DRAWS))
    return rank_statistics.ranks(truth, spread * draws)


def test_a_rank_is_the_number_of_draws_below():
    draws = np.array([[3.0, 1.0, 2.0], [3.0, 1.0, 2.0]])
    found = rank_statistics.ranks(np.array([2.5, 0.5]), draws)
    np.testing.assert_array_equal(found, [2, 0])


def test_bins_hold_equally_many_ranks():
    found = rank_statistics.histogram(np.array([0, 1, 2, 14, 15]), DRAWS, BINS)
    np.testing.assert_array_equal(found, [2, 1, 0, 0, 0, 0, 0, 2])


def test_p_values_of_right_draws_are_uniform_themselves():
    found = [
        rank_statistics.p_value(ranks_of(1.0, seed), DRAWS, BINS) for seed in range(60)
    ]
    assert scipy.stats.kstest(found, "uniform").pvalue > 0.01


@pytest.mark.parametrize("spread", [0.8, 1.25])
def test_a_wrong_spread_is_found_and_its_direction_shows(spread):
    found = ranks_of(spread)
    assert rank_statistics.p_value(found, DRAWS, BINS) < 1e-6
    counts = rank_statistics.histogram(found, DRAWS, BINS)
    ends, middle = counts[[0, -1]].mean(), counts[3:5].mean()
    assert (ends > middle) == (spread < 1)


def test_a_band_holds_the_share_of_bins_that_it_says():
    low, high = rank_statistics.band(COUNT, BINS, 0.95)
    counts = np.concatenate(
        [
            rank_statistics.histogram(ranks_of(1.0, seed), DRAWS, BINS)
            for seed in range(40)
        ]
    )
    assert abs(np.mean((counts >= low) & (counts <= high)) - 0.95) < 0.02


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: rank_statistics.ranks(np.zeros(2), np.zeros((3, 4))),
            r"expected shapes \(N,\) and \(N, L\), got \(2,\) and \(3, 4\)",
        ),
        (
            lambda: rank_statistics.ranks(np.zeros(1), np.full((1, 2), np.nan)),
            "expected finite numbers",
        ),
        (
            lambda: rank_statistics.histogram(np.zeros(3), 15, 3),
            "expected at least 2, in equal parts of 16 ranks, got 3",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
