"""How far from the border the closed form of an infinitely wide network is exact.

  python -m experiments.border

The covariances that the Gaussian process of the other experiments reads are those of an
endless image. Networks see a border and what their padding puts beyond it, and they
interpolate pixels whose statistics differ. This binary computes the exact second
moments between all pairs of pixels and shows, for each pixel, the largest difference
over lags from the closed form, as a share of its variance K(0).

  python -m experiments.border --dimensions=2
  python -m experiments.border --padding=reflect,zeros,circular --sigma=0
  python -m experiments.border --pixels=128 --sigma=4

The networks are plain ones of 1 to 4 ReLU layers, an autoencoder of one halving and the
deep image prior's hourglass of two, without batch norm and biases. Their input is noise
smoothed over --sigma pixels (by default 2; 0 is white), cut off at the border: with
circular padding its two ends do not fit together. A signal has 64 pixels by default, an
image 24x24; memory grows with the square of the pixels, of which there may be 4096.

Results in --output_dir:

  figure.png    the difference, by pixel: a curve or a map for each network and padding
  gaps.npz      the same as arrays
  table.md      a row a network: largest, inside, and from where on below 1 %
  metrics.json  the same numbers, and the largest difference by distance to the border

Exit status: 0 done, 2 bad input.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import jax
import numpy as np
from absl import flags

from dipgp import kernels, progress
from dipgp.architecture import Architecture, Linear, autoencoder, conv_net, skip_net
from dipgp.architecture.layers import Padding
from dipgp.figures import Figure, Panel, bands, overview, save_figure
from dipgp.files import write_atomically
from experiments import common, reporting
from experiments.common import require
from experiments.run_folders import open_run_folder

DIMENSIONS = flags.DEFINE_integer("dimensions", 1, "1 for a signal, 2 for an image.")
PIXELS = flags.DEFINE_integer(
    "pixels", None, "Along each axis; by default 64 of a signal, 24 of an image."
)
PADDING = flags.DEFINE_list(
    "padding", ["reflect"], f"Of these: {', '.join(get_args(Padding))}."
)
for _shared in ("sigma", "output_dir"):
    flags.declare_key_flag(_shared)

# Where the closed form is called right.
SMALL_GAP = 0.01
LARGEST = 4096

Record = dict[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class BorderConfig:
    """What a run is told.

    Attributes:
      output_dir: folder of the results.
      dimensions: 1 or 2.
      pixels: along each axis.
      paddings: of the networks, one after another.
      sigma: width of the input's smoothing in pixels.
    """

    output_dir: str
    dimensions: int = 1
    pixels: int = 64
    paddings: tuple[str, ...] = ("reflect",)
    sigma: float = 2.0

    def __post_init__(self) -> None:
        """Raises UserError, naming the flag, on a number out of range."""
        require(self.dimensions in (1, 2), "dimensions", self.dimensions, "1 or 2")
        most = round(LARGEST ** (1 / self.dimensions))
        accepted = 8 <= self.pixels <= most
        require(accepted, "pixels", self.pixels, f"from 8 to {most} along each axis")
        known, shown = get_args(Padding), ",".join(self.paddings)
        accepted = set(self.paddings) <= set(known) and bool(self.paddings)
        accepted = accepted and len(set(self.paddings)) == len(self.paddings)
        require(accepted, "padding", shown, f"some of {', '.join(known)}, each once")
        accepted = 0 <= self.sigma < math.inf
        require(accepted, "sigma", self.sigma, "a number of at least 0")


def config_from_flags() -> BorderConfig:
    """Reads the flags.

    Raises:
      UserError: on bad input, or on a flag that only other binaries read.
    """
    common.refuse_unread_flags(__name__)
    pixels = {1: 64, 2: 24}.get(DIMENSIONS.value, 64)
    return BorderConfig(
        output_dir=common.OUTPUT_DIR.value or "runs/border",
        dimensions=DIMENSIONS.value,
        pixels=pixels if PIXELS.value is None else PIXELS.value,
        paddings=tuple(PADDING.value),
        sigma=2.0 if common.SIGMA.value is None else common.SIGMA.value,
    )


def networks(dimensions: int, padding: Padding) -> dict[str, Architecture]:
    """The paper's architectures by name."""
    nets = {
        f"{depth} layer{'s' * (depth > 1)}": conv_net(
            depth, padding=padding, dimensions=dimensions
        )
        for depth in (1, 2, 3, 4)
    }
    nets["autoencoder"] = autoencoder(1, padding=padding, dimensions=dimensions)
    # Without batch norm, biases would soon be all that is left of K(0).
    nets["hourglass"] = skip_net(
        2,
        bias_variance=0.0,
        batch_norm=False,
        output=Linear(),
        padding=padding,
        dimensions=dimensions,
    )
    return nets


