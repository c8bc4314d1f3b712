"""The pictures of the comparison of architectures."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from dipgp.figures import Curve, Plot, overview, plots, save_figure
from experiments.architectures_cases import Problem
from experiments.architectures_fall import Fall
from experiments.architectures_options import (
    ArchitecturesConfig,
    Case,
    depth_in_words,
)
from experiments.cells import Cell
from experiments.images_as_text import from_text

Done = Mapping[Case, tuple[Cell, Cell]]

_SHOWN_LAGS = 64


def save(
    folder: Path,
    config: ArchitecturesConfig,
    problem: Problem,
    plain: Mapping[int, Fall],
    done: Done,
) -> None:
    """Draws and writes them.

    Args:
      folder: where to.
      config: of the run.
      problem: what was restored.
      plain: by depth, how the paper's autoencoder's covariance falls.
      done: of each case, what its process and its descent gave.
    """
    save_figure(folder / "figure.png", plots(_kernels(config, plain, done)))
    priors, restorations = [], []
    for case, (process, descent) in done.items():
        for kind, name in (("GP", "process_draw"), ("network", "network_draw")):
            priors.append((f"{kind}, {case}", from_text(process[name])))
        for kind, cell in (("GP", process), ("SGD", descent)):
            score = "-" if cell["psnr"] is None else f"{cell['psnr']:.2f} dB"
            title = f"{kind}, {case}, {score}"
            restorations.append((title, from_text(cell["restored"])))
    save_figure(folder / "priors.png", overview(priors))
    given = [("truth", problem.truth), ("in noise", problem.noisy)]
    save_figure(folder / "restorations.png", overview([*restorations, *given]))
    save_figure(folder / "psnr.png", plots(_scores(config, plain, done)))


def _kinds(config: ArchitecturesConfig) -> list[tuple[str, int]]:
    skips = config.skip_channels
    return [("no skips", 0), (f"{skips} skip channels", skips)]


def _kernels(
    config: ArchitecturesConfig, plain: Mapping[int, Fall], done: Done
) -> list[list[Plot]]:
    """By lag; and from 1 to 0, by lag in units of the coarsest scale's pixels."""
    found = {
        f"hourglass, {title}": {
            depth: done[Case(depth, skips)][0] for depth in config.halvings
        }
        for title, skips in _kinds(config)
    }
    found["the paper's autoencoder, no skips"] = {
        depth: {"lags": fall.lags, "cosine": fall.cosine, "shape": fall.shape}
        for depth, fall in plain.items()
    }
    above, below = [], []
    for title, cells in found.items():
        by_lag, by_scale = [], []
        for depth, cell in cells.items():
            lags = np.asarray(cell["lags"])
            label, scaled = depth_in_words(depth), lags / 2**depth
            near, level = lags <= _SHOWN_LAGS, scaled <= 4
            cosine, shape = np.asarray(cell["cosine"]), np.asarray(cell["shape"])
            by_lag.append(Curve(label, lags[near], cosine[near]))
            by_scale.append(Curve(label, scaled[level], shape[level]))
        above.append(Plot(title, by_lag, ("lag in pixels", "cos theta")))
        below.append(Plot(title, by_scale, ("lag / 2^halvings", "part of the fall")))
    return [above, below]


def _scores(
    config: ArchitecturesConfig, plain: Mapping[int, Fall], done: Done
) -> list[list[Plot]]:
    depths = np.array(config.halvings)

    def curve(
        label: str, skips: int, read: Callable[[Cell, Cell], float | None]
    ) -> Curve:
        found = [read(*done[Case(depth, skips)]) for depth in config.halvings]
        # None where a rule did not stop, which is not drawn.
        return Curve(label, depths, np.array(found, float), dashed=skips > 0)

    lags = [
        curve("hourglass (dashed: with skips)", skips, lambda gp, _: gp["half_lag"])
        for _, skips in _kinds(config)
    ]
    half = np.array([plain[depth].half for depth in config.halvings])
    lags.append(Curve("the paper's autoencoder", depths, half))
    scores = [
        curve(label, skips, read)
        for _, skips in _kinds(config)
        for label, read in (
            ("GP (dashed: with skips)", lambda gp, _: gp["psnr"]),
            (f"SGD at {config.stop_at}", lambda _, sgd: sgd["psnr"]),
            ("SGD, peak", lambda _, sgd: sgd["peak"]),
            ("SGD, discrepancy", lambda _, sgd: sgd["stopped_psnr"]),
        )
    ]
    rows = [
        [
            Plot("half lag", lags, ("halvings", "pixels")),
            Plot("PSNR", scores, ("halvings", "PSNR [dB]")),
        ],
        [],
    ]
    for title, skips in _kinds(config):
        traces = []
        for depth in config.halvings:
            trace = np.array(done[Case(depth, skips)][1]["trace"], float)
            iterations = 1 + np.arange(trace.size)
            traces.append(Curve(depth_in_words(depth), iterations, trace))
        rows[1].append(Plot(f"descent, {title}", traces, ("iteration", "PSNR [dB]")))
    return rows
