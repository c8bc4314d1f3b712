import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dipgp.images import add_noise, load_image, save_image
from dipgp.observations import gaussian_blur, motion_blur
from dipgp.summaries import psnr
from experiments import (
    deblur,
    super_resolve,
)
from experiments.gp_method import GPOptions

QUICK = GPOptions(kernel="rbf", lengthscale=2.0, noise_std=0.01)


@pytest.fixture
def picture(tmp_path):
    """Path of a colour picture, 21 pixels wide and 19 high, away from black and white.

    It is smooth and goes around its borders.
    """
    rows, columns = np.meshgrid(np.arange(19) / 19, np.arange(21) / 21, indexing="ij")
    waves = [np.sin(6 * np.pi * rows), np.cos(6 * np.pi * columns), rows * 0]
    waves[2] = np.sin(4 * np.pi * (rows + columns))
    save_image(tmp_path / "waves.png", 0.5 + 0.3 * np.stack(waves, axis=2))
    return str(tmp_path / "waves.png")


@pytest.fixture
def config(tmp_path, picture):
    def make(**changes):
        fields = {"output_dir": str(tmp_path / "run"), "images": (picture,)}
        return deblur.DeblurConfig(**({"options": QUICK} | fields | changes))

    return make


def test_a_method_sees_the_blurred_picture_in_noise(asked, config, picture):
    (record,) = deblur.run(config(seed=3, blur=motion_blur(5, 30, "valid")))
    ((request, _),) = asked
    truth = load_image(picture)
    blur = motion_blur(5, 30, "valid")
    blurred = blur(jnp.asarray(truth))
    expected = add_noise(jax.random.key(3), blurred, QUICK.noise_std)
    np.testing.assert_array_equal(request.observation.values, expected)
    np.testing.assert_allclose(request.observation.noise_std, QUICK.noise_std)
    assert request.forward == blur
    assert request.shape == truth.shape
    # A line of 5 pixels at 30 degrees has a kernel of 5 rows and 7 columns.
    assert expected.shape == (15, 15, 3)
    inner = truth[2:17, 3:18]
    assert record["psnr"] == pytest.approx(psnr(np.full_like(inner, 0.5), inner))
    assert record["psnr_input"] == pytest.approx(psnr(expected, inner))
    whole = psnr(np.full_like(truth, 0.5), truth)
    assert record["psnr_whole"] == pytest.approx(whole)


def test_a_picture_that_is_blurred_already_is_restored_beyond_its_borders(
    asked, config, picture, tmp_path
):
    blur = gaussian_blur(0.5, "valid")  # 5x5 pixels
    (record,) = deblur.run(config(noisy=True, blur=blur))
    ((request, _),) = asked
    np.testing.assert_array_equal(request.observation.values, load_image(picture))
    assert request.shape == (23, 25, 3)
    assert request.truth is None
    assert record["psnr"] is None
    assert load_image(tmp_path / "run/restored.png").shape == (23, 25, 3)


def test_noise_can_be_added_and_left_to_be_estimated(asked, config, picture):
    blur = motion_blur(5, 30)
    run = config(blur=blur, added_noise_std=0.1, options=GPOptions())
    (record,) = deblur.run(run)
    ((request, _),) = asked
    assert not request.noise_known
    blurred = blur(jnp.asarray(load_image(picture)))
    expected = add_noise(jax.random.key(0), blurred, 0.1)
    np.testing.assert_array_equal(request.observation.values, expected)
    assert record["noise_std"]["added"] == 0.1


def test_wiener_deconvolution_is_told_the_blur(asked, config):
    (record,) = deblur.run(config(blur=motion_blur(5, 30)))
    # With another blur, or one that is off by a pixel, it is below the input.
    assert record["psnr_wiener"] > record["psnr_input"] + 3


def test_the_process_undoes_most_of_the_blur(config, tmp_path):
    (record,) = deblur.run(config(blur=gaussian_blur(1.2)))
    assert record["converged"]
    assert record["psnr"] > record["psnr_input"] + 6
    written = json.loads((tmp_path / "run/metrics.json").read_text())
    assert written["experiment"] == "deblur"
    assert written["hyperparameters"]["channels"][0]["lengthscale"] == 2.0
    assert written["psnr_wiener"] == record["psnr_wiener"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--blur_std=0"], "--blur_std=0.0: expected a positive number of pixels"),
        (["--blur_length=3"], "--blur_length=3.0: expected no such flag with --blur="),
        (
            ["--blur=motion", "--blur_std=3"],
            "--blur_std=3.0: expected no such flag with --blur=motion",
        ),
        (
            ["--blur=motion", "--blur_length=-1"],
            "--blur_length=-1.0: expected a positive number of pixels",
        ),
        (["--blur_std=9"], "--blur_std, --blur_length: expected a blur no wider than"),
        (["--blur_std=9", "--boundary=valid"], "shape: expected images no smaller"),
        ([f"--{super_resolve.FACTOR.name}=2"], "--factor=2: expected no such flag"),
        (["--method=sgd", "--sigma=2"], "--sigma=2.0: expected no such flag without"),
    ],
)
def test_bad_input_is_told_in_one_sentence(
    binary, picture, tmp_path, capsys, arguments, sentence
):
    common = [f"--image={picture}", f"--output_dir={tmp_path / 'run'}"]
    assert binary(deblur.main, *common, *arguments) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_the_flags_say_the_blur(binary, asked, picture, tmp_path):
    arguments = ["--blur=motion", "--blur_length=5", "--blur_angle=90"]
    folders = [f"--image={picture}", f"--output_dir={tmp_path / 'run'}"]
    assert binary(deblur.main, *folders, *arguments, "--boundary=valid") == 0
    ((request, _),) = asked
    assert request.forward == motion_blur(5, 90, "valid")
    np.testing.assert_allclose(request.observation.noise_std, 0.01)
