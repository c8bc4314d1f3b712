"""How a network description is read as second moments, whatever stands for these.

Channels that have gone through different layers keep second moments of their own until
the next convolution averages over them; batch norm, for one, treats each channel by
itself. This bookkeeping is the same for stationary covariances, functions of lag, and
for dense ones between all pairs of pixels: they differ in their `Rules`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Generic, Protocol, TypeVar

from dipgp import architecture
from dipgp.architecture.layers import check_architecture

# Second moments of one channel: a stationary covariance, an array, ...
Field = TypeVar("Field")


class Rules(Protocol[Field]):
    """What each layer does to the second moments of a channel."""

    def concat(self, fields: Sequence[Field], channels: Sequence[int]) -> Field:
        """The mean over channels of several kinds, weighted by their numbers."""

    def convolution(self, field: Field, layer: architecture.Convolution) -> Field:
        """Random weights, stride and bias, read from the mean over channels."""

    def add(self, fields: Sequence[Field]) -> Field:
        """The sum of independent branches."""

    def batch_norm(self, field: Field, layer: architecture.BatchNorm) -> Field:
        """Centred and scaled by statistics over pixels."""

    def downsample(self, field: Field, layer: architecture.Downsample) -> Field:
        """Fewer pixels."""

    def upsample(self, field: Field, layer: architecture.Upsample) -> Field:
        """More pixels."""

    def rectify(self, field: Field, slope: float) -> Field:
        """A Gaussian field after u where u > 0, slope * u elsewhere."""

    def erf(self, field: Field, scale: float) -> Field:
        """A Gaussian field after erf(scale * u); sign(u) at an infinite scale."""


@dataclass(frozen=True)
class _Group(Generic[Field]):
    """Channels that share their second moments.

    Attributes:
      channels: how many they are.
      field: second moments of each.
      gaussian: whether they are a Gaussian process, as a convolution of many channels
        leaves them; a non-linearity has a closed form only then.
      own_weights: whether weights that no other branch has come last, so that the
        channels are uncorrelated with every other branch.
      given: whether numbers that were given, not drawn, are among them. Their second
        moments are then those of the mean channel; each channel has others.
    """

    channels: int
    field: Field
    gaussian: bool = True
    own_weights: bool = False
    given: bool = False


def read(
    net: architecture.Architecture,
    start: Field,
    rules: Rules[Field],
    *,
    given: bool = False,
) -> Field:
    """Second moments of a network's output as its layers grow wide.

    Args:
      net: the network.
      start: second moments of its input.
      rules: of the layers.
      given: whether the input is an array of numbers, whose mean product over channels
        `start` is, and not a random field with endlessly many channels.

    Returns:
      Those of one output channel; of the mean one where they differ.

    Raises:
      ValueError: on a layer without a closed form (it is named), or where layers follow
        each other in an order that has none.
      TypeError: on something else than an `Architecture`.
    """
    check_architecture(net)
    group = _Group(net.input_channels, start, gaussian=not given, given=given)
    return _merge(_read(net.body, [group], rules), rules)


def _read(
    layer: architecture.Layer, groups: list[_Group[Field]], rules: Rules[Field]
) -> list[_Group[Field]]:
    match layer:
        case architecture.Convolution():
            after = rules.convolution(_merge(groups, rules), layer)
            return [_Group(layer.channels, after, gaussian=True, own_weights=True)]
        case architecture.Serial():
            for inner in layer.layers:
                groups = _read(inner, groups, rules)
            return groups
        case architecture.Concat():
            return [group for b in layer.branches for group in _read(b, groups, rules)]
        case architecture.Sum():
            branches = [_read(branch, groups, rules) for branch in layer.branches]
            return _sum(layer, branches, rules)
        case architecture.Linear():
            return groups
        case architecture.Downsample():
            return [
                replace(group, field=rules.downsample(group.field, layer))
                for group in groups
            ]
        case architecture.Upsample():
            return [
                replace(group, field=rules.upsample(group.field, layer))
                for group in groups
            ]
        case architecture.BatchNorm():
            return [_normalise(layer, group, rules) for group in groups]
    return [_bend(layer, group, rules) for group in groups]


def _normalise(
    layer: architecture.BatchNorm, group: _Group[Field], rules: Rules[Field]
) -> _Group[Field]:
    if group.given:
        raise ValueError(
            f"net: {layer} reads the given input, each channel of which it would treat "
            "differently; put a Convolution in between, or normalise the input itself"
        )
    return replace(group, field=rules.batch_norm(group.field, layer))


def _bend(
    layer: architecture.Layer, group: _Group[Field], rules: Rules[Field]
) -> _Group[Field]:
    """Non-linearities."""
    match layer:
        case architecture.ReLU() | architecture.LeakyReLU():
            _check_gaussian(layer, group)
            slope = layer.slope if isinstance(layer, architecture.LeakyReLU) else 0.0
            after = rules.rectify(group.field, slope)
        case architecture.Erf():
            _check_gaussian(layer, group)
            after = rules.erf(group.field, layer.scale)
        case _:
            raise ValueError(
                f"net: {layer} has no closed-form covariance; leave it out or put "
                "Linear() in its place to read the rest of the network as a kernel"
            )
    return _Group(group.channels, after, gaussian=False)


def _check_gaussian(layer: architecture.Layer, group: _Group[Field]) -> None:
    if group.gaussian:
        return
    before = "the given input" if group.given else "another non-linearity"
    raise ValueError(
        f"net: {layer} follows {before}; its covariance has a closed form only behind "
        "a convolution, which makes its input Gaussian"
    )


def _sum(
    layer: architecture.Sum,
    branches: list[list[_Group[Field]]],
    rules: Rules[Field],
) -> list[_Group[Field]]:
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
            rules.add([group.field, *(other.field for other in added)]),
            gaussian=group.gaussian and all(other.gaussian for other in added),
            own_weights=group.own_weights and all(other.own_weights for other in added),
            given=group.given or any(other.given for other in added),
        )
        for group in widest
    ]


def _merge(groups: list[_Group[Field]], rules: Rules[Field]) -> Field:
    if len(groups) == 1:
        return groups[0].field
    return rules.concat(
        [group.field for group in groups], [group.channels for group in groups]
    )
