"""The pages of the documentation, and the code that stands in them."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
PAGES = tuple(
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    if "_build" not in path.parts
)
SHELL = ("sh", "bash", "shell", "console")


class Block(NamedTuple):
    """A block of code.

    Attributes:
      language: as the page names it, such as "python"; "" for code within a line.
      line: of the page, counted from 1, where the code begins.
      text: the code.
    """

    language: str
    line: int
    text: str


def blocks(page: str) -> Iterator[Block]:
    """All code of a page, in order."""
    tokens = MarkdownIt("commonmark").enable("table").parse((ROOT / page).read_text())
    line = 0
    for token in tokens:
        line = token.map[0] + 1 if token.map else line
        if token.type == "fence":
            yield Block(token.info.split(" ")[0], line + 1, token.content)
        for child in token.children or ():
            if child.type == "code_inline":
                yield Block("", line, child.content)
