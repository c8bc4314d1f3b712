import json
import os

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dipgp.inference import checkpoint_file, descent
from dipgp.inference.checkpoint import CheckpointError, Checkpoints

CONFIGURATION = {"seed": 0, "image": "barbara", "channels": [8, 16], "iterations": 100}


def small(value=1.0):
    return {"w": jnp.full((3, 2), value), "key": jax.random.key(7)}


def assert_same(found, expected):
    """Equal bit by bit, with equal dtypes."""
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True)
    for one, other in pairs:
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        if jnp.issubdtype(one.dtype, jax.dtypes.prng_key):
            one, other = jax.random.key_data(one), jax.random.key_data(other)
        assert np.asarray(one).tobytes() == np.asarray(other).tobytes()


@pytest.fixture
def checkpoints(tmp_path):
    return Checkpoints(tmp_path / "run", CONFIGURATION)


def files(checkpoints):
    return sorted(path.name for path in checkpoints.folder.iterdir())


class TestRoundTrip:
    def test_all_kinds_of_arrays_come_back_bit_by_bit(self, checkpoints, x64):
        parameters = {"kernel": jnp.arange(6.0).reshape(2, 3), "bias": jnp.ones(3)}
        state = {
            "parameters": parameters,
            "moments": optax.adam(0.1).init(parameters),
            "half": jnp.arange(4, dtype=jnp.bfloat16),
            "single": jnp.array([0.1, jnp.nan, -0.0, jnp.inf], jnp.float32),
            "double": jnp.array(np.pi, jnp.float64),
            "complex": jnp.array([1 + 2j], jnp.complex64),
            "flags": jnp.array([True, False]),
            "nothing": jnp.zeros((0, 3), jnp.int8),
            "key": jax.random.key(3),
            "keys": jax.random.split(jax.random.key(4), (2, 3)),
            "other keys": jax.random.split(jax.random.key(5, impl="rbg"), 2),
            "numpy": np.arange(5, dtype=np.int64)[::2],
        }
        checkpoints.save(12, state)
        restored = checkpoints.restore(state)
        assert restored.step == 12
        assert restored.warnings == ()
        assert_same(restored.state, state)
        assert isinstance(restored.state["numpy"], np.ndarray)
        draw = jax.random.normal(restored.state["other keys"][1], (4,))
        np.testing.assert_array_equal(
            draw, jax.random.normal(state["other keys"][1], (4,))
        )

    def test_shapes_and_dtypes_are_template_enough(self, checkpoints):
        checkpoints.save(1, small())
        template = jax.eval_shape(small)
        assert_same(checkpoints.restore(template).state, small())

    def test_what_was_restored_may_be_overwritten_by_a_compiled_loop(self, checkpoints):
        checkpoints.save(1, small())
        advance = jax.jit(
            lambda state: {**state, "w": state["w"] + 1}, donate_argnums=0
        )
        state = checkpoints.restore(small()).state
        for _ in range(3):
            state = advance(state)
        assert_same(state, small(4.0))
        assert_same(checkpoints.restore(small()).state, small())

    def test_a_run_that_was_cut_off_ends_as_if_it_had_not_been(self, checkpoints):
        def loss(parameters, key):
            noise = jax.random.normal(key, parameters.shape)
            return jnp.sum(jnp.square(parameters + 0.1 * noise - 1)), parameters

        method = descent.descend(loss, descent.adam(0.05))
        step = jax.jit(method.step)

        def run(state, key, first, last):
            for iteration in range(first, last):
                state, _ = step(jax.random.fold_in(key, iteration), state)
            return state, key

        begin = (method.init(jnp.zeros(5)), jax.random.key(0))
        through = run(*begin, 0, 20)
        checkpoints.save(8, run(*begin, 0, 8))
        restored = checkpoints.restore(begin)
        assert_same(run(*restored.state, restored.step, 20), through)


