"""What a run on many devices takes: memory, traffic and efficiency, reckoned.

Nothing is run on them. States are measured by their shapes, working memory is what XLA
says of the compiled programs on the device at hand; bandwidths, latency and the time of
a step are told. For the reference's hourglass and one chain a device, then for draws of
a Gaussian process's posterior:

  python -m benchmarks.device_plan
  python -m benchmarks.device_plan --planned_side=256 --step_seconds=0.01

With one chain on each of K devices, B bytes of state and d of data a chain, w of
working memory, periods of L steps of t seconds in which S numbers a step are told, I
steps in all, and checkpoints every M seconds, where each device has a process of its
own, which writes to a storage that all see,

  memory of a device   B + d + w
  talk of a period     (S + 1) latency + 4 K L S bytes / link
  trace                8 K I S bytes, which the first process writes
  a checkpoint         the larger of (B + trace) / disk and (K B + trace) / storage,
                       while all wait
  efficiency           1 / (1 + talk / (L t) + checkpoint / M).
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from benchmarks.timing import environment
from dipgp import devices, gp, images, kernels
from dipgp.gp import conditional_draws
from dipgp.inference import loop
from dipgp.observations import Identity, observe
from experiments import network_options, reporting
from experiments.network_recipe import Data, Recipe
from experiments.network_settings import Running

SIDE = flags.DEFINE_integer("planned_side", 512, "Side of the image, in colour.")
STEP_SECONDS = flags.DEFINE_float(
    "step_seconds",
    0.025,
    "Time of a chain's step; by default 151 s / 6,000, of 768x512 pixels on an H100 "
    "(docs/results.md).",
)
LINK = flags.DEFINE_float("link_gb", 25.0, "Traffic between processes, GB a second.")
LATENCY = flags.DEFINE_float("latency_us", 100.0, "Of one exchange, microseconds.")
DISK = flags.DEFINE_float("disk_gb", 1.0, "Writing of one process, GB a second.")
STORAGE = flags.DEFINE_float(
    "storage_gb", 10.0, "Writing of all processes together, GB a second."
)
MINUTES = flags.DEFINE_float("plan_minutes", 10.0, "From one checkpoint to the next.")
DEVICES = (8, 64, 512)
# Draws whose equations a device solves together.
BATCH = 4


class Needs(NamedTuple):
    """Of one chain.

    Attributes:
      state: bytes of what it goes on from.
      data: bytes of the image and the network's input.
      scores: numbers told a step.
      steps: of the whole run.
      working: bytes that its program takes beside them.
    """

    state: int
    data: int
    scores: int
    steps: int
    working: int


def chain_needs(side: int) -> Needs:
    """Those of psgld with the reference's channels, in denoising."""
    settings = network_options.settings(
        "denoise", "paper", "psgld", {"step_size": 0.0045}
    )
    recipe = Recipe("psgld", settings, 3, Identity())
    values = jax.ShapeDtypeStruct((side, side, 3), np.float32)
    z = jax.ShapeDtypeStruct((side, side, settings.input_channels), np.float32)

    def begin(key: jax.Array, z: jax.Array, values: jax.Array) -> Any:
        data = Data(z, observe(values, noise_std=0.1), values)
        weights = recipe.network.init(key, z)
        like = jax.ShapeDtypeStruct(values.shape, values.dtype)
        return loop.begin(recipe.method(data), weights, key, like), data

    def advance(run: loop.Progress, data: Data) -> tuple[loop.Progress, loop.Trace]:
        steps = loop.scan_steps(recipe.method(data), recipe.plan(data), 2)
        return steps(run)

    run, data = jax.eval_shape(begin, jax.random.key(0), z, values)
    compiled = jax.jit(advance, donate_argnums=0).lower(run, data).compile()
    _, trace = jax.eval_shape(advance, run, data)
    return Needs(
        state=_bytes(run),
        data=_bytes(data),
        scores=len(trace),
        steps=settings.iterations,
        working=_working(compiled),
    )


