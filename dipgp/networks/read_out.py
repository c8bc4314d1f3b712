"""A network's last convolution apart from what it reads."""

from dipgp import architecture
from dipgp.architecture import Architecture, Convolution, Layer, Linear, Serial


def split_read_out(
    net: Architecture,
) -> tuple[Architecture, Convolution | None]:
    """A network without its last layer, and that layer, if it is a convolution.

    `Linear` layers behind it, which do nothing, are left out.

    Returns:
      The network as it is and None where another layer comes last.
    """
    hidden, read_out = _split(net.body)
    return Architecture(hidden, net.input_channels, net.dimensions), read_out


def _split(layer: Layer) -> tuple[Layer, Convolution | None]:
    match layer:
        case architecture.Convolution():
            return Serial(), layer
        case architecture.Serial():
            layers = list(layer.layers)
            while layers and isinstance(layers[-1], Linear):
                layers.pop()
            if layers:
                hidden, read_out = _split(layers[-1])
                if read_out is not None:
                    return Serial([*layers[:-1], hidden]), read_out
    return layer, None
