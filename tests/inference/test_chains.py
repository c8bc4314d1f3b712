import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dipgp.inference.chains import map_chains, run_chains

CHAINS = 4


def advance(carry):
    """A few steps of noisy shrinking, mixed by a matrix product."""

    def step(carry, _):
        key, key_noise = jax.random.split(carry["key"])
        noise = jax.random.normal(key_noise, carry["w"].shape)
        w = 0.5 * jnp.tanh(carry["w"] @ carry["w"].T) + noise
        return {"key": key, "w": w}, jnp.mean(w)

    return jax.lax.scan(step, carry, length=5)


def begin(chains=CHAINS, seed=0):
    keys = jax.random.split(jax.random.key(seed), chains)
    return {"key": keys, "w": jnp.zeros((chains, 3, 3))}


def read(carries, traces):
    """As NumPy arrays, before the buffers are used again."""
    return [
        np.asarray(jax.random.key_data(carries["key"])),
        np.asarray(carries["w"]),
        np.asarray(traces),
    ]


def alone(calls):
    """The same chains, each by itself."""
    ends = []
    for chain in range(CHAINS):
        carry = jax.tree.map(lambda leaf, chain=chain: leaf[chain], begin())
        for _ in range(calls):
            carry, trace = jax.jit(advance)(carry)
        ends.append(read(carry, trace))
    return [np.stack(leaves) for leaves in zip(*ends, strict=True)]


def together(calls, **settings):
    carries = begin()
    for _ in range(calls):
        carries, traces = run_chains(advance, carries, **settings)
    return read(carries, traces)


