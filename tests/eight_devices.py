"""Tests that need eight devices: `test_devices` runs this file in such a process."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from noisy_matrices import advance, begin

from dipgp import devices, gp, kernels
from dipgp.inference.chains import run_chains
from dipgp.inference.checkpoint import Checkpoints
from dipgp.observations import observe
from experiments.restoration import Request

DEVICES = 8


def run(calls=2, **settings):
    carries = begin(DEVICES)
    for _ in range(calls):
        carries, traces = run_chains(advance, carries, **settings)
    return devices.gather((carries, traces))


def assert_same_bits(found, expected):
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def layout(array, devices_in_row):
    """Which items each device has."""
    return {
        devices_in_row.index(shard.device): list(range(array.shape[0]))[shard.index[0]]
        for shard in array.addressable_shards
    }


@pytest.fixture(scope="module")
def mesh():
    assert jax.device_count() == DEVICES
    return devices.make_mesh()


@pytest.fixture(scope="module")
def posterior():
    rng = np.random.default_rng(0)
    mask = rng.uniform(size=(12, 10)) < 0.6
    values = rng.standard_normal((12, 10, 3)).astype(np.float32)
    prior = kernels.matern(1.5, 2.0)
    return gp.condition(prior, values, mask, 0.2, method="field", reach=12)


class TestChains:
    @pytest.mark.parametrize(("count", "how"), [(8, "map"), (2, "map"), (2, "vmap")])
    def test_they_run_as_on_one_device(self, count, how):
        expected = run(how=how)
        found = run(how=how, mesh=devices.make_mesh(count))
        assert_same_bits(found[0]["key"], expected[0]["key"])
        assert_same_bits(found, expected)

    def test_each_device_has_its_own_in_order_and_nothing_moves_again(self, mesh):
        carries, traces = run_chains(advance, begin(2 * DEVICES), mesh)
        shares = {place: [2 * place, 2 * place + 1] for place in range(DEVICES)}
        for array in (carries["w"], carries["key"], traces):
            assert layout(array, list(mesh.devices)) == shares
        held = carries["w"]
        run_chains(advance, carries, mesh)
        assert held.is_deleted()

    def test_a_number_that_cannot_be_shared_is_refused(self, mesh):
        expected = "carries: expected a multiple of 8, as many .* got 6; try 8"
        with pytest.raises(ValueError, match=expected):
            run_chains(advance, begin(6), mesh)


class TestSpreading:
    def test_items_are_made_where_they_lie(self, mesh):
        def make(number):
            return {"x": jnp.full(3, number), "key": jax.random.key(number)}

        made = devices.spread(make, 2 * DEVICES, mesh)
        each = [make(number) for number in range(2 * DEVICES)]
        whole = jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)
        assert_same_bits(devices.gather(made), devices.gather(whole))
        placed = devices.place(whole, mesh)
        assert_same_bits(devices.gather(made), devices.gather(placed))
        assert made["x"].sharding == placed["x"].sharding

    def test_shares_are_mapped_with_what_all_have(self, mesh):
        items = devices.place(np.arange(16.0, dtype=np.float32), mesh)
        whole = devices.replicate(jnp.float32(100), mesh)
        found = devices.map_shares(largest_plus, items, whole, mesh)
        expected = np.arange(1, 16, 2) + 100
        np.testing.assert_array_equal(devices.gather(found), expected)
        assert devices.total(found, mesh) == expected.sum()
        assert "all-" not in program(items, whole, mesh)

    def test_a_part_of_the_devices_will_do(self):
        assert devices.make_mesh(3).size == 3
        with pytest.raises(ValueError, match=r"^count: expected from 1 to 8, got 9"):
            devices.make_mesh(9)

    @pytest.mark.parametrize(
        ("items", "most", "size"),
        [(8, None, 8), (6, None, 6), (12, 4, 4), (9, 4, 3), (7, 4, None), (1, 8, None)],
    )
    def test_a_run_takes_the_most_that_divide_its_items(self, items, most, size):
        request = Request(None, (1, 1, 1), True, None, 0, None, print, devices=most)
        found = request.mesh_for(items)
        assert size == (None if found is None else found.size)


def largest_plus(items, whole):
    return jnp.max(items)[None] + whole


def program(items, whole, mesh):
    lowered = devices.map_shares.lower(largest_plus, items, whole, mesh)
    return lowered.compile().as_text()


class TestPosterior:
    def test_draws_are_those_of_one_device(self, posterior, mesh):
        key = jax.random.key(1)
        expected = posterior.sample(key, 16, batch=2)
        found = posterior.sample(key, 16, batch=2, mesh=mesh)
        assert layout(found.values, list(mesh.devices))[7] == [14, 15]
        np.testing.assert_allclose(found.values, expected.values, atol=1e-5)
        assert_same_bits(found.info.iterations, expected.info.iterations)
        assert found.info.converged

    def test_a_dense_posterior_draws_the_same(self, mesh):
        values = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)
        small = gp.condition(kernels.rbf(1.0), values, noise_std=0.3, method="dense")
        found = small.sample(jax.random.key(0), 8, mesh=mesh)
        expected = small.sample(jax.random.key(0), 8)
        np.testing.assert_allclose(found.values, expected.values, atol=1e-6)
        assert layout(found.values, list(mesh.devices))[3] == [3]

    @pytest.mark.parametrize(("method", "solves"), [("probing", 18), ("samples", 16)])
    def test_variances_are_those_of_one_device(self, posterior, mesh, method, solves):
        settings = {"method": method, "solves": solves, "batch": 2}
        key = jax.random.key(2)
        expected = posterior.variance(key, **settings)
        # Eighteen patterns of signs leave some of the devices with an idle one.
        found = posterior.variance(key, **settings, mesh=mesh)
        np.testing.assert_allclose(found.value, expected.value, rtol=1e-5)
        error = expected.standard_error
        np.testing.assert_allclose(found.standard_error, error, rtol=1e-4)
        assert_same_bits(found.info.iterations, expected.info.iterations)
        assert found.info.converged

    @pytest.mark.parametrize(
        ("call", "name"),
        [
            (lambda p, **where: p.sample(jax.random.key(0), 9, **where), "count"),
            (
                lambda p, **where: p.variance(
                    jax.random.key(0), method="samples", solves=9, **where
                ),
                "count",
            ),
            (
                lambda p, **where: p.log_evidence(
                    jax.random.key(0), method="lanczos", probes=9, **where
                ),
                "probes",
            ),
        ],
        ids=["draws", "variances", "evidence"],
    )
    def test_what_cannot_be_shared_is_refused(self, posterior, mesh, call, name):
        with pytest.raises(ValueError, match=rf"^{name}: expected a multiple of 8"):
            call(posterior, mesh=mesh)


@pytest.fixture(scope="module")
def seen():
    rng = np.random.default_rng(1)
    mask = rng.uniform(size=(9, 8)) < 0.7
    return observe(rng.standard_normal((9, 8, 1)), mask, noise_std=0.3)


class TestEvidence:
    @staticmethod
    def evidence(scale, seen, mesh):
        process = gp.condition(
            kernels.matern(1.5, scale), observation=seen, method="field", reach=10
        )
        return process.log_evidence(
            jax.random.key(3), method="lanczos", steps=8, mesh=mesh
        )

    def test_it_is_that_of_one_device(self, seen, mesh):
        found, expected = (self.evidence(1.5, seen, each) for each in (mesh, None))
        np.testing.assert_allclose(found.value, expected.value, rtol=1e-6)
        error = expected.standard_error
        np.testing.assert_allclose(found.standard_error, error, rtol=1e-4)

    def test_derivatives_are_those_of_one_device(self, seen, mesh):
        def slope(scale, mesh):
            return jax.grad(lambda s: self.evidence(s, seen, mesh).value)(scale)

        program = jax.make_jaxpr(lambda scale: slope(scale, mesh))(1.5)
        assert "shard_map" in str(program)
        found, expected = (
            jax.jit(slope, static_argnums=1)(1.5, m) for m in (mesh, None)
        )
        np.testing.assert_allclose(found, expected, rtol=1e-5)

    def test_a_fit_climbs_the_same_hill(self, seen, mesh, monkeypatch):
        monkeypatch.setattr("dipgp.gp.evidence.FEW_PIXELS", 0)

        def fit(mesh):
            return gp.fit(
                lambda told: kernels.matern(1.5, told["scale"]),
                {"scale": 1.0},
                seen,
                key=jax.random.key(3),
                steps=8,
                max_evaluations=4,
                mesh=mesh,
            )

        found, expected = fit(mesh), fit(None)
        assert expected.parameters["scale"] != pytest.approx(1.0, rel=0.01)
        assert found.parameters == pytest.approx(expected.parameters, rel=1e-4)
        np.testing.assert_allclose(
            found.evidence.value, expected.evidence.value, rtol=1e-6
        )


def test_a_run_goes_on_from_a_checkpoint_on_another_number_of_devices(tmp_path, mesh):
    expected = run(calls=3)
    carries, _ = run_chains(advance, begin(DEVICES), mesh)
    for step, count in enumerate((2, None)):
        checkpoints = Checkpoints(tmp_path, {})
        checkpoints.save(step, carries)
        few = None if count is None else devices.make_mesh(count)
        template = begin(DEVICES) if few is None else devices.place(begin(DEVICES), few)
        carries = checkpoints.restore(template).state
        carries, traces = run_chains(advance, carries, few)
    assert_same_bits(devices.gather((carries, traces)), expected)
