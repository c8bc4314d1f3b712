import jax
import numpy as np
import pytest
from stationary_fields import mask_with_hole, random_mask

from dipgp import kernels
from dipgp.gp import forms, toeplitz
from dipgp.observations import BayerMosaic, Decimation, observe

SHAPE = (48, 48)
MASKS = {
    "everything": np.ones(SHAPE, bool),
    "half": random_mask(SHAPE, 0.5),
    "a tenth": random_mask(SHAPE, 0.1),
    "a hole": mask_with_hole(SHAPE),
}


def choose(where="half", noise_std=0.05, through=None, dtype=np.float32):
    values = np.ones((*SHAPE, 1), dtype)
    observation = observe(values, MASKS[where], noise_std=noise_std)
    tori = toeplitz.embed([kernels.gaussian(1.0)], SHAPE, 8, dtype)
    return forms.choose(observation, tori, through)


def test_scattered_gaps_are_filled_as_a_field():
    assert choose() == "field"


@pytest.mark.parametrize("where", [name for name in MASKS if name != "half"])
def test_nothing_or_much_missing_in_one_place_is_solved_for_weights(where):
    assert choose(where) == "weights"


def test_weak_noise_is_left_to_the_weights_unless_there_are_digits_enough(x64):
    assert choose(noise_std=1e-3) == "weights"
    assert choose(noise_std=1e-3, dtype=np.float64) == "field"


def test_noise_that_jax_traces_is_left_to_the_weights():
    chosen = []
    jax.jit(lambda std: chosen.append(choose(noise_std=std)))(0.05)
    assert chosen == ["weights"]


def test_filters_are_solved_for_weights_and_other_maps_as_a_field():
    assert choose(through=Decimation(2)) == "weights"
    assert choose(through=BayerMosaic()) == "field"


def test_a_tolerance_is_a_forms_own_everybodys_or_the_usual():
    told = {"weights": 0.5}
    assert forms.tolerance_of("weights", told) == 0.5
    assert forms.tolerance_of("field", told) == forms.TOLERANCES["field"]
    assert forms.tolerance_of("field", 0.5) == 0.5
    assert forms.tolerance_of("weights") == forms.TOLERANCES["weights"]
