import sys

import numpy as np
import pytest
import scipy.ndimage


@pytest.fixture(autouse=True)
def few_covariances(monkeypatch):
    """Two candidates instead of 48, each of which is compiled."""
    module = sys.modules["dipgp.kernels.plain_networks"]
    monkeypatch.setattr(module, "DEPTHS", (2,))
    monkeypatch.setattr(module, "SIGMAS", (1.0, 2.0))
    monkeypatch.setattr("dipgp.command.noise.DEPTHS", (2,))
    monkeypatch.setattr("dipgp.command.noise.SIGMAS", (1.0, 2.0))


@pytest.fixture(autouse=True)
def own_programs(monkeypatch, tmp_path, compilation_cache_kept):
    """The command names a folder of compiled programs, here one of each test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))


@pytest.fixture(scope="session")
def truth() -> np.ndarray:
    """(32, 40, 3) a smooth picture in [0.1, 0.9]."""
    draws = np.random.default_rng(0).normal(size=(32, 40, 3))
    smooth = scipy.ndimage.gaussian_filter(draws, (2, 2, 0), mode="wrap")
    smooth[:, :, 1:] = smooth[:, :, :1] + 0.3 * smooth[:, :, 1:]  # as colours do
    return 0.1 + 0.8 * (smooth - smooth.min()) / np.ptp(smooth)
