import dataclasses
import math
from typing import get_args

import pytest

from dipgp.architecture import (
    Activation,
    Architecture,
    BatchNorm,
    Concat,
    Convolution,
    Downsample,
    Erf,
    Layer,
    LeakyReLU,
    Linear,
    ReLU,
    Serial,
    Sigmoid,
    Sum,
    Upsample,
    autoencoder,
    conv_net,
    layer_channels,
    parameter_count,
    skip_net,
)

PAIRS = [
    (Convolution(8), Convolution(9)),
    (Convolution(8), Convolution(8, padding="circular")),
    (ReLU(), LeakyReLU(0.0)),
    (LeakyReLU(), LeakyReLU(0.1)),
    (Erf(), Erf(math.inf)),
    (Linear(), Sigmoid()),
    (BatchNorm(), BatchNorm(affine=False)),
    (Downsample(2, "average"), Downsample(2)),
    (Upsample(2, "nearest"), Upsample(3, "nearest")),
    (Serial([ReLU()]), Serial()),
    (Sum([ReLU()]), Concat([ReLU()])),
    (Concat([ReLU(), Linear()]), Concat([Linear(), ReLU()])),
    (Architecture(Convolution(1)), Architecture(Convolution(1), dimensions=1)),
]
EXAMPLES = [example for pair in PAIRS for example in pair]


def walk(layer):
    """A layer and all those inside it."""
    yield layer
    for inner in getattr(layer, "layers", ()) + getattr(layer, "branches", ()):
        yield from walk(inner)


def test_the_examples_hold_every_kind_of_layer():
    assert {type(example) for example in EXAMPLES} == {*get_args(Layer), Architecture}


@pytest.mark.parametrize("example", EXAMPLES, ids=repr)
def test_descriptions_are_equal_and_hash_alike_when_their_fields_are_equal(example):
    fields = {f.name: getattr(example, f.name) for f in dataclasses.fields(example)}
    fields.pop("output_channels", None)
    twin = type(example)(**fields)
    assert twin == example
    assert hash(twin) == hash(example)
    assert {example: "found"}[twin] == "found"


@pytest.mark.parametrize("pair", PAIRS, ids=repr)
def test_descriptions_that_differ_are_unequal(pair):
    assert pair[0] != pair[1]


@pytest.mark.parametrize("example", EXAMPLES, ids=repr)
def test_descriptions_cannot_be_changed(example):
    names = [field.name for field in dataclasses.fields(example)] or ["anything"]
    for name in names:
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(example, name, None)


