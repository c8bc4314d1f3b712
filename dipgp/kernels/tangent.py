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

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from dipgp import architecture
from dipgp.kernels import layers, reading, slopes
from dipgp.kernels.covariance import StationaryRules
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
    after = reading.read(net, Tangents(start, constant(0.0)), _TangentRules())
    return Shared(after.total)


# Of what a channel's field does, which Theta does too in linear layers.
_FIELDS = StationaryRules()
_Rule = Callable[[Covariance], Covariance]


class _TangentRules:
    """What layers do to the tangents that a channel carries."""

    def concat(self, fields: Sequence[Tangents], channels: Sequence[int]) -> Tangents:
        return Tangents(
            layers.concat([value.field for value in fields], channels),
            layers.concat([value.total for value in fields], channels),
        )

    def convolution(self, field: Tangents, layer: architecture.Convolution) -> Tangents:
        after = _FIELDS.convolution(field.field, layer)
        # Gradients of the layers below pass through the same weights, not the biases.
        weights = dataclasses.replace(layer, bias_variance=0.0)
        passed = _FIELDS.convolution(field.total, weights)
        return Tangents(after, layers.add(after, passed))

    def add(self, fields: Sequence[Tangents]) -> Tangents:
        return Tangents(
            layers.add(*(value.field for value in fields)),
            layers.add(*(value.tangent for value in fields)),
            tuple(part for value in fields for part in value.scaled),
            tuple(change for value in fields for change in value.correlated),
        )

    def batch_norm(self, field: Tangents, layer: architecture.BatchNorm) -> Tangents:
        after = _FIELDS.batch_norm(field.field, layer)
        # A scale that another batch norm has left in place is undone by this one.
        scales = tuple(Correlated(constant(1.0), part) for part in field.scaled)
        tangent: Covariance = NormalisedTangent(
            field.total, field.field, field.correlated + scales, layer.epsilon
        )
        if not layer.affine:
            return Tangents(after, tangent)
        return Tangents(after, layers.bias(tangent, 1.0), scaled=(after,))

    def downsample(self, field: Tangents, layer: architecture.Downsample) -> Tangents:
        return _resample(field, lambda k: _FIELDS.downsample(k, layer))

    def upsample(self, field: Tangents, layer: architecture.Upsample) -> Tangents:
        return _resample(field, lambda k: _FIELDS.upsample(k, layer))

    def rectify(self, field: Tangents, slope: float) -> Tangents:
        k, parts = field.field, field.scaled
        # What Theta is far away comes of changes that are the same at all pixels.
        cross = slopes.RectifierShiftCross(k, slope)
        return _bend(
            field,
            after=_FIELDS.rectify(k, slope),
            slope=slopes.RectifierSlope(k, slope),
            scaled=[slopes.RectifierScale(k, part, slope) for part in parts],
            crosses=[slopes.RectifierScaleCross(k, part, slope) for part in parts],
            shifts=[Correlated(field.tangent, cross)],
        )

    def erf(self, field: Tangents, scale: float) -> Tangents:
        if math.isinf(scale):
            raise ValueError(
                f"net: Erf(scale={scale}) jumps, so that its neural tangent kernel is "
                "infinite; try a finite scale"
            )
        k, parts = field.field, field.scaled
        soft = 0.5 / scale**2
        return _bend(
            field,
            after=_FIELDS.erf(k, scale),
            slope=slopes.ErrorFunctionSlope(k, soft),
            scaled=[slopes.ErrorFunctionScale(k, part, soft) for part in parts],
            crosses=[slopes.ErrorFunctionScaleCross(k, part, soft) for part in parts],
            shifts=[],
        )


def _resample(before: Tangents, resample: _Rule) -> Tangents:
    field = resample(before.field)

    def rule(k: Covariance) -> Covariance:
        return field if k is before.field else resample(k)

    return Tangents(
        field,
        rule(before.tangent),
        tuple(map(rule, before.scaled)),
        tuple(Correlated(rule(w), rule(c)) for w, c in before.correlated),
    )


def _bend(
    before: Tangents,
    *,
    after: Covariance,
    slope: Covariance,
    scaled: Sequence[Covariance],
    crosses: Sequence[Covariance],
    shifts: Sequence[Correlated],
) -> Tangents:
    """A non-linearity; see `Tangents` for what its parts are."""
    passed: Covariance = slopes.Product(slope, before.tangent)
    return Tangents(
        after,
        layers.add(passed, *scaled) if scaled else passed,
        correlated=(*shifts, *(Correlated(constant(1.0), k) for k in crosses)),
    )
