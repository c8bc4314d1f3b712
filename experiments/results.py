"""What the restoration tasks write of an image: pictures, figure, numbers, traces."""

import dataclasses
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dipgp.figures import Curve, Figure, Plot, overview, panels, save_figure
from dipgp.files import write_atomically
from dipgp.images import save_image
from experiments import reporting
from experiments.restoration import Restoration

Record = dict[str, object]

# Which of a method's PSNRs is its own; the output's is drawn thin beside it.
_OWN_SCORES = {
    "sgd_avg": "psnr_average",
    "sgd_input_avg": "psnr_average",
    "sgld": "psnr_mean",
    "psgld": "psnr_mean",
    "noisy_adam": "psnr_mean",
}


@dataclasses.dataclass(frozen=True)
class Result:
    """A method's restoration of an image.

    Attributes:
      method: its name.
      restoration: what it handed back.
      picture: (H, W, C) the picture to keep, unclipped.
      record: what metrics.json holds.
    """

    method: str
    restoration: Restoration
    picture: np.ndarray
    record: Record


def metrics_file(folder: Path, method: str, methods: Sequence[str]) -> Path:
    """Where a method's record of an image is."""
    return folder / f"metrics{_suffix(method, methods)}.json"


def write(
    folder: Path,
    observed: np.ndarray,
    truth: np.ndarray | None,
    done: Sequence[Result],
) -> None:
    """Writes all files of an image; the records last, since they say that it is done.

    Args:
      folder: where to.
      observed: (H, W, C) picture of what was seen, for the figure.
      truth: (H, W, C) intensities, or None.
      done: one result a method.
    """
    names = [result.method for result in done]
    for result in done:
        suffix = _suffix(result.method, names)
        restoration = result.restoration
        save_image(folder / f"restored{suffix}.png", _drawable(result.picture))
        if restoration.std is not None:
            std = restoration.std
            _save_array(folder / f"uncertainty{suffix}.npz", "std", std)
            spread = np.sqrt(np.mean(np.square(std), axis=2))
            shade = spread / (float(spread.max()) or 1.0)
            save_image(folder / f"uncertainty{suffix}.png", shade[:, :, None])
        if restoration.samples is not None:
            path = folder / f"samples{suffix}.npz"
            _save_array(path, "samples", restoration.samples)
        if restoration.trace:
            _save_trace(folder / f"trace{suffix}.csv", restoration)
    save_figure(folder / "figure.png", _figure(observed, truth, done))
    for result in done:
        path = metrics_file(folder, result.method, names)
        reporting.write_json(path, result.record)


def _suffix(method: str, methods: Sequence[str]) -> str:
    return "" if len(methods) == 1 else f"_{method}"


def _drawable(picture: np.ndarray) -> np.ndarray:
    """A method that diverged leaves its mark as black pixels."""
    return np.nan_to_num(picture, nan=0.0)


def _figure(
    observed: np.ndarray, truth: np.ndarray | None, done: Sequence[Result]
) -> Figure:
    images = [("observed", observed)]
    for result in done:
        title, psnr = result.method, result.record["psnr"]
        if psnr is not None:
            title += f", {reporting.format_number('psnr', psnr)}"
        images.append((title, _drawable(result.picture)))
    if truth is not None:
        images.append(("truth", truth))
    if len(done) == 1 and not done[0].restoration.trace:
        errors = []
        if truth is not None:
            errors = [("restored - truth", _drawable(done[0].picture) - truth)]
        return panels(images, errors)
    deviations = [
        (f"{result.method}, standard deviation", result.restoration.std)
        for result in done
        if result.restoration.std is not None
    ]
    scored = truth is not None
    curves = [curve for result in done for curve in _curves(result, scored)]
    quantity = "PSNR [dB]" if scored else "fit to the data [dB]"
    frames = [Plot("", curves, ("iteration", quantity))] if curves else []
    return overview(images, deviations, frames)


def _curves(result: Result, scored: bool) -> list[Curve]:
    trace = result.restoration.trace
    if not trace:
        return []
    own = _OWN_SCORES.get(result.method, "psnr") if scored else "fit"
    iterations = 1 + np.arange(trace["fit"].shape[-1])
    curves = [Curve(result.method, iterations, trace[own])]
    if own != "psnr" and scored:
        curves.append(Curve(result.method, iterations, trace["psnr"], dashed=True))
    return curves


def _save_array(path: Path, name: str, array: np.ndarray) -> None:
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **{name: array})
    write_atomically(path, content.getvalue())


def _save_trace(path: Path, restoration: Restoration) -> None:
    trace = restoration.trace
    names = list(trace)
    rows = np.stack([trace[name] for name in names], axis=1)
    lines = [",".join(["iteration", *names])]
    for iteration, row in enumerate(rows, start=1):
        lines.append(",".join([str(iteration), *(f"{value:.7g}" for value in row)]))
    text = "\n".join(lines)
    write_atomically(path, f"{text}\n".encode())
