"""Restoration by the network itself: the posterior of its weights, sampled.

Preconditioned Langevin dynamics of the hourglass, as `experiments` run it
(`--method=psgld`): minutes to hours where the Gaussian process takes seconds. A chain
that is interrupted is kept beside the picture, and `--resume` goes on with it.
"""

import dataclasses
import hashlib
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dipgp import architecture, networks
from dipgp.command import memory
from dipgp.command.options import Order
from dipgp.command.problems import Problem
from dipgp.command.process import Restoration
from dipgp.inference import guard, langevin, loop, schedules
from dipgp.inference.checkpoint import CheckpointError, Checkpoints
from dipgp.inference.interruption import Clock, Interruption
from dipgp.inference.method import Method, Parameters
from dipgp.inference.protocols import PROTOCOLS, STEP_SIZE, Protocol
from dipgp.observations import Identity, LinearMap, Observation, log_likelihood
from dipgp.progress import Report
from dipgp.summaries import moments

Array = jax.Array

INPUT_CHANNELS = 32
STEPS_A_PROGRAM = 20
CHECKPOINT_MINUTES = 2.0
# Minutes that a chain takes of which something is said before.
WORTH_SAYING = 1.0
_REMEDY = "try --method=gp, or a part of the picture"
# What keys are for; each is folded from the order's.
_INPUT, _WEIGHTS, _RUN = range(3)


class _Data(NamedTuple):
    """The arrays of a chain.

    Attributes:
      z: (H, W, INPUT_CHANNELS) the network's input.
      observation: what is seen.
    """

    z: Array
    observation: Observation


@dataclasses.dataclass(frozen=True)
class _Recipe:
    """What a chain does; static, so that pictures of one size share a program.

    Attributes:
      protocol: how long and how fast.
      channels: of the picture.
      forward: from the picture to what is seen.
    """

    protocol: Protocol
    channels: int
    forward: LinearMap

    @property
    def network(self) -> networks.Network:
        """The hourglass."""
        channels = self.protocol.channels
        net = architecture.skip_net(
            len(channels),
            channels_down=channels,
            channels_up=channels,
            input_channels=INPUT_CHANNELS,
            output_channels=self.channels,
        )
        return networks.build(net, initialisation="gaussian_process")

    def method(self, data: _Data) -> Method:
        """Langevin dynamics on the posterior of the weights."""
        network = self.network

        def log_density(parameters: Parameters, key: Array) -> tuple[Array, Array]:
            del key  # nothing is drawn
            image = network.apply(parameters, data.z)
            likelihood = log_likelihood(data.observation, self.forward(image))
            return likelihood + network.log_prior(parameters), image

        return langevin.sgld(
            log_density,
            schedules.constant(STEP_SIZE),
            preconditioner=langevin.RootMeanSquare(
                frozen_after=self.protocol.frozen_after, floored=True
            ),
            momentum=self.protocol.momentum,
        )

    def plan(self, data: _Data) -> loop.Plan:
        """What is kept of a chain."""
        return loop.Plan(
            fit=lambda image: guard.fit_in_decibels(
                data.observation, self.forward(image)
            ),
            burn_in=self.protocol.burn_in,
            thinning=self.protocol.thinning,
        )


