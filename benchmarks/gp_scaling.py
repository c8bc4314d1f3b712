"""What conditioning on an image costs as it grows, beside its FFTs and beside Cholesky.

A photograph in grey, half of its pixels dropped at random, noise_std 0.01, under the
covariance of a network of depth 4 on Gaussian-filtered noise:

  python -m benchmarks.gp_scaling
  python -m benchmarks.gp_scaling --image_sizes=64,128,256 --dense_sizes=32,64

Solver, FFTs and Cholesky are timed one after the other in one process.
"""

import functools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from benchmarks import timing
from dipgp import architecture, gp, images, kernels
from dipgp.gp import dense, posterior, toeplitz

IMAGE_SIZES = flags.DEFINE_list(
    "image_sizes", ["64", "128", "256", "512", "1024", "2048"], "Sides of the images."
)
DENSE_SIZES = flags.DEFINE_list(
    "dense_sizes", ["32", "64", "128"], "Sides of those factorised as well."
)
REPEATS = flags.DEFINE_integer("repeats", 5, "Calls timed, after one that compiles.")
MEMORY_OF = flags.DEFINE_integer(
    "memory_of",
    None,
    "Conditions an image of this side once, without a report, for measuring its memory "
    "from outside; 0 only starts JAX.",
)

NOISE_STD = 0.01
# Below this the overhead of calls shows in the times.
SMALLEST_OF_LAW = 128
# An FFT and an inverse FFT are a pair; what a step of each form takes.
PAIRS_A_STEP = {"field": 1, "weights": 2}


class Problem(NamedTuple):
    """What `gp.condition` is called with."""

    covariance: kernels.Covariance
    values: np.ndarray
    mask: np.ndarray


class Law(NamedTuple):
    """t = scale * pixels^exponent, by least squares of the logarithms."""

    exponent: float
    standard_error: float