@pytest.mark.parametrize("kind", [Serial, Sum, Concat])
def test_a_list_of_layers_may_change_later_without_changing_the_network(kind):
    layers = [Convolution(2), Convolution(2)]
    group = kind(layers)
    layers.append(Convolution(3))
    assert group == kind((Convolution(2), Convolution(2)))
    assert hash(group) == hash(kind((Convolution(2), Convolution(2))))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Convolution(0), "channels: expected an integer of at least 1, got 0"),
        (lambda: Convolution(2.5), "channels: .* got 2.5"),
        (lambda: Convolution(1, kernel_size=0), "kernel_size: .* got 0"),
        (lambda: Convolution(1, stride=-1), "stride: .* got -1"),
        (lambda: Convolution(1, weight_variance=-1.0), "weight_variance: .* got -1.0"),
        (lambda: Convolution(1, weight_variance=math.inf), "weight_variance: .* inf"),
        (lambda: Convolution(1, bias_variance=math.nan), "bias_variance: .* got nan"),
        (lambda: Convolution(1, padding="same"), "padding: .*reflect, zeros, circular"),
        (lambda: LeakyReLU(math.nan), "slope: expected a finite number, got nan"),
        (lambda: Erf(0.0), "scale: expected a positive number, got 0.0"),
        (lambda: Erf(math.nan), "scale: expected a positive number, got nan"),
        (lambda: BatchNorm(-1e-5), "epsilon: expected a number of at least 0"),
        (lambda: Downsample(0), "factor: .* got 0"),
        (lambda: Downsample(2, "max"), "method: .*ideal, stride, average, got 'max'"),
        (lambda: Upsample(1.5), "factor: .* got 1.5"),
        (lambda: Upsample(2, "cubic"), "method: .*ideal, nearest, bilinear"),
        (lambda: Sum([]), "branches: expected at least one, got none"),
        (lambda: Concat(()), "branches: expected at least one, got none"),
        (lambda: Architecture(ReLU(), input_channels=0), "input_channels: .* got 0"),
        (lambda: Architecture(ReLU(), dimensions=3), "dimensions: expected 1 or 2"),
        (
            lambda: Architecture(Sum([Convolution(3), Convolution(2)])),
            r"branches: .* same number of channels .* got \[2, 3\]",
        ),
        (lambda: conv_net(-1), "depth: expected an integer from 0 to 10000, got -1"),
        (lambda: conv_net(1.0), "depth: expected an integer from 0 to 10000, got 1.0"),
        (lambda: conv_net(1, channels=0), "channels: .* got 0"),
        (lambda: autoencoder(-1), "depth: .* got -1"),
        (lambda: autoencoder(1, downsample="max"), "method: .* got 'max'"),
        (lambda: skip_net(0), "scales: .* got 0"),
        (lambda: skip_net(3, channels_up=[1, 2]), "channels_up: .*or 3 .*got 2"),
        (lambda: skip_net(1, channels_skip=-4), "channels_skip: .* 0, got -4"),
        (lambda: skip_net(2, channels_up=(0, 4)), "channels_up: .* 1, got .0, 4"),
    ],
)
def test_what_makes_no_network_is_refused_with_what_was_got(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_something_that_is_no_layer_is_refused():
    with pytest.raises(
        TypeError, match=r"layers: expected a sequence of layers .*'ReLU'"
    ):
        Architecture(Serial([Convolution(1), "ReLU"]))


@pytest.mark.parametrize(
    ("layer", "channels"),
    [
        (Convolution(7), 7),
        (Serial(), 5),
        (Serial([Convolution(7), ReLU(), Convolution(2)]), 2),
        (Sum([Convolution(3), Serial([Convolution(9), Convolution(3)])]), 3),
        (Sum([Serial(), Convolution(5)]), 5),
        (Concat([Convolution(3), Serial(), Convolution(4)]), 12),
        (Concat([Concat([Convolution(1), Convolution(2)]), Convolution(4)]), 7),
        (Serial([Concat([Convolution(3), Linear()]), BatchNorm()]), 8),
        *[(layer(), 5) for layer in get_args(Activation)],
        (Downsample(3, "average"), 5),
        (Upsample(3, "nearest"), 5),
    ],
    ids=repr,
)
def test_channels_follow_from_the_layers(layer, channels):
    assert layer_channels(layer, 5) == channels
    assert Architecture(layer, input_channels=5).output_channels == channels


@pytest.mark.parametrize(("dimensions", "taps"), [(1, 3), (2, 9)])
def test_parameters_are_weights_biases_and_affine_norms(dimensions, taps):
    body = Serial(
        [
            Convolution(4, bias_variance=0.1),  # 4 x (5 x taps + 1)
            BatchNorm(),  # 2 x 4
            ReLU(),
            BatchNorm(affine=False),
            Concat([Convolution(3, 1), Serial([Convolution(2), Linear()])]),
            BatchNorm(),  # 2 x 5
            Sum([Convolution(6, 1), Convolution(6, 1)]),  # 2 x 6 x 5
            Downsample(),
            Upsample(),
        ]
    )
    net = Architecture(body, input_channels=5, dimensions=dimensions)
    expected = 4 * (5 * taps + 1) + 8 + (4 * 3 + 4 * taps * 2) + 10 + 60
    assert parameter_count(net) == expected


def test_the_reference_hourglass_has_2217831_parameters():
    net = skip_net()
    assert parameter_count(net) == 2_217_831
    assert (net.input_channels, net.output_channels, net.dimensions) == (32, 3, 2)


def test_the_hourglass_halves_and_doubles_the_resolution_once_a_scale():
    layers = list(walk(skip_net(scales=4).body))
    strides = [x.stride for x in layers if isinstance(x, Convolution)]
    assert strides.count(2) == 4
    assert layers.count(Upsample(2, "bilinear")) == 4


def test_the_hourglass_of_one_scale_written_out():
    def convolution(channels, size, fan_in):
        return Convolution(channels, size, 1, 1 / 3, 1 / (3 * fan_in), "reflect")

    after = [BatchNorm(), LeakyReLU(0.2)]
    halving = dataclasses.replace(convolution(6, 3, 9 * 32), stride=2)
    body = Serial(
        [
            Concat(
                [
                    Serial([convolution(4, 1, 32), *after]),
                    Serial(
                        [
                            halving,
                            *after,
                            convolution(6, 3, 9 * 6),
                            *after,
                            Upsample(2, "bilinear"),
                        ]
                    ),
                ]
            ),
            BatchNorm(),
            convolution(5, 3, 9 * 10),
            *after,
            convolution(5, 1, 5),
            *after,
            convolution(3, 1, 5),
            Sigmoid(),
        ]
    )
    net = skip_net(1, channels_down=6, channels_up=5, channels_skip=4)
    assert net == Architecture(body, 32, 2)


def test_the_hourglass_takes_widths_scale_by_scale():
    net = skip_net(2, channels_down=[2, 3], channels_up=[5, 7], channels_skip=[11, 0])
    widths = [x.channels for x in walk(net.body) if isinstance(x, Convolution)]
    finer, coarser = [11, 2, 2], [3, 3, 7, 7]
    assert widths == [*finer, *coarser, 5, 5, 3]
    assert [len(x.branches) for x in walk(net.body) if isinstance(x, Concat)] == [2, 1]


def test_the_hourglass_without_batch_norm_has_none():
    layers = list(walk(skip_net(batch_norm=False).body))
    assert not any(isinstance(layer, BatchNorm) for layer in layers)


def test_a_given_bias_variance_replaces_the_one_that_depends_on_fan_in():
    layers = walk(skip_net(2, bias_variance=0.25).body)
    assert {x.bias_variance for x in layers if isinstance(x, Convolution)} == {0.25}


@pytest.mark.parametrize("dimensions", [1, 2])
def test_a_conv_net_is_convolutions_with_activations_and_a_read_out(dimensions):
    hidden = Convolution(16, 5, 1, 2.0, 0.1, "circular")
    read_out = Convolution(3, 1, 1, 2.0, 0.1, "circular")
    net = conv_net(
        2,
        channels=16,
        kernel_size=5,
        activation=Erf(),
        weight_variance=2.0,
        bias_variance=0.1,
        padding="circular",
        input_channels=8,
        output_channels=3,
        dimensions=dimensions,
    )
    body = Serial([hidden, Erf(), hidden, Erf(), read_out])
    assert net == Architecture(body, 8, dimensions)


def test_the_default_conv_net_has_the_variances_of_the_paper():
    layers = conv_net(4).body.layers
    convolutions = layers[::2]
    assert layers[1::2] == (ReLU(),) * 4
    assert {(x.weight_variance, x.bias_variance) for x in convolutions} == {(1.0, 0.0)}


def test_depth_zero_is_the_read_out_alone():
    read_out = Convolution(1, kernel_size=1)
    assert conv_net(0) == autoencoder(0) == Architecture(Serial([read_out]))


@pytest.mark.parametrize("dimensions", [1, 2])
def test_an_autoencoder_halves_before_the_activation_and_doubles_first(dimensions):
    hidden, read_out = Convolution(16), Convolution(1, 1)
    net = autoencoder(
        2, channels=16, downsample="average", upsample="nearest", dimensions=dimensions
    )
    down = [hidden, Downsample(2, "average"), ReLU()] * 2
    up = [Upsample(2, "nearest"), hidden, ReLU()] * 2
    assert net == Architecture(Serial([*down, *up, read_out]), 32, dimensions)


def test_an_autoencoder_strides_by_default():
    body = autoencoder(1, channels=16).body
    strided, hidden = Convolution(16, stride=2), Convolution(16)
    expected = [strided, ReLU(), Upsample(2, "bilinear"), hidden, ReLU()]
    assert body == Serial([*expected, Convolution(1, 1)])
