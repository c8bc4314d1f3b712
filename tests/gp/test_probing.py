import jax
import jax.numpy as jnp
import numpy as np
import pytest
from stationary_fields import krige_through, matrix_of, random_mask

from dipgp import gp, kernels
from dipgp.observations import BayerMosaic, Blur, Decimation, gaussian_blur

PRIOR = kernels.scale(kernels.matern(1.5, 1.5), 0.5)
NOISE = 0.1
# Colours that go along with each other, in directions that are no axes.
ROTATION = np.linalg.qr(np.array([[1.0, 1, 0.2], [1, 0, -1], [1, -1, 0.5]]))[0]
VARIANCES = np.array([2.0, 0.7, 0.3])
CROOKED = Blur([[0.0, 0.3, 0.1], [0.2, 0.5, -0.1]])


def posterior(through, shape, mask=None, **settings):
    """In 32 bits; what was seen does not matter."""
    values = np.zeros(through.output_shape(shape), np.float32)
    return gp.condition(
        PRIOR,
        values,
        mask,
        NOISE,
        through=through,
        image_shape=shape,
        channels=channel_model(shape[2]),
        reach=14,
        tolerance=1e-5,
        **settings,
    )


def channel_model(count):
    if count == 1:
        return gp.ChannelModel(jnp.eye(1), jnp.ones(1))
    rotation, variances = np.float32(ROTATION), np.float32(VARIANCES)
    return gp.ChannelModel(jnp.asarray(rotation), jnp.asarray(variances))


def expected(through, shape, mask=None):
    """(H, W, C), by the equations of kriging."""
    with jax.enable_x64(True):
        seen = through.output_shape(shape)
        mask = np.ones(seen[:2], bool) if mask is None else mask
        colours = (ROTATION * VARIANCES) @ ROTATION.T if shape[2] == 3 else np.eye(1)
        parts = (matrix_of(through, shape), PRIOR, shape, np.zeros(seen), mask)
        _, _, left = krige_through(*parts, NOISE, colours)
    return np.diag(left).reshape(shape)


# A circular blur lets opposite borders tell of each other; in sizes that are multiples
# of the spacing, 4, these are probed apart as well.
CASES = {
    "decimated": (Decimation(2), (16, 14, 1), None),
    "blurred behind a mask": (CROOKED, (16, 12, 1), random_mask((16, 12), 0.5)),
    "mosaic": (BayerMosaic(), (12, 10, 3), None),
    "blurred colours": (gaussian_blur(0.7), (12, 10, 3), None),
}


@pytest.mark.parametrize(
    "name",
    [n if n == "decimated" else pytest.param(n, marks=pytest.mark.slow) for n in CASES],
)
def test_estimates_are_off_by_their_standard_error(name):
    through, shape, mask = CASES[name]
    found = posterior(through, shape, mask).variance(
        jax.random.key(3), method="probing", solves=32
    )
    assert found.info.converged
    exact = expected(through, shape, mask)
    off = (found.value - exact) / found.standard_error
    # The mean square of 168 standardised errors or more, correlated over some three
    # pixels each way: about 20 independent numbers, of relative error 1/3.
    assert 0.35 < np.mean(np.square(off)) < 2.2
    # As many samples are off by sqrt(2 / 32) = 25 %.
    nearer = 0.2 if name == "mosaic" else 0.1
    assert np.sqrt(np.mean(np.square(found.value / exact - 1))) < nearer


@pytest.mark.slow
@pytest.mark.parametrize(
    ("through", "shape", "solves"),
    [(BayerMosaic(), (5, 4, 3), 2 * 25 * 3), (CROOKED, (5, 4, 3), 2 * 25)],
    ids=["mosaic", "blurred colours"],
)
def test_one_solve_for_each_pixel_and_what_channels_are_coupled_is_exact(
    through, shape, solves
):
    found = posterior(through, shape).variance(
        jax.random.key(0), method="probing", solves=solves
    )
    # But for the solves, which stop at 1 %.
    np.testing.assert_allclose(found.value, expected(through, shape), rtol=5e-3)
    assert np.max(found.standard_error) < 2e-3