class TestSteps:
    def test_a_fresh_folder_holds_nothing(self, checkpoints):
        assert checkpoints.restore(small()) is None
        checkpoints.folder.mkdir()
        assert checkpoints.restore(small()) is None
        (checkpoints.folder / ".writing-abc").mkdir()
        assert checkpoints.restore(small()) is None

    def test_the_latest_steps_stay_and_the_very_latest_is_read(self, checkpoints):
        for step in (5, 10, 10_000_000_000, 20_000_000_000):
            checkpoints.save(step, small(float(step)))
        assert len(files(checkpoints)) == 2
        restored = checkpoints.restore(small())
        assert restored.step == 20_000_000_000
        assert_same(restored.state, small(2e10))

    def test_a_step_may_be_written_again(self, checkpoints):
        checkpoints.save(5, small(1.0))
        checkpoints.save(5, small(2.0))
        assert_same(checkpoints.restore(small()).state, small(2.0))
        assert len(files(checkpoints)) == 1

    def test_a_run_that_starts_over_does_not_replace_a_later_step(self, checkpoints):
        checkpoints.save(50, small())
        with pytest.raises(CheckpointError, match=r"^step: expected none before 50"):
            checkpoints.save(10, small())
        assert checkpoints.restore(small()).step == 50

    def test_after_forgetting_a_run_may_start_over(self, checkpoints):
        checkpoints.forget()
        for step in (40, 50):
            checkpoints.save(step, small())
        (checkpoints.folder / "notes.txt").touch()
        checkpoints.forget()
        assert files(checkpoints) == ["notes.txt"]
        with pytest.raises(CheckpointError, match=r"notes\.txt"):
            checkpoints.forget()
        (checkpoints.folder / "notes.txt").unlink()
        checkpoints.save(10, small(2.0))
        assert checkpoints.restore(small()).step == 10

    def test_a_failed_write_keeps_what_was_there(self, checkpoints, monkeypatch):
        checkpoints.save(1, small(1.0))
        checkpoints.save(2, small(2.0))

        def fail(*_):
            raise OSError("disk full")

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", fail)
            with pytest.raises(OSError, match="disk full"):
                checkpoints.save(3, small(3.0))
        assert checkpoints.restore(small()).step == 2
        assert len(files(checkpoints)) == 2

    def test_what_is_no_array_of_numbers_is_refused(self, checkpoints):
        for wrong, named in [
            ({"count": 3}, r"state\['count'\]: expected an array, got int"),
            ([np.array(["text"])], r"state\[0\]: expected numbers, got <U4"),
            ([np.array([None])], r"state\[0\]: expected numbers, got object"),
        ]:
            with pytest.raises(ValueError, match=f"^{named}"):
                checkpoints.save(1, wrong)
        with pytest.raises(ValueError, match=r"^step: expected at least 0, got -1"):
            checkpoints.save(-1, small())
        assert not checkpoints.folder.exists()


def damage(path, how):
    content = bytearray(path.read_bytes())
    if isinstance(how, float):
        content = content[: int(how * len(content))]
    else:
        content[how] ^= 1
    path.write_bytes(content)


# Shares of the file that are left, or a byte in which a bit is flipped: in the name of
# the format, the checksum, the end of line, the header, the first and last array.
DAMAGES = [0.0, 0.01, 0.5, 0.999, 3, 40, 81, 120, -30, -1]


class TestDamage:
    @pytest.mark.parametrize("how", DAMAGES)
    def test_the_step_before_is_taken_and_the_damage_told(self, checkpoints, how):
        checkpoints.save(1, small(1.0))
        checkpoints.save(2, small(2.0))
        newest = checkpoints.folder / files(checkpoints)[-1]
        damage(newest, how)
        restored = checkpoints.restore(small())
        assert restored.step == 1
        assert_same(restored.state, small(1.0))
        (warning,) = restored.warnings
        assert warning.startswith(f"passed over {newest}: ")

    @pytest.mark.parametrize("how", DAMAGES)
    def test_with_no_sound_step_there_is_a_clear_refusal(self, checkpoints, how):
        checkpoints.save(1, small())
        path = checkpoints.folder / files(checkpoints)[0]
        damage(path, how)
        with pytest.raises(CheckpointError, match="expected a sound checkpoint") as e:
            checkpoints.restore(small())
        assert path.name in str(e.value)

    def test_a_folder_in_the_place_of_a_file_counts_as_damage(self, checkpoints):
        checkpoints.save(1, small(1.0))
        (checkpoints.folder / "step-0000000002.checkpoint").mkdir()
        restored = checkpoints.restore(small())
        assert restored.step == 1
        assert "got a folder" in restored.warnings[0]

    def test_a_run_goes_on_over_a_damaged_later_step(self, checkpoints):
        for step in (1, 2):
            checkpoints.save(step, small(step))
        damage(checkpoints.folder / files(checkpoints)[-1], -1)
        single = Checkpoints(checkpoints.folder, CONFIGURATION, keep=1)
        # Where saving follows the minutes, it need not fall on the same steps again.
        single.save(1, small(5.0))
        restored = single.restore(small())
        assert (restored.step, restored.warnings) == (1, ())
        assert_same(restored.state, small(5.0))


