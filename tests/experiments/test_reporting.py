import json
import math
import tempfile

import jax.numpy as jnp
import numpy as np
import pytest

from experiments import reporting
from experiments.common import UserError


class TestCreateRunFolders:
    def test_one_image_needs_no_folder_of_its_own(self, tmp_path):
        folders = reporting.create_run_folders(str(tmp_path / "run"), ["a"])
        assert folders == {"a": tmp_path / "run"}
        assert not list((tmp_path / "run").iterdir())

    def test_several_images_get_a_folder_each(self, tmp_path):
        folders = reporting.create_run_folders(str(tmp_path / "deep/run"), ["a", "b"])
        assert folders["b"] == tmp_path / "deep/run/b"
        assert all(folder.is_dir() for folder in folders.values())

    def test_a_folder_may_exist(self, tmp_path):
        assert reporting.create_run_folders(str(tmp_path), ["a"]) == {"a": tmp_path}

    @pytest.mark.parametrize("name", ["file", "file/run"])
    def test_a_file_is_refused(self, tmp_path, name):
        (tmp_path / "file").touch()
        with pytest.raises(
            UserError, match=f"--output_dir=.*{name}: expected a folder"
        ):
            reporting.create_run_folders(str(tmp_path / name), ["a"])

    def test_a_folder_that_cannot_be_written_to_is_refused(self, tmp_path, monkeypatch):
        def refuse(**_):
            raise PermissionError(13, "Permission denied")

        # Permissions would not stop a test that the superuser runs.
        monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
        with pytest.raises(UserError, match="written to, got Permission denied"):
            reporting.create_run_folders(str(tmp_path), ["a"])


class TestWriteJson:
    def test_arrays_and_scalars_become_plain(self, tmp_path):
        record = {"a": np.float32(0.5), "b": jnp.arange(2), "c": (1, "x", None, True)}
        reporting.write_json(tmp_path / "a.json", record)
        found = json.loads((tmp_path / "a.json").read_text())
        assert found == {"a": 0.5, "b": [0, 1], "c": [1, "x", None, True]}

    def test_numbers_that_are_not_finite_become_null(self, tmp_path):
        record = [math.inf, -math.inf, math.nan, np.float64(np.nan), {"a": np.inf}]
        reporting.write_json(tmp_path / "a.json", record)
        found = json.loads((tmp_path / "a.json").read_text())
        assert found == [None, None, None, None, {"a": None}]


class TestWriteTable:
    def records(self):
        common = {"method": "gp", "extra": 1, "ssim": None}
        return [
            {"image": "a", "psnr": 20.0, "seconds": 1.0, **common},
            {"image": "b", "psnr": 30.0, "seconds": 3.0, **common},
        ]

    def test_it_ends_with_the_average(self, tmp_path):
        columns = ["psnr", "ssim", "seconds"]
        text = reporting.write_table(tmp_path, self.records(), columns)
        assert text.splitlines() == [
            "| image | method | PSNR | SSIM | seconds |",
            "| --- | --- | ---: | ---: | ---: |",
            "| a | gp | 20.00 dB | - | 1.0 s |",
            "| b | gp | 30.00 dB | - | 3.0 s |",
            "| average | gp | 25.00 dB | - | 2.0 s |",
        ]
        assert (tmp_path / "table.md").read_text() == text + "\n"
        table = json.loads((tmp_path / "table.json").read_text())
        assert table["averages"] == [
            {"image": "average", "method": "gp", "psnr": 25, "ssim": None, "seconds": 2}
        ]

    def test_methods_have_averages_of_their_own(self, tmp_path):
        first, second = self.records()
        records = [first, second | {"method": "other"}]
        text = reporting.write_table(tmp_path, records, ["psnr"])
        assert text.splitlines()[-2:] == [
            "| average | gp | 20.00 dB |",
            "| average | other | 30.00 dB |",
        ]

    def test_a_missing_number_leaves_no_average(self, tmp_path):
        first, second = self.records()
        records = [first, second | {"psnr": None}]
        text = reporting.write_table(tmp_path, records, ["psnr"])
        assert text.splitlines()[-1] == "| average | gp | - |"


def test_versions_name_what_results_depend_on():
    versions = reporting.versions()
    assert list(versions) == ["python", "jax", "jaxlib", "numpy", "dipgp"]
    assert versions["numpy"] == np.__version__


def test_progress_is_quiet_where_nobody_looks(capsys):
    with reporting.progress("title") as report:
        report("news [with brackets]")
    assert capsys.readouterr() == ("", "")


def test_progress_goes_to_a_terminals_stderr(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes anything for a terminal then
    with reporting.progress("title [a]") as report:
        report("news [b]")
    out, err = capsys.readouterr()
    assert out == ""
    assert "title [a]" in err
