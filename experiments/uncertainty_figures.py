"""Maps of standard deviations and errors, and plots of calibration."""

from collections.abc import Sequence

import numpy as np

from dipgp.figures import Curve, Figure, Plot, overview
from experiments.common import GREY_LEVELS
from experiments.restoration import Restoration
from experiments.uncertainty_cases import Case
from experiments.uncertainty_scores import AS_PREDICTED, Record

# Errors beyond this percentile are drawn as if they lay there, lest few set the scale.
_PERCENTILE = 99.5


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
    return overview(images, maps, [_coverage(records), _errors(records)])


def _coverage(records: Sequence[tuple[str, Record]]) -> Plot:
    curves = []
    for method, record in records:
        levels = 100 * np.array(record["levels"])
        for form, found in record["forms"].items():
            covered = found["coverage"]
            error = np.nan_to_num(covered["block_error"])
            curves.append(
                Curve(
                    f"{method}, {form}" if len(records) > 1 else form,
                    levels,
                    100 * np.array(covered["value"]) - levels,
                    dashed=form != AS_PREDICTED,
                    error=100 * error,
                )
            )
    ends = np.array([0.0, 100.0])
    nominal = Curve("nominal", ends, np.zeros(2))
    titles = ("level of the interval [%]", "covered less level [%]")
    return Plot("coverage of values withheld", [nominal, *curves], titles)


def _errors(records: Sequence[tuple[str, Record]]) -> Plot:
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
    return Plot("errors by standard deviation", [nominal, *curves], titles, True)
