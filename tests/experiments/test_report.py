"""The page of all that runs left: what stands in it, and what is told to be wrong."""

import functools
import json
import os
import re
import shutil
import warnings

import html5lib
import numpy as np
import pytest

from dipgp.images import save_image
from experiments import (
    denoise,
    network_method,
    network_options,
    report,
    uncertainty,
)
from experiments.uncertainty_options import UncertaintyConfig

SVG = "{http://www.w3.org/2000/svg}"
PREDICTED = {
    "hyperparameters": {"noise_std": 0.3},
    "std": np.full((12, 16, 1), 0.05),
}


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Where the run is that every test has a copy of."""
    return tmp_path_factory.mktemp("kept") / "denoise"


@pytest.fixture
def restored(kept, averaging, photographs, tmp_path, monkeypatch):
    """Folder of a run of two methods on a grey picture, one of them with a trace."""
    if not kept.exists():
        restore = functools.partial(descend, averaging)
        monkeypatch.setattr(network_method, "restore", restore)
        smoke = network_options.settings("denoise", "smoke", "sgd_avg", {})
        config = denoise.DenoiseConfig(
            images=(photographs[0],),
            output_dir=str(kept),
            methods=("gp", "sgd_avg"),
            networks={"sgd_avg": smoke},
        )
        denoise.run(config)
    return shutil.copytree(kept, tmp_path / "runs" / "denoise")


def descend(averaging, names, settings, running, request):
    """Stands in for a network; its standard deviation is for show."""
    iterations = np.arange(400.0)
    averaging.outcome = {
        "hyperparameters": {"stop_by": "iteration", "stop_at": 7},
        "mean": np.full((12, 16, 1), 0.25),
        "trace": {
            "fit": iterations,
            "psnr": 10 + iterations / 100,
            "psnr_average": 9 + iterations / 100,
        },
        "facts": {"stopping": {"held_out": {"iteration": 3, "stopped_at": None}}},
        "std": np.full((12, 16, 1), 0.05),
    }
    return ((name, averaging(request, settings)) for name in names)


def page_of(*places, **options):
    page, problems = report.run([str(place) for place in places], **options)
    return page.read_text(encoding="utf-8"), problems


def parsed(text):
    """The page as a tree; raises on what is not valid."""
    parser = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # html5lib's own, of older Pythons
        return parser.parse(text)


class TestPage:
    def test_it_is_valid_and_asks_for_nothing(self, restored):
        text, problems = page_of(restored)
        assert problems == []
        tree = parsed(text)
        for element in tree.iter():
            for name in ("src", "data", "srcset", "action"):
                assert element.get(name, "data:").startswith("data:")
            if element.tag == "link":
                assert element.get("href").startswith("data:")
        assert not re.search(r"@import|url\((?!#)", text)
        assert "default-src 'none'" in text

    def test_all_pictures_have_words(self, restored):
        tree = parsed(page_of(restored)[0])
        alts = [image.get("alt") for image in tree.iter("img")]
        assert all(alts)
        for words in ("as observed", "the truth", "restored by sgd_avg", "place 1"):
            assert any(words in alt for alt in alts)
        labelled = [svg.get("aria-label") for svg in tree.iter(f"{SVG}svg")]
        assert labelled
        assert all(labelled)
        for control in tree.iter("input"):
            assert control.get("aria-label") or control.get("type") == "radio"

    def test_it_has_scores_curves_settings_and_versions(self, restored):
        text, _ = page_of(restored)
        record = json.loads((restored / "metrics_gp.json").read_text())
        for fact in (
            f"{record['psnr']:.2f} dB",
            f"{record['ssim']:.4f}",
            "where the methods differ most",
            "networks.sgd_avg.learning_rate",
            record["versions"]["jax"],
            "held_out",
            "Where sgd_avg is uncertain",
        ):
            assert fact in text
        curves = [path for path in re.findall(r' d="([^"]+)"', text) if "L" in path]
        # The average's and, dashed, the output's, thinned.
        assert len(curves) == 2
        assert all(50 < path.count("L") < 310 for path in curves)
        assert text.count("<circle") == 1  # where the descent is read

    def test_links_lead_to_the_files_from_where_the_page_is(self, restored):
        page = restored.parent.parent / "a page.html"
        tree = parsed(page_of(restored, output=str(page))[0])
        links = [link.get("href") for link in tree.iter("a")]
        files = [link for link in links if not link.startswith("#")]
        assert "runs/denoise/uncertainty_sgd_avg.npz" in files
        assert all((page.parent / link).is_file() for link in files)

    def test_names_are_text_not_markup(self, restored):
        path = restored / "metrics_gp.json"
        record = json.loads(path.read_text())
        path.write_text(json.dumps(record | {"message": "<script>alert(1)</script>"}))
        text, _ = page_of(restored, title="<b>a & b</b>")
        assert "<title>&lt;b&gt;a &amp; b&lt;/b&gt;</title>" in text
        assert "&lt;script&gt;alert" in text
        assert text.count("<script>") == 1

    def test_the_same_runs_make_the_same_page(self, restored):
        assert page_of(restored)[0] == page_of(restored, output=None)[0]

    def test_large_pictures_are_scaled_and_that_is_said(self, restored):
        image = np.random.default_rng(0).uniform(size=(40, 1100, 1))
        for name in ("observed", "truth", "restored_gp", "restored_sgd_avg"):
            save_image(restored / f"{name}.png", image)
        text, _ = page_of(restored)
        assert "scaled down to 1024 pixels" in text
        assert "1100x40 pixels" in text
        assert 'width="1100"' not in text


class TestSeveralRuns:
    def test_folders_are_searched_and_runs_compared(self, restored):
        other = restored.parent / "other"
        shutil.copytree(restored, other)
        for path in other.glob("metrics*.json"):
            record = json.loads(path.read_text())
            record["configuration"]["seed"] = 5
            path.write_text(json.dumps(record))
        text, problems = page_of(restored.parent)
        assert problems == []
        assert (restored.parent / "report.html").exists()
        assert "denoise: 0; other: 5" in text
        assert text.count("mean of 2") == 2
        assert len(set(re.findall(r'id="(run-\d+)"', text))) == 2
        ids = re.findall(r' id="([^"]+)"', text)
        assert len(ids) == len(set(ids))

    def test_calibration_has_coverage_with_error_bars(
        self, averaging, photographs, tmp_path
    ):
        averaging.outcome = PREDICTED
        config = UncertaintyConfig(
            output_dir=str(tmp_path / "run"),
            images=(photographs[0],),
            withheld_fraction=0.4,
        )
        (record,) = uncertainty.run(config)
        text, problems = page_of(tmp_path / "run")
        assert problems == []
        parsed(text)
        assert "gp: coverage of values withheld" in text
        bins = len(record["bins"]["std"])
        assert text.count("<circle") == 4 * len(record["levels"]) + bins
        assert "± " in text
        assert "Where gp is uncertain" in text

    def test_an_experiment_without_restorations_shows_its_figure_and_table(
        self, tmp_path
    ):
        save_image(tmp_path / "figure.png", np.zeros((20, 30)))
        (tmp_path / "table.md").write_text("| a | b |\n| --- | ---: |\n| x | 5 |\n")
        told = {"experiment": "border", "configuration": {"depths": [1, 2]}}
        told |= {"versions": {"jax": "1"}}
        (tmp_path / "metrics.json").write_text(json.dumps(told))
        text, problems = page_of(tmp_path)
        assert problems == []
        assert "Figure of border" in text
        assert '<td class="number">5</td>' in text
        assert "1, 2" in text


class TestWhatIsWrong:
    @pytest.mark.parametrize(
        ("name", "content", "sentence"),
        [
            ("metrics_gp.json", b'{"experiment": ', "not readable as JSON"),
            ("metrics_gp.json", b"\xff\xfe\x00", "not readable as JSON"),
            ("metrics_gp.json", b"[1]", "expected a JSON object, got list"),
            ("metrics_gp.json", b'{"a": 1}', 'no "experiment"'),
            ("observed.png", b"not a picture", "observed.png: not readable"),
            ("restored_gp.png", b"", "restored_gp.png: not readable"),
            ("uncertainty_sgd_avg.npz", b"PK\x03\x04", "not readable"),
            ("trace_sgd_avg.csv", b"iteration,psnr\n1\n", "expected 2 numbers"),
            ("trace_sgd_avg.csv", b"iteration,psnr\n1,x\n", "not readable"),
        ],
    )
    def test_a_damaged_file_is_told_and_the_rest_is_shown(
        self, restored, name, content, sentence
    ):
        (restored / name).write_bytes(content)
        text, problems = page_of(restored)
        assert len(problems) == 1
        assert sentence in problems[0]
        assert "Not shown" in text
        assert "sgd_avg" in text

    def test_a_missing_file_is_told_once(self, restored):
        (restored / "truth.png").unlink()
        _, (problem,) = page_of(restored)
        assert problem == f"{restored}/truth.png: is missing"

    def test_pictures_of_other_sizes_are_told(self, restored):
        save_image(restored / "truth.png", np.zeros((5, 5)))
        _, (problem,) = page_of(restored)
        assert "truth.png: expected the restoration's (12, 16, 1)" in problem

    def test_files_outside_of_the_folder_are_not_read(self, restored):
        path = restored / "metrics_gp.json"
        record = json.loads(path.read_text())
        record["files"]["restored"] = "../../photographs/grey.png"
        path.write_text(json.dumps(record))
        _, (problem,) = page_of(restored)
        assert "restored: expected a file's name" in problem

    def test_records_of_an_earlier_run_are_told(self, restored):
        path = restored / "metrics.json"
        record = json.loads((restored / "metrics_gp.json").read_text())
        record["configuration"]["methods"] = ["gp"]
        path.write_text(json.dumps(record))
        os.utime(path, (0, 0))
        _, (problem,) = page_of(restored)
        assert "metrics.json: left there by a run of other settings" in problem

    def test_runs_that_are_not_over_are_told(self, restored):
        unfinished = restored.parent / "unfinished"
        (unfinished / "checkpoints").mkdir(parents=True)
        (restored / ".writing-abc").mkdir()
        (restored / ".lock").touch()
        _, problems = page_of(restored.parent)
        assert [problem.rpartition("/")[2] for problem in problems] == [
            ".writing-abc: left half-written, or being written",
            "denoise: a run is writing to it, or was killed",
            "unfinished: no metrics.json, so that the run is not over, or was cut off",
        ]

    def test_numbers_of_another_kind_leave_a_section_out(self, restored):
        other = restored.parent / "other"
        shutil.copytree(restored, other)
        path = other / "metrics_sgd_avg.json"
        record = json.loads(path.read_text())
        path.write_text(json.dumps(record | {"stopping": 5}))
        text, (problem,) = page_of(restored.parent)
        assert "other: numbers are not as expected" in problem
        assert len(set(re.findall(r'id="(run-\d+)"', text))) == 1


class TestCommandLine:
    def run(self, binary, *arguments):
        return binary(report.main, *arguments, takes_arguments=True)

    def test_it_writes_the_page_into_the_first_run(self, restored, binary, capsys):
        assert self.run(binary, str(restored), "--title=Mine") == 0
        assert capsys.readouterr().out.startswith(f"{restored}/report.html: ")
        assert "<h1>Mine</h1>" in (restored / "report.html").read_text()

    def test_what_is_not_shown_is_told_and_fails(self, restored, binary, capsys):
        absent = restored.parent / "absent"
        assert self.run(binary, str(restored), str(absent)) == 1
        told = capsys.readouterr().err
        assert told == (
            f"Warning: not shown: {absent}: expected a run's folder, "
            "found nothing there\n"
        )

    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            ([], "RUN: expected at least one folder of a run, got none"),
            (["."], "no metrics.json in it or in its folders"),
            (["absent"], "absent: expected a run's folder, found nothing there"),
            (
                ["runs", "--output=a.png"],
                "--output=a.png: expected a file that ends in",
            ),
            (["runs", "--output=no/a.html"], "--output=no/a.html: expected a file in"),
            (["runs", "--depth=3"], "--depth=3: expected no such flag"),
        ],
        ids=lambda case: case[-1][:12] if isinstance(case, list) and case else "none",
    )
    def test_bad_input_is_one_sentence(
        self, restored, binary, monkeypatch, capsys, arguments, sentence
    ):
        empty = restored.parent.parent / "photographs"
        monkeypatch.chdir(empty if arguments == ["."] else empty.parent)
        assert self.run(binary, *arguments) == 2
        assert sentence in capsys.readouterr().err
