import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dipgp.images import add_noise
from dipgp.observations import observe
from experiments import noise
from experiments.restoration import Restoration

CLEAN = jnp.linspace(0, 1, 12).reshape(3, 4, 1)
MASK = np.arange(12).reshape(3, 4) != 5


def account(told, found, *, added=0.0, scored=True):
    seen = noise.add(jax.random.key(0), np.asarray(CLEAN), added)
    hyperparameters = {} if found is None else {"noise_std": found}
    restoration = Restoration(seen, 0.5, 3, 0.0, hyperparameters, "", True)
    observation = observe(seen, MASK, noise_std=1.0)
    clean = CLEAN if scored else None
    return noise.account(told, restoration, observation, added, clean)


def test_no_noise_leaves_ringing_unclipped():
    ringing = np.array([[[-0.1], [1.1]]], np.float32)
    np.testing.assert_array_equal(noise.add(jax.random.key(0), ringing, 0.0), ringing)
    assert noise.add(jax.random.key(0), ringing, 1e-3).max() == 1


def test_an_estimate_stands_beside_what_was_added_and_what_clipping_left():
    told = account(None, 0.18, added=0.2)
    seen = add_noise(jax.random.key(0), np.asarray(CLEAN), 0.2)
    errors = (seen - CLEAN)[MASK]
    assert told.pop("left") == pytest.approx(np.sqrt(np.mean(errors**2)), rel=1e-5)
    assert told == {"told": None, "estimated": 0.18, "added": 0.2}


def test_what_was_told_is_not_an_estimate():
    told = account(0.1, 0.1)
    assert told == {"told": 0.1, "estimated": None, "added": 0.0, "left": 0.0}
    assert noise.in_words(told) == []


def test_nothing_is_true_of_a_picture_that_was_noisy_before():
    told = account(None, 0.1, scored=False)
    assert told == {"told": None, "estimated": 0.1, "added": None, "left": None}
    assert noise.in_words(told) == ["noise estimated at 25.50 grey levels"]


def test_a_method_that_reads_no_noise_estimates_none():
    assert noise.in_words(account(None, None, added=0.1)) == []
