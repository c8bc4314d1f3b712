"""Strictness for all tests: no silent broadcasting; 64 bits where a test asks."""

from collections.abc import Iterator

import jax
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture
def x64() -> Iterator[None]:
    """Runs a test in 64 bits."""
    with jax.enable_x64(True):
        yield
