import jax
import jax.numpy as jnp
import numpy as np
import pytest
from noisy_matrices import advance, begin

from dipgp.inference.chains import map_chains, run_chains

CHAINS = 4


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
        carry = jax.tree.map(lambda leaf, chain=chain: leaf[chain], begin(CHAINS))
        for _ in range(calls):
            carry, trace = jax.jit(advance)(carry)
        ends.append(read(carry, trace))
    return [np.stack(leaves) for leaves in zip(*ends, strict=True)]


def together(calls, **settings):
    carries = begin(CHAINS)
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
        carries = begin(CHAINS)
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
        carries = begin(CHAINS)
        run_chains(advance, carries)
        assert carries["w"].is_deleted()

    def test_numpy_arrays_will_do(self):
        carries, _ = run_chains(lambda c: (c + 1, c), np.zeros((3, 2), np.float32))
        np.testing.assert_array_equal(carries, 1.0)


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
            run_chains(advance, begin(CHAINS), how="pmap")


@pytest.mark.parametrize("how", ["map", "vmap"])
def test_inside_other_programs_each_chain_is_what_it_is_alone(how):
    ends = jax.jit(lambda chains: map_chains(advance, chains, how))(begin(CHAINS))
    for several, single in zip(read(*ends), alone(1), strict=True):
        np.testing.assert_allclose(several, single, rtol=1e-5, atol=1e-6)
