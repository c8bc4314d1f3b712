"""The table of faults is in step with the source, the tests and the documentation."""

import ast
import functools
from pathlib import Path

import pytest

from benchmarks import mutations

ROOT = Path(__file__).parents[2]
FAULTS = mutations.read(ROOT)


@functools.cache
def source_of(path):
    return (ROOT / path).read_text()


@functools.cache
def names_of_tests(path):
    """Functions, and Class::function."""
    names = set()
    for node in ast.parse(source_of(path)).body:
        if isinstance(node, ast.FunctionDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {
                f"{node.name}::{inner.name}"
                for inner in node.body
                if isinstance(inner, ast.FunctionDef)
            }
    return names


@functools.cache
def tree_of(source):
    return ast.dump(ast.parse(source))


def test_each_fragment_occurs_once_and_its_replacement_is_another_program():
    for fault in FAULTS:
        source = source_of(fault.file)
        assert fault.file.startswith("dipgp/")
        assert tree_of(fault.apply(source)) != tree_of(source), fault.name


def test_each_test_exists():
    for fault in FAULTS:
        path, _, name = fault.test.partition("::")
        assert name in names_of_tests(path), fault.name


def test_faults_are_many_all_different_and_in_every_room():
    assert len(
        {(fault.file, fault.fragment, fault.replacement) for fault in FAULTS}
    ) == (len(FAULTS))
    assert len(FAULTS) >= 150
    rooms = {Path(fault.file).parts[1] for fault in FAULTS}
    assert rooms == {
        "command",
        "gp",
        "images.py",
        "inference",
        "kernels",
        "networks",
        "observations",
        "photographs",
        "summaries",
    }


def test_the_document_says_what_the_table_says_and_that_all_are_caught():
    document = (ROOT / mutations.DOCUMENT).read_text()
    seconds, footer = mutations.recorded(document)
    assert seconds.keys() == {fault.name for fault in FAULTS}
    assert footer
    assert mutations.render(FAULTS, seconds, footer) == document


SOURCE = "def double(x):\n    return 2 * x\n"
TESTS = """
from dipgp.numbers import double


def test_one():
    assert double(1) == 2


def test_none():
    assert double(0) == 0
"""
ENTRIES = """
[caught]
meaning = "three"
file = "dipgp/numbers.py"
fragment = "2 * x"
replacement = "3 * x"
test = "tests/test_numbers.py::test_one"

[missed]
meaning = "three, where it makes no difference"
file = "dipgp/numbers.py"
fragment = "2 * x"
replacement = "3 * x"
test = "tests/test_numbers.py::test_none"

[broken]
meaning = "no Python"
file = "dipgp/numbers.py"
fragment = "2 * x"
replacement = "2 x"
test = "tests/test_numbers.py::test_one"
"""


@pytest.fixture
def small_repository(tmp_path):
    for folder in ("dipgp", "tests/faults", "docs"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "dipgp" / "__init__.py").write_text("")
    (tmp_path / "dipgp" / "numbers.py").write_text(SOURCE)
    (tmp_path / "tests" / "test_numbers.py").write_text(TESTS)
    (tmp_path / "tests" / "faults" / "numbers.toml").write_text(ENTRIES)
    return tmp_path


def test_a_fault_is_caught_missed_or_broken_and_the_document_says_so(small_repository):
    outcomes = mutations.run(small_repository, ["*"], seconds=60)
    verdicts = {name: outcome.verdict for name, outcome in outcomes.items()}
    assert verdicts == {
        "numbers.caught": "caught",
        "numbers.missed": "missed",
        "numbers.broken": "broken",
    }
    assert (small_repository / "dipgp" / "numbers.py").read_text() == SOURCE
    document = (small_repository / mutations.DOCUMENT).read_text()
    seconds, _ = mutations.recorded(document)
    assert seconds.keys() == {"numbers.caught"}
    assert document.count("not caught") == 2
    assert "1 of 3 faults are caught" in document


def test_a_test_that_fails_without_a_fault_is_told(small_repository):
    (small_repository / "dipgp" / "numbers.py").write_text(SOURCE.replace("2", "4"))
    faults = mutations.choose(mutations.read(small_repository), ["*.missed"])
    failing = [mutations.Fault(**(vars(faults[0]) | {"test": "tests/test_numbers.py"}))]
    with pytest.raises(RuntimeError, match="tests fail without a fault"):
        next(mutations.check(small_repository, failing, seconds=60))


def test_a_pattern_that_fits_nothing_is_refused():
    with pytest.raises(ValueError, match=r"got nothing\.\*; try command\.\*, gp\.\*,"):
        mutations.choose(FAULTS, ["nothing.*"])


def test_a_fragment_that_is_gone_is_told():
    with pytest.raises(ValueError, match=r"expected its fragment once .* found it 0"):
        FAULTS[0].apply("")
