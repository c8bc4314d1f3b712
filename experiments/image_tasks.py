"""The loop that restoration tasks share: every image, every method, all files.

A task brings two functions: `prepare` turns an image into a `Problem`, and `assess`
turns a method's mean into the picture to keep and its scores.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from dipgp.figures import panels, save_figure
from dipgp.images import save_image
from dipgp.observations import Observation, observe
from dipgp.summaries import ssim
from experiments import common, reporting
from experiments.common import UserError, require
from experiments.gp_method import GPOptions
from experiments.restoration import Restoration

# Stands in an observation whose noise a method is to estimate: one grey level.
STARTING_NOISE_STD = 1.0 / common.GREY_LEVELS


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskConfig:
    """What all restoration tasks are told.

    Attributes:
      output_dir: folder of the results.
      images: paths and globs; the default photograph where there are none.
      methods: keys of `common.METHODS`.
      seed: of all draws. Every image gets the same draws, so that an image's result
        does not depend on which others are in the run.
      noisy: whether the images are damaged already and no truth is known.
      options: the Gaussian process's; its noise_std, where white is 1, is also the
        observation's.
      float64: whether to compute in 64 bits.
    """

    output_dir: str
    images: tuple[str, ...] = ()
    methods: tuple[str, ...] = ("gp",)
    seed: int = 0
    noisy: bool = False
    options: GPOptions = dataclasses.field(default_factory=GPOptions)
    float64: bool = False

    def __post_init__(self) -> None:
        """Checks what can be checked without opening a file."""
        methods = ",".join(self.methods)
        known = ", ".join(common.METHODS)
        accepted = bool(self.methods) and set(self.methods) <= set(common.METHODS)
        require(accepted, "method", methods, f"a list among: {known}")
        unique = len(set(self.methods)) == len(self.methods)
        require(unique, "method", methods, "each method once")
        accepted = 0 <= self.seed < 2**32
        require(accepted, "seed", self.seed, "a number from 0 to 4294967295")


@dataclasses.dataclass(frozen=True)
class Problem:
    """An image to restore.

    Attributes:
      observation: what a method may see; unobserved pixels are zero, hence black.
      truth: (H, W, C) intensities, or None where they are unknown.
    """

    observation: Observation
    truth: np.ndarray | None


Prepare = Callable[[np.ndarray], Problem]
Assess = Callable[[Problem, np.ndarray], tuple[np.ndarray, dict[str, float | None]]]
Record = dict[str, object]


def shared_settings(experiment: str) -> dict[str, Any]:
    """Reads a `TaskConfig`'s fields from the flags, all but the method's options."""
    return {
        "output_dir": common.OUTPUT_DIR.value or f"runs/{experiment}",
        "images": tuple(common.IMAGE.value),
        "methods": tuple(common.METHOD.value),
        "seed": common.SEED.value,
        "noisy": common.NOISY.value,
        "float64": common.FLOAT64.value,
    }


def observe_image(
    config: TaskConfig, values: np.ndarray, mask: np.ndarray | None = None
) -> Observation:
    """Puts what is seen of an image in the run's precision and noise.

    Args:
      config: the run's.
      values: (H, W, C) intensities.
      mask: (H, W), true where a pixel is observed; everything by default.

    Returns:
      The observation; `STARTING_NOISE_STD` stands for a noise to be estimated.
    """
    noise_std = config.options.noise_std
    return observe(
        values.astype(np.float64 if config.float64 else np.float32),
        mask,
        noise_std=STARTING_NOISE_STD if noise_std is None else noise_std,
    )


def ssim_or_none(image: np.ndarray, truth: np.ndarray) -> float | None:
    """SSIM, or None for images smaller than its window."""
    try:
        return ssim(image, truth)
    except ValueError:
        return None


def restore_images(
    config: TaskConfig, experiment: str, prepare: Prepare, assess: Assess
) -> list[Record]:
    """Restores all images of a run and writes what `metrics.json` and tables hold.

    Args:
      config: the run's.
      experiment: its name, for the records.
      prepare: from (H, W, C) intensities to the problem; called twice per image, and
        must give the same again.
      assess: from problem and mean to the picture to keep, unclipped, and its scores
        by name; None for a score that is not known.

    Returns:
      What metrics.json holds, for each image and method.

    Raises:
      UserError: on bad input, before anything is written.
    """
    images = common.expand_images(config.images, reserved=reporting.TABLE_FILES)
    with jax.enable_x64(config.float64):
        for path in images.values():
            _open_problem(path, prepare)  # bad input shows before hours of computing
        folders = reporting.create_run_folders(config.output_dir, list(images))
        records: list[Record] = []
        for name, path in images.items():
            problem = _open_problem(path, prepare)
            for method in config.methods:
                title = f"{len(records) + 1}/{len(images) * len(config.methods)} {name}"
                with reporting.progress(f"{title}: {method}") as report:
                    restore = common.METHODS[method]
                    restoration = restore(problem.observation, config.options, report)
                mean = np.where(np.isfinite(restoration.mean), restoration.mean, np.nan)
                picture, scores = assess(problem, mean)
                record = _record(config, method, restoration, scores) | {
                    "experiment": experiment,
                    "image": name,
                    "path": None if path is None else str(path),
                    "shape": picture.shape,
                }
                suffix = "" if len(config.methods) == 1 else f"_{method}"
                _write(folders[name], suffix, problem, picture, record)
                _print_line(name, record, list(scores))
                records.append(record)
    if len(images) > 1:
        columns = [*scores, "seconds"]
        print(reporting.write_table(Path(config.output_dir), records, columns))
    return records


def exit_status(records: list[Record]) -> int:
    """0, or 1 where a method did not converge."""
    return 0 if all(record["converged"] for record in records) else 1


def _open_problem(path: Path | None, prepare: Prepare) -> Problem:
    image = common.open_image(path)
    try:
        return prepare(image)
    except ValueError as error:
        raise UserError(f"{error} (image {path or common.DEFAULT_IMAGE})") from error


def _record(
    config: TaskConfig,
    method: str,
    restoration: Restoration,
    scores: dict[str, float | None],
) -> Record:
    finite = bool(np.isfinite(restoration.mean).all())
    return {
        "method": method,
        **scores,
        "seconds": restoration.seconds,
        "iterations": restoration.iterations,
        "residual": restoration.residual,
        "converged": restoration.converged and finite,
        "message": restoration.message,
        "hyperparameters": restoration.hyperparameters,
        "seed": config.seed,
        "configuration": dataclasses.asdict(config),
        "versions": reporting.versions(),
    }


def _write(
    folder: Path, suffix: str, problem: Problem, picture: np.ndarray, record: Record
) -> None:
    # A method that diverged leaves its mark as black pixels.
    picture = np.nan_to_num(picture, nan=0.0)
    psnr = record["psnr"]
    title = str(record["method"])
    if psnr is not None:
        title += f", {reporting.format_number('psnr', psnr)}"
    images = [("observed", np.asarray(problem.observation.values)), (title, picture)]
    errors = []
    if problem.truth is not None:
        images.append(("truth", problem.truth))
        errors.append(("restored - truth", picture - problem.truth))
    save_image(folder / f"restored{suffix}.png", picture)
    save_figure(folder / f"figure{suffix}.png", panels(images, errors))
    reporting.write_json(folder / f"metrics{suffix}.json", record)


def _print_line(name: str, record: Record, scores: list[str]) -> None:
    facts = [
        f"{reporting.title(score)} {reporting.format_number(score, record[score])}"
        for score in scores
        if record[score] is not None
    ]
    facts.append(reporting.format_number("seconds", record["seconds"]))
    facts.append(f"{record['iterations']} iterations")
    if not record["converged"]:
        facts.append(f"NOT CONVERGED: {record['message']}")
    # Flushed, so that a log shows how far a long run has come.
    print(f"{name}: {record['method']}: {', '.join(facts)}", flush=True)
