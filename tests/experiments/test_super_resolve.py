import csv
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from run_files import FILES, files

from dipgp.images import add_noise, load_image, save_image
from dipgp.observations import Box, Decimation
from dipgp.summaries import psnr
from experiments import (
    image_tasks,
    results,
    super_resolve,
)
from experiments.common import UserError
from experiments.gp_method import GPOptions
from experiments.network_settings import NetworkSettings, Running

SCORES = ("psnr", "psnr_bicubic", "psnr_rgb", "psnr_unclipped", "ssim")
# One recipe for most tests, so that its program is compiled once.
SETTINGS = NetworkSettings(channels=(4,), iterations=60, stop_at=60, burn_in=30)


@pytest.fixture
def picture(tmp_path):
    """Path of a colour picture, 17 pixels wide and 13 high: no multiples of a factor.

    Smooth, and far enough from black and white that small errors are not clipped.
    """
    rows, columns = np.meshgrid(np.arange(13), np.arange(17), indexing="ij")
    waves = [np.sin(rows / 3), np.cos(columns / 4), np.sin((rows + columns) / 5)]
    save_image(tmp_path / "waves.png", 0.5 + 0.3 * np.stack(waves, axis=2))
    return str(tmp_path / "waves.png")


@pytest.fixture
def config(tmp_path, picture):
    def make(*methods, settings=SETTINGS, **changes):
        methods = methods or ("sgd",)
        fields = {
            "output_dir": str(tmp_path / "run"),
            "images": (picture,),
            "methods": methods,
            "networks": dict.fromkeys(methods, settings),
            "running": Running(log_every=60, checkpoint_minutes=0),
        }
        return super_resolve.SuperResolveConfig(**(fields | changes))

    return make


class TestWhatAMethodIsAsked:
    @pytest.mark.parametrize("factor", [2, 4, 5])
    def test_it_sees_the_picture_down_sampled_and_nothing_else(
        self, enlarging, config, picture, factor
    ):
        super_resolve.run(config(factor=factor))
        (request,) = enlarging.requests
        truth = load_image(picture)
        expected = Decimation(factor)(jnp.asarray(truth))
        assert expected.shape == (math.ceil(13 / factor), math.ceil(17 / factor), 3)
        np.testing.assert_array_equal(request.observation.values, expected)
        np.testing.assert_array_equal(request.observation.mask, 1)
        assert request.shape == (13, 17, 3)
        np.testing.assert_array_equal(request.truth, truth)
        seen = request.forward(jnp.asarray(truth))
        np.testing.assert_array_equal(seen, request.observation.values)

    def test_it_knows_the_filter_of_the_run(self, enlarging, config, picture):
        super_resolve.run(config(factor=2, filter="box"))
        (request,) = enlarging.requests
        assert request.forward == Decimation(2, Box())
        block = load_image(picture)[2:4, 4:6].mean(axis=(0, 1))
        np.testing.assert_allclose(request.observation.values[1, 2], block, 1e-5)

    def test_ringing_of_the_filter_is_not_clipped(self, enlarging, config, tmp_path):
        save_image(tmp_path / "edge.png", np.repeat([0.0, 1.0], 8) * np.ones((16, 1)))
        super_resolve.run(config(factor=2, images=(str(tmp_path / "edge.png"),)))
        values = np.asarray(enlarging.requests[0].observation.values)
        assert values.min() < -0.005
        assert values.max() > 1.005

    def test_a_noise_of_one_grey_level_is_assumed(self, enlarging, config):
        super_resolve.run(config())
        (request,) = enlarging.requests
        np.testing.assert_allclose(request.observation.noise_std, 1 / 255, rtol=1e-6)
        assert request.noise_known

    def test_another_noise_can_be_assumed_and_is_not_added(
        self, enlarging, config, picture
    ):
        super_resolve.run(config(options=GPOptions(noise_std=0.2)))
        (request,) = enlarging.requests
        np.testing.assert_allclose(request.observation.noise_std, 0.2, rtol=1e-6)
        expected = Decimation(4)(jnp.asarray(load_image(picture)))
        np.testing.assert_array_equal(request.observation.values, expected)

    def test_noise_can_be_added_and_left_to_be_estimated(
        self, enlarging, config, picture
    ):
        (record,) = super_resolve.run(config(added_noise_std=0.1, options=GPOptions()))
        (request,) = enlarging.requests
        assert not request.noise_known
        small = Decimation(4)(jnp.asarray(load_image(picture)))
        expected = add_noise(jax.random.key(0), small, 0.1)
        np.testing.assert_array_equal(request.observation.values, expected)
        assert record["noise_std"]["added"] == 0.1

    @pytest.mark.parametrize("float64", [False, True])
    def test_precision_is_a_choice(self, enlarging, config, float64):
        super_resolve.run(config(float64=float64))
        values = enlarging.requests[0].observation.values
        assert values.dtype == ("float64" if float64 else "float32")

    def test_a_picture_that_is_small_already_is_the_observation(
        self, enlarging, config, picture, tmp_path, capsys
    ):
        (record,) = super_resolve.run(config(noisy=True, factor=3))
        (request,) = enlarging.requests
        np.testing.assert_array_equal(request.observation.values, load_image(picture))
        assert request.shape == (39, 51, 3)
        assert request.truth is None
        assert [record[score] for score in SCORES] == [None] * 5
        assert load_image(tmp_path / "run/restored.png").shape == (39, 51, 3)
        assert capsys.readouterr().out == "waves: sgd: 0.5 s, 3 iterations\n"


