"""Maps of standard deviations and errors, and plots of calibration."""

from collections.abc import Sequence

import numpy as np

from dipgp.figures import Curve, Figure, Plot, overview
from experiments.common import GREY_LEVELS
from experiments.restoration import Restoration
from experiments.uncertainty_cases import Case
from experiments.uncertainty_scores import AS_PREDICTED, Record, larger_error

# Errors beyond this percentile are drawn as if they lay there, lest few set the scale.
_PERCENTILE = 98


def figure(
    case: Case,
    restorations: Sequence[tuple[str, Restoration]],
    records: Sequence[tuple[str, Record]],
) -> Figure:
    """Pictures and maps above, coverage and errors by standard deviation below.

    Args:
      case: the picture.
      restorations: of it, by method.
      records: what was scored, by method.
    """
    images = [("observed", np.asarray(case.observation.values))]
    if case.truth is not None and len(restorations) > 1:
        images.append(("truth", case.truth))
    maps: list[tuple[str, np.ndarray]] = []
    for method, restoration in restorations:
        images.append((f"{method}, mean", np.nan_to_num(restoration.mean)))
        if restoration.std is not None:
            maps.append((f"{method}, standard deviation", restoration.std))
        if case.truth is not None:
            error = np.abs(np.nan_to_num(restoration.mean) - case.truth)
            capped = np.minimum(error, np.percentile(error, _PERCENTILE))
            maps.append((f"{method}, |error|", capped))
    if not records:
        return overview(images, maps)
    coverages = [coverage_plot(method, record) for method, record in records]
    return overview(images, maps, [*coverages, errors_plot(records)])


def coverage_plot(method: str, record: Record) -> Plot:
    """By level, how many values beyond it the intervals of that level cover.

    Args:
      method: its name.
      record: what was scored.
    """
    levels = 100 * np.array(record["levels"])
    curves = [
        Curve(
            form,
            levels,
            100 * np.array(found["coverage"]["value"]) - levels,
            dashed=form != AS_PREDICTED,
            error=100 * larger_error(found["coverage"]),
        )
        for form, found in record["forms"].items()
    ]
    ends = np.array([0.0, 100.0])
    nominal = Curve("nominal", ends, np.zeros(2))
    titles = ("level of the interval [%]", "covered less level [%]")
    return Plot(f"{method}: coverage of values withheld", [nominal, *curves], titles)


def errors_plot(records: Sequence[tuple[str, Record]]) -> Plot:
    """Errors by predicted standard deviation.

    Args:
      records: what was scored, by method.
    """
    curves, ends = [], []
    for method, record in records:
        std, error, spread = (
            GREY_LEVELS * np.array(record["bins"][name])
            for name in ("std", "error", "standard_error")
        )
        ends += [std.min(), std.max()]
        curves.append(Curve(method, std, error, error=spread))
    diagonal = np.array([min(ends), max(ends)])
    nominal = Curve("as predicted", diagonal, diagonal)
    titles = ("predicted [grey levels]", "root mean square error [grey levels]")
    return Plot("errors by standard deviation", [nominal, *curves], titles)
