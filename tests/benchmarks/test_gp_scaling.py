import json

import numpy as np
import pytest

from benchmarks import gp_scaling


def test_a_power_law_is_recovered():
    pixels = [128**2, 256**2, 512**2, 1024**2]
    law = gp_scaling.power_law(pixels, [3e-6 * n**1.1 for n in pixels])
    assert law.exponent == pytest.approx(1.1)
    assert law.standard_error == pytest.approx(0, abs=1e-6)


def test_its_standard_error_is_the_spread_of_fits_to_noisy_times():
    rng = np.random.default_rng(0)
    pixels = np.array([128, 256, 512, 1024, 2048]) ** 2
    noisy = 1e-6 * pixels * np.exp(0.1 * rng.standard_normal((2000, 5)))
    laws = [gp_scaling.power_law(pixels, times) for times in noisy]
    spread = np.std([law.exponent for law in laws])
    claimed = np.sqrt(np.mean([law.standard_error**2 for law in laws]))
    # A standard deviation of n draws is known to 1 / sqrt(2 n), the mean of variances
    # with 3 degrees of freedom to sqrt(2 / 3 n): together 2 %.
    assert claimed == pytest.approx(spread, rel=0.08)


def test_two_sizes_leave_no_standard_error():
    law = gp_scaling.power_law([100, 400], [1.0, 4.0])
    assert law.exponent == pytest.approx(1.0)
    assert np.isnan(law.standard_error)


def test_a_dense_solve_of_twice_the_pixels_takes_eight_times_as_long():
    measured = {8: (32, 9.0), 16: (128, 2.0)}
    assert gp_scaling.seconds_by_cubic_law(256, measured) == pytest.approx(16.0)


@pytest.mark.parametrize("size", [10, 600])
def test_a_problem_is_a_photograph_of_which_half_is_seen(size):
    _, values, mask = gp_scaling.problem(size)
    assert values.shape == mask.shape == (size, size)
    assert values.dtype == np.float32
    seen = np.mean(mask != 0)
    assert abs(seen - 0.5) < 4 * 0.5 / size
    # Neighbours are nearer to each other than strangers.
    apart = np.std(np.diff(values, axis=0))
    assert apart < 0.5 * np.std(values) * 2**0.5


@pytest.mark.slow
def test_a_run_at_toy_size_writes_its_report(tmp_path):
    text = gp_scaling.run([8, 16], [16], [8], 1, tmp_path)
    assert (tmp_path / "gp_scaling.md").read_text() == text
    record = json.loads((tmp_path / "gp_scaling.json").read_text())
    small, large, colour = record["rows"]
    assert colour["pixels"] == "16x16x3"
    assert colour["array [MiB]"] == 3 * large["array [MiB]"]
    assert [small["pixels"], large["pixels"]] == ["8x8", "16x16"]
    assert [small["dense by"], large["dense by"]] == ["measured", "cubic law"]
    for row in (small, large, colour):
        assert row["iterations"] > 0
        # With one turn the median ratio is that of the medians.
        assert row["over FFTs"] == row["condition [s]"] / row["its FFTs [s]"]
        # What is given and made, and five of the iteration's own.
        assert 7 < row["arrays planned"] < 1000
    for row in (small, large):
        assert row["times faster"] == row["dense [s]"] / row["condition [s]"]
