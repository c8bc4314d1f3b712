import jax
import jax.numpy as jnp
import numpy as np
import pytest
from stationary_fields import (
    covariance_matrix,
    mask_with_hole,
    matrix_of,
    random_mask,
)

from dipgp import gp, kernels
from dipgp.gp.evidence import estimate
from dipgp.gp.system import System
from dipgp.observations import BayerMosaic, Blur, Decimation, observe

GRID = (9, 8)
MASKS = {"half": random_mask(GRID, 0.6), "a hole": mask_with_hole(GRID)}


def prior(hyperparameters):
    """A rough process under a smooth one, whose constant part must not count."""
    lengthscale, variance = hyperparameters[0], hyperparameters[1]
    rough = kernels.scale(kernels.matern(0.5, lengthscale), variance)
    return kernels.bias(rough, 0.7)


HYPERPARAMETERS = (2.0, 0.3, 0.2)  # lengthscale, variance, noise's standard deviation


def data(shape=GRID):
    return 0.4 + 0.3 * np.random.default_rng(1).standard_normal(shape)


def evidence(hyperparameters, mask, values=None, key=0, **settings):
    values = data(mask.shape) if values is None else values
    posterior = gp.condition(
        prior(hyperparameters),
        values,
        mask,
        hyperparameters[2],
        method="weights",
        reach=24,
        tolerance=1e-10,
    )
    return posterior.log_evidence(jax.random.key(key), **settings)


def expected(hyperparameters, mask, values):
    """The density of the contrasts by their definition, one orthonormal basis of them.

    A flat prior of the level makes it 1/sqrt(n) of that.
    """
    lengthscale, variance, noise_std = hyperparameters
    seen = np.flatnonzero(mask)
    k = kernels.matern(0.5, lengthscale)
    matrix = variance * covariance_matrix(k, mask.shape)[np.ix_(seen, seen)]
    matrix = matrix + noise_std**2 * np.eye(seen.size)
    centring = np.eye(seen.size) - 1 / seen.size
    basis = np.linalg.svd(centring)[0][:, :-1]
    contrasts = basis.T @ values.ravel()[seen]
    inner = basis.T @ matrix @ basis
    quadratic = contrasts @ np.linalg.solve(inner, contrasts)
    volume = np.linalg.slogdet(2 * np.pi * inner)[1]
    return -(quadratic + volume + np.log(seen.size)) / 2


@pytest.mark.parametrize(
    "where", ["half", pytest.param("a hole", marks=pytest.mark.slow)]
)
def test_it_is_the_density_of_the_contrasts(x64, where):
    mask, values = MASKS[where], data()
    found = evidence(HYPERPARAMETERS, mask, values, method="dense")
    assert float(found.value) == pytest.approx(
        expected(HYPERPARAMETERS, mask, values), rel=1e-9
    )
    assert found.standard_error == found.truncation == 0


def test_on_a_torus_it_is_exact(x64):
    shape = (6, 5)
    rows, columns = np.indices(shape).reshape(2, -1)
    down, right = (
        np.minimum(gap, size - gap)
        for gap, size in (
            (np.abs(axis[:, None] - axis[None]), size)
            for axis, size in zip((rows, columns), shape, strict=True)
        )
    )
    k = prior(HYPERPARAMETERS)
    # Opposite sides are neighbours: the covariance is that of the shorter way.
    matrix = np.asarray(k(np.stack([down, right], -1).astype(float))) - 0.7
    matrix = matrix + 0.2**2 * np.eye(rows.size)
    values = data(shape)
    basis = np.linalg.svd(np.eye(rows.size) - 1 / rows.size)[0][:, :-1]
    inner, contrasts = basis.T @ matrix @ basis, basis.T @ values.ravel()
    wanted = -0.5 * (
        contrasts @ np.linalg.solve(inner, contrasts)
        + np.linalg.slogdet(2 * np.pi * inner)[1]
        + np.log(rows.size)
    )
    found = evidence(HYPERPARAMETERS, np.ones(shape, bool), values, method="torus")
    assert float(found.value) == pytest.approx(wanted, rel=1e-8)


