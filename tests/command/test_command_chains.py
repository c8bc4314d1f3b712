import dataclasses

import jax
import numpy as np
import pytest
from small_pictures import error, load, noisy, save

from dipgp.command import chains, memory, noise, options, problems
from dipgp.command.main import run
from dipgp.command.options import Order
from dipgp.inference.protocols import PROTOCOLS
from dipgp.photographs import read

CHAIN = ["--method=sgld", "--preset=smoke", "--iterations=8", "--noise=20"]


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def order(**more):
    return Order(inputs=("in.png",), output="out.png", **{"task": "denoise"} | more)


def test_tasks_have_protocols_of_their_own():
    for task, name in (("deblur", "super_resolve"), ("inpaint", "inpaint")):
        assert chains.protocol_of(order(task=task)) == PROTOCOLS[name]["light"]
    large = order(task="upscale", factor=8, preset="paper")
    assert chains.protocol_of(large) == PROTOCOLS["super_resolve_x8"]["paper"]


def test_shorter_chains_keep_half_of_their_samples():
    protocol = chains.protocol_of(order(iterations=100))
    assert protocol.iterations == 100
    assert protocol.burn_in == protocol.frozen_after == 50


def test_a_chain_too_large_is_refused_before_any_work(
    tmp_path, truth, monkeypatch, capsys
):
    def begun(*arguments):
        raise AssertionError("work has begun")

    save(tmp_path / "in.png", truth)
    monkeypatch.setattr(memory, "available", lambda: 1e5)
    monkeypatch.setattr(noise, "estimate", begun)
    assert run(["denoise", "in.png", "-o", "out.png", *CHAIN]) == 1
    told = capsys.readouterr().err
    assert "a chain on 40x32 pixels takes about 0.0 GB of memory, and" in told
    assert "try --method=gp, or a part of the picture" in told


@pytest.mark.parametrize("task", ["denoise --preset=paper", "upscale --factor=2"])
def test_memory_of_a_large_chain_grows_with_its_pixels(tmp_path, truth, task):
    save(tmp_path / "in.png", truth)
    asked = options.parse([*task.split(), "in.png", "-o", "out.png", "--method=sgld"])
    problem = problems.pose(asked, read("in.png"), None)
    protocol = dataclasses.replace(chains.protocol_of(asked), channels=(8, 8))
    one, four = (
        chains.announce(dataclasses.replace(problem, shape=(side, side, 3)), protocol)
        for side in (512, 1024)
    )
    assert four == pytest.approx(4 * one, rel=0.02)
    least = 4 * 512**2 * (chains.INPUT_CHANNELS + sum(protocol.channels))
    assert one > least


def test_a_chain_gives_a_picture_and_deviations(tmp_path, truth, monkeypatch, capsys):
    needed, check = [], memory.check

    def kept(number, *more):
        needed.append(number)
        check(number, *more)

    monkeypatch.setattr(memory, "check", kept)
    monkeypatch.setattr(chains, "STEPS_A_PROGRAM", 4)
    monkeypatch.setattr(chains, "WORTH_SAYING", 0)
    save(tmp_path / "in.png", noisy(truth, 0.08)[:, :, :1])
    assert run(["denoise", "in.png", "-o", "out.png", *CHAIN, "--std=s.npz"]) == 0
    std = np.load(tmp_path / "s.npz")["std"]
    assert std.shape == (32, 40, 1)
    assert 0 < std.mean() < 0.5
    announced, compiled = needed
    assert 0.3 * compiled < announced < compiled
    assert len(np.unique(load(tmp_path / "out.png")[0])) > 3
    assert not (tmp_path / ".out.png.chain").exists()
    told = capsys.readouterr().err
    assert told.count("in.png: 4 steps of the network take about 0 minutes, ") == 1


@pytest.mark.parametrize(
    ("each", "words"),
    [
        pytest.param(0.01, [], id="not worth saying"),
        (0.6, ["1000 steps of the network take about 10 minutes, 0.6 s each"]),
        (9, ["1000 steps of the network take about 2.5 hours, 9 s each"]),
    ],
)
def test_long_chains_say_so(each, words):
    told = []
    chains._tell_time(each, 1000, told.append)
    assert told == words


@pytest.mark.slow
def test_a_chain_that_was_interrupted_goes_on(tmp_path, truth, monkeypatch):
    save(tmp_path / "in.png", noisy(truth, 0.08)[:, :, :1])
    assert run(["denoise", "in.png", "-o", "whole.png", *CHAIN]) == 0

    class Asked(chains.Interruption):
        """As if the keyboard had been used in the first program."""

        requested = True

    monkeypatch.setattr(chains, "STEPS_A_PROGRAM", 4)
    with monkeypatch.context() as patched:
        patched.setattr(chains, "Interruption", Asked)
        assert run(["denoise", "in.png", "-o", "out.png", *CHAIN]) == 130
    assert not (tmp_path / "out.png").exists()
    assert list((tmp_path / ".out.png.chain").iterdir())
    assert run(["denoise", "in.png", "-o", "out.png", *CHAIN, "--resume"]) == 0
    assert not (tmp_path / ".out.png.chain").exists()
    whole, cut = load(tmp_path / "whole.png")[0], load(tmp_path / "out.png")[0]
    assert np.abs(whole.astype(int) - cut).max() <= 1
    assert len(np.unique(cut)) > 3


def test_another_chains_checkpoint_is_refused(tmp_path, truth, monkeypatch, capsys):
    save(tmp_path / "in.png", truth[:, :, :1])
    saved = chains.Checkpoints(tmp_path / ".out.png.chain", {"other": 1})
    saved.save(1, {"x": np.zeros(1)})
    assert run(["denoise", "in.png", "-o", "out.png", *CHAIN, "--resume"]) == 1
    assert "--resume: " in capsys.readouterr().err


@pytest.mark.slow
def test_both_methods_take_noise_away(tmp_path, truth, capsys):
    before = save(tmp_path / "in.png", noisy(truth, 0.08))
    command = ["denoise", "in.png", "-o", "out.png", "--method=both", "--noise=20"]
    assert run([*command, "--iterations=300"]) == 0
    assert "gp and sgld are " in capsys.readouterr().out
    for method in ("gp", "sgld"):
        after, _ = load(tmp_path / f"out-{method}.png")
        assert error(after, 8, truth) < 0.9 * error(before, 8, truth)


@pytest.mark.slow
def test_a_chain_that_gives_up_says_so(tmp_path, truth):
    save(tmp_path / "in.png", truth[:, :, :1])
    asked = order(noise_std=0.1, preset="smoke", iterations=8)
    problem = problems.pose(asked, read("in.png"), None)
    broken = problem.observation._replace(values=problem.observation.values * np.nan)
    problem = dataclasses.replace(problem, observation=broken)
    found = chains.restore(
        problem,
        0.1,
        dataclasses.replace(chains.protocol_of(asked), iterations=24),
        jax.random.key(0),
        tmp_path / "chain",
        False,
        lambda news, fraction=None: None,
        print,
    )
    assert not found.converged
    assert "again and again" in found.advice
