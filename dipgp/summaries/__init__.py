"""Numbers that say how good a restoration is, and how sure one may be of it."""

from dipgp.summaries import moments
from dipgp.summaries.diagnostics import Mixing, diagnose
from dipgp.summaries.metrics import paste_observed, psnr, ssim

__all__ = ["Mixing", "diagnose", "moments", "paste_observed", "psnr", "ssim"]
