import functools

import numpy as np
import pytest
from stationary_fields import random_mask

from dipgp import gp, kernels
from dipgp.observations import (
    Blur,
    Composition,
    Decimation,
    gaussian_blur,
    motion_blur,
)

NOISE = 0.05
PRIOR = kernels.matern(1.5, 3.0)
CROOKED = [[0.0, 0.3, 0.1], [0.2, 0.5, -0.1]]

# With the steps by weights that suffice, and steps in the field's coordinates that do
# not, where nothing knows the filter.
FEW = {
    "circular blur": (gaussian_blur(1.2), 30, 120),
    "valid blur": (gaussian_blur(1.2, "valid"), 35, 130),
    "half": (Decimation(2), 12, 100),
    "oblique motion": (motion_blur(5, 30, "valid"), 50, 150),
}


def problem(through, size=(26, 24), count=1, seed=0):
    """Conditions on a ramp with waves that was seen through a map."""
    shape = (*size, count)
    rows, columns = np.indices(size)
    waves = np.sin(0.7 * rows) * np.cos(0.5 * columns) + 0.05 * rows
    image = np.stack([waves + 0.1 * channel * columns for channel in range(count)], -1)
    values = np.asarray(through(image))
    rng = np.random.default_rng(seed)
    values = values + NOISE * rng.standard_normal(values.shape)
    return functools.partial(
        gp.condition,
        PRIOR,
        values,
        noise_std=NOISE,
        through=through,
        image_shape=shape,
        reach=15,
    )


@pytest.mark.parametrize(
    "name",
    [n if n == "valid blur" else pytest.param(n, marks=pytest.mark.slow) for n in FEW],
)
def test_the_filter_saves_most_of_the_steps(x64, name):
    through, few, many = FEW[name]
    condition = problem(through)
    exact = condition(tolerance=1e-9).mean
    found = condition()
    plain = condition(method="field")
    assert found.info.iterations[0] < few
    np.testing.assert_allclose(found.mean, exact, rtol=0, atol=1e-3)
    assert plain.info.iterations[0] > many


@pytest.mark.slow
@pytest.mark.parametrize(
    "through",
    [
        Blur(CROOKED, "valid"),
        Blur(CROOKED),
        Decimation(2),
        Composition((Blur(CROOKED), Decimation(2))),
    ],
    ids=["valid", "circular", "half", "blurred half"],
)
def test_weights_and_field_have_one_solution_behind_a_mask(x64, through):
    shape = (10, 9, 2)
    seen = through.output_shape(shape)
    rng = np.random.default_rng(0)
    values = 0.5 + 0.2 * rng.standard_normal(seen)
    condition = functools.partial(
        gp.condition,
        PRIOR,
        values,
        random_mask(seen[:2], 0.6),
        rng.uniform(0.05, 0.5, seen[:2]),
        through=through,
        image_shape=shape,
        tolerance=1e-11,
        reach=15,
    )
    weights, field = (condition(method=form) for form in ("weights", "field"))
    np.testing.assert_allclose(weights.mean, field.mean, rtol=0, atol=1e-8)
    np.testing.assert_allclose(weights.level, field.level, rtol=0, atol=1e-8)


@pytest.mark.slow
def test_a_gain_of_the_filter_is_taken_off_the_level():
    """A flat grey, seen half as bright."""
    through = Blur([[0.25, 0.25]], "valid")
    values = np.full((8, 7, 1), 0.2, np.float32)
    posterior = gp.condition(
        PRIOR, values, noise_std=NOISE, through=through, image_shape=(8, 8, 1), reach=15
    )
    np.testing.assert_allclose(posterior.mean, 0.4, atol=1e-6)
    np.testing.assert_allclose(posterior.level, 0.4, atol=1e-6)
