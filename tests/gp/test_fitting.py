import jax
import numpy as np
import pytest
from stationary_fields import draw, random_mask

from dipgp import gp, kernels
from dipgp.gp import fitting
from dipgp.observations import Decimation, gaussian_blur, observe

TRUTH = {"lengthscale": 3.0, "variance": 0.5}
NOISE_STD = 0.2
SHAPE = (16, 14)


def family(parameters):
    shape = kernels.matern(1.5, parameters["lengthscale"])
    return kernels.scale(shape, parameters["variance"])


def seen(seed, mask=None, shape=SHAPE):
    values = draw(family(TRUTH), shape, seed)[0]
    noise = np.random.default_rng(100 + seed).standard_normal(shape)
    return observe(values + NOISE_STD * noise, mask, noise_std=0.7)


@pytest.mark.slow
def test_hyperparameters_of_prior_samples_are_found_within_their_errors(x64):
    start = {"lengthscale": 1.0, "variance": 2.0}
    truth = TRUTH | {"noise_std": NOISE_STD}
    standardised = []
    for seed in range(4):
        found = gp.fit(family, start, seen(seed), fit_noise=True)
        assert found.converged
        standardised += [
            np.log(found.parameters[name] / truth[name]) / found.relative_errors[name]
            for name in truth
        ]
    assert np.max(np.abs(standardised)) < 3.5
    # Twelve squares of standard normal numbers, in groups of three.
    assert 0.2 < np.mean(np.square(standardised)) < 2.5


def test_the_evidence_is_level_and_highest_where_it_ends(x64):
    observation = seen(0, random_mask(SHAPE, 0.6))._replace()
    known = observation._replace(noise_std=0 * observation.noise_std + NOISE_STD)
    found = gp.fit(family, {"lengthscale": 1.0, "variance": 2.0}, known)
    assert set(found.parameters) == set(TRUTH)
    top = float(found.evidence.value)
    for name in TRUTH:
        for factor in (0.9, 1.1):
            other = found.parameters | {name: factor * found.parameters[name]}
            posterior = gp.condition(family(other), observation=known, method="dense")
            assert float(posterior.log_evidence().value) < top
    # And what is returned conditions as it is.
    best = gp.condition(found.covariance, observation=found.observation, method="dense")
    assert float(best.log_evidence().value) == pytest.approx(top, rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    "through",
    [gaussian_blur(0.7), Decimation(2)],
    ids=["blurred", "half"],
)
def test_hyperparameters_are_those_of_the_image_behind_a_map(x64, through):
    standardised = []
    for seed in range(3):
        image = draw(family(TRUTH), SHAPE, seed)[0][:, :, None]
        values = np.asarray(through(image))
        noise = np.random.default_rng(100 + seed).standard_normal(values.shape)
        found = gp.fit(
            family,
            {"lengthscale": 1.0, "variance": 2.0},
            observe(values + NOISE_STD * noise, noise_std=NOISE_STD),
            through=through,
            image_shape=image.shape,
        )
        assert found.converged
        standardised += [
            np.log(found.parameters[name] / TRUTH[name]) / found.relative_errors[name]
            for name in TRUTH
        ]
    assert np.max(np.abs(standardised)) < 3.5
    # Six squares of standard normal numbers, in pairs.
    assert 0.1 < np.mean(np.square(standardised)) < 3


def test_a_family_may_have_a_parameter_called_noise_std(x64):
    def with_noise(parameters):
        return kernels.scale(kernels.matern(1.5, 3.0), parameters["noise_std"])

    found = gp.fit(with_noise, {"noise_std": 0.3}, seen(0), max_evaluations=3)
    assert set(found.parameters) == {"noise_std"}
    np.testing.assert_array_equal(found.observation.noise_std, seen(0).noise_std)


def test_a_start_without_a_finite_evidence_is_refused(x64):
    def broken(parameters):
        return kernels.scale(kernels.matern(1.5, 3.0), parameters["variance"] * np.nan)

    with pytest.raises(ValueError, match="start: expected parameters with a finite"):
        gp.fit(broken, {"variance": 1.0}, seen(0))


@pytest.mark.slow
def test_on_larger_grids_random_signs_find_them_too():
    shape = (56, 48)
    values = gp.draw_prior(jax.random.key(0), family(TRUTH), shape)[0]
    noise = NOISE_STD * jax.random.normal(jax.random.key(1), shape)
    observation = observe(values + noise, random_mask(shape, 0.5), noise_std=NOISE_STD)
    told = []
    found = gp.fit(
        family,
        {"lengthscale": 0.5, "variance": 1.0},  # whose torus is too narrow
        observation,
        key=jax.random.key(2),
        report=told.append,
    )
    assert len(told) == found.evaluations
    for name, truth in TRUTH.items():
        off = np.log(found.parameters[name] / truth) / found.relative_errors[name]
        assert abs(off) < 3.5
        assert found.relative_errors[name] < 0.5


@pytest.mark.parametrize(
    ("start", "settings", "complaint"),
    [
        ({}, {}, "start: expected at least one parameter"),
        ({"lengthscale": -1.0}, {}, "lengthscale"),
        ({"noise_std": 1.0}, {"fit_noise": True}, "expected no 'noise_std'"),
    ],
)
def test_bad_input_is_named(start, settings, complaint):
    with pytest.raises(ValueError, match=complaint):
        gp.fit(family, start, seen(0), **settings)


def test_a_family_is_a_function():
    with pytest.raises(TypeError, match="family: expected a function"):
        gp.fit(1.0, TRUTH, seen(0))


def test_a_family_takes_parameters_by_name():
    with pytest.raises(TypeError, match="family: expected a function from parameters"):
        gp.fit(object, TRUTH, seen(0))


def test_where_the_curvature_is_unknown_so_are_the_errors():
    def slope(at):
        return np.full(2, np.nan)

    assert fitting._errors(slope, np.zeros(2)) == [np.inf, np.inf]


def test_larger_grids_need_a_key():
    observation = observe(np.zeros((60, 50)), noise_std=0.1)
    with pytest.raises(ValueError, match="key: expected a key"):
        gp.fit(family, TRUTH, observation)
