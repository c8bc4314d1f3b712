import numpy as np
import pytest
from PIL import Image
from small_pictures import load

from dipgp.command import deviations

# (1, 2, 2), of which 0.012 is the largest root mean square: 3.06 grey levels.
STD = np.array([[[0.012, 0.012], [0.0, 0.008]]])


def test_the_picture_is_the_numbers_in_parts_of_its_white(tmp_path):
    picture, numbers = tmp_path / "std.png", tmp_path / "std.npz"
    words = deviations.write([picture, numbers], STD)
    assert words == "white is a standard deviation of 5 grey levels of 255"
    samples, bits = load(picture)
    assert bits == 16
    together = np.sqrt(np.mean(STD**2, axis=2))
    np.testing.assert_allclose(samples[:, :, 0] / 65535 * 5 / 255, together, atol=1e-6)
    with Image.open(picture) as opened:
        assert opened.text == {"Description": words}
    with np.load(numbers) as kept:
        np.testing.assert_array_equal(kept["std"], STD.astype(np.float32))


def test_without_a_picture_there_is_nothing_to_explain(tmp_path):
    assert deviations.write([tmp_path / "std.npz"], STD) == ""
    assert [path.name for path in tmp_path.iterdir()] == ["std.npz"]


@pytest.mark.parametrize(
    ("levels", "scale"), [(0.0, 0.01), (1.0, 1.0), (1.001, 2.0), (6000.0, 6000.0)]
)
def test_white_is_the_first_round_number_that_none_exceeds(levels, scale):
    # By the next number above, since 1 / 255 times 255 may be more than 1.
    assert deviations.white(levels / 255 * (1 - 1e-9)) == pytest.approx(scale)
