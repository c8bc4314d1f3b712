"""Links names in code to the reference: `gp.condition` on a page, for example.

A name is looked up below dipgp, then in the class and the module in whose description
it stands. One with a capital or a dot, as types have, is also found by its end, where
only one object has it, or only one in the same room.
"""

import re
from collections import defaultdict
from collections.abc import Iterator

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.nodes import make_refnode

# What is called may stand with its arguments.
_NAME = re.compile(r"([A-Za-z]\w*(?:\.[A-Za-z]\w*)*)(?:\(.*\))?", re.DOTALL)
_MODULE = "module-"


def _modules(node: nodes.Node) -> Iterator[str]:
    """The classes and modules that a node describes, from the innermost."""
    while node := node.parent:
        if isinstance(node, addnodes.desc):
            module, inside = (node[0].get(key, "") for key in ("module", "fullname"))
            while inside:
                yield f"{module}.{inside}"
                inside = inside.rpartition(".")[0]
            yield module
        if isinstance(node, nodes.section):
            for target in node.findall(nodes.target):
                for identifier in target["ids"]:
                    if identifier.startswith(_MODULE):
                        yield identifier.removeprefix(_MODULE)


def _by_end(env: BuildEnvironment) -> dict[str, list[str]]:
    """Full names by each of their ends."""
    ends = defaultdict(list)
    for full, entry in env.domains.python_domain.objects.items():
        parts = full.split(".")
        for start in range(1, len(parts)):
            if not entry.aliased:
                ends[".".join(parts[start:])].append(full)
    return ends


def _only(found: list[str], modules: list[str]) -> str | None:
    """The one that is meant, if there is no doubt."""
    rooms = {tuple(module.split(".")[:2]) for module in modules}
    same_room = [name for name in found if tuple(name.split(".")[:2]) in rooms]
    for names in (found, same_room):
        if len(names) == 1:
            return names[0]
    return None


def _refer(app: Sphinx, page: str, full: str, content: nodes.Node) -> nodes.Node:
    entry = app.env.domains.python_domain.objects[full]
    return make_refnode(app.builder, page, entry.docname, entry.node_id, content, full)


def _link_code(app: Sphinx, doctree: nodes.document, page: str) -> None:
    objects = app.env.domains.python_domain.objects
    ends = _by_end(app.env)
    for literal in list(doctree.findall(nodes.literal)):
        named = _NAME.fullmatch(literal.astext())
        if not named or isinstance(literal.parent, nodes.reference | nodes.title):
            continue
        name, modules = named.group(1), list(_modules(literal))
        full = [f"{module}.{name}" for module in ("dipgp", *modules)]
        found = next((each for each in (*full, name) if each in objects), None)
        if not found and ("." in name or not name.islower()):
            found = _only(ends[name], modules)
        if found:
            literal.replace_self(_refer(app, page, found, literal.deepcopy()))


def setup(app: Sphinx) -> dict[str, bool]:
    """Links when all pages have been read."""
    app.connect("doctree-resolved", _link_code)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
