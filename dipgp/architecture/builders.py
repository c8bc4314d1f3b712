"""The networks of the paper and of the deep image prior, from a few numbers each."""

from collections.abc import Sequence

from dipgp.architecture.layers import (
    Activation,
    Architecture,
    BatchNorm,
    Concat,
    Convolution,
    Downsample,
    DownsampleMethod,
    Layer,
    LeakyReLU,
    Padding,
    ReLU,
    Serial,
    Sigmoid,
    Upsample,
    UpsampleMethod,
)

# More layers would take longer to describe than anybody waits.
_MOST = 10_000


def conv_net(
    depth: int,
    *,
    channels: int = 128,
    kernel_size: int = 3,
    activation: Activation = ReLU(),
    weight_variance: float = 1.0,
    bias_variance: float = 0.0,
    padding: Padding = "reflect",
    input_channels: int = 32,
    output_channels: int = 1,
    dimensions: int = 2,
) -> Architecture:
    """Depth times (convolution, activation), then a linear 1x1 read-out.

    The plain network of the paper's section 4 with its variances, sigma_w = 1 and no
    bias, as defaults. The read-out has the same variances as the other convolutions.

    Args:
      depth: number of hidden layers; 0 is a linear model of the input's channels.
      channels: width of each hidden layer.
      kernel_size: taps of the hidden convolutions along each axis.
      activation: after each hidden convolution.
      weight_variance: sigma_w^2 of every convolution.
      bias_variance: sigma_b^2 of every convolution.
      padding: of every convolution.
      input_channels: channels of the random input.
      output_channels: 1 for grey images, 3 for colour.
      dimensions: 1 or 2.

    Raises:
      ValueError: on a negative depth, or as `Convolution` does.
    """
    _check_count("depth", depth, 0)
    convolution = Convolution(
        channels, kernel_size, 1, weight_variance, bias_variance, padding
    )
    read_out = Convolution(
        output_channels, 1, 1, weight_variance, bias_variance, padding
    )
    body = Serial([*[convolution, activation] * depth, read_out])
    return Architecture(body, input_channels, dimensions)


def autoencoder(
    depth: int,
    *,
    channels: int = 128,
    kernel_size: int = 3,
    activation: Activation = ReLU(),
    downsample: DownsampleMethod = "stride",
    upsample: UpsampleMethod = "bilinear",
    weight_variance: float = 1.0,
    bias_variance: float = 0.0,
    padding: Padding = "reflect",
    input_channels: int = 32,
    output_channels: int = 1,
    dimensions: int = 2,
) -> Architecture:
    """Depth halvings of the resolution, then depth doublings, without skips.

    Going down: convolution, down-sampling by 2, activation. Going up: up-sampling by 2,
    convolution, activation. Then a linear 1x1 read-out. With "ideal" for both methods
    this is the composition of the paper's rules K(2 r) and K(r / 2).

    Args:
      depth: number of halvings, and of doublings.
      channels: width of each hidden layer.
      kernel_size: taps of the hidden convolutions along each axis.
      activation: after each hidden convolution.
      downsample: see `Downsample`; "stride" is a strided convolution.
      upsample: see `Upsample`.
      weight_variance: sigma_w^2 of every convolution.
      bias_variance: sigma_b^2 of every convolution.
      padding: of every convolution.
      input_channels: channels of the random input.
      output_channels: 1 for grey images, 3 for colour.
      dimensions: 1 or 2.

    Raises:
      ValueError: on a negative depth, or as `Convolution` does.
    """
    _check_count("depth", depth, 0)

    def convolution(width: int, size: int) -> Convolution:
        return Convolution(width, size, 1, weight_variance, bias_variance, padding)

    hidden = convolution(channels, kernel_size)
    down: list[Layer] = [*_downsampling(hidden, downsample), activation] * depth
    up: list[Layer] = [Upsample(2, upsample), hidden, activation] * depth
    body = Serial([*down, *up, convolution(output_channels, 1)])
    return Architecture(body, input_channels, dimensions)


