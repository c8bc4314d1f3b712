"""Grids small enough for a matrix between all pixels, and signals on them."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

GRIDS = [(12,), pytest.param((8, 6), marks=pytest.mark.slow)]


def as_matrix(dense):
    pixels = math.isqrt(dense.size)
    return np.asarray(dense).reshape(pixels, pixels)


def signal(shape, channels=3):
    return jnp.asarray(np.random.default_rng(1).standard_normal((*shape, channels)))
