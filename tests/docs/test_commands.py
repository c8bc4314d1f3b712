"""Every command line in the documentation is one that its program takes.

Commands are not run: their flags are read by the very definitions of the module, and
of the modules that it imports, so that a flag of another program is a mistake here. The
installed `dipgp` reads its own.
"""

import ast
import copy
import functools
import importlib
import importlib.util
import re
import shlex
from collections.abc import Iterator

import pytest
from absl import flags
from documentation_pages import PAGES, SHELL, blocks

from dipgp.command import options

PACKAGES = ("experiments", "benchmarks")
TAKES_ARGUMENTS = ("experiments.report",)  # beside flags
# What the environment is given may stand in front.
_ENVIRONMENT = r"(?:\w+=\S+ )*"
_PROGRAM = re.compile(rf"{_ENVIRONMENT}(?=python3? -m ({'|'.join(PACKAGES)})\.\w+)")
_INSTALLED = re.compile(rf"{_ENVIRONMENT}(?=dipgp [a-z-])")


def commands(
    page: str, program: re.Pattern[str] = _PROGRAM
) -> Iterator[tuple[int, str]]:
    """Command lines of our programs on a page, and the lines where they stand."""
    for block in blocks(page):
        if block.language in SHELL:
            text = block.text.replace("\\\n", " ")
            for offset, line in enumerate(text.splitlines()):
                for command in map(str.strip, line.split("&&")):
                    if program.match(command):
                        yield block.line + offset, command
        elif not block.language and program.match(block.text):
            yield block.line, block.text


def imported(source: str) -> set[str]:
    """Modules of ours that a module's source imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{a.name}" for a in node.names)}
    return {name for name in names if name.split(".")[0] in PACKAGES}


@functools.cache
def program_flags(module: str) -> dict[str, flags.Flag]:
    """Flags that are defined in a module or in what it imports, by name."""
    importlib.import_module(module)
    defined = flags.FLAGS.flags_by_module_dict()
    found, waiting = {}, {module}
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        seen.add(name)
        try:
            specification = importlib.util.find_spec(name)
        except ModuleNotFoundError:  # a name inside a module
            continue
        if specification is None or specification.origin is None:
            continue
        found |= {flag.name: flag for flag in defined.get(name, ())}
        with open(specification.origin) as file:
            waiting |= imported(file.read()) - seen
    return found


def parse(command: str) -> None:
    """Raises where a program would not take its flags."""
    words = shlex.split(_PROGRAM.sub("", command), comments=True)
    values = flags.FlagValues()
    for name, flag in program_flags(words[2]).items():
        values[name] = copy.deepcopy(flag)
    rest = values(words[2:])
    if len(rest) > 1 and words[2] not in TAKES_ARGUMENTS:
        raise flags.Error(f"{rest[1]}: expected flags only")


def parse_installed(command: str) -> None:
    """Raises where `dipgp` would not take a command line."""
    words = shlex.split(_INSTALLED.sub("", command), comments=True)
    try:
        options.parse(words[1:])
    except SystemExit as ended:
        if ended.code != 0:  # as it is where --help is asked for
            raise ValueError(f"exit status {ended.code}") from ended


@pytest.mark.parametrize(
    "page", [page for page in PAGES if any(commands(page, _INSTALLED))]
)
def test_the_installed_command_takes_its_command_lines(page):
    for line, command in commands(page, _INSTALLED):
        try:
            parse_installed(command)
        except ValueError as error:
            pytest.fail(f"{page}, line {line}: {command}: {error}")


@pytest.mark.parametrize(
    "command",
    [
        "dipgp denoise in.png -o out.png --noize=3",
        "dipgp denoise in.png",
        "dipgp deblur in.png -o out.png --factor=2  # not its own",
        "dipgp sharpen in.png -o out.png",
    ],
)
def test_mistakes_of_the_installed_command_are_found(command, capsys):
    with pytest.raises(ValueError, match="exit status 2"):
        parse_installed(command)


@pytest.mark.parametrize("page", [page for page in PAGES if any(commands(page))])
def test_programs_take_the_flags_of_their_commands(page):
    for line, command in commands(page):
        try:
            parse(command)
        except (flags.Error, ModuleNotFoundError) as error:
            pytest.fail(f"{page}, line {line}: {command}: {error}")


@pytest.mark.parametrize(
    "command",
    [
        "python -m experiments.inpaint --drop_fractoin=0.5",
        "python -m experiments.inpaint --drop_fraction=half",
        "python -m experiments.denoise --drop_fraction=0.5",
        "python -m experiments.inpaint photo.png",
        "python -m experiments.bake",
    ],
)
def test_mistakes_are_found(command):
    with pytest.raises((flags.Error, ModuleNotFoundError)):
        parse(command)


def test_commands_are_found():
    found = [command for _, command in commands("README.md")]
    assert "python -m experiments.inpaint" in found
    assert any("--method=gp,sgd,sgd_input_avg,psgld" in command for command in found)
    assert len(list(commands("docs/results.md"))) > 15
    installed = {command.split()[1] for _, command in commands("README.md", _INSTALLED)}
    assert installed >= {"denoise", "inpaint", "upscale", "deblur", "--help"}
