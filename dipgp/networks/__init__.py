"""Networks of finite width: a description read as a function of parameters.

    network = build(architecture.skip_net())
    z = uniform_input(key_input, grid=(256, 256))
    variables = network.init(key, z)
    image = network.apply(variables, z)            # (256, 256, 3)
    log_density = network.log_prior(variables)

What many of them have in common is their covariance, `estimate_covariance`.
"""

from dipgp.networks.build import Network, build
from dipgp.networks.inputs import gaussian_input, meshgrid_input, uniform_input
from dipgp.networks.interior import Interior, interior
from dipgp.networks.prior_covariance import CovarianceEstimate, estimate_covariance

__all__ = [
    "CovarianceEstimate",
    "Interior",
    "Network",
    "build",
    "estimate_covariance",
    "gaussian_input",
    "interior",
    "meshgrid_input",
    "uniform_input",
]
