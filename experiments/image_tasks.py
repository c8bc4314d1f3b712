"""The loop that restoration tasks share: every image, every method, all files.

A task brings two functions: `prepare` turns an image into a `Problem`, and `assess`
turns a method's mean into the picture to keep and its scores.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dipgp import progress
from dipgp.observations import Identity, LinearMap, Observation, observe
from dipgp.summaries import calibration, ssim
from experiments import (
    common,
    methods,
    network_options,
    noise,
    processes,
    reporting,
    results,
)
from experiments.common import UserError, require
from experiments.gp_method import GPOptions
from experiments.network_settings import NetworkSettings, Running
from experiments.restoration import Request, Restoration
from experiments.results import Record, Result

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
      options: the Gaussian process's; its noise_std, where white is 1, is what all
        methods are told of the noise; None has them estimate it.
      added_noise_std: standard deviation of the noise that is added to what is seen,
        where white is 1; None for the task's own.
      networks: by network method, its settings.
      running: what does not change the networks' numbers.
      float64: whether to compute in 64 bits.
    """

    output_dir: str
    images: tuple[str, ...] = ()
    methods: tuple[str, ...] = ("gp",)
    seed: int = 0
    noisy: bool = False
    options: GPOptions = dataclasses.field(default_factory=GPOptions)
    added_noise_std: float | None = None
    networks: Mapping[str, NetworkSettings] = dataclasses.field(default_factory=dict)
    running: Running = dataclasses.field(default_factory=Running)
    float64: bool = False

    def __post_init__(self) -> None:
        """Checks what can be checked without opening a file."""
        methods = ",".join(self.methods)
        known = ", ".join(common.METHODS)
        accepted = bool(self.methods) and set(self.methods) <= set(common.METHODS)
        require(accepted, "method", methods, f"a list among: {known}")
        unique = len(set(self.methods)) == len(self.methods)
        require(unique, "method", methods, "each method once")
        missing = set(self.methods) - set(self.networks) - {"gp"}
        accepted = not missing
        require(accepted, "method", methods, f"settings for {sorted(missing)}")
        for settings in self.networks.values():
            rules = (settings.stop_by, *(settings.stopping or ()))
            accepted = "discrepancy" not in rules or self.options.noise_std is not None
            require(accepted, "noise_std", None, "a number for the rule discrepancy")
        common.require_seed(self.seed)
        added = self.added_noise_std
        if added is not None and self.noisy:
            levels = common.GREY_LEVELS * added
            require(False, "added_noise_std", levels, "nothing beside --noisy")

    def noise_to_add(self, default: float) -> float:
        """Its standard deviation, where white is 1: given, else what methods are told.

        Args:
          default: grey levels of 255, where neither is a number.
        """
        told = self.options.noise_std or default / common.GREY_LEVELS
        return self.added_noise_std or told


# Compared by identity, as arrays are.
@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """An image to restore.

    Attributes:
      observation: what a method may see; unobserved pixels are zero, hence black.
      truth: (H, W, C) intensities, or None where they are unknown.
      shape: (H, W, C) of the image to restore; by default the observation's.
      forward: from an image to what the observation sees of it, before the mask.
      shown: (H, W, C) the figure's picture of what was observed; by default the
        observation's values.
      added_noise_std: standard deviation of the noise that was added, where white is 1.
    """

    observation: Observation
    truth: np.ndarray | None
    shape: tuple[int, int, int] | None = None
    forward: LinearMap = Identity()
    shown: np.ndarray | None = None
    added_noise_std: float = 0.0


Prepare = Callable[[np.ndarray], Problem]
Assess = Callable[[Problem, np.ndarray], tuple[np.ndarray, dict[str, float | None]]]


