"""The oracle of infinite networks, where it is installed."""

import pytest

from benchmarks import neural_tangents_oracle


@pytest.fixture(scope="session")
def neural_tangents():
    try:
        return neural_tangents_oracle.load()
    except ImportError as error:
        pytest.skip(str(error))
