import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dipgp.images import add_noise, load_image, save_image
from dipgp.observations import BayerMosaic
from dipgp.summaries import psnr
from experiments import demosaic, interpolated_mosaic
from experiments.gp_method import GPOptions

QUICK = GPOptions(kernel="rbf", lengthscale=2.0, noise_std=0.01, tolerance=5e-2)


@pytest.fixture
def picture(tmp_path):
    """Path of a colour picture, 22 pixels wide and 19 high, away from black and white.

    Its colours share detail that is too fine for each of them alone.
    """
    rows, columns = np.indices((19, 22))
    grey = np.sin(2.2 * rows + 0.4 * columns) + np.sin(1.9 * columns - 0.3 * rows)
    tints = np.stack([rows / 19, columns / 22, 1 - rows / 19], axis=2)
    save_image(tmp_path / "waves.png", 0.4 + 0.1 * grey[:, :, None] + 0.2 * tints)
    return str(tmp_path / "waves.png")


@pytest.fixture
def raw(tmp_path):
    """Path of a grey picture of the same size."""
    save_image(tmp_path / "raw.png", np.random.default_rng(0).random((19, 22)))
    return str(tmp_path / "raw.png")


@pytest.fixture
def config(tmp_path, picture):
    def make(**changes):
        fields = {"output_dir": str(tmp_path / "run"), "images": (picture,)}
        return demosaic.DemosaicConfig(**({"options": QUICK} | fields | changes))

    return make


def test_a_method_sees_one_colour_a_pixel_in_noise(asked, config, picture):
    mosaic = BayerMosaic("GRBG")
    (record,) = demosaic.run(config(seed=3, mosaic=mosaic))
    ((request, _),) = asked
    truth = load_image(picture)
    colours = np.asarray(mosaic(jnp.asarray(truth)))
    expected = add_noise(jax.random.key(3), colours, QUICK.noise_std)
    np.testing.assert_array_equal(request.observation.values, expected)
    np.testing.assert_allclose(request.observation.noise_std, QUICK.noise_std)
    assert request.forward == mosaic
    assert request.shape == truth.shape == (19, 22, 3)
    assert record["psnr"] == pytest.approx(psnr(np.full_like(truth, 0.5), truth))
    bilinear = np.clip(interpolated_mosaic.bilinear(expected, mosaic), 0, 1)
    assert record["psnr_bilinear"] == pytest.approx(psnr(bilinear, truth))
    corrected = interpolated_mosaic.gradient_corrected(expected, mosaic)
    expected = psnr(np.clip(corrected, 0, 1), truth)
    assert record["psnr_malvar"] == pytest.approx(expected)


def test_what_a_sensor_recorded_is_restored_in_colour(asked, config, raw, tmp_path):
    (record,) = demosaic.run(config(noisy=True, images=(raw,)))
    ((request, _),) = asked
    np.testing.assert_array_equal(request.observation.values, load_image(raw))
    assert request.shape == (19, 22, 3)
    assert request.truth is None
    assert record["psnr"] is None
    assert load_image(tmp_path / "run/restored.png").shape == (19, 22, 3)


@pytest.mark.slow
def test_the_process_reads_detail_off_all_colours(config, tmp_path):
    # In half of that noise 32 bits do not solve for so smooth a process.
    options = dataclasses.replace(QUICK, noise_std=0.02)
    (record,) = demosaic.run(config(options=options))
    assert record["converged"]
    assert record["psnr"] > max(record["psnr_bilinear"], record["psnr_malvar"]) + 2
    written = json.loads((tmp_path / "run/metrics.json").read_text())
    assert written["experiment"] == "demosaic"
    channels = written["hyperparameters"]["channels"]
    assert [channel["lengthscale"] for channel in channels] == [2.0] * 3
    # Grey is the strongest direction by far.
    assert channels[2]["amplitude"] > 3 * channels[1]["amplitude"]
    grey = np.abs(written["hyperparameters"]["colour_directions"][2])
    np.testing.assert_allclose(grey, 1 / np.sqrt(3), atol=0.1)


@pytest.mark.slow
def test_colours_without_regard_to_each_other_lack_that_detail(config, tmp_path):
    options = dataclasses.replace(QUICK, independent_channels=True)
    (together,) = demosaic.run(config())
    (apart,) = demosaic.run(config(options=options, output_dir=str(tmp_path / "two")))
    assert together["psnr"] > apart["psnr"] + 3
    axes = np.array(apart["hyperparameters"]["colour_directions"])
    np.testing.assert_array_equal(np.sort(np.abs(axes)), [[0, 0, 1]] * 3)


@pytest.mark.slow
def test_networks_see_through_the_mosaic(binary, picture, tmp_path):
    folders = [f"--image={picture}", f"--output_dir={tmp_path / 'run'}"]
    settings = ["--method=sgd,psgld", "--preset=smoke"]
    assert binary(demosaic.main, *folders, *settings) == 0
    for method in ("sgd", "psgld"):
        text = (tmp_path / f"run/metrics_{method}.json").read_text()
        assert json.loads(text)["shape"] == [19, 22, 3]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--amplitude=0.2"], "--amplitude=0.2: expected no such flag, since each"),
        (["--noisy"], "--noisy=True: expected a grey picture, in which each pixel"),
        (["--pattern=RGB"], "--pattern=RGB: value should be one of <RGGB|BGGR|GRBG"),
        (
            ["--method=sgd", "--channel_covariance=independent"],
            "--channel_covariance=independent: expected no such flag without",
        ),
        (["--method=sgd", "--sigma=2"], "--sigma=2.0: expected no such flag without"),
    ],
)
def test_bad_input_is_told_in_one_sentence(
    binary, picture, tmp_path, capsys, arguments, sentence
):
    common = [f"--image={picture}", f"--output_dir={tmp_path / 'run'}"]
    assert binary(demosaic.main, *common, *arguments) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_grey_picture_has_no_colours_to_take(binary, raw, tmp_path, capsys):
    common = [f"--image={raw}", f"--output_dir={tmp_path / 'run'}"]
    assert binary(demosaic.main, *common) == 2
    assert "expected a picture in colour, got a grey one" in capsys.readouterr().err


def test_the_flags_say_mosaic_and_channels(binary, asked, picture, tmp_path):
    arguments = ["--pattern=bggr", "--channel_covariance=independent"]
    folders = [f"--image={picture}", f"--output_dir={tmp_path / 'run'}"]
    assert binary(demosaic.main, *folders, *arguments, "--noise_std=5.1") == 0
    ((request, options),) = asked
    assert request.forward == BayerMosaic("BGGR")
    assert options.independent_channels
    assert options.tolerance == 2e-2
    np.testing.assert_allclose(request.observation.noise_std, 0.02)