def protocol_of(order: Order) -> Protocol:
    """How long and how fast an order's chain goes.

    A chain that is told to be shorter than its preset keeps half of its samples.
    """
    enlarged = "super_resolve" if order.factor <= 4 else "super_resolve_x8"
    names = {"upscale": enlarged, "deblur": "super_resolve"}
    protocol = PROTOCOLS[names.get(order.task, order.task)][order.preset]
    iterations = order.iterations
    if iterations is None:
        return protocol
    burn_in = min(protocol.burn_in, iterations // 2)
    return dataclasses.replace(
        protocol,
        iterations=iterations,
        burn_in=burn_in,
        frozen_after=max(min(protocol.frozen_after, burn_in), 1),
    )


def announce(problem: Problem, protocol: Protocol) -> float:
    """Bytes of memory that a chain takes at the least, found without compiling.

    Most of it is what the network's layers keep for the derivative by its weights.

    Args:
      problem: the picture's.
      protocol: how long and how fast.

    Raises:
      ValueError: where that is more than there is.
    """
    forward = Identity() if problem.through is None else problem.through
    network = _Recipe(protocol, problem.shape[2], forward).network
    height, width, _ = problem.shape

    def kept(z: Array, key: Array) -> Any:
        _, derivative = jax.vjp(
            lambda parameters: network.apply(parameters, z), network.init(key, z)
        )
        return derivative

    z = jax.ShapeDtypeStruct((height, width, INPUT_CHANNELS), jnp.float32)
    arrays = jax.tree.leaves(jax.eval_shape(kept, z, jax.random.key(0)))
    total = float(sum(array.size * array.dtype.itemsize for array in arrays))
    memory.check(total, _words(problem), _REMEDY, problem.jobs)
    return total


def restore(
    problem: Problem,
    noise_std: float,
    protocol: Protocol,
    key: Array,
    folder: Path,
    resume: bool,
    report: Report,
    tell: Callable[[str], None],
) -> Restoration:
    """The mean and the standard deviations of a chain's samples.

    Args:
      problem: the picture's.
      noise_std: told or estimated.
      protocol: how long and how fast.
      key: of all draws.
      folder: of checkpoints; gone when the chain is over.
      resume: whether to go on from one.
      report: is told how far the chain is.
      tell: is told how long it takes, where that is long.

    Raises:
      ValueError: where memory would not do, or a checkpoint is another chain's.
      KeyboardInterrupt: where it was interrupted, after a checkpoint.
    """
    if not problem.noise_known:
        noise_std = max(noise_std, protocol.least_noise_std)
    observation = problem.observation
    observation = observation._replace(
        noise_std=jnp.full_like(observation.noise_std, noise_std)
    )
    forward = Identity() if problem.through is None else problem.through
    recipe = _Recipe(protocol, problem.shape[2], forward)
    key_input, key_weights, key_run = (
        jax.random.fold_in(key, use) for use in (_INPUT, _WEIGHTS, _RUN)
    )
    z = networks.uniform_input(key_input, problem.shape[:2], INPUT_CHANNELS)
    data = _Data(z.astype(observation.values.dtype), observation)
    start = recipe.network.init(key_weights, data.z)
    like = jax.eval_shape(recipe.network.apply, start, data.z)
    progress = loop.begin(recipe.method(data), start, key_run, like)
    checkpoints = Checkpoints(folder, _configuration(recipe, data, key))
    progress = _resumed(checkpoints, progress, resume)
    report("compiling the network")
    length = _steps_a_program(protocol)
    advance = _compiled(recipe, length, progress, data, problem)
    progress, code = _drive(
        lambda progress: advance(progress, data),
        protocol.iterations,
        progress,
        checkpoints,
        report,
        tell,
    )
    samples = progress.collected.samples
    enough = float(samples.weight) > 1
    average = samples.mean if enough else progress.collected.average.value
    mean, std = np.asarray(average)[problem.inner], None
    if enough:
        std = np.sqrt(np.asarray(moments.variance(samples)))[problem.inner]
    if code == guard.GAVE_UP:
        advice = "the chain fell again and again from the same place; try more --noise"
        return Restoration(mean, std, False, advice)
    if not enough:
        advice = "too short a chain to have samples; try more --iterations"
        return Restoration(mean, None, False, advice)
    return Restoration(mean, std, True, "ran to the end")


def _steps_a_program(protocol: Protocol) -> int:
    """The most that make up a chain in whole programs."""
    most = range(1, STEPS_A_PROGRAM + 1)
    return max(steps for steps in most if protocol.iterations % steps == 0)


def _drive(
    advance: Callable[[loop.Progress], tuple[loop.Progress, loop.Trace]],
    iterations: int,
    progress: loop.Progress,
    checkpoints: Checkpoints,
    report: Report,
    tell: Callable[[str], None],
) -> tuple[loop.Progress, int]:
    """Runs a chain to its end, and tells what its guard says."""
    count, begun, start = int(progress.taken), time.monotonic(), int(progress.taken)
    clock = Clock(every_minutes=CHECKPOINT_MINUTES)
    with Interruption() as interruption:
        while count < iterations:
            told = count > start
            progress, trace = advance(progress)
            count += len(trace["fit"])
            fit = float(trace["fit"][-1])
            report(f"{count}/{iterations}, fit {fit:.2f} dB", count / iterations)
            if not told:
                each = (time.monotonic() - begun) / (count - start)
                _tell_time(each, iterations - count, tell)
            if int(progress.guard.code) == guard.GAVE_UP:
                break
            if interruption.requested and count < iterations:
                checkpoints.save(count, progress)
                raise KeyboardInterrupt
            if clock.due(count):
                checkpoints.save(count, progress)
    shutil.rmtree(checkpoints.folder, ignore_errors=True)
    return progress, int(progress.guard.code)


def _tell_time(each: float, steps: int, tell: Callable[[str], None]) -> None:
    """Says what the steps left will take, from the seconds that each one took."""
    minutes = each * steps / 60
    if minutes < WORTH_SAYING:
        return
    long = f"{minutes:.0f} minutes" if minutes < 90 else f"{minutes / 60:.1f} hours"
    tell(f"{steps} steps of the network take about {long}, {each:.2g} s each")


def _compiled(
    recipe: _Recipe,
    length: int,
    progress: loop.Progress,
    data: _Data,
    problem: Problem,
) -> Callable[[loop.Progress, _Data], tuple[loop.Progress, loop.Trace]]:
    """A program of `length` steps, whose first argument's buffers are used again.

    Raises:
      ValueError: where it takes more memory than there is.
    """

    def advance(
        progress: loop.Progress, data: _Data
    ) -> tuple[loop.Progress, loop.Trace]:
        steps = loop.scan_steps(recipe.method(data), recipe.plan(data), length)
        return steps(progress)

    program = jax.jit(advance, donate_argnums=0).lower(progress, data).compile()
    analysis = program.memory_analysis()
    if analysis is not None:
        needed = float(analysis.temp_size_in_bytes)
        memory.check(needed, _words(problem), _REMEDY, problem.jobs)
    return program


def _words(problem: Problem) -> str:
    height, width, _ = problem.shape
    return f"a chain on {width}x{height} pixels"


def _resumed(
    checkpoints: Checkpoints, progress: loop.Progress, resume: bool
) -> loop.Progress:
    """Where an interrupted chain was, if it is to go on and there is one."""
    if not resume:
        checkpoints.forget()
        return progress
    try:
        found = checkpoints.restore(progress)
    except CheckpointError as error:
        raise ValueError(f"--resume: {error}; delete {checkpoints.folder}") from error
    return progress if found is None else found.state


def _configuration(recipe: _Recipe, data: _Data, key: Array) -> Mapping[str, Any]:
    """What a checkpoint must have in common with the chain that goes on from it."""
    seen = hashlib.sha256()
    for array in data.observation:
        seen.update(np.ascontiguousarray(array).tobytes())
    return {
        "observation": seen.hexdigest(),
        "key": np.asarray(jax.random.key_data(key)).tolist(),
        "forward": repr(recipe.forward),
        **dataclasses.asdict(recipe.protocol),
    }
