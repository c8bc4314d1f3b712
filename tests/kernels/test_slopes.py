"""What non-linearities pass on of changes of their input, against quadrature."""

import math

import jax.numpy as jnp
import numpy as np
import pytest
from gaussian_expectations import ErrorFunction, LeakyRectifier, expectation

from dipgp import kernels
from dipgp.kernels import slopes
from dipgp.kernels.stationary import Moments

ANGLES = np.array([0, 1e-4, 0.3, 1.2, math.pi / 2, 2.5, 3.0])
RULES = {
    "relu": (LeakyRectifier(0.0), 0.0, "Rectifier"),
    "leaky relu": (LeakyRectifier(0.2), 0.2, "Rectifier"),
    "steep leaky relu": (LeakyRectifier(-1.6), -1.6, "Rectifier"),
    "erf": (ErrorFunction(1.3), 0.5 / 1.3**2, "ErrorFunction"),
}


def at_angle(angle, variance):
    """A covariance with that angle between pixels one apart, smooth in between."""
    return kernels.scale(Cosine(angle), variance)


class Cosine(kernels.Covariance):
    """cos(angle r), by its variogram."""

    def __init__(self, angle):
        self.angle = angle

    def evaluate(self, lags, at):
        one = jnp.ones(())
        drop = 2 * jnp.square(jnp.sin(self.angle * lags[..., 0] / 2))
        return Moments(one, one, drop)


def rule(name, kind, *covariances):
    _, parameter, family = RULES[name]
    return getattr(slopes, family + kind)(*covariances, parameter)(np.ones((1,)))


@pytest.mark.parametrize("name", RULES)
def test_changes_of_single_weights_meet_the_slopes(x64, name):
    activation = RULES[name][0]

    def slope_product(u, v):
        return activation.derivative(u) * activation.derivative(v)

    for angle in ANGLES:
        found = rule(name, "Slope", at_angle(angle, 1.7))
        expected = expectation(slope_product, 1.7, angle)
        assert float(found) == pytest.approx(expected, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("name", RULES)
def test_changes_of_a_scale_stay_in_proportion_to_the_channel(x64, name):
    activation = RULES[name][0]

    def changes(u, v):
        return u * activation.derivative(u) * v * activation.derivative(v)

    def cross(u, v):
        first = u * activation.derivative(u) * activation.value(v)
        return (first + v * activation.derivative(v) * activation.value(u)) / 2

    for angle in ANGLES:
        field = at_angle(angle, 1.7)
        found = rule(name, "Scale", field, field)
        expected = expectation(changes, 1.7, angle)
        assert float(found) == pytest.approx(expected, rel=1e-11, abs=1e-12)
        found = rule(name, "ScaleCross", field, field)
        assert float(found) == pytest.approx(expectation(cross, 1.7, angle), abs=1e-12)


@pytest.mark.parametrize("name", RULES)
def test_a_scale_may_belong_to_a_part_of_the_channel(x64, name):
    # u = x + y: given u and v, x is linear in them, plus an independent rest.
    activation, variance, share = RULES[name][0], 1.7, 0.3
    for angle, part_angle in [(0.8, 0.5), (1.2, 2.0), (2.5, 2.0)]:
        q = np.array([[1, np.cos(angle)], [np.cos(angle), 1]]) * variance
        a = np.array([[1, np.cos(part_angle)], [np.cos(part_angle), 1]]) * share
        gain = a @ np.linalg.inv(q)
        rest = a - gain @ a

        def changes(u, v, gain=gain, rest=rest):
            both = activation.derivative(u) * activation.derivative(v)
            x, other = gain[0, 0] * u + gain[0, 1] * v, gain[1, 0] * u + gain[1, 1] * v
            return both * (x * other + rest[0, 1])

        def cross(u, v, gain=gain):
            x = gain[0, 0] * u + gain[0, 1] * v
            return activation.derivative(u) * x * activation.value(v)

        field, part = at_angle(angle, variance), at_angle(part_angle, share)
        found = rule(name, "Scale", field, part)
        assert float(found) == pytest.approx(expectation(changes, variance, angle))
        found = rule(name, "ScaleCross", field, part)
        assert float(found) == pytest.approx(expectation(cross, variance, angle))


@pytest.mark.parametrize("name", ["relu", "leaky relu", "steep leaky relu"])
def test_changes_that_are_the_same_everywhere_come_out_correlated(x64, name):
    activation = RULES[name][0]
    for angle in ANGLES:
        found = rule(name, "ShiftCross", at_angle(angle, 1.7))
        expected = expectation(
            lambda u, v: activation.derivative(u) * activation.value(v), 1.7, angle
        )
        assert float(found) == pytest.approx(abs(expected), rel=1e-11, abs=1e-12)
