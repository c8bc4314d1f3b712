"""What the restoration tasks write of an image: pictures, figure, numbers, traces."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dipgp.figures import Curve, Figure, Plot, overview, panels, save_figure
from dipgp.files import write_atomically
from dipgp.images import save_image
from experiments import noise, reporting
from experiments.restoration import Restoration

Record = dict[str, object]

# Which of a method's PSNRs is its own; the output's is drawn thin beside it.
OWN_SCORES = {
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
) -> list[Record]:
    """Writes all files of an image; the records last, since they say that it is done.

    Args:
      folder: where to.
      observed: (H, W, C) picture of what was seen.
      truth: (H, W, C) intensities, or None.
      done: one result a method.

    Returns:
      What metrics.json holds, for each method: its record, and under "files" the names
      of what was written, since a folder may hold files of earlier runs as well.
    """
    names = [result.method for result in done]
    shared = write_pictures(folder, observed, truth)
    files = [
        shared | _write_restoration(folder, result, _suffix(result.method, names))
        for result in done
    ]
    save_figure(folder / "figure.png", _figure(observed, truth, done))
    records = []
    for result, own in zip(done, files, strict=True):
        path = metrics_file(folder, result.method, names)
        records.append({**result.record, "files": {**own, "figure": "figure.png"}})
        reporting.write_json(path, records[-1])
    return records


def write_pictures(
    folder: Path, observed: np.ndarray, truth: np.ndarray | None
) -> dict[str, str]:
    """Writes what was seen, and what is true where it is known.

    Args:
      folder: where to.
      observed: (H, W, C) intensities; clipped to [0, 1].
      truth: likewise, or None.

    Returns:
      The files' names by what they hold.
    """
    files = {"observed": "observed.png"}
    save_image(folder / files["observed"], observed)
    if truth is not None:
        files["truth"] = "truth.png"
        save_image(folder / files["truth"], truth)
    return files


def _write_restoration(folder: Path, result: Result, suffix: str) -> dict[str, str]:
    """Writes what a method made; gives the files' names by what they hold."""
    restoration = result.restoration
    files = {"restored": f"restored{suffix}.png"}
    save_image(folder / files["restored"], _drawable(result.picture))
    if restoration.std is not None:
        files["std"] = f"uncertainty{suffix}.npz"
        files["std_picture"] = f"uncertainty{suffix}.png"
        reporting.write_arrays(folder / files["std"], {"std": restoration.std})
        spread = np.sqrt(np.mean(np.square(restoration.std), axis=2))
        shade = spread / (float(spread.max()) or 1.0)
        save_image(folder / files["std_picture"], shade[:, :, None])
    if restoration.samples is not None:
        files["samples"] = f"samples{suffix}.npz"
        samples = {"samples": restoration.samples}
        reporting.write_arrays(folder / files["samples"], samples)
    if restoration.trace:
        files["trace"] = f"trace{suffix}.csv"
        _save_trace(folder / files["trace"], restoration)
    return files


def scores(record: Record) -> list[str]:
    """Names of what the task scored."""
    kinds = ("psnr", "ssim")
    return [key for key in record if key.split("_")[0] in kinds]


def line(name: str, record: Record) -> str:
    """What a log says of an image by a method."""
    facts = [
        f"{reporting.title(score)} {reporting.format_number(score, record[score])}"
        for score in scores(record)
        if record[score] is not None
    ]
    facts.append(reporting.format_number("seconds", record["seconds"]))
    facts.append(f"{record['iterations']} iterations")
    facts += noise.in_words(record["noise_std"])
    if not record["converged"]:
        facts.append(f"NOT CONVERGED: {record['message']}")
    return f"{name}: {record['method']}: {', '.join(facts)}"


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
    own = OWN_SCORES.get(result.method, "psnr") if scored else "fit"
    iterations = 1 + np.arange(trace["fit"].shape[-1])
    curves = [Curve(result.method, iterations, trace[own])]
    if own != "psnr" and scored:
        curves.append(Curve(result.method, iterations, trace["psnr"], dashed=True))
    return curves


def _save_trace(path: Path, restoration: Restoration) -> None:
    trace = restoration.trace
    names = list(trace)
    rows = np.stack([trace[name] for name in names], axis=1)
    lines = [",".join(["iteration", *names])]
    for iteration, row in enumerate(rows, start=1):
        lines.append(",".join([str(iteration), *(f"{value:.7g}" for value in row)]))
    text = "\n".join(lines)
    write_atomically(path, f"{text}\n".encode())
