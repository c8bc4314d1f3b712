"""What calibration says of a method on an image, and of the mean over images."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dipgp.summaries import calibration, recalibrate
from dipgp.summaries.calibration import Residuals
from dipgp.summaries.recalibration import Law, Normal
from experiments import reporting
from experiments.common import GREY_LEVELS

# Of the intervals; those of the table among them.
LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
SHOWN = (0.5, 0.8, 0.9, 0.95, 0.99)
AS_PREDICTED = "as predicted"
_WIDTH_LEVEL = 0.9
_MOST_BINS, _VALUES_A_BIN = 10, 20

Record = dict[str, Any]


def score(scored: Residuals, recalibrating: Residuals | None) -> Record:
    """All numbers of a method on an image.

    Args:
      scored: of values that no method has seen.
      recalibrating: of others, by which the laws of residuals are estimated; None
        scores the posterior as it is.

    Returns:
      JSON values. "forms" holds, by form of the law of residuals, coverage with both of
      its errors, the negative log density, and the mean half width of the intervals of
      level 0.9. Lengths are those of the image, where white is 1.
    """
    laws: dict[str, Law] = {AS_PREDICTED: Normal()}
    if recalibrating is not None:
        standardised = recalibrating.standardised
        laws["scale"] = recalibrate(standardised, "scale")
        laws["student"] = recalibrate(standardised, "student")
        laws["quantiles"] = recalibrate(standardised, "quantiles")
    count = scored.error.size
    bins = calibration.error_by_std(
        scored, max(1, min(_MOST_BINS, count // _VALUES_A_BIN))
    )
    return {
        "values": count,
        "rms_error": float(np.sqrt(np.mean(scored.error**2))),
        "rms_std": float(np.sqrt(np.mean(scored.std**2))),
        "rank_correlation": calibration.rank_correlation(scored.error, scored.std),
        "levels": LEVELS,
        "forms": {form: _judge(scored, law) for form, law in laws.items()},
        "bins": bins._asdict(),
    }


def _judge(scored: Residuals, law: Law) -> Record:
    covered = calibration.coverage(scored, LEVELS, law)
    cost = calibration.negative_log_density(scored, law)
    told = {} if cost is None else cost._asdict()
    width = law.half_widths(np.array([_WIDTH_LEVEL]))[0] * np.mean(scored.std)
    settings = dataclasses.asdict(law)
    settings.pop("sizes", None)  # as many as pixels
    return {
        "law": settings,
        "coverage": covered._asdict(),
        "negative_log_density": told or None,
        "half_width": float(width),
    }


def average(records: Sequence[Record]) -> Record:
    """The mean over images of what `score` gave, with standard errors over images.

    Each image counts once, whatever its size, and the errors take the place of the
    errors within an image ("block_error"), which they include.
    """
    forms = {
        form: {
            "law": _mean([record["forms"][form]["law"] for record in records]),
            "coverage": _over(records, form, "coverage"),
            "negative_log_density": _over(records, form, "negative_log_density"),
            "half_width": _mean_and_error(
                [record["forms"][form]["half_width"] for record in records]
            )[0],
        }
        for form in records[0]["forms"]
    }
    fewest = min(len(record["bins"]["std"]) for record in records)
    std, error = (
        _mean_and_error([record["bins"][name][:fewest] for record in records])
        for name in ("std", "error")
    )
    return {
        "images": len(records),
        "values": sum(record["values"] for record in records),
        **_mean(
            [
                {name: record[name] for name in ("rms_error", "rms_std")}
                for record in records
            ]
        ),
        "rank_correlation": float(
            np.mean([record["rank_correlation"] for record in records])
        ),
        "levels": LEVELS,
        "forms": forms,
        "bins": {"std": std[0], "error": error[0], "standard_error": error[1]},
    }


def _mean(records: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {
        name: float(np.mean([record[name] for record in records]))
        for name in records[0]
    }


def _mean_and_error(numbers: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
    stacked = np.array(numbers, np.float64)
    return stacked.mean(axis=0), stacked.std(axis=0, ddof=1) / math.sqrt(len(stacked))


def _over(records: Sequence[Record], form: str, quantity: str) -> Record | None:
    """The mean over images in the shape of an `Estimate`."""
    told = [record["forms"][form][quantity] for record in records]
    if any(found is None for found in told):
        return None
    value, error = _mean_and_error([found["value"] for found in told])
    # As if all residuals of all images were independent.
    within = _mean_and_error([found["standard_error"] for found in told])[0]
    independent = within / math.sqrt(len(told))
    return {"value": value, "standard_error": independent, "block_error": error}


def table(rows: Sequence[tuple[str, str, Record]]) -> str:
    """Coverage in per cent, interval widths and densities as Markdown.

    Args:
      rows: image, method and what `score` or `average` gave.

    Returns:
      A line a row and form of the law of residuals, with the larger of both errors.
    """
    shown = [LEVELS.index(level) for level in SHOWN]
    titles = ["image", "method", "recalibrated", *(f"{100 * p:g} %" for p in SHOWN)]
    titles += ["half width at 90 % [grey levels]", "-log density [nats]"]
    lines = []
    for image, method, record in rows:
        for form, found in record["forms"].items():
            covered, cost = found["coverage"], found["negative_log_density"]
            share, error = 100 * np.array(covered["value"]), 100 * larger_error(covered)
            shares = [_with_error(share[i], error[i]) for i in shown]
            density = "-"
            if cost is not None:
                density = _with_error(cost["value"], float(larger_error(cost)), 3)
            width = f"{GREY_LEVELS * found['half_width']:.1f}"
            law = "no" if form == AS_PREDICTED else _law_in_words(form, found["law"])
            lines.append([image, method, law, *shares, width, density])
    return reporting.markdown(titles, lines, words=3)


def larger_error(estimate: Mapping[str, Any]) -> np.ndarray:
    """Of both errors; where all values are covered there is no spread over blocks."""
    return np.fmax(estimate["block_error"], estimate["standard_error"])


def _with_error(number: float, error: float, decimals: int = 1) -> str:
    return f"{number:.{decimals}f} ± {error:.{decimals}f}"


def _law_in_words(form: str, law: Mapping[str, float]) -> str:
    numbers = [f"{law['scale']:.2f}"] if "scale" in law else []
    if "freedom" in law:
        numbers.append(f"{law['freedom']:.1f} degrees")
    return f"{form} ({', '.join(numbers)})" if numbers else form


def summary(record: Record) -> str:
    """Errors in grey levels beside those predicted."""
    rank = record["rank_correlation"]
    correlation = "-" if math.isnan(rank) else f"{rank:.2f}"
    return (
        f"error {GREY_LEVELS * record['rms_error']:.2f}, predicted "
        f"{GREY_LEVELS * record['rms_std']:.2f} grey levels, rank correlation "
        f"{correlation}"
    )
