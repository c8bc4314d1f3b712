"""Exact Gaussian-process posteriors on whole images, in pixels times their logarithm.

    posterior = condition(covariance, values=image, mask=mask, noise_std=0.01)
    posterior.mean, posterior.info.advice

Covariances come from `dipgp.kernels`. A signal is an image of one row, (1, L).
"""

from dipgp.gp.colour import ChannelModel, estimate_channels
from dipgp.gp.conditional_draws import Samples
from dipgp.gp.coregionalisation import ChannelFit, fit_channels
from dipgp.gp.evidence import Evidence
from dipgp.gp.features import condition_features
from dipgp.gp.fitting import Fit, fit
from dipgp.gp.local_evidence import localise
from dipgp.gp.matrix import MatrixPosterior, condition_matrix
from dipgp.gp.mixture import Mixture, MixturePosterior, condition_mixture
from dipgp.gp.posterior import Posterior, condition
from dipgp.gp.sampling import draw_prior
from dipgp.gp.selection import Selection, select
from dipgp.gp.system import SolveInfo
from dipgp.gp.toeplitz import find_reach
from dipgp.gp.variance import Variance

__all__ = [
    "ChannelFit",
    "ChannelModel",
    "Evidence",
    "Fit",
    "MatrixPosterior",
    "Mixture",
    "MixturePosterior",
    "Posterior",
    "Samples",
    "Selection",
    "SolveInfo",
    "Variance",
    "condition",
    "condition_features",
    "condition_matrix",
    "condition_mixture",
    "draw_prior",
    "estimate_channels",
    "find_reach",
    "fit",
    "fit_channels",
    "localise",
    "select",
]