class TestOneDevice:
    @pytest.mark.parametrize("how", ["map", "vmap"])
    def test_each_chain_runs_as_it_would_alone(self, how):
        expected = alone(2)
        found = together(2, how=how)
        np.testing.assert_array_equal(found[0], expected[0])
        for one, other in zip(found[1:], expected[1:], strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
        assert found[2].shape == (CHAINS, 5)

    def test_chains_with_keys_of_their_own_differ_and_with_equal_keys_agree(self):
        carries = begin()
        carries["key"] = carries["key"][jnp.array([0, 1, 1, 2])]
        _, w, traces = read(*run_chains(advance, carries))
        np.testing.assert_array_equal(w[1], w[2])
        assert len(np.unique(traces[[0, 1, 3]])) == 3 * 5

    @pytest.mark.parametrize("how", ["map", "vmap"])
    def test_how_is_how(self, how):
        program = jax.make_jaxpr(
            lambda x: run_chains(lambda c: (c + 1, c), x, how=how)
        )(jnp.zeros(3))
        assert ("scan" in str(program)) == (how == "map")

    def test_a_cpu_takes_one_chain_after_the_other_by_default(self):
        program = jax.make_jaxpr(lambda x: run_chains(lambda c: (c + 1, c), x))
        assert jax.default_backend() != "cpu" or "scan" in str(program(jnp.zeros(3)))

    def test_the_program_is_compiled_once(self):
        traced = []

        def counted(carry):
            traced.append(1)
            return carry + 1.0, carry

        carries = jnp.zeros((CHAINS, 2), jnp.float32)
        carries, _ = run_chains(counted, carries)
        once = len(traced)
        for _ in range(3):
            carries, _ = run_chains(counted, carries)
        assert len(traced) == once
        np.testing.assert_array_equal(carries, 4.0)

    def test_buffers_are_used_again(self):
        carries = begin()
        run_chains(advance, carries)
        assert carries["w"].is_deleted()

    def test_numpy_arrays_will_do(self):
        carries, _ = run_chains(lambda c: (c + 1, c), np.zeros((3, 2), np.float32))
        np.testing.assert_array_equal(carries, 1.0)


# Prints what came out, as JSON, on four devices that share one CPU.
SEVERAL = """
import json, sys
sys.path.insert(0, sys.argv[1])
import jax, numpy as np
from test_chains import CHAINS, advance, begin, read, run_chains, together

devices = jax.devices()
result = {"devices": len(devices)}
for count, how in ((2, "map"), (4, "map"), (2, "vmap")):
    leaves = together(2, devices=devices[:count], how=how)
    result[f"{count} {how}"] = [leaf.tolist() for leaf in leaves]
carries, traces = run_chains(advance, begin(), devices)
result["places"] = [
    [list(shard.index[0].indices(CHAINS)[:2]), devices.index(shard.device)]
    for leaf in (carries["w"], traces) for shard in leaf.addressable_shards
]
held = carries["w"]
run_chains(advance, carries, devices)
result["moved"] = not held.is_deleted()
try:
    run_chains(advance, begin(6), devices)
except ValueError as error:
    result["error"] = str(error)
print(json.dumps(result))
"""


@pytest.fixture(scope="module")
def several():
    flags = os.environ.get("XLA_FLAGS", ""), "--xla_force_host_platform_device_count=4"
    environment = os.environ | {"XLA_FLAGS": " ".join(flags), "JAX_PLATFORMS": "cpu"}
    finished = subprocess.run(
        [sys.executable, "-W", "error", "-c", SEVERAL, Path(__file__).parent],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    result = json.loads(finished.stdout)
    assert result["devices"] == 4
    return result


class TestSeveralDevices:
    @pytest.mark.parametrize(("count", "how"), [(2, "map"), (4, "map"), (2, "vmap")])
    def test_chains_run_as_on_one(self, several, count, how):
        expected = together(2, how=how)
        found = several[f"{count} {how}"]
        np.testing.assert_array_equal(found[0], expected[0])
        for one, other in zip(found[1:], expected[1:], strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)

    def test_each_device_holds_its_share_in_order(self, several):
        shares = [[[chain, chain + 1], chain] for chain in range(4)]
        assert several["places"] == shares + shares

    def test_what_lies_there_is_not_moved_again(self, several):
        assert not several["moved"]

    def test_a_number_of_chains_that_cannot_be_shared_is_refused(self, several):
        assert several["error"] == (
            "carries: expected a multiple of 4 chains, as many as there are devices, "
            "got 6; try 8"
        )


class TestErrors:
    @pytest.mark.parametrize(
        "carries",
        [
            {"w": np.zeros((3, 2)), "v": np.zeros((4, 2))},
            {"w": np.zeros((3, 2)), "v": np.zeros(())},
            np.zeros((0, 2)),
            {},
        ],
    )
    def test_arrays_without_a_common_axis_of_chains(self, carries):
        with pytest.raises(ValueError, match=r"^carries: expected arrays with one"):
            run_chains(advance, carries)

    @pytest.mark.parametrize(
        "changed",
        [
            lambda w: {"w": w[0]},
            lambda w: {"w": w.astype(jnp.int32)},
            lambda w: {"v": w},
        ],
    )
    def test_an_advance_that_changes_what_it_carries(self, changed):
        with pytest.raises(ValueError, match=r"^advance: expected carries of equal"):
            run_chains(lambda c: (changed(c["w"]), 0.0), {"w": jnp.zeros((3, 2))})

    def test_an_unknown_how(self):
        with pytest.raises(ValueError, match=r"^how: expected one of map, vmap, got"):
            run_chains(advance, begin(), how="pmap")

    def test_no_devices(self):
        with pytest.raises(ValueError, match=r"^devices: expected at least one"):
            run_chains(advance, begin(), devices=[])


@pytest.mark.parametrize("how", ["map", "vmap"])
def test_inside_other_programs_each_chain_is_what_it_is_alone(how):
    ends = jax.jit(lambda chains: map_chains(advance, chains, how))(begin())
    for several, single in zip(read(*ends), alone(1), strict=True):
        np.testing.assert_allclose(several, single, rtol=1e-5, atol=1e-6)
