"""What must work wherever dipgp is installed; prints versions and import times."""

import importlib.metadata
import importlib.resources
import sys
import time

import jax
import numpy as np

ROOMS = ("architecture", "gp", "images", "inference.loop", "kernels", "networks")

start = time.process_time()
for room in (*ROOMS, "summaries"):
    __import__(f"dipgp.{room}")
seconds = time.process_time() - start

from dipgp import architecture, gp, kernels, networks  # noqa: E402

net = architecture.conv_net(2, channels=4)
image = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
mask = np.indices(image.shape).sum(0) % 3 > 0
covariance = kernels.covariance(net, kernels.gaussian(2.0))
posterior = gp.condition(covariance, values=image, mask=mask, noise_std=0.05)
assert posterior.info.converged, posterior.info.advice
assert np.abs(posterior.mean - image).max() < 0.2
network = networks.build(net)
z = networks.uniform_input(jax.random.key(0), image.shape, channels=net.input_channels)
assert network.apply(network.init(jax.random.key(1), z), z).shape[:2] == image.shape

package = importlib.resources.files("dipgp")
assert (package / "py.typed").is_file()
assert "site-packages" in str(package), package
for name in ("dipgp", "jax", "numpy"):
    print(name, importlib.metadata.version(name))
print(f"Python {sys.version.split()[0]}, {package}")
print(f"import of all rooms but figures, beyond jax: {seconds:.2f} s of processor time")
