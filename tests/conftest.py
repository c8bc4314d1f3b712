"""Strictness for all tests: no silent broadcasting; 64 bits where a test asks.

Most of the tests' time is the compiler's, so its slow optimisations are left out, also
in the processes that a test starts. JAX_DISABLE_MOST_OPTIMIZATIONS=0 in the environment
tests programs as users run them.
"""

import os
from collections.abc import Iterator

os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")

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
