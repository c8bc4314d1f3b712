import jax
import numpy as np
import pytest

from dipgp import gp, progress
from dipgp.images import drop_pixels
from dipgp.observations import observe
from experiments import methods, oriented_prior
from experiments.gp_method import GPOptions
from experiments.restoration import Request

OPTIONS = GPOptions(prior="oriented", depth=1, sigma=1.4)


@pytest.fixture
def one_direction(monkeypatch):
    """Three candidates instead of eighteen."""
    monkeypatch.setattr(oriented_prior, "DIRECTIONS", 1)
    monkeypatch.setattr(oriented_prior, "STRETCHES", (4.0,))
    oriented_prior.candidates.cache_clear()
    yield
    oriented_prior.candidates.cache_clear()


def stripes(shape=(12, 16)):
    """Grey stripes to the right, of another phase in each colour."""
    rows, columns = np.indices(shape)
    waves = [0.5 + 0.3 * np.sin(1.3 * rows + 0.02 * columns + p) for p in (0, 1)]
    return np.stack([*waves, waves[0]], axis=-1).astype(np.float32)


def test_the_prior_asked_for_restores(monkeypatch):
    monkeypatch.setattr(oriented_prior, "restore", lambda request, options: options)
    assert list(methods.restore(["gp"], None, OPTIONS, {}, None)) == [("gp", OPTIONS)]


@pytest.mark.slow
def test_stripes_are_restored_along_their_direction(one_direction):
    truth = stripes()
    mask = drop_pixels(jax.random.key(0), truth.shape[:2], 0.5)
    observation = observe(np.where(mask[:, :, None], truth, 0), mask, noise_std=0.004)
    request = Request(
        observation,
        truth.shape,
        noise_known=True,
        truth=None,
        seed=0,
        folder=None,
        report=progress.say_nothing,
    )
    ((name, found),) = methods.restore(["gp"], request, OPTIONS, {}, None)
    assert name == "gp"
    assert found.converged, found.message
    assert found.hyperparameters["depth"] == 1
    plain, *_ = oriented_prior.candidates(1, 1.4)
    stationary = gp.condition(plain, observation=observation).mean
    errors = [np.mean((mean - truth) ** 2) for mean in (found.mean, stationary)]
    assert errors[0] < 0.5 * errors[1]
