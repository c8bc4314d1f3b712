"""Figure 6 by the covariance of random networks of finite width, estimated from draws.

The paper drew 660,000 networks, one picture each. Here the read-out, a 1x1 convolution
of C channels h, is integrated out, so that a network gives a whole matrix,

    E[f(s) f(t) | h] = sigma_w^2 / C sum_c h_c(s) h_c(t) + sigma_b^2

up to a factor and a constant, which the evidence and the unknown level take care of.
Matrices of blocks of 1, 10, 100, ... networks are averages of those ten times smaller,
and are judged as they come: nothing but a matrix for each size is in memory.
"""

import functools
import io
import time
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.figure6_evidence import AnyCovariance, Restored, restore_both_ways
from benchmarks.figure6_lags import mean_by_lag
from benchmarks.figure6_problem import Problem
from benchmarks.figure6_processes import hourglass
from dipgp import networks
from dipgp.files import write_atomically
from dipgp.networks.read_out import split_read_out
from dipgp.progress import Report
from experiments.cells import Cell, Cells

Array = jax.Array
Shape = tuple[int, int]

INPUTS = {
    "uniform": "new noise from U(0, 0.1) for each network, as in the paper",
    "normal": "new normal noise for each network",
    "fixed": "one draw from U(0, 0.1) for all networks",
}
# So many blocks of a size are judged, for the standard error.
REPEATS = 3
# Networks whose matrices the device sums before the host hears of them, at most.
LARGEST_PIECE = {"cpu": 10, "elsewhere": 1000}
_SECONDS_BETWEEN_FILES = 60


def block_sizes(count: int) -> list[int]:
    """1, 10, 100, ... up to a number of networks, and the number itself."""
    sizes = [10**power for power in range(len(str(count)))]
    return sizes if sizes[-1] == count else [*sizes, count]


def block_name(channels: int, size: int, number: int) -> str:
    """Of the cell of a block."""
    return f"{channels} channels, {size} networks, block {number + 1}"


