"""What all restoration tasks do alike, by the example of inpainting."""

import json

import numpy as np
import pytest
from run_files import FILES, files

from dipgp.images import load_image, save_image
from experiments import image_tasks, inpaint, network_options
from experiments.common import UserError

SHARED = ["figure.png", "observed.png", "truth.png"]  # of all methods


@pytest.fixture
def config(tmp_path, photographs):
    def make(**changes):
        settings = {"images": (photographs[0],), "output_dir": str(tmp_path / "run")}
        return inpaint.InpaintConfig(drop_fraction=0.5, **(settings | changes))

    return make


class TestSeveralImages:
    def test_each_gets_a_folder_and_all_get_a_table(
        self, averaging, config, photographs, tmp_path, capsys
    ):
        inpaint.run(config(images=tuple(photographs)))
        run = tmp_path / "run"
        assert files(run) == ["colour", "grey", "table.json", "table.md"]
        assert files(run / "grey") == files(run / "colour") == FILES
        table = (run / "table.md").read_text()
        assert table in capsys.readouterr().out
        assert table.splitlines()[-1].startswith("| average | gp |")

    def test_an_images_result_does_not_depend_on_the_others(
        self, averaging, config, photographs
    ):
        (alone,) = inpaint.run(config(images=(photographs[1],)))
        _, together = inpaint.run(config(images=tuple(photographs)))
        assert alone["psnr"] == together["psnr"]

    def test_a_bad_one_is_found_before_anything_is_computed(
        self, averaging, config, photographs, tmp_path
    ):
        (tmp_path / "photographs/zebra.png").write_text("stripes")
        with pytest.raises(UserError, match=r"zebra\.png: expected a still picture"):
            inpaint.run(config(images=(str(tmp_path / "photographs/*.png"),)))
        assert not averaging.calls
        assert not (tmp_path / "run").exists()

    def test_several_methods_share_a_folder(
        self, averaging_networks, config, tmp_path, capsys
    ):
        smoke = network_options.settings("inpaint", "smoke", "sgd", {})
        inpaint.run(config(methods=("gp", "sgd"), networks={"sgd": smoke}))
        own = [
            f"{stem}_{method}.{ending}"
            for method in ("gp", "sgd")
            for stem, ending in (name.split(".") for name in FILES)
            if f"{stem}.{ending}" not in SHARED
        ]
        assert files(tmp_path / "run") == sorted([*SHARED, *own])
        written = json.loads((tmp_path / "run/metrics_sgd.json").read_text())
        assert written["files"] == {
            "observed": "observed.png",
            "truth": "truth.png",
            "restored": "restored_sgd.png",
            "figure": "figure.png",
        }
        assert len(capsys.readouterr().out.splitlines()) == 2


class TestFailingMethods:
    def test_one_that_did_not_converge_writes_says_so_and_fails(
        self, averaging, config, tmp_path, capsys
    ):
        averaging.outcome = {"converged": False, "message": "try more steps"}
        records = inpaint.run(config())
        assert image_tasks.exit_status(records) == 1
        assert files(tmp_path / "run") == FILES
        assert "NOT CONVERGED: try more steps" in capsys.readouterr().out

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_one_that_diverged_did_not_converge_whatever_it_says(
        self, averaging, config, tmp_path, bad
    ):
        averaging.outcome = {"mean": np.full((12, 16, 1), bad)}
        records = inpaint.run(config())
        assert image_tasks.exit_status(records) == 1
        written = json.loads((tmp_path / "run/metrics.json").read_text())
        assert written["psnr"] is None
        assert written["converged"] is False
        assert load_image(tmp_path / "run/restored.png").min() == 0


def test_images_smaller_than_ssims_window_have_none(averaging, config, tmp_path):
    save_image(tmp_path / "small.png", np.ones((8, 8)))
    (record,) = inpaint.run(config(images=(str(tmp_path / "small.png"),)))
    assert record["ssim"] is None
