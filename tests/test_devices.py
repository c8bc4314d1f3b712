import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from dipgp import devices

ROOT = Path(__file__).parent.parent


def test_on_eight_devices():
    """All of `eight_devices.py` in one process, since they cost most at its start."""
    flags = os.environ.get("XLA_FLAGS", ""), "--xla_force_host_platform_device_count=8"
    finished = subprocess.run(
        [sys.executable, "-m", "pytest", "-n0", "-q", "tests/eight_devices.py"],
        env=os.environ | {"XLA_FLAGS": " ".join(flags), "JAX_PLATFORMS": "cpu"},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stdout[-4000:] + finished.stderr[-2000:]
    assert " passed" in finished.stdout


class TestOneProcess:
    def test_a_mesh_has_the_devices_that_there_are(self):
        mesh = devices.make_mesh()
        assert list(mesh.devices) == jax.devices()
        assert not devices.spans_processes(mesh)
        assert not devices.spans_processes(None)

    @pytest.mark.parametrize("count", [0, -1, 99])
    def test_devices_that_there_are_not(self, count):
        with pytest.raises(ValueError, match=rf"^count: expected from 1 .* {count}$"):
            devices.make_mesh(count)

    def test_it_asks_and_tells_itself(self):
        mesh = devices.make_mesh()
        assert devices.any_process(mesh, True, False) == (True, False)
        told = devices.exchange(np.arange(3), mesh)
        np.testing.assert_array_equal(told, [[0, 1, 2]])

    def test_keys_are_gathered_as_their_data(self):
        key = jax.random.key(5)
        found = devices.gather({"key": key, "x": 2.5})
        np.testing.assert_array_equal(found["key"], jax.random.key_data(key))
        assert found["x"] == 2.5
