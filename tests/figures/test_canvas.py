import subprocess
import sys

import numpy as np
from PIL import Image

from dipgp import figures


def test_figures_are_saved_as_png_with_nothing_beside_them(tmp_path):
    figures.save_figure(
        tmp_path / "a.png", figures.panels([("image", np.ones((20, 30, 3)))])
    )
    assert list(tmp_path.iterdir()) == [tmp_path / "a.png"]
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.format == "PNG"
        assert picture.height > 400


def test_pyplot_is_never_imported():
    program = """if True:
        import sys
        from dipgp import figures
        sys.exit("matplotlib.pyplot" in sys.modules)
    """
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
