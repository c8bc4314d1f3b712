import errno
import signal
from pathlib import Path

import jax
import numpy as np
import pytest
from absl import flags

from dipgp.images import save_image
from experiments import common
from experiments.common import UserError


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return str(path)


class TestMain:
    def test_the_exit_status_is_what_run_returns(self, binary, capsys):
        assert binary(lambda: 0) == 0
        assert binary(lambda: 1) == 1
        assert capsys.readouterr() == ("", "")

    def test_flags_can_be_read_while_running(self, binary):
        assert binary(lambda: common.SEED.value, "--seed=7") == 7
        assert binary(lambda: common.SEED.value) == 0

    @pytest.mark.parametrize(
        ("named", "flag", "enabled", "folder"),
        [
            (None, [], True, "caches/dipgp/programs-*"),
            ("own", [], True, "own"),
            (None, ["--nocompilation_cache"], False, None),
        ],
        ids=["default", "environment", "off"],
    )
    def test_compiled_programs_are_kept_in_the_users_cache_folder(
        self, binary, tmp_path, monkeypatch, named, flag, enabled, folder
    ):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
        jax.config.update("jax_enable_compilation_cache", True)
        # What JAX makes of JAX_COMPILATION_CACHE_DIR when it is imported.
        own = None if named is None else str(tmp_path / named)
        jax.config.update("jax_compilation_cache_dir", own)
        seen = []

        def run():
            seen.append(jax.config.jax_enable_compilation_cache)
            seen.append(jax.config.jax_compilation_cache_dir)
            return 0

        assert binary(run, *flag) == 0
        assert seen[0] == enabled
        assert (seen[1] is None) == (folder is None)
        assert folder is None or Path(seen[1]).match(str(tmp_path / folder))

    @pytest.mark.parametrize("error", [UserError, ValueError, OSError])
    def test_bad_input_ends_in_one_sentence(self, binary, capsys, error):
        def run():
            raise error("no bread\n  left")

        assert binary(run) == 2
        assert capsys.readouterr() == ("", "Error: no bread left\n")

    def test_mistakes_of_our_own_show_where_they_are(self, compilation_cache_kept):
        def run():
            raise TypeError("a bug")

        with pytest.raises(TypeError, match="a bug"):
            common.main(run, ["binary"])

    @pytest.mark.parametrize(
        ("argument", "sentence"),
        [
            ("stray.png", "Error: stray.png: expected flags only"),
            ("--sead=1", "Error: Unknown command line flag 'sead'"),
            ("--seed=one", "Error: flag --seed=one: invalid literal"),
            ("--kernel=cubic", "Error: flag --kernel=cubic: value should be one of"),
        ],
    )
    def test_a_wrong_command_line_ends_in_one_sentence(
        self, binary, capsys, argument, sentence
    ):
        assert binary(lambda: 0, argument) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith(sentence)
        assert err.count("\n") == 1


class TestGPOptions:
    def read(self, binary, *arguments, default=None):
        found = []

        def run():
            found.append(common.gp_options(default))
            return 0

        status = binary(run, *arguments)
        return found[0] if status == 0 else status

    def test_everything_is_automatic_by_default(self, binary):
        options = self.read(binary)
        assert options == common.GPOptions(kernel="dip")
        assert options.noise_std is None

    def test_noise_turns_from_grey_levels_to_intensities(self, binary):
        assert self.read(binary, "--noise_std=51").noise_std == pytest.approx(0.2)
        assert self.read(binary, default=51).noise_std == pytest.approx(0.2)

    def test_noise_is_told_as_it_is_added_unless_it_is_to_be_estimated(self, binary):
        added = "--added_noise_std=51"
        assert self.read(binary, added, default=25).noise_std == pytest.approx(0.2)
        assert self.read(binary, added, "--noise_std=255").noise_std == 1
        for arguments in (["--noise_std=auto"], [added, "--noise_std=auto"]):
            assert self.read(binary, *arguments, default=25).noise_std is None

    def test_each_kernel_has_its_flags(self, binary):
        options = self.read(binary, "--sigma=2", "--depth=4")
        assert (options.sigma, options.depth) == (2, 4)
        options = self.read(binary, "--kernel=matern", "--lengthscale=3")
        assert (options.kernel, options.lengthscale) == ("matern", 3)

    @pytest.mark.parametrize(
        "arguments",
        [
            ["--lengthscale=3"],
            ["--kernel=rbf", "--sigma=2"],
            ["--kernel=rbf", "--depth=2"],
        ],
    )
    def test_flags_that_would_do_nothing_are_refused(self, binary, capsys, arguments):
        assert self.read(binary, *arguments) == 2
        assert f"Error: {arguments[-1]}" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            *((name, value) for name in ("sigma", "amplitude", "lengthscale")
              for value in ("nan", "inf", "0", "-1")),
            ("depth", "0"),
            ("depth", "201"),
            ("tolerance", "0"),
            ("tolerance", "1"),
            ("tolerance", "nan"),
            ("noise_std", "nan"),
            ("noise_std", "-25"),
            ("noise_std", "0"),
            ("noise_std", "256"),
            ("added_noise_std", "nan"),
            ("added_noise_std", "256"),
        ],
    )  # fmt: skip
    def test_numbers_out_of_range_are_refused(self, binary, capsys, name, value):
        assert self.read(binary, f"--{name}={value}") == 2
        err = capsys.readouterr().err
        assert err.startswith(f"Error: --{name}={value}")
        assert "expected" in err


