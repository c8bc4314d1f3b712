import jax
import numpy as np
import pytest

from dipgp import kernels

LAGS = kernels.lag_grid((8, 7), np.float64)
SHARED = kernels.gaussian(1.5)


def test_a_covariance_reaches_as_many_times_further_along_the_direction(x64):
    angle = 0.4
    along = np.array([np.sin(angle), np.cos(angle)])  # down, right
    across = np.array([np.cos(angle), -np.sin(angle)])
    found = kernels.stretch(SHARED, angle, along=3.0, across=0.5)
    for distance in (0.7, 2.0, 5.0):
        plain = float(SHARED(distance * along))
        assert found(3.0 * distance * along) == pytest.approx(plain, rel=1e-12)
        assert found(0.5 * distance * across) == pytest.approx(plain, rel=1e-12)


def test_along_an_axis_it_is_a_lengthscale_of_that_axis(x64):
    right, down = (kernels.stretch(SHARED, a, along=4.0) for a in (0.0, np.pi / 2))
    wide, tall = (kernels.gaussian(np.array(s)) for s in ([1.5, 6.0], [6.0, 1.5]))
    np.testing.assert_allclose(right(LAGS), wide(LAGS), rtol=1e-12)
    np.testing.assert_allclose(down(LAGS), tall(LAGS), rtol=1e-12)


def test_the_angle_turns_from_right_to_down(x64):
    found = kernels.stretch(SHARED, np.pi / 4, along=4.0)
    assert found(np.array([3.0, 3.0])) > found(np.array([-3.0, 3.0]))


def test_variance_and_value_far_away_stay(x64):
    inner = kernels.bias(kernels.scale(SHARED, 2.0), 0.3)
    moments = kernels.stretch(inner, 0.3, 2.0).moments(LAGS)
    assert moments.variance == pytest.approx(2.3)
    assert moments.sill == pytest.approx(2.0)


def test_a_stretched_covariance_goes_through_jit_and_has_derivatives(x64):
    found = kernels.stretch(SHARED, 0.3, 2.0)
    compiled = jax.jit(lambda k: k(LAGS))(found)
    np.testing.assert_allclose(compiled, found(LAGS), rtol=1e-12)
    lag = np.array([0.0, 3.0])
    slope = jax.grad(lambda along: kernels.stretch(SHARED, 0.0, along)(lag))(2.0)
    # d/dl exp(-(3 / l)^2 / 9) = 2 / l^3 exp(-1 / l^2)
    assert slope == pytest.approx(2 / 8 * np.exp(-1 / 4), rel=1e-8)


def test_signals_have_no_direction():
    with pytest.raises(ValueError, match=r"lags: expected shape \(\.\.\., 2\)"):
        kernels.stretch(SHARED, 0.0, 2.0)(np.zeros((3, 1)))


@pytest.mark.parametrize("factors", [(0.0, 1.0), (2.0, -1.0)], ids=str)
def test_factors_must_be_positive(factors):
    with pytest.raises(ValueError, match=r"along|across"):
        kernels.stretch(SHARED, 0.0, *factors)