@pytest.mark.parametrize(
    "where", ["half", pytest.param("a hole", marks=pytest.mark.slow)]
)
def test_random_signs_are_right_within_their_error(x64, where):
    mask, values = MASKS[where], data()
    wanted = expected(HYPERPARAMETERS, mask, values)
    found = evidence(HYPERPARAMETERS, mask, values, method="lanczos", probes=40)
    assert found.truncation < 1e-6
    assert 0 < found.standard_error < 2
    assert abs(float(found.value) - wanted) < 3.5 * float(found.standard_error)
    assert np.max(found.residual) < 1e-9
    few = evidence(HYPERPARAMETERS, mask, values, method="lanczos", probes=2, steps=4)
    assert few.truncation > 1e-3


@pytest.mark.parametrize(
    "method",
    [
        "torus",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("dense", "lanczos")),
    ],
)
def test_derivatives_are_those_of_the_density(x64, method):
    mask = np.ones(GRID, bool) if method == "torus" else MASKS["half"]
    values = data()

    def value(hyperparameters, values):
        settings = {"method": method, "probes": 400, "steps": 10}
        return evidence(hyperparameters, mask, values, **settings).value

    if method != "dense":  # whose mask must be known
        value = jax.jit(value)

    at = jnp.asarray(HYPERPARAMETERS)
    slopes, pulls = jax.grad(value, argnums=(0, 1))(at, jnp.asarray(values))
    step = 1e-5
    for index in range(3):
        ends = [
            (value(at.at[index].add(side), values) if method == "torus" else None)
            or expected(at.at[index].add(side), mask, values)
            for side in (step, -step)
        ]
        wanted = float(ends[0] - ends[1]) / (2 * step)
        # Of the trace of 43 contrasts, random signs know 1 / sqrt(400) of a part.
        share = 0.02 if method == "lanczos" else 1e-6
        limit = share * mask.sum() / HYPERPARAMETERS[index]
        assert float(slopes[index]) == pytest.approx(wanted, rel=1e-4, abs=limit)
    moved = values + step * np.eye(*GRID)
    change = (value(at, moved) - value(at, values)) / step
    assert float(jnp.sum(pulls * np.eye(*GRID))) == pytest.approx(
        float(change), rel=1e-3, abs=1e-3
    )


@pytest.mark.slow
def test_the_right_hyperparameters_are_more_probable():
    truth = gp.draw_prior(jax.random.key(3), prior((4.0, 0.3)), (24, 24))[0]
    noise = 0.2 * jax.random.normal(jax.random.key(4), truth.shape)
    values, mask = np.asarray(truth + noise), random_mask((24, 24), 0.7)
    heights = {
        lengthscale: float(evidence((lengthscale, 0.3, 0.2), mask, values).value)
        for lengthscale in (0.5, 4.0, 40.0)
    }
    assert max(heights, key=heights.get) == 4.0


@pytest.mark.slow
def test_colours_add_up(x64):
    mask = MASKS["half"]
    values = np.random.default_rng(2).random((*GRID, 3))
    found = gp.condition(prior(HYPERPARAMETERS), values, mask, 0.2, reach=24)
    channels = found.system.channels
    each = [
        expected((2.0, 0.3 * float(variance), 0.2), mask, values @ direction)
        for direction, variance in zip(
            np.asarray(channels.rotation).T, channels.variances, strict=True
        )
    ]
    assert float(found.log_evidence().value) == pytest.approx(sum(each), rel=1e-8)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"method": "magic"}, "method: expected one of automatic"),
        ({"method": "torus"}, 'method: expected another than "torus"'),
        ({"method": "lanczos", "key": None}, "key: expected a key"),
        ({"method": "lanczos", "probes": 2**30}, "probes: expected at most 268435456"),
        ({"method": "lanczos", "probes": 0}, "probes: expected a whole number"),
        ({"method": "lanczos", "steps": 0}, "steps: expected a whole number"),
    ],
)
def test_bad_input_is_named(settings, complaint):
    posterior = gp.condition(
        prior(HYPERPARAMETERS), data(), MASKS["half"], 0.2, max_iterations=1, reach=24
    )
    settings = {"key": jax.random.key(0)} | settings
    with pytest.raises(ValueError, match=complaint):
        posterior.log_evidence(settings.pop("key"), **settings)