class TestResults:
    def test_pictures_and_metrics_are_written(self, enlarging, config, tmp_path):
        (record,) = super_resolve.run(config())
        assert files(tmp_path / "run") == FILES
        written = json.loads((tmp_path / "run/metrics.json").read_text())
        assert written["experiment"] == "super_resolve"
        assert written["shape"] == [13, 17, 3]
        assert written["configuration"]["factor"] == 4
        assert written["configuration"]["filter"] == "lanczos"
        assert [written[score] for score in SCORES] == [
            record[score] for score in SCORES
        ]

    def test_several_images_are_tabulated(
        self, enlarging, config, picture, photographs, tmp_path
    ):
        super_resolve.run(config(images=(picture, photographs[0])))
        titles = (tmp_path / "run/table.md").read_text().splitlines()[0]
        columns = "PSNR | PSNR bicubic | PSNR rgb | PSNR unclipped | SSIM | seconds"
        assert titles == f"| image | method | {columns} |"

    def test_the_figure_shows_each_observed_pixel_as_a_block(
        self, enlarging, config, monkeypatch
    ):
        shown = []

        def write(folder, observed, truth, done):
            shown.append(observed)
            return [result.record for result in done]

        monkeypatch.setattr(results, "write", write)
        super_resolve.run(config(factor=4))
        ((blocks,), (request,)) = shown, enlarging.requests
        assert blocks.shape == request.shape
        values = np.asarray(request.observation.values)
        for (row, column), pixel in np.ndenumerate(blocks[:, :, 1]):
            assert pixel == values[row // 4, column // 4, 1]


class TestScores:
    def test_psnr_is_of_luma_from_16_to_235(self, enlarging, config):
        enlarging.restore = lambda request: request.truth + 0.1
        (record,) = super_resolve.run(config())
        expected = -20 * math.log10(0.1 * 219 / 255)
        assert record["psnr"] == pytest.approx(expected, abs=1e-3)
        assert record["psnr_rgb"] == pytest.approx(20, abs=1e-3)

    @pytest.mark.parametrize(
        ("channel", "weight"), [(0, 0.299), (1, 0.587), (2, 0.114)]
    )
    def test_colours_count_by_their_brightness(
        self, enlarging, config, channel, weight
    ):
        error = 0.1 * np.eye(3)[channel]
        enlarging.restore = lambda request: request.truth + error
        (record,) = super_resolve.run(config())
        expected = -20 * math.log10(0.1 * weight * 219 / 255)
        assert record["psnr"] == pytest.approx(expected, abs=0.01)

    def test_four_pixels_at_each_border_do_not_count(self, enlarging, config):
        damage = np.full((13, 17, 1), 0.1)
        damage[4:-4, 4:-4] = 0.0
        enlarging.restore = lambda request: request.truth + damage
        (record,) = super_resolve.run(config())
        assert record["psnr"] == math.inf
        assert record["psnr_rgb"] < 25
        damage[4, 4] = 0.1  # one of 5 x 9 pixels that are left
        (record,) = super_resolve.run(config())
        expected = -20 * math.log10(0.1 * 219 / 255) + 10 * math.log10(45)
        assert record["psnr"] == pytest.approx(expected, abs=1e-3)

    def test_they_are_of_the_clipped_picture_with_one_before_clipping(
        self, enlarging, config
    ):
        enlarging.restore = lambda request: np.full(request.shape, 11.0)
        (record,) = super_resolve.run(config())
        assert record["psnr"] > 0
        assert record["psnr_rgb"] > 0
        assert record["psnr_unclipped"] < -15

    def test_a_grey_picture_counts_as_one_of_equal_colours(
        self, enlarging, config, photographs, tmp_path
    ):
        grey = load_image(photographs[0])
        save_image(tmp_path / "three.png", np.repeat(grey, 3, axis=2))
        images = (photographs[0], str(tmp_path / "three.png"))
        one, three = super_resolve.run(config(images=images))
        assert [request.shape[2] for request in enlarging.requests] == [1, 3]
        for score in SCORES:
            assert one[score] == pytest.approx(three[score], abs=1e-4)

    @pytest.mark.parametrize("factor", [2, 4])
    def test_bicubic_interpolation_is_the_usual_one(
        self, enlarging, config, picture, factor
    ):
        (record,) = super_resolve.run(config(factor=factor))
        truth = load_image(picture)
        small = np.asarray(enlarging.requests[0].observation.values)
        size = (small.shape[1] * factor, small.shape[0] * factor)
        channels = [
            Image.fromarray(np.ascontiguousarray(channel)).resize(
                size, Image.Resampling.BICUBIC
            )
            for channel in np.moveaxis(small, 2, 0)
        ]
        enlarged = np.stack([np.asarray(one) for one in channels], axis=2)
        luma = [
            np.clip(image[4:9, 4:13], 0, 1) @ [65.481, 128.553, 24.966] / 255
            for image in (enlarged[:13, :17], truth)
        ]
        assert record["psnr_bicubic"] == pytest.approx(psnr(*luma), abs=1e-3)

    def test_one_that_diverged_is_written_and_fails(self, enlarging, config, tmp_path):
        enlarging.restore = lambda request: np.full(request.shape, np.nan)
        records = super_resolve.run(config())
        assert image_tasks.exit_status(records) == 1
        assert load_image(tmp_path / "run/restored.png").max() == 0


class TestNetworks:
    @pytest.mark.slow
    def test_descents_and_samplers_restore_at_full_size(self, config, tmp_path):
        records = super_resolve.run(config("sgd", "psgld"))
        run = tmp_path / "run"
        for name, record in zip(("sgd", "psgld"), records, strict=True):
            assert load_image(run / f"restored_{name}.png").shape == (13, 17, 3)
            assert (run / f"trace_{name}.csv").exists()
            assert np.isfinite([record[score] for score in SCORES]).all()
        with (run / "trace_sgd.csv").open() as file:
            loss = [float(row["loss"]) for row in csv.DictReader(file)]
        assert loss[-1] < 0.2 * loss[0]
        std = np.load(run / "uncertainty_psgld.npz")["std"]
        assert std.shape == (13, 17, 3)
        assert (run / "figure.png").exists()

    @pytest.mark.slow
    def test_one_seed_gives_identical_files_and_another_does_not(
        self, config, tmp_path
    ):
        pictures = []
        for folder, seed in (("one", 0), ("two", 0), ("three", 1)):
            changes = {"output_dir": str(tmp_path / folder), "seed": seed}
            super_resolve.run(config("psgld", **changes))
            pictures.append((tmp_path / folder / "restored.png").read_bytes())
        assert pictures[0] == pictures[1] != pictures[2]

    @pytest.mark.slow  # another program to compile
    def test_a_grey_thumbnail_of_a_few_pixels_is_enlarged(self, config, tmp_path):
        save_image(tmp_path / "small.png", np.linspace(0, 1, 6).reshape(2, 3))
        images = (str(tmp_path / "small.png"),)
        super_resolve.run(config("sgd", images=images, noisy=True, factor=4))
        assert load_image(tmp_path / "run/restored.png").shape == (8, 12, 1)


@pytest.mark.slow
def test_the_process_beats_bicubic_interpolation_on_a_smooth_picture(config, tmp_path):
    # Waves of 20 to 30 pixels: at a third of the pixels, still far from aliasing.
    options = GPOptions(kernel="rbf", lengthscale=4.0, noise_std=1 / 255)
    (record,) = super_resolve.run(config("gp", networks={}, options=options, factor=3))
    assert record["converged"]
    assert record["shape"] == (13, 17, 3)
    assert record["psnr"] > record["psnr_bicubic"] + 1
    assert record["hyperparameters"]["channels"][0]["lengthscale"] == 4.0


class TestBadInput:
    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            (["--method=tv"], "--method=tv: expected a list among: gp"),
            (["--factor=1"], "--factor=1: expected a whole number of at least 2"),
            (["--factor=-4"], "--factor=-4: expected a whole number of at least 2"),
            (
                ["--factor=14"],
                "--factor=14: expected at most the sides of the picture, which has "
                "17x13 pixels",
            ),
            (["--image={folder}/flat.png"], "expected a picture higher and wider than"),
            (["--image={folder}/absent.png"], "--image={folder}/absent.png: expected"),
            (["--kernel=dip"], "--kernel=dip: expected no such flag"),
            (["--sigma=2"], "--sigma=2.0: expected no such flag"),
            (["--tolerance=0.1"], "--tolerance=0.1: expected no such flag"),
            (["--noise_std=0"], "--noise_std=0.0: expected grey levels above 0"),
            (["--seed=-1"], "--seed=-1: expected a number from 0"),
            (["stray"], "stray: expected flags only"),
        ],
    )
    def test_it_ends_in_one_sentence_with_nothing_written(
        self, enlarging, binary, picture, tmp_path, capsys, arguments, sentence
    ):
        save_image(tmp_path / "flat.png", np.ones((8, 30)))
        defaults = [f"--output_dir={tmp_path / 'run'}", f"--image={picture}"]
        arguments = [argument.format(folder=tmp_path) for argument in arguments]
        assert binary(super_resolve.main, *defaults, *arguments) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith(f"Error: {sentence.format(folder=tmp_path)}")
        assert err.count("\n") == 1
        assert not enlarging.requests
        assert not (tmp_path / "run").exists()

    def test_a_filter_is_one_that_is_known(self, config):
        with pytest.raises(UserError, match="--filter=hat: expected one of lanczos, "):
            config(filter="hat")


def test_the_command_line_restores_an_image(
    enlarging, binary, picture, tmp_path, capsys
):
    arguments = [f"--image={picture}", f"--output_dir={tmp_path / 'run'}"]
    assert binary(super_resolve.main, *arguments, "--factor=2", "--method=sgd_avg") == 0
    (request,) = enlarging.requests
    assert request.forward == Decimation(2)
    assert capsys.readouterr().out.startswith("waves: sgd_avg: PSNR ")
    assert files(tmp_path / "run") == FILES