def photograph(size: int) -> np.ndarray:
    """(size, size) in grey: a crop, mirrored where the photograph is too small."""
    grey = images.sample_image().mean(axis=2)
    values = np.pad(
        grey,
        [(0, max(size - side, 0)) for side in grey.shape],
        mode="symmetric",
    )
    down, right = ((side - size) // 2 for side in values.shape)
    return values[down : down + size, right : right + size].astype(np.float32)


def problem(size: int) -> Problem:
    """A photograph behind a random mask."""
    values = photograph(size)
    key_noise, key_mask = jax.random.split(jax.random.key(0))
    noisy = images.add_noise(key_noise, values[:, :, None], NOISE_STD, clip=False)
    mask = images.drop_pixels(key_mask, (size, size), 0.5)
    net = architecture.conv_net(depth=4)
    k = kernels.normalize(kernels.covariance(net, kernels.gaussian(2.0)))
    return Problem(k, np.asarray(noisy)[:, :, 0], np.asarray(mask))


def condition(problem: Problem, method: posterior.Method) -> gp.Posterior:
    """The call that is timed, as a user writes it."""
    return gp.condition(*problem, NOISE_STD, method=method)


def fourier_transforms(shape: tuple[int, int], pairs: int) -> Callable[[], jax.Array]:
    """A call that does so many FFTs of a torus, each followed by its inverse."""

    @jax.jit
    def run(image: jax.Array, pairs: int) -> jax.Array:
        def pair(_: int, image: jax.Array) -> jax.Array:
            return jnp.fft.irfft2(jnp.fft.rfft2(image), s=shape)

        return jax.lax.fori_loop(0, pairs, pair, image)

    noise = jax.random.normal(jax.random.key(1), (1, *shape))
    return functools.partial(run, noise, pairs)


def measure_solver(size: int, repeats: int) -> dict[str, object]:
    """Times the solver and its FFTs at one size."""
    given = problem(size)
    run = functools.partial(condition, given, "automatic")
    first = timing.seconds(run)
    found = run()
    if not found.info.converged:
        raise RuntimeError(f"{size}x{size}: {found.info.advice}")
    steps = int(found.info.iterations[0])
    form = found.system.form
    torus = toeplitz.embed([given.covariance], (size, size)).size
    transforms = fourier_transforms(torus, PAIRS_A_STEP[form] * steps)
    timed = timing.compare(run, transforms, repeats)
    return {
        "pixels": f"{size}x{size}",
        "form": form,
        "torus": "x".join(map(str, torus)),
        "iterations": steps,
        "condition [s]": timed.one,
        "first call [s]": first,
        "its FFTs [s]": timed.other,
        "over FFTs": timed.ratio,
        "peak [MiB]": peak_memory(size),
    }


def peak_memory(size: int) -> float:
    """Of a fresh process that conditions one image, above that of JAX alone, in MiB."""
    with_image, alone = (
        timing.peak_memory_mib("benchmarks.gp_scaling", [f"--memory_of={side}"])
        for side in (size, 0)
    )
    return max(with_image - alone, 0.0)


def measure_dense(sizes: Sequence[int], repeats: int) -> dict[int, tuple[int, float]]:
    """Observed pixels and seconds of a dense solve at each size."""
    measured = {}
    for size in sizes:
        given = problem(size)
        run = functools.partial(condition, given, "dense")
        seconds = timing.measure(run, min(repeats, 3)).median
        measured[size] = (int(given.mask.sum()), seconds)
    return measured


def seconds_by_cubic_law(pixels: int, measured: dict[int, tuple[int, float]]) -> float:
    """Extrapolates dense solves with t = c n^3 from the largest that was timed.

    Smaller ones spend a larger share on overhead and would only add to c.
    """
    count, seconds = max(measured.values())
    return seconds * (pixels / count) ** 3


def power_law(pixels: Sequence[int], seconds: Sequence[float]) -> Law:
    """Fits t = scale * pixels^exponent to at least two sizes.

    The standard error is that of the residuals; NaN with only two sizes.
    """
    x, y = np.log(np.asarray(pixels, float)), np.log(np.asarray(seconds, float))
    x_centred, y_centred = x - x.mean(), y - y.mean()
    exponent = float(x_centred @ y_centred / (x_centred @ x_centred))
    freedom = len(x) - 2
    if freedom < 1:
        return Law(exponent, math.nan)
    left = y_centred - exponent * x_centred
    variance = float(left @ left) / freedom / float(x_centred @ x_centred)
    return Law(exponent, math.sqrt(variance))


def run(
    sizes: Sequence[int], dense_sizes: Sequence[int], repeats: int, folder: Path
) -> str:
    """Measures at all sizes and writes the report.

    Args:
      sizes: sides of the images.
      dense_sizes: sides of those that are factorised as well.
      repeats: calls timed.
      folder: of the report.

    Returns:
      The report as Markdown.
    """
    measured = measure_dense(dense_sizes, repeats)
    rows, speedups = [], {}
    for size in sizes:
        row = measure_solver(size, repeats)
        if size in measured:
            by_cholesky, source = measured[size][1], "measured"
        else:
            observed = int(problem(size).mask.sum())
            by_cholesky, source = seconds_by_cubic_law(observed, measured), "cubic law"
        speedups[size] = by_cholesky / _number(row["condition [s]"])
        row |= {
            "dense [s]": by_cholesky,
            "dense by": source,
            "dense [GiB]": dense.memory_gib(size**2 // 2, np.float32),
            "times faster": speedups[size],
        }
        rows.append(row)
    pairs = [
        (size, _number(row["condition [s]"]))
        for size, row in zip(sizes, rows, strict=True)
        if size >= SMALLEST_OF_LAW
    ]
    law = Law(math.nan, math.nan)
    if len(pairs) > 1:
        law = power_law([size**2 for size, _ in pairs], [t for _, t in pairs])
    largest = max(dense_sizes)
    notes = [
        f"From {SMALLEST_OF_LAW}x{SMALLEST_OF_LAW} on, seconds grow as pixels to the "
        f"power of {law.exponent:.2f} +- {law.standard_error:.2f} (least squares of "
        "the logarithms; the number of iterations is part of it).",
        "condition: `gp.condition` in float32 with its default tolerance, everything "
        "included (reach, embedding, choice of form); median of the calls after a "
        "first one, which compiles. Its FFTs: as many pairs of rfft2 and irfft2 on the "
        "same torus as the iterations took, one a step in the field form and two for "
        "the weights, in one compiled loop. Peak: of a fresh process, above that of "
        "one that only starts JAX; it includes what compiling takes. On accelerators "
        "it is that of the device's memory.",
        f'dense: `method="dense"` (Cholesky), timed up to {largest}x{largest}; where '
        "it says cubic law, extrapolated from the largest timed, t = c n^3 in the n "
        "observed pixels, whether or not the matrices would fit into memory.",
    ]
    summary = {
        "exponent": law.exponent,
        "exponent_standard_error": law.standard_error,
        "dense_seconds": {str(size): t for size, (_, t) in measured.items()},
    }
    title = "A posterior mean behind a 50 % random mask, by size"
    return timing.write_report(folder, "gp_scaling", title, rows, notes, summary)


def _number(cell: object) -> float:
    assert isinstance(cell, float)
    return cell


def main(arguments: Sequence[str]) -> None:
    """Reads the flags and writes the report."""
    if len(arguments) > 1:
        raise app.UsageError(f"{arguments[1]}: expected flags only")
    if MEMORY_OF.value is not None:
        jax.block_until_ready(jnp.zeros(1))
        if MEMORY_OF.value > 0:
            jax.block_until_ready(condition(problem(MEMORY_OF.value), "automatic"))
        timing.tell_device_memory()
        return
    sizes = [int(size) for size in IMAGE_SIZES.value]
    dense_sizes = [int(size) for size in DENSE_SIZES.value]
    if not sizes or not dense_sizes:
        raise app.UsageError(
            "--image_sizes, --dense_sizes: expected at least one size each"
        )
    print(run(sizes, dense_sizes, REPEATS.value, Path(timing.RESULTS_DIR.value)))


if __name__ == "__main__":
    app.run(main)
