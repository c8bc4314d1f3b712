import numpy as np
import pytest
from absl import flags

from dipgp.observations import Identity
from experiments import denoise, inpaint, network_method, network_options
from experiments.common import UserError
from experiments.network_recipe import Recipe
from experiments.network_settings import NetworkSettings, Running

SETTINGS = NetworkSettings(channels=(4,), iterations=12, stop_at=6, burn_in=4)


class TestSettings:
    def test_no_sample_counts_before_the_preconditioner_is_frozen(self):
        for changes in ({}, {"iterations": 100}, {"burn_in": 5}):
            found = network_options.settings("denoise", "light", "psgld", changes)
            assert 0 < found.frozen_after <= found.burn_in

    def test_the_paper_preset_is_the_reference_protocol(self):
        plain = network_options.settings("denoise", "paper", "sgd", {})
        assert plain.channels == (128,) * 5
        assert (plain.iterations, plain.stop_at) == (20_000, 500)
        assert (plain.learning_rate, plain.input_noise) == (0.01, 0)
        noisy = network_options.settings("denoise", "paper", "noisy_adam", {})
        assert (noisy.burn_in, noisy.thinning) == (7_000, 50)
        assert noisy.input_noise == pytest.approx(1 / 30)
        assert noisy.weight_decay == 5e-8
        averaged = network_options.settings("denoise", "paper", "sgd_input_avg", {})
        assert averaged.stop_at == 1_800

    def test_flags_override_presets(self):
        found = network_options.settings(
            "denoise", "light", "psgld", {"iterations": 100, "step_size": 0.5}
        )
        assert (found.iterations, found.step_size) == (100, 0.5)
        assert found.burn_in == 50
        assert found.stop_at <= 100

    @pytest.mark.parametrize("dtype", [None, "bfloat16"])
    def test_layers_compute_in_the_precision_asked_for(self, dtype):
        given = {} if dtype is None else {"compute_dtype": dtype}
        found = network_options.settings("denoise", "smoke", "sgd", given)
        recipe = Recipe("descent", found, 3, Identity())
        assert recipe.network.compute_dtype == dtype

    @pytest.mark.parametrize(("iterations", "read_at"), [(450, 400), (300, 300)])
    def test_a_shorter_descent_is_read_where_the_preset_says_or_at_its_end(
        self, iterations, read_at
    ):
        given = {"iterations": iterations}
        found = network_options.settings("denoise", "light", "sgd", given)
        assert (found.iterations, found.stop_at) == (iterations, read_at)

    @pytest.mark.parametrize(
        "experiment", ["denoise", "inpaint", "super_resolve", "super_resolve_x8"]
    )
    @pytest.mark.parametrize("preset", ["paper", "light", "smoke"])
    def test_every_preset_knows_every_method(self, experiment, preset):
        for name in network_method.RUNS:
            network_options.settings(experiment, preset, name, {})

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"channels": ()}, "--channels=: expected positive numbers"),
            ({"channels": (4, 0)}, "--channels=4,0: expected positive numbers"),
            ({"iterations": 0}, "--iterations=0: expected a number of at least 1"),
            ({"stop_at": 13}, "--stop_at=13: expected at most the 12 iterations"),
            ({"burn_in": 12}, "--burn_in=12: expected from 0 to below the 12"),
            ({"learning_rate": 0.0}, "--learning_rate=0.0: expected a positive number"),
            ({"step_size": np.inf}, "--step_size=inf: expected a positive number"),
            (
                {"temperature": -1.0},
                "--temperature=-1.0: expected a number of at least",
            ),
            ({"average_decay": 1.0}, "--average_decay=1.0: expected at least 0, below"),
            ({"step_power": 0.3}, "--step_power=0.3: expected 0, or above 0.5"),
            ({"chains": 0}, "--chains=0: expected a number of at least 1"),
        ],
    )
    def test_numbers_out_of_range_are_refused(self, changes, message):
        with pytest.raises(UserError, match=f"^{message}"):
            NetworkSettings(**(vars(SETTINGS) | changes))

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"log_every": 0}, "--log_every=0: expected"),
            ({"checkpoint_minutes": -1.0}, "--checkpoint_minutes=-1.0: expected"),
            ({"samples": -1}, "--samples=-1: expected"),
        ],
    )
    def test_ways_of_running_out_of_range_are_refused(self, changes, message):
        with pytest.raises(UserError, match=f"^{message}"):
            Running(**changes)

    def test_channels_that_are_no_numbers_are_refused(self, binary, capsys):
        def run():
            denoise.config_from_flags()
            return 0

        assert binary(run, "--method=sgd", "--channels=16,many") == 2
        expected = "Error: --channels=16,many: expected positive numbers, one a scale\n"
        assert capsys.readouterr().err == expected

    def test_flags_of_networks_are_refused_where_there_is_none(self, binary, capsys):
        def run():
            denoise.config_from_flags()
            return 0

        assert binary(run, "--learning_rate=0.1") == 2
        assert "--learning_rate=0.1: expected no such flag" in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["method", "preset", "step_size", "resume"])
def test_help_shows_the_flags_of_networks(flag):
    for task in (denoise, inpaint):
        shown = flags.FLAGS.get_key_flags_for_module(task)
        assert flag in [known.name for known in shown]