class TestExpandImages:
    def test_no_pattern_means_the_bundled_photograph(self):
        assert common.expand_images([]) == {"astronaut": None}
        assert common.open_image(None).shape == (512, 512, 3)

    def test_globs_are_expanded_in_order_and_without_folders(self, tmp_path):
        for name in ("b.png", "a.png", "c.txt"):
            touch(tmp_path / name)
        (tmp_path / "folder.png").mkdir()
        images = common.expand_images([str(tmp_path / "*.png")])
        assert list(images.items()) == [
            ("a", tmp_path / "a.png"),
            ("b", tmp_path / "b.png"),
        ]

    def test_a_file_with_brackets_is_no_pattern(self, tmp_path):
        path = touch(tmp_path / "a[1].png")
        assert list(common.expand_images([path])) == ["a[1]"]

    def test_a_file_asked_for_twice_comes_once(self, tmp_path):
        path = touch(tmp_path / "a.png")
        images = common.expand_images([path, str(tmp_path / "*.png")])
        assert list(images) == ["a"]

    def test_equal_stems_get_names_of_their_own(self, tmp_path):
        names = ["1/a.png", "2/a.png", "3/a_2.png", "4/A.png"]
        paths = [touch(tmp_path / name) for name in names]
        images = common.expand_images(paths)
        assert list(images) == ["a", "a_2", "a_2_2", "A_3"]

    def test_reserved_names_are_not_given(self, tmp_path):
        path = touch(tmp_path / "table.md.png")
        assert list(common.expand_images([path], ["table.md"])) == ["table.md_2"]

    def test_a_glob_that_matches_nothing_is_refused(self, tmp_path):
        with pytest.raises(UserError, match=r"--image=.*\*\.png: expected a pattern"):
            common.expand_images([str(tmp_path / "*.png")])

    def test_opening_reads_and_names_the_flag_where_it_cannot(self, tmp_path):
        save_image(tmp_path / "a.png", np.ones((2, 3)))
        assert common.open_image(tmp_path / "a.png").shape == (2, 3, 1)
        with pytest.raises(UserError, match=r"--image=.*absent\.png: expected a still"):
            common.open_image(tmp_path / "absent.png")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_request_to_end_is_answered_with_a_sentence(binary, capsys, number):
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert binary(lambda: signal.raise_signal(number)) == 130
    finally:
        signal.signal(signal.SIGINT, previous)
    assert (
        capsys.readouterr().err == "Error: stopped; what was not yet written is lost\n"
    )


def test_who_reads_resume_is_told_of_it(binary, capsys, monkeypatch):
    class Flag:
        name = "resume"

    monkeypatch.setattr(flags.FlagValues, "get_key_flags_for_module", lambda *_: [Flag])

    def run():
        raise OSError(errno.ENOSPC, "No space left on device", "run/restored.png")

    assert binary(run) == 2
    told = capsys.readouterr().err
    assert told.startswith("Error: run/restored.png: No space left on device; what was")
    assert told.endswith("--resume goes on from it\n")