def shared_settings(
    experiment: str,
    protocol: str | None = None,
    default_methods: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Reads a `TaskConfig`'s fields from the flags, all but the method's options.

    Args:
      experiment: its name, which is the default folder's.
      protocol: key of `network_options.PRESETS`; by default the experiment's name.
      default_methods: where --method is absent; by default the flag's.
    """
    overrides = network_options.overrides_from_flags()
    chosen: Sequence[str] = common.METHOD.value
    if default_methods is not None and not common.METHOD.present:
        chosen = default_methods
    read = set(chosen) != {"gp"}
    for name, value in overrides.items():
        expected = "no such flag with --method=gp, which does not read it"
        require(read, name, value, expected)
    return {
        "output_dir": common.OUTPUT_DIR.value or f"runs/{experiment}",
        "images": tuple(common.IMAGE.value),
        "methods": tuple(chosen),
        "seed": common.SEED.value,
        "noisy": common.NOISY.value,
        "added_noise_std": common.added_noise_std(),
        "float64": common.FLOAT64.value,
        "networks": {
            method: network_options.settings(
                protocol or experiment, network_options.PRESET.value, method, overrides
            )
            for method in chosen
            if method in common.METHODS and method != "gp"
        },
        "running": network_options.running_from_flags(),
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
      Interrupted: where the run was asked to end; what is done is written.
    """
    images = common.expand_images(config.images, reserved=reporting.TABLE_FILES)
    order = list(images)
    shared = len(order) == 1 and jax.process_count() > 1
    speaks = processes.is_first() or not shared
    if shared:
        processes.check_work(config.networks, config.methods)
    with jax.enable_x64(config.float64):
        for path in images.values():
            _open_problem(path, prepare)  # bad input shows before hours of computing
        with processes.open_run_folders(config.output_dir, order) as folders:
            records: list[Record] = []
            for name in order if shared else processes.own_share(order):
                path = images[name]
                facts: Record = {
                    "experiment": experiment,
                    "image": name,
                    "path": None if path is None else str(path),
                }
                done = _finished(config, folders[name], facts)
                if shared and not processes.all_agree(done is not None):
                    done = None
                if done is None:
                    problem = _open_problem(path, prepare)
                    title = f"{1 + order.index(name)}/{len(order)} {name}"
                    done = _restore_image(
                        config, title, folders[name], problem, assess, facts, shared
                    )
                for record in done if speaks else ():
                    print(results.line(name, record), flush=True)
                records += done
            if len(images) > 1:
                records = processes.collect(records)
                records.sort(key=lambda record: order.index(str(record["image"])))
                columns = [*results.scores(records[0]), "seconds"]
                if processes.is_first():
                    folder = Path(config.output_dir)
                    print(reporting.write_table(folder, records, columns))
    return records


def _restore_image(
    config: TaskConfig,
    title: str,
    folder: Path,
    problem: Problem,
    assess: Assess,
    common_facts: Record,
    shared: bool,
) -> list[Record]:
    """One image by all methods; writes its folder, or has the first process do so."""
    seen = problem.observation.values
    height, width, channels = problem.shape or seen.shape
    done, clean = [], None
    if problem.truth is not None:
        clean = problem.forward(jnp.asarray(problem.truth, seen.dtype))
    writes = processes.is_first() or not shared
    with progress.show(title, writes) as report:
        request = Request(
            observation=problem.observation,
            shape=(height, width, channels),
            noise_known=config.options.noise_std is not None,
            truth=problem.truth,
            seed=config.seed,
            folder=folder,
            report=report,
            forward=problem.forward,
            devices=config.running.devices,
            shared=shared,
        )
        for method, restoration in methods.restore(
            config.methods, request, config.options, config.networks, config.running
        ):
            mean = np.where(np.isfinite(restoration.mean), restoration.mean, np.nan)
            picture, scores = assess(problem, mean)
            facts = common_facts | {"shape": picture.shape}
            if restoration.std is not None and problem.truth is not None:
                facts |= _agreement(restoration.std, mean - problem.truth)
            facts["noise_std"] = noise.account(
                config.options.noise_std,
                restoration,
                problem.observation,
                problem.added_noise_std,
                clean,
            )
            record = _record(config, method, restoration, scores) | facts
            done.append(Result(method, restoration, picture, record))
    # In the order asked for; methods that share a run come together.
    done.sort(key=lambda result: config.methods.index(result.method))
    if not writes:
        return [result.record for result in done]
    shown = np.asarray(seen) if problem.shown is None else problem.shown
    return results.write(folder, shown, problem.truth, done)


def _agreement(std: np.ndarray, error: np.ndarray) -> Record:
    """Whether a restoration errs where it says that it may.

    The rank correlation of standard deviation and size of the error, over pixels and
    channels; and the share of errors within two standard deviations.
    """
    return {
        "std_error_rank_correlation": calibration.rank_correlation(error, std),
        "error_within_2_std": float(np.mean(np.abs(error) < 2 * std)),
    }


def _finished(
    config: TaskConfig, folder: Path, common_facts: Record
) -> list[Record] | None:
    """The records of an image that an interrupted run had finished, if it had."""
    if not config.running.resume:
        return None
    records = []
    for method in config.methods:
        try:
            text = results.metrics_file(folder, method, config.methods).read_text()
            record = json.loads(text)
        except (OSError, ValueError):
            return None
        if not isinstance(record, dict):
            return None
        same = _comparable(record.get("configuration")) == _comparable(
            reporting.plain(dataclasses.asdict(config))
        )
        if not same or any(
            record.get(key) != fact for key, fact in common_facts.items()
        ):
            return None
        records.append(record)
    return records


def _comparable(configuration: object) -> object:
    """A configuration without what does not change numbers."""
    if not isinstance(configuration, dict):
        return None
    idle = ("output_dir", "images", "running")
    return {key: value for key, value in configuration.items() if key not in idle}


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
        **restoration.facts,
        "hyperparameters": restoration.hyperparameters,
        "seed": config.seed,
        **reporting.provenance(config),
    }
