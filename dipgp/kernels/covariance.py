"""Reads a network description as the covariance of its infinitely wide limit.

Channels that have gone through different layers keep covariances of their own until the
next convolution averages over them; batch norm, for one, treats each channel by itself.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from dipgp import architecture
from dipgp.kernels import layers, nonlinearities, resampling
from dipgp.kernels.inputs import white
from dipgp.kernels.stationary import Covariance, CovarianceLike, as_covariance


@dataclass(frozen=True)
class _Group:
    """Channels that share a covariance.

    Attributes:
      channels: how many they are.
      covariance: of each.
      gaussian: whether they are a Gaussian process, as a convolution of many channels
        leaves them; a non-linearity has a closed form only then.
      own_weights: whether weights that no other branch has come last, so that the
        channels are uncorrelated with every other branch.
    """

    channels: int
    covariance: Covariance
    gaussian: bool = True
    own_weights: bool = False


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
    groups = _read(net.body, [_Group(net.input_channels, start)])
    return _merge(groups)


def _read(layer: architecture.Layer, groups: list[_Group]) -> list[_Group]:
    match layer:
        case architecture.Convolution():
            joined = _merge(groups)
            if layer.stride > 1:
                joined = resampling.downsample(joined, layer.stride, "stride")
            if layer.weight_variance != 1:
                joined = layers.scale(joined, layer.weight_variance)
            if layer.bias_variance > 0:
                joined = layers.bias(joined, layer.bias_variance)
            return [_Group(layer.channels, joined, gaussian=True, own_weights=True)]
        case architecture.Serial():
            for inner in layer.layers:
                groups = _read(inner, groups)
            return groups
        case architecture.Concat():
            return [group for b in layer.branches for group in _read(b, groups)]
        case architecture.Sum():
            return _sum(layer, [_read(branch, groups) for branch in layer.branches])
        case architecture.Linear():
            return groups
    return [_pointwise(layer, group) for group in groups]


def _pointwise(layer: architecture.Layer, group: _Group) -> _Group:
    """Layers that treat each channel by itself."""
    rule: Callable[[Covariance], Covariance]
    match layer:
        case architecture.BatchNorm():
            after = layers.batch_norm(group.covariance, layer.epsilon)
            return replace(group, covariance=after)
        case architecture.Downsample():
            after = resampling.downsample(group.covariance, layer.factor, layer.method)
            return replace(group, covariance=after)
        case architecture.Upsample():
            after = resampling.upsample(group.covariance, layer.factor, layer.method)
            return replace(group, covariance=after)
        case architecture.ReLU():
            rule = nonlinearities.relu
        case architecture.LeakyReLU():
            slope = layer.slope
            rule = lambda k: nonlinearities.leaky_relu(k, slope)  # noqa: E731
        case architecture.Erf():
            scale = layer.scale
            rule = lambda k: nonlinearities.erf(k, scale)  # noqa: E731
        case _:
            raise ValueError(
                f"net: {layer} has no closed-form covariance; leave it out or put "
                "Linear() in its place to read the rest of the network as a kernel"
            )
    if not group.gaussian:
        raise ValueError(
            f"net: {layer} follows another non-linearity; its covariance has a closed "
            "form only behind a convolution, which makes its input Gaussian"
        )
    return _Group(group.channels, rule(group.covariance), gaussian=False)


def _sum(layer: architecture.Sum, branches: list[list[_Group]]) -> list[_Group]:
    """Adds branches channel by channel; independent ones, or the formula is wrong."""
    dependent = [b for b in branches if not all(group.own_weights for group in b)]
    if len(dependent) > 1:
        raise ValueError(
            f"net: {len(dependent)} branches of a Sum do not end in a convolution of "
            "their own, so they are correlated and their covariances do not add; end "
            "all but one in a Convolution"
        )
    widest = max(branches, key=len)
    others = [branch for branch in branches if branch is not widest]
    if any(len(branch) > 1 for branch in others):
        raise ValueError(
            "net: several branches of a Sum are concatenations; end all but one in a "
            f"Convolution (in {layer})"
        )
    added = [branch[0] for branch in others]
    return [
        _Group(
            group.channels,
            layers.add(group.covariance, *(other.covariance for other in added)),
            gaussian=group.gaussian and all(other.gaussian for other in added),
            own_weights=group.own_weights and all(other.own_weights for other in added),
        )
        for group in widest
    ]


def _merge(groups: list[_Group]) -> Covariance:
    if len(groups) == 1:
        return groups[0].covariance
    return layers.concat(
        [group.covariance for group in groups], [group.channels for group in groups]
    )
