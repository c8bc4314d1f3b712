"""Command lines with one bad argument."""

import pytest

from benchmarks import abuse_commands, abuse_inputs, abuse_processes
from benchmarks.abuse_commands import BadLine
from benchmarks.abuse_verdict import REFUSED


@pytest.fixture
def lines(tmp_path, monkeypatch):
    monkeypatch.setattr(abuse_processes, "_PRELOADED", ())
    return abuse_commands.command_lines(tmp_path)


def test_every_binary_and_every_restoration_of_the_command_are_among_them(lines):
    modules = {case.module.removeprefix("experiments.") for case in lines}
    restorations = {"denoise", "inpaint", "super_resolve", "deblur", "demosaic"}
    assert modules == {*restorations, "dipgp.command"}
    installed = {case.methods for case in lines if case.module == "dipgp.command"}
    assert installed == {"denoise", "inpaint", "upscale", "deblur"}


def test_every_argument_may_be_broken_and_draws_are_the_same_again(lines):
    drawn = abuse_inputs.drawn(abuse_commands.bad_lines(lines), 400, 0)
    assert drawn == abuse_inputs.drawn(abuse_commands.bad_lines(lines), 400, 0)
    assert len({bad[:2] for bad in drawn}) > 50
    assert {bad.case for bad in drawn} == set(range(len(lines)))


@pytest.mark.parametrize("argument", ["--noise=25", "upscale"])
def test_the_command_refuses_a_bad_argument_by_name(lines, tmp_path, argument):
    (number,) = (
        number for number, case in enumerate(lines) if case.arguments[0] == "upscale"
    )
    bad = BadLine(number, lines[number].arguments.index(argument), "nan")
    verdict = abuse_commands.judge(lines, bad, tmp_path / "run")
    assert verdict.kind == REFUSED
    assert "nan" in verdict.told
