"""Networks of finite width: a description read as a function of parameters.

network = build(architecture.skip_net())
z = uniform_input(key_input, grid=(256, 256))
variables = network.init(key, z)
image = network.apply(variables, z)            # (256, 256, 3)
penalty = network.log_prior(variables)
"""

from dipgp.networks.build import Network, build
from dipgp.networks.inputs import gaussian_input, meshgrid_input, uniform_input

__all__ = [
    "Network",
    "build",
    "gaussian_input",
    "meshgrid_input",
    "uniform_input",
]
