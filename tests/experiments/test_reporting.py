import json
import math

import jax.numpy as jnp
import numpy as np

from experiments import reporting


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
