"""Geweke's joint tests of the samplers, and what their steps are known to change."""

import jax
import numpy as np
import pytest
import scipy.stats

from benchmarks import (
    joint_simulation,
    joint_tests,
    linear_model,
    run_parts,
    sampler_cases,
)

MODEL = linear_model.example()
QUICK = ("momentum 0.8", "noisy Adam")
SETTINGS = {"chains": 2000, "cycles": 40, "transitions": 10}


def parameters(samplers):
    return [
        pytest.param(
            sampler,
            id=sampler.name,
            marks=[] if sampler.name in QUICK else pytest.mark.slow,
        )
        for sampler in samplers
    ]


@pytest.mark.parametrize("sampler", parameters(sampler_cases.right_samplers()))
def test_both_simulators_agree_but_for_the_bias_of_the_step(sampler):
    found = joint_simulation.compare(MODEL, sampler, jax.random.key(0), **SETTINGS)
    step = joint_tests.constant_steps()[sampler.name]
    biases = joint_simulation.biases(MODEL, step, transitions=10)
    for name, part in found.items():
        assert abs(part.score(biases[name])) < joint_tests.LIMIT, name
        assert abs(biases[name]) <= 0.04 * abs(part.exact), name


@pytest.mark.parametrize("sampler", parameters(sampler_cases.wrong_samplers()))
def test_wrong_samplers_and_noisy_adam_are_found(sampler):
    found = joint_simulation.compare(MODEL, sampler, jax.random.key(0), **SETTINGS)
    assert max(abs(part.score()) for part in found.values()) > 30


def test_the_limit_is_that_of_the_largest_of_all_scores():
    scores = 4 * 14  # right samplers and moments
    assert len(joint_simulation.names(MODEL)) == 14
    below = scipy.stats.norm.cdf(joint_tests.LIMIT) - 0.5
    assert (2 * below) ** scores == pytest.approx(1 - joint_tests.LEVEL, abs=1e-9)
    # The page of all benchmarks draws a line there.
    (part,) = (part for part in run_parts.PARTS if part.name == "joint_tests")
    (axis,) = part.chart([{"sampler": "plain", "largest score": 1.0}]).axes
    (place, _) = axis.lines[-1].get_xdata()
    assert place == pytest.approx(joint_tests.LIMIT, abs=0.005)


def test_without_a_step_the_closed_form_is_the_exact_law():
    for momentum in (0.0, 0.8):
        step = joint_simulation.ConstantStep(1e-7, momentum, np.array([1.0, 0.5, 0.7]))
        found = joint_simulation.stationary_moments(MODEL, step, transitions=3)
        exact = {
            "theta 1 squared": 1.0,
            # A A^T + noise_std^2 I and A^T A.
            "y 0 squared": 1.25 + 0.64,
            "theta 0 times (A^T y) 0": 2.25,
            "misfit": 4.0,
        }
        for name, value in exact.items():
            np.testing.assert_allclose(found[name], value, rtol=1e-4)


def test_with_the_data_fixed_the_closed_form_is_the_samplers_own_law():
    # After many transitions a turn forgets the one before.
    step_size, count = 0.3, 3
    step = joint_simulation.ConstantStep(step_size, 0.0, np.ones(count))
    found = joint_simulation.stationary_moments(MODEL, step, transitions=500)
    precision = MODEL.precision
    within = np.linalg.inv(precision - step_size / 4 * precision @ precision)
    gain = np.linalg.solve(precision, MODEL.design.T) / MODEL.noise_std**2
    data = MODEL.design @ MODEL.design.T
    # The law of data, A C A^T + noise, and that of parameters follow from each other.
    parameters = np.eye(count)
    for _ in range(200):
        data = MODEL.design @ parameters @ MODEL.design.T + 0.64 * np.eye(4)
        parameters = within + gain @ data @ gain.T
    for i in range(count):
        square = found[f"theta {i} squared"]
        np.testing.assert_allclose(square, parameters[i, i], rtol=1e-6)


@pytest.mark.slow
def test_a_run_at_toy_size_writes_its_report(tmp_path):
    text = joint_tests.run(200, 2, tmp_path)
    assert (tmp_path / "joint_tests.md").read_text() == text
    assert "noisy Adam" in text
