"""The layers that a network is made of, as frozen, hashable descriptions.

Weights have zero mean and variance weight_variance / fan_in, with
fan_in = input channels * kernel_size ** dimensions; biases have variance bias_variance,
and a convolution whose bias_variance is 0 has no bias parameters at all.
"""

import math
import numbers
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

Padding = Literal["reflect", "zeros", "circular"]
DownsampleMethod = Literal["ideal", "stride", "average"]
UpsampleMethod = Literal["ideal", "nearest", "bilinear"]


def check_positive_integer(name: str, value: int) -> None:
    """Raises ValueError, naming the argument, unless the value is an integer >= 1."""
    if not isinstance(value, int) or value < 1:
        raise ValueError(f"{name}: expected an integer of at least 1, got {value!r}")


def check_architecture(net: object) -> None:
    """Raises TypeError unless the argument `net` is an `Architecture`."""
    if not isinstance(net, Architecture):
        raise TypeError(
            f"net: expected an Architecture, got {net!r}; try architecture.conv_net(4)"
        )


def _check_number(name: str, value: object) -> None:
    if not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise ValueError(f"{name}: expected a finite number, got {value!r}")


def _check_positive(name: str, value: object) -> None:
    if not isinstance(value, numbers.Real) or not float(value) > 0:
        raise ValueError(f"{name}: expected a positive number, got {value!r}")


def _check_not_negative(name: str, value: float) -> None:
    _check_number(name, value)
    if value < 0:
        raise ValueError(f"{name}: expected a number of at least 0, got {value!r}")


def _check_option(name: str, value: str, options: object) -> None:
    known = get_args(options)
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"{name}: expected one of {', '.join(known)}, got {value!r}")


@dataclass(frozen=True)
class Convolution:
    """A convolution with independent zero-mean Gaussian weights and biases.

    Attributes:
      channels: number of output channels (filters).
      kernel_size: taps along each axis.
      stride: keeps every stride-th pixel along each axis.
      weight_variance: sigma_w^2; a weight has variance sigma_w^2 / fan_in.
      bias_variance: sigma_b^2; 0 means that there is no bias.
      padding: what stands beyond the border. The stationary covariance has no border
        and does not depend on it.
    """

    channels: int
    kernel_size: int = 3
    stride: int = 1
    weight_variance: float = 1.0
    bias_variance: float = 0.0
    padding: Padding = "reflect"

    def __post_init__(self) -> None:
        """Raises ValueError on a size below 1 or a negative variance."""
        check_positive_integer("channels", self.channels)
        check_positive_integer("kernel_size", self.kernel_size)
        check_positive_integer("stride", self.stride)
        _check_not_negative("weight_variance", self.weight_variance)
        _check_not_negative("bias_variance", self.bias_variance)
        _check_option("padding", self.padding, Padding)


@dataclass(frozen=True)
class ReLU:
    """max(u, 0)."""


@dataclass(frozen=True)
class LeakyReLU:
    """The input where it is positive, slope times it elsewhere."""

    slope: float = 0.2

    def __post_init__(self) -> None:
        """Raises ValueError on a slope that is not finite."""
        _check_number("slope", self.slope)


@dataclass(frozen=True)
class Erf:
    """erf(scale * u); an infinite scale is sign(u), the limit that the paper writes."""

    scale: float = 1.0

    def __post_init__(self) -> None:
        """Raises ValueError on a scale that is not positive."""
        _check_positive("scale", self.scale)


@dataclass(frozen=True)
class Linear:
    """The identity, for networks without a non-linearity."""


@dataclass(frozen=True)
class Sigmoid:
    """1 / (1 + exp(-u)); an output layer, with no closed-form covariance rule."""


Activation = ReLU | LeakyReLU | Erf | Linear | Sigmoid


@dataclass(frozen=True)
class BatchNorm:
    """Subtracts each channel's spatial mean and divides by its standard deviation.

    Attributes:
      epsilon: added to the variance.
      affine: whether a trainable scale (initially 1) and shift (initially 0) follow;
        they leave the prior as it is.
    """

    epsilon: float = 1e-5
    affine: bool = True

    def __post_init__(self) -> None:
        """Raises ValueError on a negative epsilon."""
        _check_not_negative("epsilon", self.epsilon)


@dataclass(frozen=True)
class Downsample:
    """Fewer pixels by an integer factor along each axis.

    Attributes:
      factor: of reduction along each axis.
      method: "stride" keeps every factor-th pixel; "average" takes means of
        factor-wide blocks; "ideal" is the paper's K(factor * r), as "stride" has it.
    """

    factor: int = 2
    method: DownsampleMethod = "ideal"

    def __post_init__(self) -> None:
        """Raises ValueError on a factor below 1 or an unknown method."""
        check_positive_integer("factor", self.factor)
        _check_option("method", self.method, DownsampleMethod)