@pytest.mark.slow
def test_factorised_matrices_have_no_lanczos():
    posterior = gp.condition(
        prior(HYPERPARAMETERS), data(), MASKS["half"], 0.2, method="dense"
    )
    with pytest.raises(ValueError, match='expected "dense"'):
        posterior.log_evidence(jax.random.key(0), method="lanczos")


COLOURS = gp.ChannelModel(
    np.linalg.qr(np.array([[1.0, 1, 0.2], [1, 0, -1], [1, -1, 0.5]]))[0],
    np.array([2.0, 0.7, 0.3]),
)
CROOKED = [[0.0, 0.3, 0.1], [0.2, 0.5, -0.1]]
THROUGH = {
    "half": (Decimation(2), (9, 8, 1)),
    "blur": (Blur(CROOKED), (7, 6, 1)),
    "mosaic": (BayerMosaic(), (6, 5, 3)),
    "blurred colours": (Blur(CROOKED, "valid"), (5, 6, 3)),
}


def problem_through(name):
    """A map, an image's shape, what is seen, its mask, and the channels."""
    through, shape = THROUGH[name]
    seen = through.output_shape(shape)
    mask = random_mask(seen[:2], 0.8) if name != "blur" else np.ones(seen[:2], bool)
    one = gp.ChannelModel(np.eye(1), np.ones(1))
    return through, shape, data(seen), mask, COLOURS if shape[2] == 3 else one


def evidence_through(hyperparameters, name, values=None, key=0, **settings):
    through, shape, given, mask, channels = problem_through(name)
    posterior = gp.condition(
        prior(hyperparameters),
        given if values is None else values,
        mask,
        hyperparameters[2],
        through=through,
        image_shape=shape,
        channels=channels,
        reach=24,
        tolerance=1e-9,
    )
    return posterior.log_evidence(jax.random.key(key), **settings)


def expected_through(hyperparameters, name, values=None):
    """The density of what no colour's level changes, one orthonormal basis of it."""
    lengthscale, variance, noise_std = hyperparameters
    through, shape, given, mask, channels = problem_through(name)
    values = given if values is None else values
    seen = np.flatnonzero(np.broadcast_to(mask[:, :, None], values.shape))
    rows = matrix_of(through, shape)[seen]
    k = variance * covariance_matrix(kernels.matern(0.5, lengthscale), shape[:2])
    colours = (channels.rotation * channels.variances) @ channels.rotation.T
    matrix = rows @ np.kron(k, colours) @ rows.T + noise_std**2 * np.eye(seen.size)
    levels = rows @ np.kron(np.ones((len(k), 1)), np.eye(shape[2]))
    basis = np.linalg.svd(levels)[0][:, shape[2] :]
    inner, contrasts = basis.T @ matrix @ basis, basis.T @ values.ravel()[seen]
    quadratic = contrasts @ np.linalg.solve(inner, contrasts)
    volume = np.linalg.slogdet(2 * np.pi * inner)[1]
    return -(quadratic + volume + np.linalg.slogdet(levels.T @ levels)[1]) / 2


@pytest.mark.parametrize(
    "name",
    [n if n == "half" else pytest.param(n, marks=pytest.mark.slow) for n in THROUGH],
)
def test_through_a_map_it_is_the_density_of_what_no_level_changes(x64, name):
    wanted = expected_through(HYPERPARAMETERS, name)
    found = evidence_through(HYPERPARAMETERS, name)  # dense on small grids
    assert float(found.value) == pytest.approx(wanted, rel=1e-8)
    assert found.standard_error == found.truncation == 0


