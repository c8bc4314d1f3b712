"""Driving compiled runs from the host: signs of life, checkpoints, interruptions.

The host hears of a run once in `log_every` iterations; all that lies between is one
compiled program.
"""

import functools
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dipgp import devices
from dipgp.devices import Mesh
from dipgp.inference import chains, loop
from dipgp.inference.checkpoint import CheckpointError, Checkpoints
from dipgp.inference.guard import GAVE_UP
from dipgp.inference.interruption import Clock, Interruption
from dipgp.progress import Report
from dipgp.summaries import diagnostics, moments
from experiments.common import UserError
from experiments.network_recipe import Data, Recipe
from experiments.network_settings import Running
from experiments.restoration import Interrupted

# Every so many pixels along each axis are diagnosed; all would take minutes.
_DIAGNOSED = 8

# What keys are for; each is folded from the seed's by its number.
WEIGHTS, RUN = range(2)
LAST_KEY = RUN


class Outcome(NamedTuple):
    """Runs as the host sees them, and what a checkpoint holds.

    Attributes:
      progress: with a leading axis of chains.
      trace: by name, (chains, iterations); NaN where the runs have not been.
      samples: (chains, draws, H, W, C); as the chains lie, where several processes
        share them.
      drawn: () how many of the draws are there.
      seconds: () spent so far.
    """

    progress: loop.Progress
    trace: dict[str, np.ndarray]
    samples: np.ndarray | jax.Array
    drawn: np.ndarray
    seconds: np.ndarray


class Verdict(NamedTuple):
    """What became of a run.

    Attributes:
      converged: whether it stood to the end.
      message: what happened, with advice.
    """

    converged: bool
    message: str


def drive(
    recipe: Recipe,
    data: Data,
    chain_count: int,
    key: jax.Array,
    running: Running,
    folder: Path | None,
    configuration: Mapping[str, Any],
    report: Report,
    mesh: Mesh | None = None,
) -> tuple[Outcome, Verdict]:
    """Runs all iterations, from the start or from a checkpoint.

    Args:
      recipe: what to do.
      data: on what.
      chain_count: how many chains, which start and draw differently.
      key: of all draws.
      running: what does not change the numbers.
      folder: of the checkpoints; None for none.
      configuration: what a checkpoint must have in common with the run.
      report: is told how far the run is.
      mesh: devices that share the chains; where they are of several processes, these
        call this together.

    Returns:
      The runs at their end, and what became of them. Where processes share the chains,
      each has all in NumPy but the weights, which stay where they are.

    Raises:
      Interrupted: on SIGTERM or SIGINT of any process, after a checkpoint was written.
      UserError: where there is a checkpoint that cannot be used, or processes do not
        agree on the configuration.
    """
    others = devices.dissenting(json.dumps(configuration, default=str), mesh)
    if others:
        raise UserError(
            "expected the same image and settings in all processes, got others than "
            f"process 0's in {', '.join(map(str, others))}; try --noise_std=, if the "
            "noise was estimated"
        )
    iterations = recipe.settings.iterations
    progress, stacked = _begin(recipe, data, chain_count, key, mesh)
    outcome = _blank(recipe, data, progress, running, mesh)
    checkpoints = None
    if folder is not None and running.checkpoint_minutes > 0:
        checkpoints = Checkpoints(folder, configuration)
        if running.resume:
            outcome = _restored(checkpoints, outcome)
        else:
            checkpoints.forget()
        clock = Clock(every_minutes=running.checkpoint_minutes)
    begun = time.monotonic() - float(outcome.seconds)
    count = int(devices.gather(outcome.progress.taken)[0])
    verdict = Verdict(True, "ran to the end")

    with Interruption() as interruption:
        while count < iterations:
            length = min(running.log_every, iterations - count)
            outcome, stacked, piece = _advance(
                recipe, outcome, stacked, count, length, mesh
            )
            count += length
            elapsed = time.monotonic() - begun
            outcome = _sampled(outcome, recipe.settings.burn_in, count, iterations)
            outcome = outcome._replace(seconds=np.asarray(elapsed))
            report(_news(piece, count, iterations, elapsed), count / iterations)
            verdict = _verdict(outcome, piece, count - length, running.on_divergence)
            over = count >= iterations or not verdict.converged
            due = checkpoints is not None and clock.due(count)
            # Clocks and signals of one process are news to the others.
            due, asked = devices.any_process(mesh, due, interruption.requested)
            if checkpoints and (due or over or asked):
                _save(checkpoints, count, outcome)
            if not verdict.converged:
                break
            if asked and not over:
                raise Interrupted(count, iterations, checkpoints is not None)
    return _readable(outcome, mesh), verdict


