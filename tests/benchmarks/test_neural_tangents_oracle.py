import sys

import jax.core
import numpy as np
import pytest

from benchmarks import neural_tangents_oracle as oracle
from dipgp import architecture, kernels


@pytest.mark.oracle
def test_loading_leaves_jax_as_it_was(neural_tangents):
    assert oracle.load() is neural_tangents
    assert neural_tangents.__version__ == "0.6.5"
    assert "jax.util" not in sys.modules
    assert not hasattr(jax.core, "Jaxpr")


def test_where_the_package_is_absent_the_line_that_installs_it_is_told(monkeypatch):
    for name in parts_loaded():
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Absent(), *sys.meta_path])
    with pytest.raises(ImportError, match=r"pip install --no-deps neural-tangents=="):
        oracle.load()
    assert not parts_loaded()


class Absent:
    """Finds that the package is not there, wherever it was installed."""

    def find_spec(self, name, path, target=None):
        if name.split(".")[0] == oracle.PACKAGE:
            raise ModuleNotFoundError(name)


def parts_loaded():
    return [name for name in sys.modules if name.split(".")[0] == oracle.PACKAGE]


@pytest.mark.oracle
@pytest.mark.parametrize("shape", [(6,), (5, 4)], ids=str)
def test_a_linear_readout_of_one_pixel_hands_the_input_through(
    neural_tangents, x64, shape
):
    input = kernels.gaussian(1.0)
    net = architecture.conv_net(0, dimensions=len(shape))
    dense = oracle.dense_covariance(net, input, shape)
    pixels = np.stack(np.indices(shape), axis=-1).reshape(len(dense), -1)
    lags = np.abs(pixels[None] - pixels[:, None])
    lags = np.minimum(lags, np.array(shape) - lags).astype(float)
    np.testing.assert_allclose(dense, input(lags), rtol=0, atol=1e-15)


@pytest.mark.oracle
@pytest.mark.parametrize(
    "layer",
    [
        architecture.Sigmoid(),
        architecture.BatchNorm(),
        architecture.Upsample(2, "nearest"),
        architecture.Downsample(2, "ideal"),
    ],
    ids=repr,
)
def test_layers_that_are_not_translated_are_named(neural_tangents, layer):
    net = architecture.Architecture(architecture.Serial([layer]))
    with pytest.raises(
        ValueError, match=f"net: {type(layer).__name__}.* not translated"
    ):
        oracle.kernel_function(net)
