import pytest
from absl import flags

from experiments import network_options, super_resolve
from experiments.gp_method import GPOptions


class TestFlags:
    @staticmethod
    def read(binary, *arguments):
        found = []

        def run():
            found.append(super_resolve.config_from_flags())
            return 0

        assert binary(run, *arguments) == 0
        return found[0]

    def test_they_become_the_configuration(self, binary):
        light = network_options.settings("super_resolve", "light", "psgld", {})
        assert self.read(binary) == super_resolve.SuperResolveConfig(
            output_dir="runs/super_resolve",
            methods=("psgld",),
            networks={"psgld": light},
        )
        given = ("--factor=3", "--filter=bilinear", "--noise_std=51", "--noisy")
        found = self.read(binary, *given, "--method=sgd,sgld")
        assert (found.factor, found.filter, found.noisy) == (3, "bilinear", True)
        assert found.options == GPOptions(noise_std=0.2)
        assert found.methods == ("sgd", "sgld") == tuple(found.networks)

    @pytest.mark.parametrize(
        ("factor", "iterations", "noise"), [(4, 2_000, 0.03), (8, 4_000, 0.05)]
    )
    def test_the_paper_preset_is_the_protocol_of_the_factor(
        self, binary, factor, iterations, noise
    ):
        methods = "--method=sgd_input,sgd,psgld"
        found = self.read(binary, methods, "--preset=paper", f"--factor={factor}")
        descent = found.networks["sgd_input"]
        assert (descent.iterations, descent.stop_at) == (iterations, iterations)
        assert (descent.input_noise, descent.learning_rate) == (noise, 0.01)
        assert descent.channels == (128,) * 5
        assert found.networks["sgd"].input_noise == 0
        assert found.networks["psgld"].burn_in == pytest.approx(iterations / 3, rel=0.1)

    @pytest.mark.parametrize("iterations", [10, 5_000])
    def test_a_descent_is_read_at_the_end_of_any_length(self, binary, iterations):
        length = f"--iterations={iterations}"
        found = self.read(binary, "--method=sgd_input", length)
        assert found.networks["sgd_input"].stop_at == iterations

    def test_help_shows_those_that_are_read(self):
        known = flags.FLAGS.get_key_flags_for_module(super_resolve)
        shown = {flag.name for flag in known}
        assert shown >= {
            "factor",
            "filter",
            "image",
            "method",
            "noisy",
            "preset",
            "resume",
            "kernel",
            "sigma",
            "depth",
            "tolerance",
        }
        assert not shown & {"drop_fraction", "blur", "boundary"}

    def test_every_filter_of_the_flag_is_known(self):
        assert super_resolve.FILTER.default in super_resolve.FILTERS
        assert flags.FLAGS["filter"].parser.enum_values == [*super_resolve.FILTERS]