def pool(collected: moments.Moments) -> moments.Moments:
    """The moments of all chains together, from a leading axis of chains."""
    count = collected.weight.shape[0]
    each = [jax.tree.map(lambda leaf, i=i: leaf[i], collected) for i in range(count)]
    pooled = each[0]
    for other in each[1:]:
        pooled = moments.merge(pooled, other)
    return pooled


def diagnose(samples: np.ndarray) -> dict[str, float]:
    """Medians over pixels of R-hat and effective sample size, and the worst R-hat."""
    thinned = samples[:, :, ::_DIAGNOSED, ::_DIAGNOSED]
    mixing = diagnostics.diagnose(thinned)
    return {
        "rhat_median": float(np.nanmedian(mixing.rhat)),
        "rhat_largest": float(np.nanmax(mixing.rhat)),
        "effective_samples_median": float(np.nanmedian(mixing.bulk)),
    }


def _begin(
    recipe: Recipe, data: Data, chain_count: int, key: jax.Array, mesh: Mesh | None
) -> tuple[loop.Progress, Data]:
    """Chains before their first step and what each goes on, with an axis of chains.

    Each chain starts and draws from keys of its own.
    """
    network, method = recipe.network, recipe.method(data)
    rules = recipe.plan(data).rules
    key_weights, key_run = (jax.random.fold_in(key, use) for use in (WEIGHTS, RUN))

    def begin(chain: int) -> tuple[loop.Progress, Data]:
        start = network.init(jax.random.fold_in(key_weights, chain), data.z)
        like = jax.eval_shape(network.apply, start, data.z)
        key_chain = jax.random.fold_in(key_run, chain)
        return loop.begin(method, start, key_chain, like, rules), data

    if mesh is not None:
        return devices.spread(begin, chain_count, mesh)
    each = [begin(chain) for chain in range(chain_count)]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)


def _blank(
    recipe: Recipe,
    data: Data,
    progress: loop.Progress,
    running: Running,
    mesh: Mesh | None,
) -> Outcome:
    """A run of which nothing has happened yet, its arrays in their final shapes."""
    count, *shape = progress.output.shape
    one = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), progress
    )
    method, plan = recipe.method(data), recipe.plan(data)
    _, trace = jax.eval_shape(lambda run: loop.step(method, plan, run), one)
    iterations = recipe.settings.iterations
    draws, dtype = (running.samples, *shape), progress.output.dtype
    samples: np.ndarray | jax.Array
    if running.samples and mesh is not None and devices.spans_processes(mesh):
        samples = devices.spread(lambda _: jnp.zeros(draws, dtype), count, mesh)
    else:
        samples = np.zeros((count, *draws), dtype)
    return Outcome(
        progress=progress,
        trace={name: np.full((count, iterations), np.nan) for name in trace},
        samples=samples,
        drawn=np.zeros((), np.int64),
        seconds=np.zeros(()),
    )


def _save(checkpoints: Checkpoints, count: int, outcome: Outcome) -> None:
    try:
        checkpoints.save(count, outcome)
    except CheckpointError as error:
        raise UserError(f"--output_dir: {error}") from error


def _restored(checkpoints: Checkpoints, blank: Outcome) -> Outcome:
    try:
        found = checkpoints.restore(blank)
    except CheckpointError as error:
        raise UserError(f"--resume: {error}") from error
    if found is None:
        return blank
    for warning in found.warnings:
        print(f"Warning: {warning}", file=sys.stderr, flush=True)
    return found.state