def skip_net(
    scales: int = 5,
    *,
    channels_down: int | Sequence[int] = 128,
    channels_up: int | Sequence[int] = 128,
    channels_skip: int | Sequence[int] = 4,
    kernel_size: int = 3,
    activation: Activation = LeakyReLU(0.2),
    downsample: DownsampleMethod = "stride",
    upsample: UpsampleMethod = "bilinear",
    batch_norm: bool = True,
    output: Activation = Sigmoid(),
    weight_variance: float = 1 / 3,
    bias_variance: float | None = None,
    padding: Padding = "reflect",
    input_channels: int = 32,
    output_channels: int = 3,
    dimensions: int = 2,
) -> Architecture:
    """The hourglass with skip connections of Ulyanov et al. (CVPR 2018).

    At each scale the input splits in two. One branch is a 1x1 convolution to a few skip
    channels; the other halves the resolution, convolves, holds the next scale and
    doubles the resolution again. They are concatenated, then convolved (kernel_size,
    then 1x1). Batch norm follows every convolution but the last, and the concatenation.
    The defaults are the network that both papers use.

    Args:
      scales: number of halvings.
      channels_down: width on the way down, one number or one a scale from the finest.
      channels_up: width on the way up, likewise.
      channels_skip: width of the skip branch, likewise; 0 leaves the branch out.
      kernel_size: taps along each axis of the convolutions that are not 1x1.
      activation: after every convolution but the last.
      downsample: see `Downsample`; "stride" is a strided convolution.
      upsample: see `Upsample`.
      batch_norm: whether batch norm is there.
      output: the last non-linearity. `Sigmoid` has no closed-form covariance: describe
        the network with `Linear()` to read it as a kernel.
      weight_variance: sigma_w^2. 1/3 is the variance of PyTorch's default, the uniform
        distribution on +-1/sqrt(fan_in).
      bias_variance: sigma_b^2; by default PyTorch's 1/(3 fan_in), which vanishes with
        growing width.
      padding: of every convolution.
      input_channels: channels of the random input.
      output_channels: 1 for grey images, 3 for colour.
      dimensions: 1 or 2.

    Raises:
      ValueError: on lists without one number a scale, or as `Convolution` does.
    """
    _check_count("scales", scales, 1)
    if dimensions not in (1, 2):
        raise ValueError(f"dimensions: expected 1 or 2, got {dimensions!r}")
    down = _per_scale("channels_down", channels_down, scales, least=1)
    up = _per_scale("channels_up", channels_up, scales, least=1)
    skip = _per_scale("channels_skip", channels_skip, scales, least=0)
    normalisation = [BatchNorm()] if batch_norm else []

    def convolution(width: int, size: int, fan_in_channels: int) -> Convolution:
        fan_in = fan_in_channels * size**dimensions
        variance = 1 / (3 * fan_in) if bias_variance is None else bias_variance
        return Convolution(width, size, 1, weight_variance, variance, padding)

    def scale(index: int, channels: int) -> list[Layer]:
        after = [*normalisation, activation]
        halving = convolution(down[index], kernel_size, channels)
        second = convolution(down[index], kernel_size, down[index])
        deeper: list[Layer] = [*_downsampling(halving, downsample), *after]
        deeper += [second, *after]
        width = down[index]
        if index + 1 < scales:
            deeper += scale(index + 1, width)
            width = up[index + 1]
        deeper.append(Upsample(2, upsample))
        branches: list[Layer] = [Serial(deeper)]
        if skip[index]:
            branches.insert(0, Serial([convolution(skip[index], 1, channels), *after]))
        joined = convolution(up[index], kernel_size, skip[index] + width)
        mixed = convolution(up[index], 1, up[index])
        return [Concat(branches), *normalisation, joined, *after, mixed, *after]

    read_out = convolution(output_channels, 1, up[0])
    body = Serial([*scale(0, input_channels), read_out, output])
    return Architecture(body, input_channels, dimensions)


def _check_count(name: str, count: int, least: int) -> None:
    if not isinstance(count, int) or not least <= count <= _MOST:
        raise ValueError(
            f"{name}: expected an integer from {least} to {_MOST}, got {count!r}"
        )


def _downsampling(convolution: Convolution, method: DownsampleMethod) -> list[Layer]:
    """A convolution followed by halving; with "stride" in one layer."""
    if method == "stride":
        fields = dict(vars(convolution), stride=2 * convolution.stride)
        return [Convolution(**fields)]
    return [convolution, Downsample(2, method)]


def _per_scale(
    name: str, channels: int | Sequence[int], scales: int, least: int
) -> list[int]:
    values = [channels] if isinstance(channels, int) else channels
    if not isinstance(values, Sequence) or isinstance(values, str | bytes):
        raise ValueError(f"{name}: expected one number or several, got {channels!r}")
    values = list(values) * (scales if isinstance(channels, int) else 1)
    if len(values) != scales:
        raise ValueError(
            f"{name}: expected one number, or {scales} of them (one a scale), "
            f"got {len(values)}"
        )
    if not all(isinstance(value, int) and value >= least for value in values):
        raise ValueError(
            f"{name}: expected integers of at least {least}, got {channels!r}"
        )
    return values
