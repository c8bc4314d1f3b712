"""The binary that shows where the closed form is exact."""

import json

import numpy as np
import pytest

from dipgp.architecture import Architecture, Convolution, Serial
from experiments import border
from experiments.common import UserError

FILES = ["figure.png", "gaps.npz", "metrics.json", "table.md"]


@pytest.fixture
def small(monkeypatch):
    """One network whose gap is known: a third of white noise's variance at the ends."""

    def networks(dimensions, padding):
        layer = Convolution(1, padding=padding)
        return {"1 layer": Architecture(Serial([layer]), dimensions=dimensions)}

    monkeypatch.setattr(border, "networks", networks)


@pytest.mark.parametrize("dimensions", [1, 2])
def test_it_writes_figure_gaps_table_and_metrics(small, dimensions, tmp_path, capsys):
    config = border.BorderConfig(
        output_dir=str(tmp_path),
        dimensions=dimensions,
        pixels=9,
        paddings=("zeros", "circular"),
        sigma=0.0,
    )
    record = border.run(config)
    assert sorted(path.name for path in tmp_path.iterdir()) == FILES
    written = json.loads((tmp_path / "metrics.json").read_text())
    assert written["networks"] == record["networks"]
    circular, zeros = sorted(record["networks"], key=lambda row: row["padding"])
    assert zeros["largest"] == pytest.approx(1 - (2 / 3) ** dimensions)
    assert zeros["by_distance"][1:] == pytest.approx([0, 0, 0, 0], abs=1e-12)
    assert (zeros["inside"], zeros["exact_from"]) == (pytest.approx(0, abs=1e-12), 1)
    # White noise is as white on a torus.
    assert circular["largest"] == pytest.approx(0, abs=1e-12)
    gaps = np.load(tmp_path / "gaps.npz")
    assert gaps["1_layer_zeros"].shape == (9,) * dimensions
    assert "| 1 layer | zeros | " in capsys.readouterr().out


def test_a_gap_that_stays_large_is_exact_nowhere():
    found = border.summary(np.array([0.5, 0.3, 0.2, 0.4]))
    assert found["by_distance"] == [0.5, 0.3]
    assert found["exact_from"] is None


def test_the_networks_are_those_of_the_paper():
    nets = border.networks(2, "zeros")
    assert list(nets) == [
        "1 layer",
        "2 layers",
        "3 layers",
        "4 layers",
        "autoencoder",
        "hourglass",
    ]
    assert all(net.dimensions == 2 for net in nets.values())


@pytest.mark.slow
def test_the_papers_networks_are_exact_inside_but_for_resampling(tmp_path):
    record = border.run(border.BorderConfig(output_dir=str(tmp_path), pixels=32))
    for row in record["networks"]:
        assert row["inside"] < 0.02 < row["largest"] < 1


@pytest.mark.parametrize(
    "changes",
    [
        {"dimensions": 3},
        {"dimensions": 2, "pixels": 65},
        {"pixels": 7},
        {"paddings": ("mirror",)},
        {"paddings": ("zeros", "zeros")},
        {"sigma": -1.0},
    ],
    ids=str,
)
def test_numbers_out_of_range_are_named_by_their_flag(changes, tmp_path):
    name = next(reversed(changes)).replace("paddings", "padding")
    with pytest.raises(UserError, match=f"--{name}="):
        border.BorderConfig(output_dir=str(tmp_path), **changes)


def test_flags_make_the_configuration(binary):
    seen = []

    def read():
        seen.append(border.config_from_flags())
        return 0

    assert binary(read, "--dimensions=2", "--padding=zeros,reflect") == 0
    assert (seen[0].pixels, seen[0].sigma) == (24, 2.0)
    assert seen[0].paddings == ("zeros", "reflect")
    assert binary(read, "--pixels=5") == 2
    assert binary(read, "--depth=3") == 2