@functools.lru_cache(maxsize=16)
def _scan(recipe: Recipe, length: int) -> chains.Advance:
    """One function a recipe and length: a compiled program is found by its identity."""

    def advance(
        carry: tuple[loop.Progress, Data],
    ) -> tuple[tuple[loop.Progress, Data], loop.Trace]:
        progress, data = carry
        steps = loop.scan_steps(recipe.method(data), recipe.plan(data), length)
        progress, trace = steps(progress)
        return (progress, data), trace

    return advance


def _advance(
    recipe: Recipe,
    outcome: Outcome,
    data: Data,
    count: int,
    length: int,
    mesh: Mesh | None,
) -> tuple[Outcome, Data, dict[str, np.ndarray]]:
    """Makes `length` steps after the first `count`; also gives their own trace."""
    carry = (outcome.progress, data)
    (progress, data), piece = chains.run_chains(_scan(recipe, length), carry, mesh)
    piece = devices.gather(piece)
    for name, values in piece.items():
        outcome.trace[name][:, count : count + length] = values
    return outcome._replace(progress=progress), data, piece


def _readable(outcome: Outcome, mesh: Mesh | None) -> Outcome:
    """On the host of every process what is read off a run, but for its weights."""
    if not devices.spans_processes(mesh):
        return outcome
    progress, read = outcome.progress, ("taken", "collected", "output", "reading")
    told = {
        name: devices.gather(getattr(progress, name)) for name in (*read, "choices")
    }
    samples = devices.gather(outcome.samples)
    return outcome._replace(progress=progress._replace(**told), samples=samples)


def _sampled(outcome: Outcome, burn_in: int, count: int, iterations: int) -> Outcome:
    """Keeps the latest outputs where one of the evenly spaced draws is due."""
    draws = outcome.samples.shape[1]
    if draws == 0 or count <= burn_in:
        return outcome
    due = (count - burn_in) * draws // (iterations - burn_in)
    if due <= outcome.drawn:
        return outcome
    samples, output = outcome.samples, outcome.progress.output
    if isinstance(samples, np.ndarray):
        samples = samples.copy()
        samples[:, due - 1] = devices.gather(output)
    else:
        samples = _with_draw(samples, output, due - 1)
    return outcome._replace(samples=samples, drawn=np.asarray(due))


@functools.partial(jax.jit, donate_argnums=0)
def _with_draw(samples: jax.Array, output: jax.Array, place: int) -> jax.Array:
    """Each device's samples, with its own chains' outputs among them."""
    return samples.at[:, place].set(output)


def _news(
    piece: Mapping[str, np.ndarray], count: int, iterations: int, elapsed: float
) -> str:
    rate = count / elapsed
    facts = [f"{count}/{iterations}", f"loss {np.mean(piece['loss'][:, -1]):.4g}"]
    facts += [
        f"{title} {np.mean(piece[name][:, -1]):.2f} dB"
        for name, title in (("psnr", "PSNR"), ("psnr_mean", "of the mean"))
        if name in piece and np.isfinite(piece[name][:, -1]).all()
    ]
    facts.append(f"{rate:.1f} it/s" if rate >= 1 else f"{1 / rate:.1f} s/it")
    return ", ".join(facts)


def _verdict(
    outcome: Outcome, piece: Mapping[str, np.ndarray], count: int, on_divergence: str
) -> Verdict:
    """Whether a period went well; it began after `count` steps."""
    broken = ~np.isfinite(piece["loss"])
    where = ""
    if broken.any():
        chain, step = np.argwhere(broken)[0]
        loss = piece["loss"][chain, step]
        where = f"; the loss was {loss:g} at iteration {count + step + 1}"
    guards = outcome.progress.guard
    codes = devices.gather(guards.code)
    if (codes == GAVE_UP).any():
        return Verdict(False, f"{guards._replace(code=codes.max()).advice}{where}")
    if on_divergence == "stop" and broken.any():
        return Verdict(
            False,
            f"diverged{where}; the last good state was kept; try a smaller "
            "--learning_rate or --step_size, or --on_divergence=roll_back",
        )
    return Verdict(True, "ran to the end")
