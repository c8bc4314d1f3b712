"""Draws of the deep image prior beside draws of its Gaussian process.

  python -m experiments.priors
  python -m experiments.priors --prior_cases=1:2,4:2,16:2 --side=256

Random networks (convolutions of 3x3, ReLU, linear read-out; new weights and a new input
for each draw) and the Gaussian process that they are in the limit of many channels, for
each pair sigma:depth of the input's smoothness, in pixels, and the number of layers.
Processes are drawn by FFT, at any size.

That two sets of pictures look alike is no proof: their power spectra are compared too,
averaged over draws and over rings of frequencies, with standard errors over draws. Each
draw is weighted by a window that falls to zero at the border, lest the step between
opposite borders show.

Results in --output_dir:

  figure.png    a draw of each case, scaled to its own range; processes above networks
  spectra.png   power by frequency, lines for processes and points for networks
  table.md      the largest difference of the spectra, also in standard errors, beside
                the largest that as many independent normal variables would show
  metrics.json  all numbers

Exit status: 0 done, 2 bad input.
"""

import dataclasses
import math
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import scipy.stats
from absl import flags

from dipgp import gp, kernels, progress
from dipgp.figures import Curve, Plot, overview, plots, save_figure
from dipgp.files import write_atomically
from experiments import common, flag_values, reporting
from experiments.common import require
from experiments.plain_model import Model
from experiments.run_folders import open_run_folder

PRIOR_CASES = flags.DEFINE_list(
    "prior_cases", ["2:1", "2:4", "8:1", "8:4"], "Pairs sigma:depth."
)
SIDE = flags.DEFINE_integer("side", 128, "Height and width of the pictures in pixels.")
PRIOR_DRAWS = flags.DEFINE_integer("prior_draws", 48, "Draws of each kind.")
PRIOR_WIDTH = flags.DEFINE_integer(
    "prior_width", 128, "Channels of the networks, in hidden layers and input."
)

for _shared in (common.SEED, common.OUTPUT_DIR):
    flags.declare_key_flag(_shared.name)

