"""Reads a network description as the stationary covariance of its wide limit."""

from collections.abc import Sequence

from dipgp import architecture
from dipgp.kernels import layers, nonlinearities, reading, resampling
from dipgp.kernels.inputs import white
from dipgp.kernels.stationary import Covariance, CovarianceLike, as_covariance


def covariance(
    net: architecture.Architecture, input: CovarianceLike | None = None
) -> Covariance:
    """The stationary covariance of a network's output as its layers grow wide.

    Exact for an endless image (no borders), random weights, and an input with many
    independent channels; resampling rules as `kernels.downsample` and
    `kernels.upsample` state them.

    Args:
      net: the network.
      input: covariance of one channel of its random input; white noise by default.

    Returns:
      Covariance of one output channel. Different output channels are independent.

    Raises:
      ValueError: on a layer without a closed form (it is named), or where layers follow
        each other in an order that has none.
    """
    start = as_covariance(white() if input is None else input)
    return reading.read(net, start, StationaryRules())


class StationaryRules:
    """The rules of `dipgp.kernels`, which turn one covariance into the next."""

    def concat(
        self, fields: Sequence[Covariance], channels: Sequence[int]
    ) -> Covariance:
        """Means over channels."""
        return layers.concat(fields, channels)

    def convolution(
        self, field: Covariance, layer: architecture.Convolution
    ) -> Covariance:
        """sigma_w^2 K(stride r) + sigma_b^2."""
        if layer.stride > 1:
            field = resampling.downsample(field, layer.stride, "stride")
        if layer.weight_variance != 1:
            field = layers.scale(field, layer.weight_variance)
        if layer.bias_variance > 0:
            field = layers.bias(field, layer.bias_variance)
        return field

    def add(self, fields: Sequence[Covariance]) -> Covariance:
        """Sums."""
        return layers.add(*fields)

    def batch_norm(
        self, field: Covariance, layer: architecture.BatchNorm
    ) -> Covariance:
        """See `layers.batch_norm`."""
        return layers.batch_norm(field, layer.epsilon)

    def downsample(
        self, field: Covariance, layer: architecture.Downsample
    ) -> Covariance:
        """See `resampling.downsample`."""
        return resampling.downsample(field, layer.factor, layer.method)

    def upsample(self, field: Covariance, layer: architecture.Upsample) -> Covariance:
        """See `resampling.upsample`."""
        return resampling.upsample(field, layer.factor, layer.method)

    def rectify(self, field: Covariance, slope: float) -> Covariance:
        """See `nonlinearities.leaky_relu`."""
        return nonlinearities.leaky_relu(field, slope)

    def erf(self, field: Covariance, scale: float) -> Covariance:
        """See `nonlinearities.erf`."""
        return nonlinearities.erf(field, scale)