def run(config: BorderConfig) -> Record:
    """Computes all gaps and writes the results.

    Args:
      config: what to do.

    Returns:
      What metrics.json holds.

    Raises:
      UserError: on a folder that cannot be written to, before anything is computed.
    """
    with open_run_folder(config.output_dir) as folder:
        return _run(config, folder)


def _run(config: BorderConfig, folder: Path) -> Record:
    shape = (config.pixels,) * config.dimensions
    gaps: dict[tuple[str, str], np.ndarray] = {}
    # In 64 bits, so that what is left inside is the rules' and not rounding.
    with jax.enable_x64(True), progress.show("border") as report:
        input = kernels.gaussian(config.sigma)
        for padding in get_args(Padding):
            if padding not in config.paddings:
                continue
            for name, net in networks(config.dimensions, padding).items():
                report(f"{name}, {padding}")
                gap = kernels.stationarity_gap(net, input, shape)
                gaps[name, padding] = np.asarray(gap)
    rows = [
        {"network": name, "padding": padding, **summary(gap)}
        for (name, padding), gap in gaps.items()
    ]
    table = _table(rows)
    print(table, end="")
    record = {
        "experiment": "border",
        "networks": rows,
        **reporting.provenance(config),
    }
    write_atomically(folder / "table.md", table.encode())
    _save_gaps(folder / "gaps.npz", gaps)
    save_figure(folder / "figure.png", _figure(config, gaps))
    reporting.write_json(folder / "metrics.json", record)
    return record


def summary(gap: np.ndarray) -> Record:
    """The numbers of a map of gaps.

    Args:
      gap: (L,) or (H, W).

    Returns:
      largest: the largest gap of all pixels; by_distance: that of the pixels that are
      at least 0, 1, 2, ... pixels from the border; inside: the last of these;
      exact_from: the distance from which on it is below 1 %, None if it never is.
    """
    axes = [np.minimum(np.arange(n), n - 1 - np.arange(n)) for n in gap.shape]
    distance = np.stack(np.meshgrid(*axes, indexing="ij")).min(axis=0)
    by_distance = [
        float(gap[distance >= margin].max()) for margin in range(distance.max() + 1)
    ]
    small = [margin for margin, gap in enumerate(by_distance) if gap < SMALL_GAP]
    return {
        "largest": by_distance[0],
        "inside": by_distance[-1],
        "exact_from": small[0] if small else None,
        "by_distance": by_distance,
    }


def _table(rows: Sequence[Record]) -> str:
    """The numbers as Markdown."""
    titles = ("network", "padding", "largest", "inside", "below 1 % from")
    lines = []
    for row in rows:
        start = row["exact_from"]
        lines.append(
            (
                str(row["network"]),
                str(row["padding"]),
                f"{100 * row['largest']:.2f} %",
                f"{100 * row['inside']:.2g} %",
                "-" if start is None else f"{start} px",
            )
        )
    return reporting.markdown(titles, lines, words=2)


def _figure(config: BorderConfig, gaps: Mapping[tuple[str, str], np.ndarray]) -> Figure:
    if config.dimensions == 2:
        maps = [(f"{name}, {padding}", gap) for (name, padding), gap in gaps.items()]
        return overview([], maps)
    rows = [
        (
            row,
            [
                Panel(n, samples=gap[None])
                for (n, padding), gap in gaps.items()
                if padding == row
            ],
        )
        for row in dict.fromkeys(padding for _, padding in gaps)
    ]
    return bands(rows, np.arange(config.pixels))


def _save_gaps(path: Path, gaps: Mapping[tuple[str, str], np.ndarray]) -> None:
    """Arrays are named after network and padding, such as 1_layer_reflect."""
    arrays = {
        f"{name}_{padding}".replace(" ", "_"): gap
        for (name, padding), gap in gaps.items()
    }
    reporting.write_arrays(path, arrays)


def main() -> int:
    """Runs under the flags."""
    run(config_from_flags())
    return 0


if __name__ == "__main__":
    common.main(main)
