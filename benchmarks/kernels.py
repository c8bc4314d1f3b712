"""Closed-form covariances against neural-tangents' covariance of all pairs of pixels.

Both read the same circular network and the same input on the same torus:

  python -m benchmarks.kernels
  python -m benchmarks.kernels --sizes=16,32 --layers=2

neural-tangents computes the covariance between all pairs of pixels, which a network
with borders or a particular input needs; where the field is stationary one row of that
matrix holds all of it, and that row is what `dipgp.kernels` computes.
"""

import functools
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from benchmarks import flags_only, neural_tangents_oracle, timing
from dipgp import architecture, kernels

SIGMA = 2.0  # of the input, in pixels

SIZES = flags.DEFINE_list("sizes", ["16", "32", "48", "64"], "Sides of the torus.")
LAYERS = flags.DEFINE_integer("layers", 4, "Hidden layers of the ReLU network.")
ONLY = flags.DEFINE_enum(
    "only",
    None,
    ["nothing", "closed_form", "all_pairs"],
    "Run just this once, without a report: for measuring its memory from outside.",
)


def torus_input(size: int, sigma: jax.typing.ArrayLike) -> kernels.Covariance:
    """A Gaussian input on a torus: the copies around it are added up."""
    gaussian = kernels.gaussian(sigma)
    shifts = [
        (size * down, size * right) for down in (-1, 0, 1) for right in (-1, 0, 1)
    ]

    def around(lags: jax.Array) -> jax.Array:
        total = jnp.zeros_like(lags, shape=lags.shape[:-1])
        for shift in shifts:
            steps = jnp.asarray(shift, lags.dtype)
            total += gaussian(lags + steps.reshape((1,) * (lags.ndim - 1) + (2,)))
        return total

    return kernels.as_covariance(around)


def closed_form(
    layers: int, size: int, sigma: jax.typing.ArrayLike = SIGMA
) -> jax.Array:
    """K at all lags of the torus, as a user asks for it."""
    net = architecture.conv_net(layers)
    covariance = kernels.covariance(net, torus_input(size, sigma))
    return covariance(kernels.lag_grid((size, size)))


def all_pairs(layers: int, size: int) -> np.ndarray:
    """K between all pairs of pixels, by neural-tangents."""
    net = architecture.conv_net(layers)
    start = torus_input(size, SIGMA)
    return neural_tangents_oracle.dense_covariance(net, start, (size, size))


def compare(layers: int, size: int) -> dict[str, object]:
    """Times both in one process, and compares their values at all lags."""
    ours = timing.measure(functools.partial(closed_form, layers, size), repeats=7)
    # Sigma is an argument, or the compiler would compute the result beforehand.
    program = jax.jit(functools.partial(closed_form, layers, size))
    ours_compiled = timing.measure(lambda: program(SIGMA), repeats=7)
    theirs = timing.measure(functools.partial(all_pairs, layers, size), repeats=3)
    net, shape = architecture.conv_net(layers), (size, size)
    start = neural_tangents_oracle.input_kernel(torus_input(size, SIGMA), shape)
    function = neural_tangents_oracle.kernel_function(net)
    their_program = jax.jit(functools.partial(function, get="nngp"))
    theirs_compiled = timing.measure(lambda: their_program(start), repeats=3)
    row = np.asarray(all_pairs(layers, size))[0].reshape(size, size)
    values = np.asarray(closed_form(layers, size))
    command = [f"--sizes={size}", f"--layers={layers}"]
    nothing, closed, pairs = (
        timing.peak_memory_mib("benchmarks.kernels", [*command, f"--only={what}"])
        for what in ("nothing", "closed_form", "all_pairs")
    )
    return {
        "pixels": f"{size}x{size}",
        "closed form [s]": ours.median,
        "all pairs [s]": theirs.median,
        "ratio": theirs.median / ours.median,
        "closed form, jit [s]": ours_compiled.median,
        "all pairs, jit [s]": theirs_compiled.median,
        "ratio, jit": theirs_compiled.median / ours_compiled.median,
        "closed form [MiB]": max(closed - nothing, 0.0),
        "all pairs [MiB]": max(pairs - nothing, 0.0),
        "difference / K(0)": float(np.max(np.abs(row - values)) / values[0, 0]),
    }


def main() -> None:
    """Compares at each size and writes the report."""
    sizes = [int(size) for size in SIZES.value]
    with jax.enable_x64(True):
        if ONLY.value is not None:
            calls: dict[str, Callable[[int, int], object]]
            calls = {"closed_form": closed_form, "all_pairs": all_pairs}
            jax.block_until_ready(jnp.zeros(1))
            for size in sizes if ONLY.value in calls else []:
                jax.block_until_ready(calls[ONLY.value](LAYERS.value, size))
            timing.tell_device_memory()
            return
        try:
            neural_tangents_oracle.load()
        except ImportError as error:
            raise app.UsageError(str(error)) from error
        rows = [compare(LAYERS.value, size) for size in sizes]
    title = f"Covariance of a {LAYERS.value}-layer ReLU network on a torus, float64"
    notes = [
        "Closed form: `dipgp.kernels` at all lags, called as in the README. All pairs: "
        "neural-tangents' dense covariance on the same network, input and torus, as "
        "its documentation calls it. jit: each as one program under `jax.jit`, its "
        "input an argument. Ratios compare like with like; neural-tangents under jit "
        "against the closed form as called is the least favourable pair. Medians after "
        "a first call, which compiles. MiB: peak memory of a fresh process above that "
        "of one that only starts JAX; on accelerators, of the device's memory."
    ]
    folder = Path(timing.RESULTS_DIR.value)
    summary = {"layers": LAYERS.value}
    print(timing.write_report(folder, "kernels", title, rows, notes, summary))


if __name__ == "__main__":
    flags_only.run(main)
