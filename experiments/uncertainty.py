"""Whether posteriors err as often, and where, as their standard deviations say.

Half of the pixels of the bundled photograph go missing, the others get a little noise,
and a tenth of these is withheld. A Gaussian process restores the picture, with a
standard deviation at each pixel, and is judged by the withheld values: how many lie
within its central intervals of 50 %, 90 %, ..., how probable it made them, and how
large errors are where it says so:

  python -m experiments.uncertainty

Other pictures, a sampler of a network's weights beside the process, a picture's centre:

  python -m experiments.uncertainty --image='photos/*.png' --crop=256
  python -m experiments.uncertainty --method=gp,psgld --crop=96 --iterations=600

Denoising, where no pixel is dropped, and a picture that is noisy already, for which no
truth is needed:

  python -m experiments.uncertainty --drop_fraction=0 --noise_std=25
  python -m experiments.uncertainty --image=dusk.jpg --noisy --drop_fraction=0

Pictures drawn from the process itself are a test of the test: coverage must be nominal
within its errors, which are over independent draws. The process is told its
hyperparameters, or chooses them by evidence, as it does on pictures:

  python -m experiments.uncertainty --prior_samples=100
  python -m experiments.uncertainty --prior_samples=100 --depth=1 --sigma=1

Where values are not covered, a half of the withheld pixels tells another law of errors
in units of the standard deviation: "scale" inflates all variances alike, "student" has
heavy tails, "quantiles" takes intervals from sorted errors (split conformal prediction,
which covers pixels that the same lot dropped, whatever the picture). The other half
scores all of them.

A value withheld has noise: its variance is the posterior's plus the noise's. Errors of
coverage are the spread over an 8x8 grid of blocks of the picture, since neighbouring
pixels depend on each other; metrics.json has the binomial errors too, which do not know
that. Over several pictures, and over draws, errors are of the mean over them.

Results in --output_dir, one folder an image where there are several:

  figure.png         standard deviations and errors; coverage less its level, before and
                     after recalibration; errors by predicted standard deviation
  table.md           coverage, width of intervals, negative log density
  metrics.json       all numbers, configuration, versions
  observed.png       what was seen; truth.png, where it is known
  uncertainty_*.npz  by method: mean, std, and which pixels were scored

Exit status: 0 done, 1 a method did not converge, 2 bad input, 130 interrupted.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from absl import flags

from dipgp import progress
from dipgp.figures import save_figure
from dipgp.progress import Report
from experiments import (
    common,
    gp_method,
    methods,
    reporting,
    uncertainty_cases,
    uncertainty_figures,
    uncertainty_files,
    uncertainty_options,
    uncertainty_scores,
)
from experiments.restoration import Request, Restoration
from experiments.run_folders import open_run_folder, open_run_folders
from experiments.uncertainty_cases import Case
from experiments.uncertainty_options import UncertaintyConfig, config_from_flags

flags.adopt_module_key_flags(uncertainty_options)

Record = dict[str, Any]
Restorations = list[tuple[str, Restoration]]

# The process that chooses its hyperparameters, beside the one that knows the prior.
BY_EVIDENCE = "gp, by evidence"


def run(config: UncertaintyConfig) -> list[Record]:
    """Scores all methods on all pictures and writes the results.

    Args:
      config: what to do.

    Returns:
      The records of metrics.json: one a picture and method, or one a way of choosing
      hyperparameters, averaged over the draws from the prior.

    Raises:
      UserError: on bad input, before anything is written.
      Interrupted: where the run was asked to end.
    """
    with jax.enable_x64(config.float64):
        if config.prior_samples:
            return _score_draws(config)
        return _score_pictures(config)


def _score_pictures(config: UncertaintyConfig) -> list[Record]:
    images = common.expand_images(config.images, reserved=("table.md",))

    def open_case(path: Path | None) -> Case:
        picture = uncertainty_cases.crop(config, common.open_image(path))
        return uncertainty_cases.make_case(config, picture)

    for path in images.values():
        open_case(path)  # bad input shows before hours of computing
    with open_run_folders(config.output_dir, list(images)) as folders:
        return _score_each(config, images, folders, open_case)


def _score_each(
    config: UncertaintyConfig,
    images: Mapping[str, Path | None],
    folders: Mapping[str, Path],
    open_case: Callable[[Path | None], Case],
) -> list[Record]:
    """Scores the methods on each picture and writes its results, and a table."""
    records: list[Record] = []
    rows = []
    for number, (name, path) in enumerate(images.items(), start=1):
        folder, case = folders[name], open_case(path)
        with progress.show(f"{number}/{len(images)} {name}") as report:
            restorations = list(restore(config, case, folder, report))
        scores = []
        for method, restoration in restorations:
            files = uncertainty_files.save_maps(folder, method, restoration, case)
            found = {**_record(config, case, restoration), "files": files}
            records.append({"image": name, "method": method, **found})
            print(_line(records[-1]), flush=True)
            if "forms" in found:
                scores.append((method, found))
        rows += [(name, method, found) for method, found in scores]
        drawn = uncertainty_figures.figure(case, restorations, scores)
        save_figure(folder / "figure.png", drawn)
        own = [record for record in records if record["image"] == name]
        uncertainty_files.write_record(folder, config, own)
    if len(images) > 1:
        rows += _averages(rows)
    uncertainty_files.write_table(config, rows)
    return records


def _score_draws(config: UncertaintyConfig) -> list[Record]:
    with open_run_folder(config.output_dir) as folder:
        return _score_drawn(config, folder)


def _score_drawn(config: UncertaintyConfig, folder: Path) -> list[Record]:
    found: dict[str, list[Record]] = {}
    shown: tuple[Case, Restorations] | None = None
    with progress.show("draws from the prior") as report:
        for number, picture in enumerate(uncertainty_cases.draw_pictures(config)):
            done = number / config.prior_samples
            report(f"{number} of {config.prior_samples}", done)
            case = uncertainty_cases.make_case(config, picture, number)
            restorations = list(restore(config, case))
            shown = shown or (case, restorations)
            for method, restoration in restorations:
                record = _record(config, case, restoration)
                found.setdefault(method, []).append(record)
    records = []
    for method, each in found.items():
        scored = [record for record in each if "forms" in record]
        averaged = uncertainty_scores.average(scored) if len(scored) > 1 else {}
        converged = all(record["converged"] for record in each)
        seconds = sum(record["seconds"] for record in each)
        facts = {"image": "prior", "method": method, "converged": converged}
        records.append({**facts, "seconds": seconds, **averaged})
        print(_line(records[-1]), flush=True)
    assert shown is not None
    scores = [(record["method"], record) for record in records if "forms" in record]
    save_figure(folder / "figure.png", uncertainty_figures.figure(*shown, scores))
    uncertainty_files.write_record(folder, config, records)
    uncertainty_files.write_table(config, [("prior", *named) for named in scores])
    return records


def restore(
    config: UncertaintyConfig,
    case: Case,
    folder: Path | None = None,
    report: Report = progress.say_nothing,
) -> Iterator[tuple[str, Restoration]]:
    """Restores a picture by all methods; draws also without knowing the prior.

    Args:
      config: the run's.
      case: the picture.
      folder: for what is needed to go on after an interruption; None keeps nothing.
      report: is told how far the work is.

    Yields:
      Name and restoration.
    """
    request = Request(
        observation=case.observation,
        shape=case.shape,
        noise_known=config.options.noise_std is not None,
        truth=case.truth,
        seed=config.seed,
        folder=folder,
        report=report,
        devices=config.running.devices,
    )
    yield from methods.restore(
        config.methods, request, config.options, config.networks, config.running
    )
    if config.prior_samples:
        free = dataclasses.replace(
            config.options, depth=None, sigma=None, amplitude=None
        )
        yield BY_EVIDENCE, gp_method.restore(request, free)


def _record(config: UncertaintyConfig, case: Case, restoration: Restoration) -> Record:
    """How the method fared, and its scores where it has a standard deviation."""
    residuals = case.residuals(restoration)
    record: Record = {
        "converged": restoration.converged and residuals is not None,
        "message": restoration.message,
        "seconds": restoration.seconds,
        "iterations": restoration.iterations,
        "hyperparameters": restoration.hyperparameters,
        **restoration.facts,
    }
    if residuals is None:
        return {**record, "message": f"{restoration.message}; nothing to score"}
    return {**record, **uncertainty_scores.score(*residuals)}


def _averages(
    rows: Sequence[tuple[str, str, Record]],
) -> list[tuple[str, str, Record]]:
    """A row a method that scored several pictures."""
    by_method: dict[str, list[Record]] = {}
    for _, method, found in rows:
        by_method.setdefault(method, []).append(found)
    return [
        ("mean", method, uncertainty_scores.average(found))
        for method, found in by_method.items()
        if len(found) > 1
    ]


def _line(record: Record) -> str:
    line = f"{record['image']}: {record['method']}: "
    if "forms" in record:
        line += f"{uncertainty_scores.summary(record)}, "
    line += reporting.format_number("seconds", record["seconds"])
    if not record["converged"]:
        line += f", NOT CONVERGED: {record.get('message', 'some of the draws')}"
    return line


def main() -> int:
    """Runs under the flags."""
    records = run(config_from_flags())
    return 0 if all(record["converged"] for record in records) else 1


if __name__ == "__main__":
    common.main(main)
