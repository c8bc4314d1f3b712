import json

import pytest

from benchmarks import gp_gpytorch


@pytest.mark.parametrize("nodes", [12, 52])
def test_bounds_put_the_nodes_on_pixels(nodes):
    first, last = gp_gpytorch._bounds(nodes)
    apart = (last - first) / (nodes - 2)
    assert first - apart == pytest.approx(-gp_gpytorch.MARGIN)
    assert last + apart == pytest.approx(nodes - 1 - gp_gpytorch.MARGIN)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning:linear_operator.*")
def test_a_run_at_toy_size_agrees(tmp_path):
    pytest.importorskip("gpytorch")
    text = gp_gpytorch.run([12], [12], 1, tmp_path)
    assert (tmp_path / "gp_gpytorch.md").read_text() == text
    (row,) = json.loads((tmp_path / "gp_gpytorch.json").read_text())["rows"]
    for name in ("dipgp", "Cholesky", "CG", "grid"):
        assert row[f"{name}: error"] < 0.2
