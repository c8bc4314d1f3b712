"""The reference has every public name, as Sphinx itself finds them."""

import importlib
import inspect
import os
import pkgutil
import re
import sys
import warnings
from pathlib import Path
from types import ModuleType

import pytest

import dipgp

DOCS = Path(__file__).parents[2] / "docs"
# What the others stand on: not for users, and free to change.
FOUNDATION = {"numerics", "files"}
# What a checkpoint's file is made of.
INNER = {"checkpoint_file", "checkpoint_state"}
# Its reference is its own --help.
PROGRAM = "command"
ROOMS = sorted(
    module.name
    for module in pkgutil.iter_modules(dipgp.__path__)
    if module.name not in {*FOUNDATION, PROGRAM}
)


@pytest.fixture
def documented(tmp_path) -> set[str]:
    """Full names in the reference."""
    application = pytest.importorskip("sphinx.application")
    elsewhere = [page.name for page in DOCS.iterdir() if page.name != "reference"]
    only_reference = {"root_doc": "reference/index", "exclude_patterns": elsewhere}
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.setattr(os, "environ", dict(os.environ))
        patch.setattr(sys, "path", list(sys.path))
        warnings.simplefilter("ignore")  # Sphinx deprecates what its own parts call
        app = application.Sphinx(
            srcdir=DOCS,
            confdir=DOCS,
            outdir=tmp_path / "output",
            doctreedir=tmp_path / "pages",
            buildername="dummy",
            confoverrides=only_reference,
            status=None,
            warning=None,
        )
        app.build()
    return set(app.env.domains.python_domain.objects)


def exported(module: ModuleType) -> set[str]:
    """What a module says is public, or what it defines."""
    if hasattr(module, "__all__"):
        return set(module.__all__)
    return {
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isfunction(value) or inspect.isclass(value))
        and value.__module__ == module.__name__
    }


def public_modules(room: str) -> list[ModuleType]:
    """The room, and the modules that it exports; all where it exports nothing."""
    module = importlib.import_module(f"dipgp.{room}")
    names = [n for n in exported(module) if inspect.ismodule(vars(module).get(n))]
    if not exported(module):
        every = {each.name for each in pkgutil.iter_modules(module.__path__)}
        names = sorted(every - INNER)
    inner = [importlib.import_module(f"dipgp.{room}.{name}") for name in names]
    return [module, *inner]


def test_every_public_name_is_in_the_reference(documented):
    modules = [each for room in ROOMS for each in public_modules(room)]
    paths = {each.__name__ for each in modules}
    names = {f"{each.__name__}.{name}" for each in modules for name in exported(each)}
    assert len(names) > len(paths)
    assert sorted((paths | names) - documented) == []


# What stands before a colon is taken for a type, and "K." alone for a list's number.
MISREAD = re.compile(r"^Returns:\n +[^\n:]*: |^ +\w+: [A-Z]\.$", re.MULTILINE)


def docstrings(module: ModuleType) -> dict[str, str]:
    """By name, of a module's public names and of their methods."""
    found = {}
    for name in exported(module):
        value = getattr(module, name)
        members = vars(value) if inspect.isclass(value) else {}
        public = {key: each for key, each in members.items() if key[0] != "_"}
        for key, each in {"": value, **public}.items():
            if inspect.isroutine(each) or inspect.isclass(each):
                found[f"{module.__name__}.{name} {key}"] = inspect.getdoc(each) or ""
    return found


def test_no_description_is_taken_for_markup():
    texts: dict[str, str] = {}
    for room in ROOMS:
        for module in public_modules(room):
            texts |= docstrings(module)
    assert len(texts) > 150
    assert [name for name, text in texts.items() if MISREAD.search(text)] == []
    assert MISREAD.search("Adds.\n\nReturns:\n  The sum: 0 of none.")
    assert MISREAD.search("Adds.\n\nArgs:\n  covariance: K.")
