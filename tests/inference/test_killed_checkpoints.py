"""Writers of checkpoints that are killed on the way."""

import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

from dipgp.inference.checkpoint import Checkpoints

# Saves step after step, each array filled with its step, in a forked process for each
# moment: it kills itself there, in its third saving, or waits to be killed.
KILLED = """
import os, signal, sys, warnings
from pathlib import Path
import numpy as np
from dipgp.inference.checkpoint import Checkpoints

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

write, replace = Path.write_bytes, os.replace

def write_half(path, content):
    write(path, content[: len(content) // 2])
    die()

def replace_then_die(*paths):
    replace(*paths)
    die()

moments = {
    "half written": (Path, "write_bytes", write_half),
    "written": (os, "replace", die),
    "replaced": (os, "replace", replace_then_die),
    "removing": (Path, "unlink", die),
    "any time": None,
}

def save_on(moment, folder):
    for step in range(1, 10_000):
        if step == 3 and moments[moment]:
            setattr(*moments[moment])
        Checkpoints(folder, {}).save(step, {"w": np.full(1 << 20, step, np.float32)})
        print(step, flush=True)

folder = Path(sys.argv[1])
if sys.argv[2:]:
    save_on(sys.argv[2], folder)
warnings.simplefilter("ignore")  # JAX on forks: nothing has been computed yet
for moment in moments:
    if moments[moment] and os.fork() == 0:
        save_on(moment, folder / moment)
        os._exit(1)
    if moments[moment]:
        assert os.waitstatus_to_exitcode(os.wait()[1]) == -signal.SIGKILL, moment
"""


def assert_usable(folder, at_least):
    """A killed writer's folder holds a sound step, and can be written on."""
    checkpoints, like = Checkpoints(folder, {}), {"w": np.zeros(1 << 20, np.float32)}
    restored = checkpoints.restore(like)
    assert restored.step >= at_least
    assert restored.warnings == ()
    assert np.all(restored.state["w"] == restored.step)
    for step in (restored.step + 1, restored.step + 2):
        checkpoints.save(step, like)
    assert sorted(path.name for path in folder.iterdir()) == [
        f"step-{step:010d}.checkpoint"
        for step in (restored.step + 1, restored.step + 2)
    ]
    return restored.step


class TestKilled:
    def test_at_each_moment_of_saving_a_sound_step_is_left(self, tmp_path):
        subprocess.run([sys.executable, "-c", KILLED, tmp_path], check=True)
        found = {path.name: assert_usable(path, 2) for path in tmp_path.iterdir()}
        assert found == {"half written": 2, "written": 2, "replaced": 3, "removing": 3}

    @pytest.mark.parametrize("delay", [0.0, 0.003, 0.008])
    def test_from_outside_a_sound_step_is_left(self, tmp_path, delay):
        folder = tmp_path / "run"
        command = [sys.executable, "-c", KILLED, folder, "any time"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            for _ in range(3):
                last = int(writer.stdout.readline())
            threading.Event().wait(delay)
            writer.kill()
        assert writer.returncode == -signal.SIGKILL
        assert_usable(folder, last)
