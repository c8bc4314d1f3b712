import math
import sys

import numpy as np
import pytest

from dipgp.summaries import paste_observed, psnr, ssim

TRUTH = np.random.default_rng(0).uniform(size=(16, 12, 3))
NOISY = TRUTH + 0.1 * np.random.default_rng(1).normal(size=TRUTH.shape)


class TestPsnr:
    def test_an_error_of_a_tenth_is_twenty_decibels(self):
        assert psnr(TRUTH + 0.1, TRUTH) == pytest.approx(20)

    def test_one_mean_runs_over_pixels_and_channels(self):
        image = TRUTH.copy()
        image[:, :, 0] += 0.3
        assert psnr(image, TRUTH) == pytest.approx(-10 * math.log10(0.09 / 3))

    def test_it_is_scikit_images(self):
        metrics = pytest.importorskip("skimage.metrics")
        expected = metrics.peak_signal_noise_ratio(TRUTH, NOISY, data_range=1)
        assert psnr(NOISY, TRUTH) == pytest.approx(expected)

    def test_equal_images_are_infinitely_good(self):
        assert psnr(TRUTH, TRUTH) == math.inf

    def test_only_masked_pixels_count(self):
        mask = np.zeros((16, 12))
        mask[3, 4] = 1
        image = np.where(mask[:, :, None] == 1, TRUTH + 0.01, 0)
        assert psnr(image, TRUTH, mask) == pytest.approx(40)

    def test_nothing_is_clipped(self):
        assert psnr(np.full((2, 2), 1.1), np.ones((2, 2))) == pytest.approx(20)

    def test_small_errors_survive_float32(self):
        image, truth = np.float32([[1e-6]]), np.float32([[0]])
        assert psnr(image, truth) == pytest.approx(120, abs=1e-3)

    @pytest.mark.parametrize("shape", [(16, 12), (16, 12, 1), (12, 16, 3), (3,)])
    def test_other_shapes_are_refused(self, shape):
        with pytest.raises(ValueError, match="one shape"):
            psnr(np.zeros(shape), TRUTH)

    def test_masks_of_other_shapes_are_refused(self):
        with pytest.raises(ValueError, match="mask: expected the image's"):
            psnr(NOISY, TRUTH, np.ones((12, 16)))

    def test_empty_masks_are_refused(self):
        with pytest.raises(ValueError, match="at least one pixel"):
            psnr(NOISY, TRUTH, np.zeros((16, 12)))

    def test_images_without_pixels_are_refused(self):
        with pytest.raises(ValueError, match="at least one pixel"):
            psnr(np.zeros((0, 4)), np.zeros((0, 4)))


class TestSsim:
    @pytest.mark.parametrize("channels", [slice(None), slice(0, 1), 0])
    def test_equal_images_reach_one(self, channels):
        image = TRUTH[:, :, channels]
        assert ssim(image, image) == pytest.approx(1)

    def test_it_is_the_formula_over_gaussian_windows(self):
        weights = np.exp(-np.square(np.arange(-5, 6)) / (2 * 1.5**2))
        weights = np.outer(weights, weights) / weights.sum() ** 2

        def mean(values):
            windows = np.lib.stride_tricks.sliding_window_view(values, (11, 11))
            return np.sum(windows * weights, axis=(-2, -1))

        x, y = NOISY[:, :, 0].astype(float), TRUTH[:, :, 0].astype(float)
        level = 2 * mean(x) * mean(y) + 0.01**2
        level /= mean(x) ** 2 + mean(y) ** 2 + 0.01**2
        structure = 2 * (mean(x * y) - mean(x) * mean(y)) + 0.03**2
        structure /= mean(x**2) - mean(x) ** 2 + mean(y**2) - mean(y) ** 2 + 0.03**2
        expected = np.mean(level * structure)
        assert ssim(NOISY[:, :, 0], TRUTH[:, :, 0]) == pytest.approx(expected)

    def test_noise_lowers_it(self):
        assert 0 < ssim(NOISY, TRUTH) < 0.99

    def test_a_grey_image_counts_the_same_with_a_channel_axis(self):
        grey = ssim(NOISY[:, :, 0], TRUTH[:, :, 0])
        assert ssim(NOISY[:, :, :1], TRUTH[:, :, :1]) == pytest.approx(grey)

    def test_the_window_is_the_smallest_size(self):
        assert ssim(TRUTH[:11, :11], TRUTH[:11, :11]) == pytest.approx(1)
        with pytest.raises(ValueError, match="at least 11x11 pixels, got 10x12"):
            ssim(TRUTH[:10], TRUTH[:10])

    def test_other_shapes_are_refused(self):
        with pytest.raises(ValueError, match="one shape"):
            ssim(TRUTH[:, :, 0], TRUTH)

    def test_without_scikit_image_the_error_tells_what_to_install(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "skimage.metrics", None)
        with pytest.raises(ImportError, match=r"pip install .dipgp\[experiments\]"):
            ssim(TRUTH, TRUTH)


class TestPasteObserved:
    @pytest.mark.parametrize("channels", [slice(None), 0])
    def test_observed_pixels_are_kept_and_others_filled(self, channels):
        mask = np.arange(16 * 12).reshape(16, 12) % 3 == 0
        values = np.where(mask[:, :, None], TRUTH, np.nan)[:, :, channels]
        pasted = paste_observed(NOISY[:, :, channels], values, mask)
        np.testing.assert_array_equal(pasted[mask], TRUTH[:, :, channels][mask])
        np.testing.assert_array_equal(pasted[~mask], NOISY[:, :, channels][~mask])

    def test_other_shapes_are_refused(self):
        with pytest.raises(ValueError, match="expected values of the image's"):
            paste_observed(NOISY, TRUTH[:, :, 0], np.ones((16, 12)))
        with pytest.raises(ValueError, match="expected values of the image's"):
            paste_observed(NOISY, TRUTH, np.ones((12, 16)))
