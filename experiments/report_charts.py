"""Curves of a run: quality along the way, and calibration."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from dipgp.figures import Curve
from experiments import report_files, results, uncertainty_figures
from experiments.report_curves import Chart, chart
from experiments.report_runs import Part, Problem, Run

# Of a curve of PSNRs, in dB from its best down; the first steps are far below.
_TALLEST = 20.0

# How a trace's PSNR differs from the table's, by experiment.
_NOTES = {
    "inpaint": "Of what the network gives, observed pixels not pasted into it.",
    "super_resolve": "Of all colours and pixels; the table has luma, less a border.",
}

Trace = Mapping[str, np.ndarray]


class Explained(NamedTuple):
    """A chart, and what is to be known to read it."""

    chart: Chart
    note: str


def along_the_way(run: Run) -> tuple[list[Explained], list[Problem]]:
    """PSNR by iteration, or the fit where the truth is unknown.

    Returns:
      One chart of all methods that have a trace, or none; and what is wrong with files.
    """
    curves: list[Curve] = []
    problems: list[Problem] = []
    scored = read = False
    for part in run.parts:
        trace, found = report_files.read_trace(part.files.get("trace"))
        problems += found
        if not trace:
            continue
        scored = scored or "psnr" in trace
        reading = _reading(part, trace)
        read = read or bool(reading)
        curves += [*_curves(part, trace), *reading]
    quantity = "PSNR [dB]" if scored else "fit to the data [dB]"
    titles = ("iteration", quantity)
    drawn = chart("Quality along the way", curves, titles, True, _TALLEST)
    notes = []
    if read:
        notes.append("Rings: where descents are read.")
    if any(curve.dashed for curve in curves):
        notes.append("Dashed: the network's output at that iteration, not averaged.")
    if scored and run.experiment in _NOTES:
        notes.append(_NOTES[run.experiment])
    return [Explained(drawn, " ".join(notes))] if drawn else [], problems


def calibration(run: Run) -> list[Explained]:
    """Coverage by level, and errors by standard deviation; none where not scored."""
    scored = [
        (part.method, part.record) for part in run.parts if "forms" in part.record
    ]
    if not scored:
        return []
    plots = [uncertainty_figures.coverage_plot(*found) for found in scored]
    plots.append(uncertainty_figures.errors_plot(scored))
    note = "Bars: one standard error. On the grey line all is as promised."
    # Each plot begins with the line that others are compared with.
    drawn = [
        chart(plot.title, plot.curves, plot.axis_titles, reference=plot.curves[0].label)
        for plot in plots
    ]
    return [Explained(each, note) for each in drawn if each]


def _curves(part: Part, trace: Trace) -> list[Curve]:
    """The method's own score, and dashed that of the output which it averages."""
    if "psnr" not in trace:
        return [Curve(part.method, trace["iteration"], trace["fit"])]
    own = results.OWN_SCORES.get(part.method, "psnr")
    curves = [Curve(part.method, trace["iteration"], trace[own])]
    if own != "psnr":
        curves.append(Curve(part.method, trace["iteration"], trace["psnr"], True))
    return curves


def _reading(part: Part, trace: Trace) -> list[Curve]:
    """A ring where a descent is read; none of a sampler, which has no such place."""
    own = results.OWN_SCORES.get(part.method, "psnr")
    told = part.record["hyperparameters"]
    if own == "psnr_mean":
        return []
    rule = told["stop_by"]
    if rule == "iteration":
        iteration = told["stop_at"]
    else:
        iteration = part.record["stopping"][rule]["iteration"]
    at = trace["iteration"] == iteration
    score = trace[own] if "psnr" in trace else trace["fit"]
    ring = Curve(
        part.method, trace["iteration"][at], score[at], error=np.zeros(at.sum())
    )
    return [ring] if at.any() else []
