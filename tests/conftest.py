"""Strictness for all tests: no silent broadcasting; 64 bits where a test asks.

Most of the tests' time is the compiler's, so its slow optimisations are left out, also
in the processes that a test starts: XLA's older emitters take half the time, and one
piece of code less than many. JAX_DISABLE_MOST_OPTIMIZATIONS=0 and an empty XLA_FLAGS in
the environment test programs as users run them. Newer releases of jaxlib have no older
emitters, and end a process that asks for them. Linear algebra has one thread, since the
threads of tests side by side would wait for each other.
"""

import importlib.metadata
import os
from collections.abc import Iterator

os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
if importlib.metadata.version("jaxlib").startswith("0.10."):
    os.environ.setdefault(
        "XLA_FLAGS",
        "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1",
    )
os.environ.setdefault("OMP_NUM_THREADS", "1")  # OpenBLAS reads it when it is loaded
# Binaries would write into the user's cache folder.
os.environ.setdefault("JAX_ENABLE_COMPILATION_CACHE", "0")

import jax
import pytest

from benchmarks import neural_tangents_oracle

jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture
def x64() -> Iterator[None]:
    """Runs a test in 64 bits."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def compilation_cache_kept() -> Iterator[None]:
    """Takes back what a main tells JAX of compiled programs, for the whole process."""
    names = (
        "jax_enable_compilation_cache",
        "jax_compilation_cache_dir",
        "jax_persistent_cache_min_compile_time_secs",
    )
    before = {name: jax.config.values[name] for name in names}
    yield
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.fixture(scope="session")
def neural_tangents():
    """The oracle of infinite networks, where it is installed."""
    try:
        return neural_tangents_oracle.load()
    except ImportError as error:
        pytest.skip(str(error))
