"""Every block of Python in the documentation runs, and prints what it says it prints.

The blocks of a page share one namespace, in order, and an empty folder. What stands
behind print(...) as a comment is what it has to print, where the last decimal of a
number may be off by one: processors and versions of JAX round differently.
"""

import re
import sys
from decimal import Decimal

import pytest
from documentation_pages import PAGES, ROOT, blocks

# Whole photographs, or hyperparameters that are fitted.
SLOW = {"README.md", "docs/howto/own_covariance.md"}
WITH_PYTHON = [
    pytest.param(page, marks=pytest.mark.slow if page in SLOW else ())
    for page in PAGES
    if any(block.language == "python" for block in blocks(page))
]


_DECIMAL = re.compile(r"-?\d+\.\d+")


def alike(printed: str, promised: str) -> bool:
    if _DECIMAL.split(printed) != _DECIMAL.split(promised):
        return False
    pairs = zip(_DECIMAL.findall(printed), _DECIMAL.findall(promised), strict=True)
    return all(
        abs(Decimal(one) - Decimal(other)) <= Decimal(1).scaleb(-decimals(other))
        for one, other in pairs
    )


def decimals(number: str) -> int:
    return len(number.partition(".")[2])


@pytest.mark.parametrize("page", WITH_PYTHON)
def test_the_blocks_of_a_page_run(page, tmp_path, monkeypatch):
    lines = (ROOT / page).read_text().splitlines()

    def checked_print(*values: object) -> None:
        line = sys._getframe(1).f_lineno
        promised = re.search(r"\)  # (.+)$", lines[line - 1])
        if promised:
            printed = " ".join(map(str, values))
            where = f"{page}, line {line}: {printed}"
            assert alike(printed, promised.group(1)), where

    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "__main__", "print": checked_print}
    for block in blocks(page):
        if block.language == "python":
            # Empty lines in front make a traceback tell the page's lines.
            source = "\n" * (block.line - 1) + block.text
            exec(compile(source, str(ROOT / page), "exec"), namespace)


def test_there_are_pages_and_blocks():
    assert {"README.md", "docs/tutorial.md", "docs/results.md"} <= set(PAGES)
    assert set(PAGES) >= SLOW
    assert len(WITH_PYTHON) > len(SLOW)


def test_printed_text_is_compared_to_its_last_decimal():
    assert alike("31.2 dB (64, 64)", "31.3 dB (64, 64)")
    assert not alike("31.1 dB", "31.3 dB")
    assert not alike("converged", "stalled")
    assert not alike("(64, 63)", "(64, 64)")
    assert not alike("1.0 2.0", "1.0")