def test_through_a_circular_blur_it_is_exact_on_a_torus(x64):
    _, shape, values, mask, _ = problem_through("blur")
    rows, columns = np.indices(shape[:2]).reshape(2, -1)
    down, right = (
        np.minimum(gap, size - gap)
        for gap, size in (
            (np.abs(axis[:, None] - axis[None]), size)
            for axis, size in zip((rows, columns), shape[:2], strict=True)
        )
    )
    k = prior(HYPERPARAMETERS)
    process = np.asarray(k(np.stack([down, right], -1).astype(float))) - 0.7
    blur = matrix_of(Blur(CROOKED), shape)
    matrix = blur @ process @ blur.T + 0.2**2 * np.eye(rows.size)
    basis = np.linalg.svd(np.eye(rows.size) - 1 / rows.size)[0][:, :-1]
    inner, contrasts = basis.T @ matrix @ basis, basis.T @ values.ravel()
    wanted = -0.5 * (
        contrasts @ np.linalg.solve(inner, contrasts)
        + np.linalg.slogdet(2 * np.pi * inner)[1]
        + np.log(rows.size * np.sum(CROOKED) ** 2)
    )
    assert mask.all()
    found = evidence_through(HYPERPARAMETERS, "blur", method="torus")
    assert float(found.value) == pytest.approx(wanted, rel=1e-8)


@pytest.mark.parametrize(
    "name",
    [n if n == "half" else pytest.param(n, marks=pytest.mark.slow) for n in THROUGH],
)
def test_through_a_map_random_signs_are_right_within_their_error(x64, name):
    wanted = expected_through(HYPERPARAMETERS, name)
    found = evidence_through(HYPERPARAMETERS, name, method="lanczos", probes=400)
    assert found.truncation < 1e-3
    assert 0 < found.standard_error < 0.4
    assert abs(float(found.value) - wanted) < 3.5 * float(found.standard_error)
    assert found.residual.shape == (1,)
    assert np.max(found.residual) < 1e-8


@pytest.mark.slow
@pytest.mark.parametrize("name", ["half", "mosaic"])
def test_through_a_map_derivatives_are_those_of_the_density(x64, name):
    values = problem_through(name)[2]

    @jax.jit
    def slopes_of(hyperparameters, values):
        def value(hyperparameters, values):
            settings = {"method": "lanczos", "probes": 400, "steps": 10}
            return evidence_through(hyperparameters, name, values, **settings).value

        return jax.grad(value, argnums=(0, 1))(hyperparameters, values)

    at, step = jnp.asarray(HYPERPARAMETERS), 1e-5
    slopes, pulls = slopes_of(at, jnp.asarray(values))
    for index in range(3):
        ends = [
            expected_through(np.asarray(at.at[index].add(side)), name)
            for side in (step, -step)
        ]
        wanted = (ends[0] - ends[1]) / (2 * step)
        # Of the trace, random signs know 1 / sqrt(400) of a part.
        limit = 0.02 * problem_through(name)[3].sum() / HYPERPARAMETERS[index]
        assert float(slopes[index]) == pytest.approx(wanted, rel=1e-4, abs=limit)
    moved = values + step * np.arange(values.size).reshape(values.shape)
    change = expected_through(HYPERPARAMETERS, name, moved)
    change = (change - expected_through(HYPERPARAMETERS, name, values)) / step
    found = np.sum(np.asarray(pulls) * np.arange(values.size).reshape(values.shape))
    assert float(found) == pytest.approx(float(change), rel=1e-2, abs=1e-2)


@pytest.mark.parametrize("name", ["half", "mosaic"])
def test_maps_that_leave_the_torus_are_named(name):
    through, shape, values, _, channels = problem_through(name)
    each = (prior(HYPERPARAMETERS),) * shape[2]
    seen = observe(values, noise_std=0.2)
    system = System(each, channels, seen, None, "field", 1e-5, 1, through, shape)
    with pytest.raises(ValueError, match="no blur around the borders"):
        estimate(system, None, "torus", 1, 1)
