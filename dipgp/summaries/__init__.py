"""Numbers that say how good a restoration is, and how sure one may be of it."""

from dipgp.summaries import calibration, moments
from dipgp.summaries.diagnostics import Mixing, diagnose
from dipgp.summaries.metrics import paste_observed, psnr, ssim
from dipgp.summaries.recalibration import recalibrate

__all__ = [
    "Mixing",
    "calibration",
    "diagnose",
    "moments",
    "paste_observed",
    "psnr",
    "recalibrate",
    "ssim",
]
