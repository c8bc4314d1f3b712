"""Strictness for all tests: no silent broadcasting; 64 bits where a test asks.

Most of the tests' time is the compiler's, so its slow optimisations are left out, also
in the processes that a test starts. JAX_DISABLE_MOST_OPTIMIZATIONS=0 in the environment
tests programs as users run them.

Where tests run side by side, threads of linear algebra would only wait for each other.
"""

import os
from collections.abc import Iterator

# XLA's older emitters compile in half the time, and one piece of code sooner than many.
QUICK_TO_COMPILE = (
    "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
)

if os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1") == "1":
    os.environ.setdefault("XLA_FLAGS", QUICK_TO_COMPILE)
os.environ.setdefault("OMP_NUM_THREADS", "1")  # also OpenBLAS', read when it is loaded

import jax
import pytest

from benchmarks import neural_tangents_oracle

jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture
def x64() -> Iterator[None]:
    """Runs a test in 64 bits."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="session")
def neural_tangents():
    """The oracle of infinite networks, where it is installed."""
    try:
        return neural_tangents_oracle.load()
    except ImportError as error:
        pytest.skip(str(error))
