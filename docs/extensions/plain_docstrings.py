"""Docstrings are plain text with Google's sections; Sphinx takes them for its markup.

Formulas such as |r| and (*shape, D) are escaped, and what is indented outside of a
section becomes a block of code, as it looks in the source.
"""

import inspect
import re
from typing import Any

from sphinx.application import Sphinx

_SECTION = re.compile(r"(Args|Attributes|Raises|References|Returns|Yields):$")
_CODE = re.compile(r"(`[^`]*`)")
# Where reStructuredText sees markup: emphasis, substitutions, names of targets.
_MARKUP = re.compile(r"[*|\\]|_(?!\w)")


def _escaped(line: str) -> str:
    parts = _CODE.split(line)
    for index, text in enumerate(parts):
        if index % 2 == 0:
            parts[index] = _MARKUP.sub(lambda found: "\\" + found.group(), text)
    return "".join(parts)


def _plain(lines: list[str]) -> list[str]:
    result: list[str] = []
    in_section = in_block = False
    for line in lines:
        if line and not line[0].isspace():
            in_section, in_block = bool(_SECTION.match(line)), False
        elif line and not in_section and not in_block and not (result and result[-1]):
            result += ["::", ""]
            in_block = True
        result.append(line if in_block else _escaped(line))
    return result


def _process(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    lines[:] = _plain(lines)


def _skip(
    app: Sphinx, what: str, name: str, obj: Any, skip: bool, options: Any
) -> bool | None:
    """Fields stand in the docstring's "Attributes" already.

    Of tuples they are getters, of dataclasses defaults, which may be functions.
    """
    default = inspect.isfunction(obj) and obj.__name__ != name
    if what == "class" and (default or type(obj).__name__ == "_tuplegetter"):
        return True
    return None


def setup(app: Sphinx) -> dict[str, bool]:
    """Comes before napoleon, which reads the sections."""
    app.connect("autodoc-process-docstring", _process, priority=400)
    app.connect("autodoc-skip-member", _skip)
    return {"parallel_read_safe": True}
