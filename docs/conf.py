"""How the documentation is built: python -m sphinx -W -b html docs docs/_build.

Nothing is fetched; the reference imports the library, and with it JAX, on the CPU.
"""

import os
import re
import sys
from pathlib import Path

from sphinx.application import Sphinx

_HERE = Path(__file__).parent
sys.path[:0] = [str(_HERE.parent), str(_HERE / "extensions")]
os.environ.setdefault("JAX_PLATFORMS", "cpu")

project = "dipgp"
html_title = "dipgp"
html_show_copyright = False
html_theme = "furo"
exclude_patterns = ["_build", "extensions"]

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "linked_names",
    "plain_docstrings",
    "written_signatures",
]
# A single backtick in a docstring is code, as it is in Markdown.
default_role = "literal"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "special-members": "__call__"}
napoleon_attr_annotations = False  # types stand in the signature
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

# Pages link to the files that benchmarks wrote, as a site that hosts the code needs it;
# here they stand on one page.
_RESULT = re.compile(r"\]\(((?:\.\./)*)\.\./benchmarks/results/(\w+)\.md\)")


def _link_results(app: Sphinx, name: str, source: list[str]) -> None:
    source[0] = _RESULT.sub(r"](\1measurements.md#\2)", source[0])


def setup(app: Sphinx) -> None:
    """Connects the rule for links."""
    app.connect("source-read", _link_results)
