"""Expectations under a pair of correlated Gaussians, by quadrature in the plane.

u = sqrt(q) R cos(phi) and v = sqrt(q) R cos(phi - theta), with R^2 / 2 exponential and
phi uniform, have variance q and correlation cos(theta). In these coordinates the kinks
of a non-linearity at zero are four fixed angles, between which it is smooth.
"""

import numpy as np
from scipy import special

# exp(-r^2 / 2) is 1e-35 there.
_FARTHEST_RADIUS = 12.7


def expectation(function, variance, angle):
    """E[function(u, v)], to about 1e-14 for functions that are smooth off zero.

    Args:
      function: of two arrays; jumps or kinks may be where either is zero, and the scale
        on which it bends should not be far below a tenth.
      variance: of u and of v.
      angle: arccos of their correlation, from 0 to pi.
    """
    borders = np.array([-0.5, 0.5, 1.5, angle / np.pi - 0.5, angle / np.pi + 0.5])
    phi, phi_weight = _panels(np.unique(borders) * np.pi, 80)
    radius, radius_weight = _panels(np.linspace(0, _FARTHEST_RADIUS, 13), 16)
    reach = np.sqrt(variance) * radius[:, None]
    values = function(reach * np.cos(phi), reach * np.cos(phi - angle))
    density = radius * np.exp(-(radius**2) / 2) * radius_weight
    return float(density @ values @ phi_weight / (2 * np.pi))


def _panels(borders, order):
    """Gauss-Legendre nodes and weights, panel after panel."""
    nodes, weights = np.polynomial.legendre.leggauss(order)
    halves = np.diff(borders)[:, None] / 2
    middles = (borders[1:] + borders[:-1])[:, None] / 2
    return (middles + halves * nodes).ravel(), (halves * weights).ravel()


class LeakyRectifier:
    """u where it is positive, slope u elsewhere; the slope is its parameter."""

    def __init__(self, slope):
        self.parameter = slope

    def value(self, u):
        return np.where(u > 0, u, self.parameter * u)

    def derivative(self, u):
        return np.where(u > 0, 1.0, self.parameter)

    def by_parameter(self, u):
        return np.where(u > 0, 0.0, u)


class ErrorFunction:
    """erf(scale u); the scale is its parameter."""

    def __init__(self, scale):
        self.parameter = scale

    def value(self, u):
        return special.erf(self.parameter * u)

    def derivative(self, u):
        return (
            2 * self.parameter / np.sqrt(np.pi) * np.exp(-((self.parameter * u) ** 2))
        )

    def by_parameter(self, u):
        return 2 * u / np.sqrt(np.pi) * np.exp(-((self.parameter * u) ** 2))


class Sign:
    """The sign of u."""

    def value(self, u):
        return np.sign(u)