def estimate(
    problem: Problem,
    channels: int,
    count: int,
    kind: str,
    key: Array,
    cells: Cells,
    folder: Path,
    report: Report,
) -> dict[int, list[Cell]]:
    """Restores with the covariances of blocks of networks.

    Args:
      problem: the data.
      channels: of the networks.
      count: of networks, a digit and zeros.
      kind: of the input, a key of `INPUTS`.
      key: of all draws; network i depends on the key and i alone.
      cells: that are done; what is missing is added.
      folder: for the sums so far, which go when all is done.
      report: is told how far it is.

    Returns:
      For each size of blocks the cells of up to `REPEATS` of them.
    """
    sizes = block_sizes(count)
    names = {
        size: [
            block_name(channels, size, number)
            for number in range(min(count // size, REPEATS))
        ]
        for size in sizes
    }
    path = folder / f"sums_{channels}_{count}.npz"
    if not all(name in cells for group in names.values() for name in group):
        reach = networks.interior(hourglass(channels)).reach
        for size, number, covariance, seconds in _blocks(
            problem.image.shape, channels, sizes, kind, key, path, report
        ):
            if number < len(names[size]):
                cells.get(
                    names[size][number],
                    functools.partial(_judge, problem, covariance, reach, seconds),
                    report,
                )
        path.unlink(missing_ok=True)
    return {size: [cells[name] for name in names[size]] for size in sizes}


def _judge(
    problem: Problem, covariance: np.ndarray, reach: float, seconds: float, _: Report
) -> Cell:
    """Restorations by the matrix itself, and by its mean by lag."""
    stationary = mean_by_lag(covariance, problem.image.shape, reach)
    judged: dict[str, AnyCovariance]
    judged = {"matrix": covariance, "mean by lag": stationary}
    return {
        "seconds": seconds,
        **{
            name: {
                noise: list(each)
                for noise, each in restore_both_ways(one, problem).items()
            }
            for name, one in judged.items()
        },
    }


def read(cell: Cell, name: str, noise: str) -> Restored:
    """A restoration out of a cell."""
    return Restored(*cell[name][noise])


def _blocks(
    shape: Shape,
    channels: int,
    sizes: list[int],
    kind: str,
    key: Array,
    path: Path,
    report: Report,
) -> Iterator[tuple[int, int, np.ndarray, float]]:
    """Size, number, covariance, and seconds that drawing such a block takes."""
    pixels = shape[0] * shape[1]
    sums = np.zeros((len(sizes), pixels, pixels), np.float32)
    done, spent, kept = 0, 0.0, time.monotonic()
    if path.exists():
        with np.load(path) as found:
            done, spent, sums[:] = (
                int(found["done"]),
                float(found["spent"]),
                found["sums"],
            )
    draw = functools.partial(sum_of_covariances, shape, channels, kind, key)
    compiled = 0
    while done < sizes[-1]:
        first_level = _first_level(sizes, done)
        piece = sizes[first_level]
        if piece != compiled:
            jax.block_until_ready(draw(0, piece))
            compiled = piece
        begun = time.monotonic()
        total = np.array(draw(done, piece))
        spent += time.monotonic() - begun
        done += piece
        report(f"{done} of {sizes[-1]} networks", done / sizes[-1])
        for level, size in enumerate(sizes[first_level:], first_level):
            sums[level] += total
            if done % size:
                break
            yield size, done // size - 1, sums[level] / size, size * spent / done
            total = sums[level].copy()
            sums[level] = 0
        if time.monotonic() - kept > _SECONDS_BETWEEN_FILES:
            content = io.BytesIO()
            np.savez(content, done=done, spent=spent, sums=sums)
            write_atomically(path, content.getvalue())
            kept = time.monotonic()


def _first_level(sizes: list[int], done: int) -> int:
    """Which of the sizes the device may draw at once.

    Until the blocks of a size that are judged are done, the next size is put together
    from them.
    """
    platform = jax.default_backend()
    largest = LARGEST_PIECE.get(platform, LARGEST_PIECE["elsewhere"])
    whole = [
        level
        for level, size in enumerate(sizes[:-1])
        if REPEATS * size <= done and size <= largest
    ]
    return max(whole, default=0)


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 5))
def sum_of_covariances(
    shape: Shape,
    channels: int,
    kind: str,
    key: Array,
    first: jax.typing.ArrayLike,
    count: int,
) -> Array:
    """Of `covariance_of_one` over `count` networks from the first on: (P, P)."""

    def add(index: Array, total: Array) -> Array:
        return total + covariance_of_one(shape, channels, kind, key, first + index)

    pixels = shape[0] * shape[1]
    return jax.lax.fori_loop(0, count, add, jnp.zeros((pixels, pixels)))


def covariance_of_one(
    shape: Shape, channels: int, kind: str, key: Array, number: jax.typing.ArrayLike
) -> Array:
    """What one random network's output covaries by, over its read-out: (P, P).

    Args:
      shape: (H, W) of the P pixels.
      channels: of the hourglass.
      kind: of its input, a key of `INPUTS`.
      key: of all networks.
      number: of this one.
    """
    hidden, read_out = split_read_out(hourglass(channels))
    assert read_out is not None
    assert read_out.kernel_size == 1
    network = networks.build(hidden, initialisation="gaussian_process")
    fixed, drawn = jax.random.split(key)
    key_input, key_weights = jax.random.split(jax.random.fold_in(drawn, number))
    z = _input(kind, fixed if kind == "fixed" else key_input, shape)
    features = network.apply(network.init(key_weights, z), z)
    features = features.reshape(shape[0] * shape[1], -1)
    covariance = features @ features.T / features.shape[1]
    return read_out.weight_variance * covariance + read_out.bias_variance


def _input(kind: str, key: Array, shape: Shape) -> Array:
    if kind == "normal":
        return networks.gaussian_input(key, shape, 32, 0.0)
    return networks.uniform_input(key, shape)