def chain_row(count: int, needs: Needs) -> list[str]:
    """The plan for one chain on each of so many devices."""
    steps = Running().log_every
    told = 4 * count * steps * needs.scores
    talk = (needs.scores + 1) * LATENCY.value * 1e-6 + told / (LINK.value * 1e9)
    trace = 8 * count * needs.steps * needs.scores
    written = count * needs.state + trace
    first = needs.state + trace
    checkpoint = max(first / DISK.value, written / STORAGE.value) / 1e9
    waste = talk / (steps * STEP_SECONDS.value) + checkpoint / (60 * MINUTES.value)
    memory = needs.state + needs.data + needs.working
    return [
        str(count),
        _mib(memory),
        f"{told / 2**10:.0f} KiB",
        f"{1e3 * talk:.1f} ms",
        _mib(written),
        _mib(trace),
        f"{checkpoint:.1f} s",
        f"{100 / (1 + waste):.1f} %",
    ]


def draw_needs(side: int) -> tuple[int, int]:
    """Bytes that a device holds and works with to make `BATCH` draws at once."""
    key = jax.random.key(0)
    values = np.asarray(jax.random.uniform(key, (side, side, 3)), np.float32)
    mask = np.asarray(images.drop_pixels(key, (side, side), 0.5)) != 0
    prior = kernels.matern(1.5, 4.0)
    system = gp.condition(prior, values, mask, 0.1, reach=64, max_iterations=1).system
    mesh = devices.make_mesh(1)
    keys = jax.random.split(key, BATCH)[None]
    lowered = devices.map_shares.lower(conditional_draws.draw_share, keys, system, mesh)
    return _bytes(system), _working(lowered.compile())


def main(argv: Sequence[str]) -> None:
    """Prints the plans as Markdown."""
    del argv
    side = SIDE.value
    needs = chain_needs(side)
    parts = ", ".join(
        f"{_mib(size)} {name}"
        for name, size in needs._asdict().items()
        if name not in ("scores", "steps")
    )
    print(f"A chain on {side}x{side} pixels: {parts}; {needs.scores} numbers a step.\n")
    titles = ["devices", "memory of each", "told a period", "talk", "checkpoint"]
    titles += ["of it trace", "written in", "efficiency"]
    rows = [chain_row(count, needs) for count in DEVICES]
    print(reporting.markdown(titles, rows))
    held, working = draw_needs(side)
    image = 4 * 3 * side**2
    print(
        f"{BATCH} draws at once: {_mib(held)} of equations, {_mib(working)} working.\n"
    )
    rows = [
        [
            str(count),
            _mib(held + working + BATCH * image),
            _mib(BATCH * count * image),
            f"{BATCH * count * image / (LINK.value * 1e6):.1f} ms",
        ]
        for count in DEVICES
    ]
    titles = ["devices", "memory of each", f"{BATCH} draws of each", "gathered in"]
    print(reporting.markdown(titles, rows))
    print(", ".join(f"{name} {value}" for name, value in environment().items()))


def _bytes(tree: Any) -> int:
    return sum(math.prod(jnp.shape(x)) * _item_bytes(x) for x in jax.tree.leaves(tree))


def _item_bytes(leaf: Any) -> int:
    dtype = jnp.result_type(leaf)
    is_key = jnp.issubdtype(dtype, jax.dtypes.prng_key)
    return 8 if is_key else np.dtype(dtype).itemsize


def _working(compiled: jax.stages.Compiled) -> int:
    found = compiled.memory_analysis()
    return 0 if found is None else found.temp_size_in_bytes


def _mib(size: float) -> str:
    return f"{size / 2**30:.1f} GiB" if size > 2**30 else f"{size / 2**20:.0f} MiB"


if __name__ == "__main__":
    app.run(main)
