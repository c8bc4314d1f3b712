import numpy as np
import pytest
from small_pictures import save

from dipgp.command import problems
from dipgp.command.options import Order
from dipgp.photographs import read


@pytest.mark.parametrize("bits", [8, 16])
def test_noise_is_never_below_that_of_rounding(tmp_path, bits):
    path = tmp_path / "in.png"
    image = np.random.default_rng(0).random((64, 64, 1))
    samples = save(path, image, bits)
    photograph = read(path)
    order = Order(task="denoise", inputs=(str(path),), output="out.png")
    least = problems.pose(order, photograph, None).least_noise_std
    rounding = samples / (2**bits - 1) - image
    assert least == pytest.approx(rounding.std(), rel=0.03)