_RINGS = 12
# Keys are folded from the seed's by their use.
_PROCESS, _NETWORK = range(2)
Record = dict[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PriorsConfig:
    """What a run is told.

    Attributes:
      output_dir: folder of the results.
      cases: (sigma, depth) of each.
      side: of the pictures.
      draws: of each kind.
      width: channels of the networks and of their inputs.
      seed: of all draws.
    """

    output_dir: str
    cases: tuple[tuple[float, int], ...] = ((2.0, 1), (2.0, 4), (8.0, 1), (8.0, 4))
    side: int = 128
    draws: int = 48
    width: int = 128
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises UserError, naming the flag, on a number out of range."""
        require(self.side >= 16, "side", self.side, "at least 16 pixels")
        require(self.draws >= 2, "prior_draws", self.draws, "at least 2")
        require(self.width >= 1, "prior_width", self.width, "at least 1")
        shown = ",".join(f"{sigma:g}:{depth}" for sigma, depth in self.cases)
        for sigma, depth in self.cases:
            accepted = 0 <= sigma <= self.side and 1 <= depth <= 100
            expected = f"sigma from 0 to {self.side}, depth from 1 to 100"
            require(accepted, "prior_cases", shown, expected)
        unique = 0 < len(set(self.cases)) == len(self.cases)
        require(unique, "prior_cases", shown, "one case at least, and each once")
        common.require_seed(self.seed)


def config_from_flags() -> PriorsConfig:
    """Reads the flags; refuses those of other experiments."""
    common.refuse_unread_flags(__name__)
    return PriorsConfig(
        output_dir=common.OUTPUT_DIR.value or "runs/priors",
        cases=flag_values.sigmas_and_depths(PRIOR_CASES),
        side=SIDE.value,
        draws=PRIOR_DRAWS.value,
        width=PRIOR_WIDTH.value,
        seed=common.SEED.value,
    )


def run(config: PriorsConfig) -> Record:
    """Draws, compares and writes the results.

    Args:
      config: what to do.

    Returns:
      What metrics.json holds.

    Raises:
      UserError: on a folder that cannot be written to, before anything is computed.
    """
    with open_run_folder(config.output_dir) as folder:
        return _run(config, folder)


def _run(config: PriorsConfig, folder: Path) -> Record:
    rows, above, below, frames = [], [], [], []
    for number, (sigma, depth) in enumerate(config.cases):
        title = f"sigma {sigma:g}, depth {depth}"
        with progress.show(title) as report:
            report("drawing")
            processes, networks, seconds = _draw(config, number, sigma, depth)
        frequency, process = spectra(processes)
        _, network = spectra(networks)
        rows.append(_row(sigma, depth, process, network, seconds))
        print(_line(rows[-1]), flush=True)
        above.append((f"GP, {title}", scaled(processes[0])))
        below.append((f"network, {title}", scaled(networks[0])))
        frames.append(_spectrum_plot(title, frequency, process, network))
    record = {
        "experiment": "priors",
        "rows": rows,
        "seed": config.seed,
        **reporting.provenance(config),
    }
    save_figure(folder / "figure.png", overview([*above, *below]))
    save_figure(folder / "spectra.png", plots([frames]))
    write_atomically(folder / "table.md", _table(rows).encode())
    reporting.write_json(folder / "metrics.json", record)
    return record


def _draw(
    config: PriorsConfig, number: int, sigma: float, depth: int
) -> tuple[np.ndarray, np.ndarray, dict[str, float]]:
    """Draws of both kinds, (draws, side, side), and what each took in seconds."""
    model = Model(
        shape=(config.side, config.side),
        sigma=sigma,
        depth=depth,
        width=config.width,
        input_channels=config.width,
    )
    key = jax.random.fold_in(jax.random.key(config.seed), number)
    covariance = kernels.covariance(model.description, kernels.gaussian(sigma))
    begun = time.monotonic()
    key_process = jax.random.fold_in(key, _PROCESS)
    processes = np.asarray(
        gp.draw_prior(key_process, covariance, model.grid, config.draws)
    )
    halfway = time.monotonic()
    networks = model.draw_networks(jax.random.fold_in(key, _NETWORK), config.draws)
    seconds = {"process": halfway - begun, "network": time.monotonic() - halfway}
    return processes, networks, seconds


def spectra(draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Power of each draw by frequency.

    Args:
      draws: (K, N, N); their means are taken away.

    Returns:
      (R,) the rings' mean frequencies in periods a pixel, and (K, R) the mean power of
      each draw in them. Rings are equally wide in the frequency's logarithm.
    """
    size = draws.shape[-1]
    window = np.hanning(size + 2)[1:-1]
    window = np.outer(window, window)
    centred = draws - draws.mean((1, 2), keepdims=True, dtype=np.float64)
    power = np.square(np.abs(np.fft.fft2(centred * window))) / np.sum(window**2)
    axis = np.fft.fftfreq(size)
    frequency = np.hypot(axis[:, None], axis)
    # What the window lets the missing mean take away from the lowest ones is left out.
    edges = np.geomspace(2.5 / size, 0.5, _RINGS + 1)
    ring = np.digitize(frequency, edges) - 1
    inside = [r for r in range(_RINGS) if np.any(ring == r)]
    means = [power[:, ring == r].mean(axis=1) for r in inside]
    centres = np.array([frequency[ring == r].mean() for r in inside])
    return centres, np.stack(means, axis=1)


def _row(
    sigma: float,
    depth: int,
    process: np.ndarray,
    network: np.ndarray,
    seconds: dict[str, float],
) -> Record:
    first, second = process.mean(axis=0), network.mean(axis=0)
    variance = process.var(axis=0, ddof=1) + network.var(axis=0, ddof=1)
    error = np.sqrt(variance / len(process))
    rings = first.size
    # The mean of the largest of so many standard normal variables, about.
    typical = scipy.stats.norm.ppf(1 - 0.5 / (2 * rings))
    return {
        "sigma": sigma,
        "depth": depth,
        "largest_difference": float(np.max(np.abs(np.log10(second / first)))) * 10,
        "in_errors": float(np.max(np.abs(second - first) / error)),
        "rings": rings,
        "typical": float(typical),
        "process_seconds": seconds["process"],
        "network_seconds": seconds["network"],
        "process": first,
        "network": second,
    }


def scaled(image: np.ndarray) -> np.ndarray:
    """From 0 at the 1st percentile to 1 at the 99th."""
    low, high = np.percentile(image, [1, 99])
    return (image - low) / ((high - low) or 1.0)


def _spectrum_plot(
    title: str, frequency: np.ndarray, process: np.ndarray, network: np.ndarray
) -> Plot:
    error = network.std(axis=0, ddof=1) / math.sqrt(len(network))
    curves = [
        Curve("Gaussian process", frequency, process.mean(axis=0)),
        Curve("networks", frequency, network.mean(axis=0), error=error),
    ]
    return Plot(title, curves, ("periods a pixel", "power"), True)


def _table(rows: list[Record]) -> str:
    titles = (
        "sigma",
        "depth",
        "difference [dB]",
        "in standard errors",
        "rings",
        "typical of normal",
        "processes [s]",
        "networks [s]",
    )
    lines = []
    for row in rows:
        lines.append(
            (
                f"{row['sigma']:g}",
                str(row["depth"]),
                f"{row['largest_difference']:.2f}",
                f"{row['in_errors']:.1f}",
                str(row["rings"]),
                f"{row['typical']:.1f}",
                f"{row['process_seconds']:.2f}",
                f"{row['network_seconds']:.2f}",
            )
        )
    return reporting.markdown(titles, lines, words=0)


def _line(row: Record) -> str:
    return (
        f"sigma {row['sigma']:g}, depth {row['depth']}: spectra differ by up to "
        f"{row['largest_difference']:.2f} dB, {row['in_errors']:.1f} standard errors "
        f"in {row['rings']} rings"
    )


def main() -> int:
    """Runs under the flags."""
    run(config_from_flags())
    return 0


if __name__ == "__main__":
    common.main(main)
