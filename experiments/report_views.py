"""What a report shows of a run's pictures: comparisons, close looks, uncertainty."""

from typing import NamedTuple

import numpy as np

from dipgp.summaries import psnr
from experiments import report_crops, reporting, uncertainty_scores
from experiments.common import GREY_LEVELS
from experiments.report_crops import Window
from experiments.report_files import Pictures, Shown
from experiments.report_pictures import Embedded, embed_image, embed_map
from experiments.report_runs import Part, Record, Run

# Values beyond this percentile share a map's last colour, lest few set the scale.
_PERCENTILE = 99
_MAP_SIDE = 320


class Picture(NamedTuple):
    """A picture with its words.

    Attributes:
      label: beneath or upon it.
      alt: in its stead.
      embedded: the picture.
    """

    label: str
    alt: str
    embedded: Embedded


class Comparison(NamedTuple):
    """Pictures of one size, two of which are seen on both sides of a line.

    Attributes:
      pictures: all that can be chosen.
      left: number of the first shown on the left.
      right: likewise on the right.
    """

    pictures: list[Picture]
    left: int
    right: int


class CloseLook(NamedTuple):
    """Parts of pictures at the same place.

    Attributes:
      rule: how the places were chosen.
      overview: a small picture of the whole.
      windows: places, in per cent of the overview: left, top, width, height.
      rows: of each place, where it is in words and its parts.
    """

    rule: str
    overview: Picture
    windows: list[tuple[float, float, float, float]]
    rows: list[tuple[str, list[Picture]]]


class Overlay(NamedTuple):
    """Maps over a restoration.

    Attributes:
      method: its name.
      base: the restoration.
      maps: standard deviation and, where the truth is known, size of the error.
      limit: grey levels of the last colour.
      facts: sentences about both.
    """

    method: str
    base: Picture
    maps: list[Picture]
    limit: str
    facts: list[str]


def comparison(run: Run, pictures: Pictures) -> Comparison:
    """Everything of an image side by side; first what was seen and the best of it."""
    named: list[tuple[str, str, np.ndarray]] = []
    if pictures.observed is not None:
        named.append(("observed", "as observed", pictures.observed))
    scores = {part.method: part.record.get("psnr") for part in run.parts}
    first = len(named)
    for shown in pictures.shown:
        score = reporting.format_number("psnr", scores[shown.method])
        label = shown.method if score == "-" else f"{shown.method}, {score}"
        named.append((label, f"restored by {label}", shown.restored))
    if pictures.truth is not None:
        named.append(("truth", "the truth", pictures.truth))
    found_scores = [scores[shown.method] for shown in pictures.shown]
    known = [score if isinstance(score, float) else -np.inf for score in found_scores]
    best = first + int(np.argmax(known))
    left = 0 if best else min(1, len(named) - 1)
    found = [
        Picture(label, f"{run.image}, {alt}", embed_image(image))
        for label, alt, image in named
    ]
    return Comparison(found, left, best)


def close_look(run: Run, pictures: Pictures) -> CloseLook:
    """The places where most is to be seen, pixel by pixel."""
    restored = [shown.restored for shown in pictures.shown]
    deviations = [shown for shown in pictures.shown if shown.std is not None]
    std = deviations[0].std if deviations else None
    rule, amount = report_crops.importance(
        restored, pictures.truth, std, pictures.observed
    )
    windows = report_crops.choose(amount)
    height, width = amount.shape
    rows = [
        (_place(number, window), _parts(run, pictures, deviations, number, window))
        for number, window in enumerate(windows, start=1)
    ]
    whole = restored[0] if pictures.truth is None else pictures.truth
    overview = Picture(
        "where they are",
        f"{run.image}, with the places numbered {_numbers(len(windows))} marked",
        embed_image(whole, _MAP_SIDE),
    )
    marks = [
        (
            100 * window.column / width,
            100 * window.row / height,
            100 * window.side / width,
            100 * window.side / height,
        )
        for window in windows
    ]
    return CloseLook(rule, overview, marks, rows)


def overlays(run: Run, pictures: Pictures) -> list[Overlay]:
    """A map over each restoration that has a standard deviation."""
    parts = {part.method: part for part in run.parts}
    return [
        _overlay(parts[shown.method], shown, shown.std, pictures.truth)
        for shown in pictures.shown
        if shown.std is not None
    ]


def _overlay(
    part: Part, shown: Shown, std: np.ndarray, truth: np.ndarray | None
) -> Overlay:
    image = part.record["image"]
    named = [("standard deviation", std)]
    if truth is not None:
        error = np.sqrt(np.square(shown.restored - truth).mean(axis=2))
        named.append(("size of the error", error))
    limit = max(float(np.percentile(values, _PERCENTILE)) for _, values in named)
    return Overlay(
        method=shown.method,
        base=Picture(
            shown.method,
            f"{image}, restored by {shown.method}",
            embed_image(shown.restored),
        ),
        maps=[
            Picture(
                title,
                f"Map of the {title} of {shown.method} on {image}: mean "
                f"{GREY_LEVELS * values.mean():.1f}, largest "
                f"{GREY_LEVELS * values.max():.1f} grey levels",
                embed_map(values, limit),
            )
            for title, values in named
        ],
        limit=f"{GREY_LEVELS * limit:.3g}",
        facts=_agreement(std, part.record),
    )


def _agreement(std: np.ndarray, record: Record) -> list[str]:
    """How standard deviations fit the errors, as far as the record says so."""
    facts = [
        f"The largest standard deviation is {GREY_LEVELS * std.max():.3g} grey levels."
    ]
    within, rank = (
        record.get(key) for key in ("error_within_2_std", "std_error_rank_correlation")
    )
    if isinstance(within, float):
        facts.append(f"{100 * within:.0f} % of the errors lie within two of them.")
    if isinstance(rank, float):
        facts.append(f"Their rank correlation with the errors is {rank:.2f}.")
    if "forms" in record:
        facts.append(f"Withheld values: {uncertainty_scores.summary(record)}.")
    return facts


def _parts(
    run: Run,
    pictures: Pictures,
    deviations: list[Shown],
    number: int,
    window: Window,
) -> list[Picture]:
    """What all pictures show in a window."""
    truth = None if pictures.truth is None else window.of(pictures.truth)
    named: list[tuple[str, np.ndarray]] = []
    if pictures.observed is not None:
        named.append(("observed", window.of(pictures.observed)))
    for shown in pictures.shown:
        part = window.of(shown.restored)
        label = shown.method
        if truth is not None and not np.array_equal(part, truth):
            label += f", {psnr(part, truth):.1f} dB"
        named.append((label, part))
    if truth is not None:
        named.append(("truth", truth))
    found = [
        Picture(label, f"{run.image}, place {number}: {label}", embed_image(part))
        for label, part in named
    ]
    for shown in deviations:
        assert shown.std is not None
        limit = float(np.percentile(shown.std, _PERCENTILE))
        label = f"{shown.method}, standard deviation, 0 to {GREY_LEVELS * limit:.3g}"
        alt = f"{run.image}, place {number}: {label}"
        found.append(Picture(label, alt, embed_map(window.of(shown.std), limit)))
    return found


def _place(number: int, window: Window) -> str:
    rows, columns = (
        f"{first} to {first + window.side - 1}" for first in (window.row, window.column)
    )
    return f"{number}: rows {rows}, columns {columns}"


def _numbers(count: int) -> str:
    return "1" if count == 1 else f"1 to {count}"
