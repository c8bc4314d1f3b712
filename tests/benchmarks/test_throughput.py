import json

import jax
import numpy as np
import pytest

from benchmarks import throughput_cases
from benchmarks.throughput_cases import Case, Langevin, draw_data, read_case
from benchmarks.throughput_turns import Contender, Turns, row, take_turns

torch = pytest.importorskip("torch", reason="PyTorch, beside which we run, is missing")
throughput = pytest.importorskip("benchmarks.throughput")
agreement = pytest.importorskip("benchmarks.throughput_agreement")
parts = pytest.importorskip("benchmarks.throughput_parts")
ours = pytest.importorskip("benchmarks.throughput_jax")
theirs = pytest.importorskip("benchmarks.throughput_pytorch")
hourglass = pytest.importorskip("benchmarks.pytorch_hourglass")

CPU = torch.device("cpu")


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setitem(throughput_cases.CHANNELS, "one scale", (4,))
    return Case("one scale", 8)


def scaled(case, variables):
    """Standard normal weights as the network's function has them."""
    params = variables["params"]
    values = {}
    for one in case.parameters:
        scale = 1.0 if one.mean else one.std
        node = values
        for name in one.path[:-1]:
            node = node.setdefault(name, {})
        node[one.path[-1]] = scale * hourglass.at(params, one)
    return {"params": values}


@pytest.mark.slow
def test_the_sampler_in_pytorch_is_ours(small):
    # Cold, since the two draw different noise.
    sampler = Langevin(temperature=0.0, frozen_after=2, epsilon=0.1, momentum=0.5)
    data = draw_data(small, jax.random.key(0))
    start = small.network("gaussian_process").init(jax.random.key(1), data.z)
    method = ours.method(small, "psgld", data, sampler)
    state, step = method.init(start), jax.jit(method.step)
    program = theirs.Sampler(
        small,
        scaled(small, start),
        data,
        CPU,
        1,
        layout="channels last",
        sampler=sampler,
    )
    for number in range(3):
        state, _ = step(jax.random.key(number), state)
        program()
    moved = scaled(small, state.parameters)
    before = scaled(small, start)
    for one, other in zip(small.parameters, program.parameters, strict=True):
        found = other.detach().numpy()
        expected, first = (
            hourglass.to_torch(hourglass.at(tree["params"], one)).numpy()
            for tree in (moved, before)
        )
        distance = np.linalg.norm(expected - first)
        # What batch norm takes away moves by rounding, and not at all where it is 0.
        assert np.linalg.norm(found - expected) < 1e-3 * distance + 1e-6


def bare_descent(trial):
    """The program that takes least time to compile."""
    contenders = {"bare": trial.ours("bare"), "PyTorch": trial.theirs("Descent")}
    trial.race(contenders, [("bare", "PyTorch")])


def failing(trial):
    raise RuntimeError("out of memory\nand so on")


@pytest.mark.slow
def test_a_run_compares_the_networks_and_writes_down_what_did_not_fail(
    small, tmp_path, monkeypatch
):
    monkeypatch.setitem(parts.PARTS, "bare", bare_descent)
    monkeypatch.setitem(parts.PARTS, "failing", failing)
    settings = parts.Settings(("bare", "failing"), 2, 2, ())
    text, record = throughput.run([small], settings, tmp_path)
    assert (tmp_path / "throughput.md").read_text() == text
    assert record.failures == ["one scale 8x8, failing: RuntimeError: out of memory"]
    assert f"FAILED: {record.failures[0]}" in text
    (found,) = json.loads((tmp_path / "throughput.json").read_text())["rows"]
    assert (found["ours"], found["beside"]) == ("bare", "PyTorch")
    assert 0 < found["lowest"] <= found["ratio"] <= found["highest"]
    assert found["compile [s]"] > 0
    (found,) = record.agreements.values()
    assert 0 < found.output < 1e-5
    assert 0 < found.gradients < 1e-4
    assert "TOO LARGE" not in text


@pytest.mark.parametrize("differences", [(0.1, 0.0), (0.0, 0.1), (np.nan, 0.0)])
def test_networks_that_differ_are_not_the_same_function(differences):
    assert not agreement.Agreement(*differences).good


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_quick_run_times_every_part(tmp_path):
    settings = parts.Settings(("descent", "psgld", "chains"), 3, 2, (1, 2))
    _, record = throughput.run([read_case("tiny:16")], settings, tmp_path)
    assert not record.failures
    assert all(found.good for found in record.agreements.values())
    assert {found["ours"] for found in record.rows} == {
        "descent",
        "bare descent",
        "bare, bfloat16",
        "psgld",
        "psgld, 2 chains by map",
        "psgld, 2 chains by vmap",
    }


def test_ratios_are_those_of_neighbouring_calls():
    rates = {"ours": np.array([1.0, 2.0, 8.0]), "other": np.array([2.0, 2.0, 4.0])}
    contenders = {
        "ours": Contender(lambda: 0.0, 1, compile_seconds=3.0),
        "other": Contender(lambda: 0.0, 1, mebibytes=7.6, layout="channels last"),
    }
    found = row(contenders, Turns(rates, {}), "ours", "other")
    assert [found[name] for name in ("lowest", "ratio", "highest")] == [0.5, 1.0, 2.0]
    assert found["ours [steps/s]"] == found["beside [steps/s]"] == 2.0
    assert (found["compile [s]"], found["beside [MiB]"]) == (3.0, 8)
    assert "ratio" not in row(contenders, Turns(rates, {}), "ours", None)


def test_contenders_take_turns_after_one_call_each():
    calls = []
    contenders = {
        name: Contender(lambda name=name: calls.append(name) or 1.0, 5)
        for name in ("a", "b")
    }
    turns = take_turns(contenders, repeats=2)
    assert calls == ["a", "b", "a", "b", "a", "b"]
    assert all(rates.shape == (2,) for rates in turns.rates.values())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("wide:256", "NAME:SIZE with a name among paper, light, tiny"),
        ("light", "NAME:SIZE"),
        ("light:100", "a multiple of 32"),
        ("light:32", "64 at least"),
    ],
)
def test_what_is_no_case_is_refused(text, message):
    with pytest.raises(ValueError, match=rf"--hourglasses={text}: .*{message}"):
        read_case(text)


def test_pytorch_without_our_device_is_told():
    assert "sees no tpu: ours is timed alone" in agreement.load("tpu")
