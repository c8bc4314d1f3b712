import numpy as np

from dipgp import architecture, kernels
from dipgp.kernels.plain_networks import DEPTHS, SIGMAS


def test_a_plain_network_is_read_off_its_description():
    net = architecture.conv_net(2)
    described = kernels.covariance(net, input=kernels.gaussian(1.4))
    lags = kernels.lag_grid((4, 4))
    np.testing.assert_array_equal(kernels.plain_network(2, 1.4)(lags), described(lags))


def test_all_combinations_are_named_by_depth_and_width():
    networks = kernels.plain_networks()
    assert list(networks) == [(depth, sigma) for depth in DEPTHS for sigma in SIGMAS]


def test_what_is_given_is_not_varied():
    assert list(kernels.plain_networks(sigma=3.0)) == [(d, 3.0) for d in DEPTHS]
    assert list(kernels.plain_networks(4, 3.0)) == [(4, 3.0)]