@dataclass(frozen=True)
class Upsample:
    """More pixels by an integer factor along each axis.

    Attributes:
      factor: of enlargement along each axis.
      method: "nearest" repeats pixels; "bilinear" interpolates between pixel centres
        (half-pixel convention); "ideal" is the paper's K(r / factor), band-limited
        interpolation.
    """

    factor: int = 2
    method: UpsampleMethod = "ideal"

    def __post_init__(self) -> None:
        """Raises ValueError on a factor below 1 or an unknown method."""
        check_positive_integer("factor", self.factor)
        _check_option("method", self.method, UpsampleMethod)


@dataclass(frozen=True)
class Serial:
    """Layers one after another; no layer at all is the identity."""

    layers: Sequence["Layer"] = ()

    def __post_init__(self) -> None:
        """Freezes the layers into a tuple; raises TypeError unless they are layers."""
        object.__setattr__(self, "layers", _frozen("layers", self.layers))


@dataclass(frozen=True)
class Sum:
    """Branches that read the same input and whose outputs are added."""

    branches: Sequence["Layer"]

    def __post_init__(self) -> None:
        """Freezes the branches into a tuple; raises ValueError where there are none."""
        object.__setattr__(self, "branches", _branches(self.branches))


@dataclass(frozen=True)
class Concat:
    """Branches that read the same input and whose channels are laid side by side."""

    branches: Sequence["Layer"]

    def __post_init__(self) -> None:
        """Freezes the branches into a tuple; raises ValueError where there are none."""
        object.__setattr__(self, "branches", _branches(self.branches))


Layer = (
    Convolution | Activation | BatchNorm | Downsample | Upsample | Serial | Sum | Concat
)


def _frozen(name: str, layers: Sequence[Layer]) -> tuple[Layer, ...]:
    if not isinstance(layers, Sequence) or not all(
        isinstance(layer, Layer) for layer in layers
    ):
        raise TypeError(
            f"{name}: expected a sequence of layers of dipgp.architecture, got "
            f"{layers!r}"
        )
    return tuple(layers)


def _branches(branches: Sequence[Layer]) -> tuple[Layer, ...]:
    frozen = _frozen("branches", branches)
    if not frozen:
        raise ValueError("branches: expected at least one, got none")
    return frozen


@dataclass(frozen=True)
class Architecture:
    """A whole network: its layers, and the kind of signal that it reads.

    Attributes:
      body: the layers.
      input_channels: channels of the fixed random input.
      dimensions: 1 for signals (L, C), 2 for images (H, W, C).
      output_channels: of the result, derived from the layers.
    """

    body: Layer
    input_channels: int = 32
    dimensions: int = 2
    output_channels: int = field(init=False)

    def __post_init__(self) -> None:
        """Raises ValueError where the layers' channels do not fit together."""
        check_positive_integer("input_channels", self.input_channels)
        if not isinstance(self.dimensions, int) or self.dimensions not in (1, 2):
            raise ValueError(f"dimensions: expected 1 or 2, got {self.dimensions!r}")
        channels = layer_channels(self.body, self.input_channels)
        object.__setattr__(self, "output_channels", channels)


def layer_channels(layer: Layer, input_channels: int) -> int:
    """Channels that a layer puts out, given those that it reads.

    Raises:
      ValueError: where the branches of a Sum have different numbers of channels.
      TypeError: where something is not a layer.
    """
    match layer:
        case Convolution():
            return layer.channels
        case Serial():
            for inner in layer.layers:
                input_channels = layer_channels(inner, input_channels)
            return input_channels
        case Sum():
            widths = {layer_channels(b, input_channels) for b in layer.branches}
            if len(widths) > 1:
                raise ValueError(
                    "branches: a Sum expected the same number of channels from each, "
                    f"got {sorted(widths)}; end the branches in convolutions that agree"
                )
            return widths.pop()
        case Concat():
            return sum(layer_channels(b, input_channels) for b in layer.branches)
        case BatchNorm() | Downsample() | Upsample():
            return input_channels
        case ReLU() | LeakyReLU() | Erf() | Linear() | Sigmoid():
            return input_channels
    raise TypeError(f"layer: expected a layer of dipgp.architecture, got {layer!r}")


def child_name(position: int, layer: Layer) -> str:
    """The name of a layer in the one that holds it, such as "batch_norm_3"."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(layer).__name__)
    return f"{words.lower()}_{position}"


def parameter_count(net: Architecture) -> int:
    """Number of trainable parameters of the finite network.

    Raises:
      TypeError: on something else than an `Architecture`.
    """
    check_architecture(net)

    def count(layer: Layer, channels: int) -> int:
        match layer:
            case Convolution():
                fan_in = channels * layer.kernel_size**net.dimensions
                return layer.channels * (fan_in + (layer.bias_variance > 0))
            case BatchNorm():
                return 2 * channels if layer.affine else 0
            case Serial():
                total = 0
                for inner in layer.layers:
                    total += count(inner, channels)
                    channels = layer_channels(inner, channels)
                return total
            case Sum() | Concat():
                return sum(count(branch, channels) for branch in layer.branches)
        return 0

    return count(net.body, net.input_channels)
