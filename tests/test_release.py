"""What a release says of itself is true: versions, bounds, and what an import loads."""

import configparser
import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
# Which take longer to import than dipgp itself.
SLOW = (
    *("arviz_stats", "matplotlib", "skimage", "torch"),
    *("scipy.optimize", "scipy.signal", "scipy.spatial", "scipy.stats"),
)
ROOMS = (
    *("architecture", "gp", "images", "kernels", "networks", "observations"),
    *("summaries", "summaries.calibration", "summaries.recalibration"),
    *("inference.checkpoint", "inference.loop", "inference.noisy_adam"),
)


@pytest.fixture(scope="module")
def settings():
    # Extras name each other by interpolation.
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def requirements(lines):
    return {
        requirement.name.lower(): requirement
        for requirement in map(Requirement, filter(None, lines.splitlines()))
    }


def test_the_lowest_versions_are_those_that_are_accepted(settings):
    lines = (ROOT / ".ci" / "lowest.txt").read_text()
    pinned = requirements(re.sub("#.*", "", lines))
    needed = requirements(settings["options"]["install_requires"])
    needed |= requirements(settings["options.extras_require"]["test"])
    assert pinned.keys() == needed.keys()
    for name, requirement in needed.items():
        (lowest,) = (s.version for s in requirement.specifier if s.operator == ">=")
        (pin,) = pinned[name].specifier
        assert pin.operator == "=="
        assert Version(pin.version) == Version(lowest), name


def test_what_the_checks_run_with_is_accepted(settings):
    lines = (ROOT / ".ci" / "constraints.txt").read_text()
    pinned = requirements(re.sub("#.*", "", lines))
    needed = requirements(settings["options"]["install_requires"])
    for extra in ("test", "benchmarks", "lint"):
        needed |= requirements(settings["options.extras_require"][extra])
    for name in needed.keys() & pinned.keys():
        (pin,) = pinned[name].specifier
        assert needed[name].specifier.contains(pin.version), name


def test_the_citation_is_of_this_version(settings):
    citation = (ROOT / "CITATION.cff").read_text()
    for name in ("version", "license"):
        (found,) = re.findall(rf"^{name}: (.+)$", citation, re.MULTILINE)
        assert found == settings["metadata"][name]


def test_what_is_slow_to_import_is_imported_where_it_is_used():
    rooms = ", ".join(f"dipgp.{room}" for room in ROOMS)
    program = f"import sys, {rooms}; print(*(n for n in {SLOW} if n in sys.modules))"
    command = [sys.executable, "-c", program]
    found = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert not found.stdout.split()
