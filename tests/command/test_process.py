from types import SimpleNamespace

import jax
import numpy as np
import pytest
from small_pictures import save

from dipgp import gp, kernels
from dipgp.command import noise, problems, process
from dipgp.command.options import Order
from dipgp.gp.forms import TOLERANCES
from dipgp.photographs import read


def posed(path, **more):
    order = Order(inputs=("in.png",), output="out.png", **{"task": "denoise"} | more)
    return problems.pose(order, read(path), None)


@pytest.mark.parametrize(
    ("noise_std", "expected"),
    [
        pytest.param(3e-4, 0.2 * 3e-4 / 0.25, id="a part of the noise"),
        pytest.param(0.1, 0.02 / 255 / 0.25, id="a part of a grey level"),
        pytest.param(1e-6, TOLERANCES["weights"], id="no less than the solver's own"),
    ],
)
def test_a_misfit_may_be_as_large_as_does_not_show(tmp_path, noise_std, expected):
    image = np.tile([[0.25], [0.75]], (4, 8, 1)).reshape(8, 8, 1)
    save(tmp_path / "in.png", image, bits=16)
    problem = posed(tmp_path / "in.png")
    found = process.tolerances(problem, noise_std)
    assert found["weights"] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(
    ("noise_std", "expected"),
    [
        pytest.param(0.1, TOLERANCES["field"], id="the solver's own"),
        pytest.param(0.5 / 255, 0.04, id="a part of a grey level"),
        pytest.param(1e-6, 0.05, id="a part of the posterior's deviation"),
    ],
)
def test_an_error_may_be_as_large_as_does_not_show(
    tmp_path, truth, noise_std, expected
):
    save(tmp_path / "in.png", truth)
    problem = posed(tmp_path / "in.png")
    found = process.tolerances(problem, noise_std)
    assert found["field"] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(
    ("noise_std", "form", "tolerance"),
    [
        pytest.param(0.05, "field", TOLERANCES["field"], id="the field's own"),
        pytest.param(1e-5, "weights", TOLERANCES["weights"], id="weak noise"),
    ],
)
def test_behind_scattered_gaps_the_tolerance_is_that_of_the_form_that_solves(
    tmp_path, truth, monkeypatch, noise_std, form, tolerance
):
    alpha = np.random.default_rng(0).random((32, 40, 1)) > 0.5
    save(tmp_path / "in.png", np.concatenate([truth, alpha], axis=2))
    problem, solved, condition = posed(tmp_path / "in.png"), [], gp.condition
    channels = gp.estimate_channels(problem.observation)
    selection = SimpleNamespace(covariances=[kernels.matern(0.5, 2)], channels=channels)

    def kept(*arguments, **settings):
        solved.append(condition(*arguments, **settings))
        return solved[-1]

    monkeypatch.setattr(gp, "select", lambda *arguments, **settings: selection)
    monkeypatch.setattr(gp, "condition", kept)
    process.restore(problem, noise_std, False, jax.random.key(0), lambda news: None)
    (posterior,) = solved
    assert posterior.system.form == form
    assert posterior.system.tolerance == tolerance


def test_noise_that_was_told_is_not_estimated(tmp_path, truth):
    save(tmp_path / "in.png", truth)
    problem = posed(tmp_path / "in.png", noise_std=0.07)
    found = noise.estimate(problem, lambda news, fraction=None: None)
    assert found == pytest.approx(0.07)
