"""What conditioning on an image costs as it grows, beside its FFTs and beside Cholesky.

A photograph in grey and in colour, half of its pixels dropped at random, noise_std
0.01, under the covariance of a network of depth 4 on Gaussian-filtered noise:

  python -m benchmarks.gp_scaling
  python -m benchmarks.gp_scaling --image_sizes=64,128,256 --dense_sizes=32,64
  python -m benchmarks.gp_scaling --image_sizes=128 --colour_sizes=2048

Solver, FFTs and Cholesky are timed one after the other in one process.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from benchmarks import flags_only, timing
from dipgp import architecture, gp, images, kernels
from dipgp.gp import dense, field, posterior, weights
from dipgp.gp.system import System

IMAGE_SIZES = flags.DEFINE_list(
    "image_sizes", ["64", "128", "256", "512", "1024", "2048"], "Sides of the images."
)
COLOUR_SIZES = flags.DEFINE_list(
    "colour_sizes", ["512", "2048"], "Sides of the images in three colours."
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
MEMORY_IN_COLOUR = flags.DEFINE_bool(
    "memory_in_colour", False, "The same image in three colours."
)

NOISE_STD = 0.01
# Below this the overhead of calls shows in the times.
SMALLEST_OF_LAW = 128
# Arrays of fewer MiB are not seen in a process's peak.
LEAST_ARRAY = 1.0
# Arrays of this side weigh nothing beside what compiling takes.
SMALL = 32
MEBIBYTE = 2**20
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


def photograph(size: int, colour: bool = False) -> np.ndarray:
    """(size, size), or 3 times that: a crop, mirrored beyond the photograph."""
    whole = images.sample_image()
    values = np.pad(
        whole if colour else whole.mean(axis=2, keepdims=True),
        [*((0, max(size - side, 0)) for side in whole.shape[:2]), (0, 0)],
        mode="symmetric",
    )
    down, right = ((side - size) // 2 for side in values.shape[:2])
    crop = values[down : down + size, right : right + size].astype(np.float32)
    return crop if colour else crop[:, :, 0]


def problem(size: int, colour: bool = False) -> Problem:
    """A photograph behind a random mask."""
    values = photograph(size, colour).reshape(size, size, -1)
    key_noise, key_mask = jax.random.split(jax.random.key(0))
    noisy = images.add_noise(key_noise, values, NOISE_STD, clip=False)
    mask = images.drop_pixels(key_mask, (size, size), 0.5)
    net = architecture.conv_net(depth=4)
    k = kernels.normalize(kernels.covariance(net, kernels.gaussian(2.0)))
    seen = np.asarray(noisy)
    return Problem(k, seen if colour else seen[:, :, 0], np.asarray(mask))


def condition(problem: Problem, method: posterior.Method) -> gp.Posterior:
    """The call that is timed, as a user writes it."""
    return gp.condition(*problem, NOISE_STD, method=method)


def fourier_transforms(
    shape: tuple[int, int], pairs: int, channels: int = 1
) -> Callable[[], jax.Array]:
    """A call that does so many FFTs of a torus, each followed by its inverse."""

    @jax.jit
    def run(image: jax.Array, pairs: int) -> jax.Array:
        def pair(_: int, image: jax.Array) -> jax.Array:
            return jnp.fft.irfft2(jnp.fft.rfft2(image), s=shape)

        return jax.lax.fori_loop(0, pairs, pair, image)

    noise = jax.random.normal(jax.random.key(1), (channels, *shape))
    return functools.partial(run, noise, pairs)


def measure_solver(size: int, repeats: int, colour: bool = False) -> dict[str, object]:
    """Times the solver and its FFTs at one size, and tells its memory."""
    given = problem(size, colour)
    run = functools.partial(condition, given, "automatic")
    first = timing.seconds(run)
    found = run()
    if not found.info.converged:
        raise RuntimeError(f"{size}x{size}: {found.info.advice}")
    # Channels go as one batch: all of them take part in the steps of the slowest.
    steps = int(np.max(found.info.iterations))
    form = found.system.form
    assert found.system.tori is not None
    torus, channels = found.system.tori.size, len(found.system.covariances)
    transforms = fourier_transforms(torus, PAIRS_A_STEP[form] * steps, channels)
    timed = timing.compare(run, transforms, repeats)
    array = channels * math.prod(torus) * found.mean.dtype.itemsize / MEBIBYTE
    planned = planned_memory(found.system) / MEBIBYTE / array
    peak, small = peak_memory(size, colour), peak_memory(SMALL, colour)
    return {
        "pixels": "x".join(map(str, found.mean.shape)),
        "form": form,
        "torus": "x".join(map(str, torus)),
        "iterations": steps,
        "condition [s]": timed.one,
        "first call [s]": first,
        "its FFTs [s]": timed.other,
        "over FFTs": timed.ratio,
        "peak [MiB]": peak,
        "of a small image [MiB]": small,
        "array [MiB]": array,
        "arrays": (peak - small) / array if array >= LEAST_ARRAY else None,
        "arrays planned": planned,
    }


def planned_memory(system: System) -> float:
    """Bytes of the compiled solver: what it is given, what it makes, and in between."""
    solve = weights.solve if system.form == "weights" else field.solve
    data = system.data(system.observation.values)
    program = solve.lower(system.seen, data, system.limits).compile()
    plan = program.memory_analysis()
    if plan is None:  # which some devices' compilers do not tell
        return math.nan
    return float(
        plan.argument_size_in_bytes
        + plan.output_size_in_bytes
        + plan.temp_size_in_bytes
    )


def peak_memory(size: int, colour: bool = False) -> float:
    """Of a fresh process that conditions one image, above that of JAX alone, in MiB."""
    return max(_peak(size, colour) - _peak(0, False), 0.0)


@functools.cache
def _peak(size: int, colour: bool) -> float:
    arguments = [f"--memory_of={size}", f"--memory_in_colour={colour}"]
    return timing.peak_memory_mib("benchmarks.gp_scaling", arguments)


def measure_dense(sizes: Sequence[int], repeats: int) -> dict[int, tuple[int, float]]:
    """Observed pixels and seconds of a dense solve at each size."""
    measured = {}
    for size in sizes:
        given = problem(size)
        run = functools.partial(condition, given, "dense")
        seconds = timing.measure(run, min(repeats, 3)).median
        measured[size] = (int(given.mask.sum()), seconds)
    return measured


def seconds_by_cubic_law(
    pixels: int, measured: Mapping[int, tuple[int, float]]
) -> float:
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
    sizes: Sequence[int],
    colour_sizes: Sequence[int],
    dense_sizes: Sequence[int],
    repeats: int,
    folder: Path,
) -> str:
    """Measures at all sizes and writes the report.

    Args:
      sizes: sides of the images in grey.
      colour_sizes: sides of those in colour.
      dense_sizes: sides of those that are factorised as well.
      repeats: calls timed.
      folder: of the report.

    Returns:
      The report as Markdown.
    """
    measured = measure_dense(dense_sizes, repeats)
    rows: list[dict[str, object]] = []
    for size, colour in [
        *((size, False) for size in sizes),
        *((size, True) for size in colour_sizes),
    ]:
        row = measure_solver(size, repeats, colour)
        if not colour:
            row |= _beside_dense(size, row, measured)
        # In colour nothing is factorised: columns of the rows before stay empty.
        rows.append(dict.fromkeys(rows[0] if rows else ()) | row)
        # After each, so that what is done is kept.
        told = _report(sizes, rows, measured, folder)
    return told


def _beside_dense(
    size: int, row: Mapping[str, object], measured: Mapping[int, tuple[int, float]]
) -> dict[str, object]:
    """What Cholesky takes for the image of a row."""
    if size in measured:
        by_cholesky, source = measured[size][1], "measured"
    else:
        observed = int(problem(size).mask.sum())
        by_cholesky, source = seconds_by_cubic_law(observed, measured), "cubic law"
    return {
        "dense [s]": by_cholesky,
        "dense by": source,
        "dense [GiB]": dense.memory_gib(size**2 // 2, np.float32),
        "times faster": by_cholesky / _number(row["condition [s]"]),
    }


def _report(
    sizes: Sequence[int],
    rows: Sequence[Mapping[str, object]],
    measured: Mapping[int, tuple[int, float]],
    folder: Path,
) -> str:
    """Writes what is there so far; rows in colour come behind those of all sizes."""
    pairs = [
        (size, _number(row["condition [s]"]))
        for size, row in zip(sizes, rows, strict=False)
        if size >= SMALLEST_OF_LAW
    ]
    law = Law(math.nan, math.nan)
    if len(pairs) > 1:
        law = power_law([size**2 for size, _ in pairs], [t for _, t in pairs])
    largest = max(measured)
    notes = [
        f"From {SMALLEST_OF_LAW}x{SMALLEST_OF_LAW} on, seconds in grey grow as pixels "
        "to the "
        f"power of {law.exponent:.2f} +- {law.standard_error:.2f} (least squares of "
        "the logarithms; the number of iterations is part of it).",
        "condition: `gp.condition` in float32 with its default tolerance, everything "
        "included (reach, embedding, choice of form); median of the calls after a "
        "first one, which compiles. Its FFTs: as many pairs of rfft2 and irfft2 on the "
        "same torus as the iterations took, one a step in the field form and two for "
        "the weights, in one compiled loop, of all channels at once.",
        "Peak: of a fresh process, above that of one that only starts JAX; most of a "
        f"small image's, {SMALL}x{SMALL} pixels, is what compiling takes. What a "
        "larger one takes beyond is told in arrays, one number for each channel and "
        "pixel of the torus. Planned are those that the compiled solver has at once: "
        "covariances and data that it is given, the mean, and in between solution, "
        "residual, direction and right-hand side of the iteration, the product with "
        "its steps, and the field's coefficients. The rest are the covariance on its "
        "lags before, copies of the image, and what FFTs need for themselves. On "
        "accelerators peaks are those of the device's memory.",
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


def main() -> None:
    """Reads the flags and writes the report."""
    if MEMORY_OF.value is not None:
        jax.block_until_ready(jnp.zeros(1))
        if MEMORY_OF.value > 0:
            given = problem(MEMORY_OF.value, MEMORY_IN_COLOUR.value)
            jax.block_until_ready(condition(given, "automatic"))
        timing.tell_device_memory()
        return
    sizes = [int(size) for size in IMAGE_SIZES.value]
    dense_sizes = [int(size) for size in DENSE_SIZES.value]
    if not sizes or not dense_sizes:
        raise app.UsageError(
            "--image_sizes, --dense_sizes: expected at least one size each"
        )
    colour_sizes = [int(size) for size in COLOUR_SIZES.value]
    folder = Path(timing.RESULTS_DIR.value)
    print(run(sizes, colour_sizes, dense_sizes, REPEATS.value, folder))


if __name__ == "__main__":
    flags_only.run(main)