class TestRefusals:
    @pytest.mark.parametrize("action", ["restore", "save"])
    def test_a_folder_of_other_things(self, checkpoints, action):
        checkpoints.folder.mkdir()
        (checkpoints.folder / "holiday.png").touch()
        act = {
            "restore": lambda: checkpoints.restore(small()),
            "save": lambda: checkpoints.save(1, small()),
        }[action]
        with pytest.raises(
            CheckpointError, match=r"expected a folder of.*holiday\.png"
        ):
            act()
        assert files(checkpoints) == ["holiday.png"]

    def test_a_file_in_the_place_of_the_folder(self, checkpoints):
        checkpoints.folder.write_bytes(b"text")
        with pytest.raises(CheckpointError, match="expected a folder, got a file"):
            checkpoints.restore(small())

    @pytest.mark.parametrize(
        ("other", "message"),
        [
            ({"seed": 1}, "expected seed = 1, .* got 0; try"),
            ({"image": None}, "expected image = None, .* got 'barbara'"),
            ({"channels": (8, 32)}, r"expected channels = \[8, 32\], .* got \[8, 16\]"),
            ({"zoom": 2}, "expected zoom = 2, .* got 'nothing of that name'"),
            ({"iterations": 200, "seed": 2}, "expected iterations = 200"),
        ],
    )
    def test_another_configuration(self, checkpoints, other, message):
        checkpoints.save(1, small())
        now = Checkpoints(checkpoints.folder, CONFIGURATION | other)
        with pytest.raises(CheckpointError, match=message):
            now.restore(small())

    def test_a_name_that_is_gone_from_the_configuration(self, checkpoints):
        checkpoints.save(1, small())
        now = Checkpoints(checkpoints.folder, {"image": "barbara"})
        with pytest.raises(CheckpointError, match="channels = 'nothing of that name'"):
            now.restore(small())

    def test_what_may_change_does_not_count(self, checkpoints):
        checkpoints.save(1, small())
        longer = CONFIGURATION | {"iterations": 200, "channels": (8, 16)}
        now = Checkpoints(checkpoints.folder, longer, may_change=("iterations",))
        assert now.restore(small()).step == 1

    @pytest.mark.parametrize(
        ("template", "message"),
        [
            ({"w": jnp.ones((2, 3))}, r"\['w'\] of shape \(2, 3\).*got.*\(3, 2\)"),
            ({"w": jnp.ones((3, 2), jnp.bfloat16)}, "bfloat16.*got.*float32"),
            ({"w": jnp.ones((3, 2), jnp.int32)}, "int32.*got.*float32"),
            ({"key": jnp.zeros(2, jnp.uint32)}, r"uint32.*got.*key<fry>"),
            ({"key": jax.random.key(0, impl="rbg")}, r"key<rbg>.*got.*key<fry>"),
            ({"a": jnp.ones(3)}, r"state\['a'\].*got state\['key'\]"),
            ({"z": jnp.ones(3)}, "expected a state of 3 arrays, got 2"),
        ],
    )
    def test_another_state(self, checkpoints, template, message):
        checkpoints.save(1, small())
        with pytest.raises(CheckpointError, match=message):
            checkpoints.restore(small() | template)

    def test_64_bits_where_jax_would_cut_them(self, checkpoints):
        with jax.enable_x64(True):
            state = {"w": jnp.ones(3)}
            checkpoints.save(1, state)
            assert_same(checkpoints.restore(state).state, state)
        with pytest.raises(CheckpointError, match=r"float64.*JAX_ENABLE_X64"):
            checkpoints.restore(state)

    def test_a_later_format(self, checkpoints, monkeypatch):
        with monkeypatch.context() as patch:
            patch.setattr(checkpoint_file, "WHOLE", 3)
            checkpoints.save(1, small())
        with pytest.raises(CheckpointError, match="expected format 1 or 2, got 3"):
            checkpoints.restore(small())

    @pytest.mark.parametrize("wrong", [float("nan"), np.float32(1), {1, 2}, b"bytes"])
    def test_a_configuration_that_json_cannot_hold(self, tmp_path, wrong):
        with pytest.raises(ValueError, match=r"^configuration: expected finite JSON"):
            Checkpoints(tmp_path, {"rate": wrong})

    def test_keeping_none(self, tmp_path):
        with pytest.raises(ValueError, match=r"^keep: expected at least 1, got 0"):
            Checkpoints(tmp_path, {}, keep=0)


def test_other_versions_of_the_libraries_are_told(checkpoints, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(jax, "__version__", "0.1.2")
        checkpoints.save(1, small())
    restored = checkpoints.restore(small())
    assert restored.warnings == (f"written with jax 0.1.2, now {jax.__version__}",)


def test_a_file_says_in_json_what_it_is(checkpoints):
    checkpoints.save(3, small())
    path = checkpoints.folder / files(checkpoints)[0]
    header = json.loads(path.read_bytes().split(b"\n")[1])
    assert header["step"] == 3
    assert header["configuration"] == CONFIGURATION
    assert header["versions"]["jax"] == jax.__version__
    assert header["leaves"] == [
        ["['key']", [], "key<fry>"],
        ["['w']", [3, 2], "float32"],
    ]
