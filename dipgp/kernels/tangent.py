"""The neural tangent kernel of an infinitely wide network, as a function of lag.

Theta(r) = sum_p E[df(t)/dp df(t + r)/dp] over all parameters p of a network f that
reads a stationary input. While a wide network is trained by small steps, Theta stays as
it was at the start and says which patterns are learnt how fast. Parameters are those of
`networks.build(net, initialisation="gaussian_process")`: weights and biases are N(0, 1)
and the forward pass multiplies them by their standard deviations; batch norm with
`affine` has a scale at 1 and a shift at 0 for each channel.

    convolution:    Theta' = K' + sigma_w^2 Theta, K' = sigma_w^2 K + sigma_b^2
    non-linearity:  Theta' = E[h'(u) h'(v)] Theta
    batch norm:     Theta' = (Theta - Theta(inf)) / (K(0) - K(inf) + epsilon)

and layers without parameters that are linear act on Theta as they do on K.

Batch norm's parameters belong to one channel each. A shift adds 1 to Theta. A scale
adds the channel's own covariance, and since it changes the channel in proportion to
itself, a non-linearity passes it on by a rule of its own (`dipgp.kernels.slopes`), as
does a further batch norm (`dipgp.kernels.projection`).

References:
  Jacot, Gabriel and Hongler, Neural tangent kernel, NeurIPS 2018.
  Arora et al., On exact computation with an infinitely wide neural net, NeurIPS 2019.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from dipgp import architecture
from dipgp.kernels import layers, slopes
from dipgp.kernels.covariance import (
    Rectifier,
    Resampling,
    Rules,
    activation,
    convolution,
    read,
    resample,
)
from dipgp.kernels.inputs import constant, white
from dipgp.kernels.projection import Correlated, NormalisedTangent
from dipgp.kernels.shared import Shared
from dipgp.kernels.stationary import Covariance, CovarianceLike, as_covariance


class Tangents(NamedTuple):
    """What a channel carries.

    Attributes:
      field: its covariance.
      tangent: Theta of all parameters but the scales below.
      scaled: covariances of the parts of a Gaussian channel that a batch norm's scale
        multiplies.
      correlated: of the changes that `tangent` counts, those that a batch norm would
        not leave as they are.
    """

    field: Covariance
    tangent: Covariance
    scaled: tuple[Covariance, ...] = ()
    correlated: tuple[Correlated, ...] = ()

    @property
    def total(self) -> Covariance:
        """Theta of all parameters."""
        if not self.scaled:
            return self.tangent
        return layers.add(self.tangent, *self.scaled)


def ntk(
    net: architecture.Architecture, input: CovarianceLike | None = None
) -> Covariance:
    """The stationary neural tangent kernel of a network as its layers grow wide.

    Theta(r) = sum_p E[df(t)/dp df(t + r)/dp] over all parameters p, for one output
    channel f, as `networks.build(net, initialisation="gaussian_process")` has them.
    Exact under the assumptions of `kernels.covariance`; batch norm in the limit of many
    pixels.

    Args:
      net: the network.
      input: covariance of one channel of its random input, which is not trained; white
        noise by default.

    Returns:
      Theta, a positive semi-definite function of lag, as a covariance. Between
      different output channels it is 0.

    Raises:
      ValueError: as `kernels.covariance` does, and on Erf(math.inf), which jumps.

    References:
      Jacot, Gabriel and Hongler, Neural tangent kernel, NeurIPS 2018.
    """
    start = as_covariance(white() if input is None else input)
    return Shared(read(net, Tangents(start, constant(0.0)), _RULES).total)


def _convolution(before: Tangents, layer: architecture.Convolution) -> Tangents:
    field = convolution(before.field, layer)
    # Gradients of the layers below pass through the same weights, but not the biases.
    weights = architecture.Convolution(
        layer.channels, 1, layer.stride, layer.weight_variance
    )
    passed = convolution(before.total, weights)
    return Tangents(field, layers.add(field, passed))


def _batch_norm(before: Tangents, layer: architecture.BatchNorm) -> Tangents:
    field = layers.batch_norm(before.field, layer.epsilon)
    # A scale that another batch norm has left in place is undone by this one.
    scales = tuple(Correlated(constant(1.0), part) for part in before.scaled)
    tangent: Covariance = NormalisedTangent(
        before.total, before.field, before.correlated + scales, layer.epsilon
    )
    if not layer.affine:
        return Tangents(field, tangent)
    return Tangents(field, layers.bias(tangent, 1.0), scaled=(field,))


def _resample(before: Tangents, layer: Resampling) -> Tangents:
    field = resample(before.field, layer)

    def rule(k: Covariance) -> Covariance:
        return field if k is before.field else resample(k, layer)

    return Tangents(
        field,
        rule(before.tangent),
        tuple(map(rule, before.scaled)),
        tuple(Correlated(rule(w), rule(c)) for w, c in before.correlated),
    )


def _activation(before: Tangents, layer: Rectifier | architecture.Erf) -> Tangents:
    field = before.field
    scaled: list[Covariance]
    crosses: list[Covariance]
    shifts: list[Correlated] = []
    if isinstance(layer, architecture.Erf):
        if math.isinf(layer.scale):
            raise ValueError(
                f"net: {layer} jumps, so that its neural tangent kernel is infinite; "
                "try a finite scale"
            )
        softness = 0.5 / layer.scale**2
        slope: Covariance = slopes.ErrorFunctionSlope(field, softness)
        parts = before.scaled
        scaled = [slopes.ErrorFunctionScale(field, k, softness) for k in parts]
        crosses = [slopes.ErrorFunctionScaleCross(field, k, softness) for k in parts]
    else:
        leak = layer.slope if isinstance(layer, architecture.LeakyReLU) else 0.0
        slope = slopes.RectifierSlope(field, leak)
        parts = before.scaled
        scaled = [slopes.RectifierScale(field, k, leak) for k in parts]
        crosses = [slopes.RectifierScaleCross(field, k, leak) for k in parts]
        # What Theta is far away comes of changes that are the same at all pixels.
        cross = slopes.RectifierShiftCross(field, leak)
        shifts = [Correlated(before.tangent, cross)]
    passed: Covariance = slopes.Product(slope, before.tangent)
    return Tangents(
        activation(field, layer),
        layers.add(passed, *scaled) if scaled else passed,
        correlated=(*shifts, *(Correlated(constant(1.0), k) for k in crosses)),
    )


def _add(values: Sequence[Tangents]) -> Tangents:
    return Tangents(
        layers.add(*(value.field for value in values)),
        layers.add(*(value.tangent for value in values)),
        tuple(part for value in values for part in value.scaled),
        tuple(change for value in values for change in value.correlated),
    )


def _concat(values: Sequence[Tangents], channels: Sequence[int]) -> Tangents:
    return Tangents(
        layers.concat([value.field for value in values], channels),
        layers.concat([value.total for value in values], channels),
    )


_RULES: Rules[Tangents] = Rules(
    convolution=_convolution,
    batch_norm=_batch_norm,
    resample=_resample,
    activation=_activation,
    add=_add,
    concat=_concat,
)
