"""Reads a network description as the covariance of its infinitely wide limit.

Channels that have gone through different layers keep covariances of their own until the
next convolution averages over them; batch norm, for one, treats each channel by itself.
What a channel carries is left open: `read` serves whoever has a rule for each layer.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from dipgp import architecture
from dipgp.kernels import layers, nonlinearities, resampling
from dipgp.kernels.inputs import white
from dipgp.kernels.stationary import Covariance, CovarianceLike, as_covariance

# What each channel of a group carries, such as its covariance.
Value = TypeVar("Value")

Rectifier = architecture.ReLU | architecture.LeakyReLU
Resampling = architecture.Downsample | architecture.Upsample


@dataclass(frozen=True)
class Rules(Generic[Value]):
    """What layers do to the value that a channel carries.

    Attributes:
      convolution: of the value averaged over its input channels.
      batch_norm: of one channel.
      resample: of one channel.
      activation: of one channel, which is a Gaussian process.
      add: sums channels that are uncorrelated with each other.
      concat: averages over channels, weighted by how many of them share each value.
    """

    convolution: Callable[[Value, architecture.Convolution], Value]
    batch_norm: Callable[[Value, architecture.BatchNorm], Value]
    resample: Callable[[Value, Resampling], Value]
    activation: Callable[[Value, Rectifier | architecture.Erf], Value]
    add: Callable[[Sequence[Value]], Value]
    concat: Callable[[Sequence[Value], Sequence[int]], Value]


@dataclass(frozen=True)
class _Group(Generic[Value]):
    """Channels that share a value.

    Attributes:
      channels: how many they are.
      value: of each.
      gaussian: whether they are a Gaussian process, as a convolution of many channels
        leaves them; a non-linearity has a closed form only then.
      own_weights: whether weights that no other branch has come last, so that the
        channels are uncorrelated with every other branch.
    """

    channels: int
    value: Value
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
    return read(net, as_covariance(white() if input is None else input), RULES)


def read(net: architecture.Architecture, start: Value, rules: Rules[Value]) -> Value:
    """What an output channel carries, from what an input channel does.

    Args:
      net: the network.
      start: what each channel of its input carries.
      rules: what layers do to it.

    Raises:
      ValueError: as `covariance` does.
    """
    groups = _read(net.body, [_Group(net.input_channels, start)], rules)
    return _merge(groups, rules)


def _read(
    layer: architecture.Layer, groups: list[_Group[Value]], rules: Rules[Value]
) -> list[_Group[Value]]:
    match layer:
        case architecture.Convolution():
            after = rules.convolution(_merge(groups, rules), layer)
            return [_Group(layer.channels, after, gaussian=True, own_weights=True)]
        case architecture.Serial():
            for inner in layer.layers:
                groups = _read(inner, groups, rules)
            return groups
        case architecture.Concat():
            return [g for b in layer.branches for g in _read(b, groups, rules)]
        case architecture.Sum():
            branches = [_read(branch, groups, rules) for branch in layer.branches]
            return _sum(layer, branches, rules)
        case architecture.Linear():
            return groups
    return [_pointwise(layer, group, rules) for group in groups]


def _pointwise(
    layer: architecture.Layer, group: _Group[Value], rules: Rules[Value]
) -> _Group[Value]:
    """Layers that treat each channel by itself."""
    match layer:
        case architecture.BatchNorm():
            return replace(group, value=rules.batch_norm(group.value, layer))
        case architecture.Downsample() | architecture.Upsample():
            return replace(group, value=rules.resample(group.value, layer))
        case architecture.ReLU() | architecture.LeakyReLU() | architecture.Erf():
            if not group.gaussian:
                raise ValueError(
                    f"net: {layer} follows another non-linearity; its covariance has a "
                    "closed form only behind a convolution, which makes its input "
                    "Gaussian"
                )
            after = rules.activation(group.value, layer)
            return _Group(group.channels, after, gaussian=False)
    raise ValueError(
        f"net: {layer} has no closed-form covariance; leave it out or put "
        "Linear() in its place to read the rest of the network as a kernel"
    )


def _sum(
    layer: architecture.Sum,
    branches: list[list[_Group[Value]]],
    rules: Rules[Value],
) -> list[_Group[Value]]:
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
            rules.add([group.value, *(other.value for other in added)]),
            gaussian=group.gaussian and all(other.gaussian for other in added),
            own_weights=group.own_weights and all(other.own_weights for other in added),
        )
        for group in widest
    ]


def _merge(groups: list[_Group[Value]], rules: Rules[Value]) -> Value:
    if len(groups) == 1:
        return groups[0].value
    values = [group.value for group in groups]
    return rules.concat(values, [group.channels for group in groups])


def convolution(before: Covariance, layer: architecture.Convolution) -> Covariance:
    """sigma_w^2 K(stride r) + sigma_b^2."""
    after = before
    if layer.stride > 1:
        after = resampling.downsample(after, layer.stride, "stride")
    if layer.weight_variance != 1:
        after = layers.scale(after, layer.weight_variance)
    if layer.bias_variance > 0:
        after = layers.bias(after, layer.bias_variance)
    return after


def resample(before: Covariance, layer: Resampling) -> Covariance:
    """K by the method of the layer."""
    if isinstance(layer, architecture.Downsample):
        return resampling.downsample(before, layer.factor, layer.method)
    return resampling.upsample(before, layer.factor, layer.method)


def activation(before: Covariance, layer: Rectifier | architecture.Erf) -> Covariance:
    """E[h(u) h(v)], h the layer's function."""
    match layer:
        case architecture.ReLU():
            return nonlinearities.relu(before)
        case architecture.LeakyReLU():
            return nonlinearities.leaky_relu(before, layer.slope)
    return nonlinearities.erf(before, layer.scale)


def _batch_norm(before: Covariance, layer: architecture.BatchNorm) -> Covariance:
    return layers.batch_norm(before, layer.epsilon)


RULES: Rules[Covariance] = Rules(
    convolution=convolution,
    batch_norm=_batch_norm,
    resample=resample,
    activation=activation,
    add=lambda values: layers.add(*values),
    concat=layers.concat,
)
