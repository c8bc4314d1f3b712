"""Numbers that say how good a restoration is."""

from dipgp.summaries.metrics import paste_observed, psnr, ssim

__all__ = ["paste_observed", "psnr", "ssim"]
