"""Closed-form covariances of infinitely wide convolutional networks.

A stationary covariance is a function of lag; each layer of a network is a rule that
turns one covariance into the next.

    k = relu(gaussian(sigma=2.0))
    values = k(lag_grid((64, 64)))
"""

from dipgp.kernels.border import stationarity_gap
from dipgp.kernels.covariance import covariance
from dipgp.kernels.dense import dense
from dipgp.kernels.filtering import filtered
from dipgp.kernels.gradient_flow import GradientFlow, gradient_flow, rate_for_mean
from dipgp.kernels.inputs import constant, gaussian, matern, rbf, uniform, white
from dipgp.kernels.layers import (
    add,
    batch_norm,
    bias,
    concat,
    normalize,
    scale,
    skip,
)
from dipgp.kernels.nonlinearities import erf, leaky_relu, relu
from dipgp.kernels.plain_networks import plain_network, plain_networks
from dipgp.kernels.resampling import downsample, upsample
from dipgp.kernels.stationary import Covariance, as_covariance, lag_grid, variance
from dipgp.kernels.stretching import stretch
from dipgp.kernels.tangent import ntk
from dipgp.kernels.torus import torus_eigenvalues

__all__ = [
    "Covariance",
    "GradientFlow",
    "add",
    "as_covariance",
    "batch_norm",
    "bias",
    "concat",
    "constant",
    "covariance",
    "dense",
    "downsample",
    "erf",
    "filtered",
    "gaussian",
    "gradient_flow",
    "lag_grid",
    "leaky_relu",
    "matern",
    "normalize",
    "ntk",
    "plain_network",
    "plain_networks",
    "rate_for_mean",
    "rbf",
    "relu",
    "scale",
    "skip",
    "stationarity_gap",
    "stretch",
    "torus_eigenvalues",
    "uniform",
    "upsample",
    "variance",
    "white",
]
