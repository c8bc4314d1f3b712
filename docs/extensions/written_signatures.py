"""Signatures as the source writes them: Layer, not the classes that it stands for.

Python evaluates annotations, and what is left of an alias is everything behind it. Here
they are read from the source, where only what dipgp defines gets its full name, by
which it is linked.
"""

import ast
import functools
import inspect
import re
import sys
import textwrap
from typing import Any

from sphinx.application import Sphinx

Signature = tuple[str, str | None]


class _FullNames(ast.NodeTransformer):
    """Puts ~dipgp.room.Name in the place of a type that a module calls Name."""

    def __init__(self, module: str) -> None:
        self._names = vars(sys.modules[module])

    def visit_Name(self, node: ast.Name) -> ast.expr:
        """Layer."""
        return _full(node, node.id, self._names.get(node.id))

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        """architecture.Layer."""
        inside = None
        if isinstance(node.value, ast.Name):
            inside = self._names.get(node.value.id)
        return _full(node, node.attr, getattr(inside, node.attr, None))

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        """'Layer', before it is defined."""
        return _full(node, str(node.value), self._names.get(str(node.value)))


def _full(node: ast.expr, name: str, found: Any) -> ast.expr:
    if found is None or name.islower():
        return node
    if isinstance(found, type) and found.__name__ == name:
        full = f"{found.__module__}.{found.__qualname__}"
    else:
        full = f"{_home(name, id(found))}.{name}"
    return ast.Name(f"~{full}") if full.startswith("dipgp.") else node


@functools.cache
def _home(name: str, identity: int) -> str:
    """The module that defines an alias, or the room that exports it."""
    assignment = re.compile(rf"^{name} = (?!jax\.)", re.MULTILINE)
    for path, module in sys.modules.items():
        if path.startswith("dipgp.") and id(vars(module).get(name)) == identity:
            room = ".".join(path.split(".")[:2])
            if name in getattr(sys.modules[room], "__all__", ()):
                return room
            if assignment.search(inspect.getsource(module)):
                return path
    return ""


def _parse(obj: Any) -> ast.stmt | None:
    try:
        source = inspect.getsource(inspect.unwrap(obj))
    except (OSError, TypeError):  # has none that can be read
        return None
    return ast.parse(textwrap.dedent(source)).body[0]


def _name_types(node: ast.AST, names: _FullNames) -> None:
    """Only annotations: defaults stay as they are."""
    for each in ast.walk(node):
        for part in ("annotation", "returns"):
            if isinstance(annotation := getattr(each, part, None), ast.expr):
                setattr(each, part, names.visit(annotation))


def _of_function(node: ast.FunctionDef, bound: bool) -> Signature:
    if bound:
        node.args.args = node.args.args[1:]
    returns = None if node.returns is None else ast.unparse(node.returns)
    return f"({ast.unparse(node.args)})", returns


def _of_fields(node: ast.ClassDef) -> Signature | None:
    """What a dataclass or named tuple is made with, from its fields."""
    fields = []
    for each in node.body:
        if not isinstance(each, ast.AnnAssign):
            continue
        match each.value:
            case ast.Call(func=ast.Name(id="field"), keywords=keywords):
                options = {word.arg: word.value for word in keywords}
                if "init" in options:
                    continue
                each.value = options.get("default", options.get("default_factory"))
        fields.append(ast.unparse(each))
    return (f"({', '.join(fields)})", None) if fields else None


def _process(
    app: Sphinx,
    what: str,
    name: str,
    obj: Any,
    options: Any,
    signature: str | None,
    returns: str | None,
) -> Signature | None:
    module = getattr(obj, "__module__", None) or ""
    if not module.startswith("dipgp"):
        return None  # imported, and not documented here
    node = _parse(obj)
    if node is None:
        return None
    _name_types(node, _FullNames(module))
    if isinstance(node, ast.FunctionDef):
        return _of_function(node, bound=what == "method")
    if isinstance(node, ast.ClassDef):
        for each in node.body:
            if isinstance(each, ast.FunctionDef) and each.name == "__init__":
                return _of_function(each, bound=True)[0], None
        return _of_fields(node)
    return None


def setup(app: Sphinx) -> dict[str, bool]:
    """Replaces what autodoc makes of evaluated annotations."""
    app.connect("autodoc-process-signature", _process)
    return {"parallel_read_safe": True}
