import numpy as np
import pytest

from benchmarks import figure6


def test_a_file_without_the_arrays_is_refused(tmp_path):
    np.savez(tmp_path / "other.npz", something=np.zeros(3))
    with pytest.raises(ValueError, match="expected Figure 6"):
        figure6.load(str(tmp_path / "other.npz"))


def test_an_image_and_its_mask_are_read(tmp_path):
    image = np.random.default_rng(0).random((1, 64, 64)).astype(np.float32)
    mask = (image > 0.5).astype(np.float32)
    np.savez(tmp_path / "data.npz", img_np=image, img_mask_np=mask)
    values, seen = figure6.load(str(tmp_path / "data.npz"))
    np.testing.assert_array_equal(values, image[0])
    np.testing.assert_array_equal(seen, mask[0] != 0)


def test_the_hourglass_is_smoother_than_its_input():
    k = figure6.hourglass()(np.array([[0.0, 0.0], [0.0, 1.0], [0.0, 20.0]]))
    np.testing.assert_allclose(k[0], 1, atol=1e-6)
    assert k[0] > k[1] > k[2] + 0.1


def test_network_kernels_have_unit_variance():
    assert figure6.network(3, 1.5)(np.zeros((1, 2)))[0] == pytest.approx(1, abs=1e-6)
