"""The compiled loop that runs any method and collects what it gives, on the device.

    progress = begin(method, parameters, key, output_like, plan.rules)
    advance = compile_advance(method, plan, length=100)
    progress, trace = advance(progress)      # again and again, until the end

`length` steps are one program: a `lax.scan`, its buffers donated, nothing copied to the
host in between. Step t draws from `fold_in(key, t)`, so that a run which is cut into
other lengths, or interrupted and continued, gives the same numbers.
"""

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dipgp import numerics
from dipgp.inference import descent, guard, stopping
from dipgp.inference.method import Method, Parameters, State
from dipgp.inference.schedules import Schedule
from dipgp.summaries import moments

Array = jax.Array
#: From an output to a scalar.
Score = Callable[[Array], Array]

# A snapshot to go back to is taken once in so many steps.
_STEPS_A_SNAPSHOT = 10


def equal_weights(iteration: jax.typing.ArrayLike) -> Array:
    """1, whatever the iteration."""
    return jnp.ones_like(iteration, dtype=float)


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """What is collected along the way, and what is watched.

    Attributes:
      fit: decibels of an output's fit to the data, which must not collapse.
      tolerance_db: how far the fit may fall before the run is put back.
      burn_in: steps whose outputs are no samples.
      thinning: steps from one sample to the next.
      sample_weight: of the sample of an iteration; its step size, where that shrinks.
      average_decay: of the exponential average of outputs.
      read_at: steps after which output and average are kept apart.
      scores: numbers of interest, by name. They are taken of the output, of the
        average (name_average) and of the mean of the samples (name_mean).
      rules: that choose among the outputs, by name.
    """

    fit: Score
    tolerance_db: float = 5.0
    burn_in: int = 0
    thinning: int = 1
    sample_weight: Schedule = equal_weights
    average_decay: float = 0.99
    read_at: int = 0
    scores: Mapping[str, Score] = field(default_factory=dict)
    rules: Mapping[str, stopping.Rule] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises ValueError, naming the attribute, on a number out of range."""
        for name, least in (("burn_in", 0), ("thinning", 1), ("read_at", 0)):
            numerics.check_whole_number(name, getattr(self, name), least)
        numerics.check_fraction("average_decay", self.average_decay)
        tolerance_db = self.tolerance_db
        # Infinity puts back what is no number alone.
        if not (isinstance(tolerance_db, float) and tolerance_db == math.inf):
            numerics.check_positive("tolerance_db", tolerance_db, scalar=True)


class Collected(NamedTuple):
    """What has come out of a run so far, put back together with its parameters.

    Attributes:
      average: exponential average of the outputs.
      samples: streaming moments of the outputs after burn-in.
    """

    average: descent.Average
    samples: moments.Moments


class Choice(NamedTuple):
    """What a stopping rule has chosen so far.

    Attributes:
      rule: the rule's state; iterations count from 0.
      average: exponential average of the outputs at the choice.
    """

    rule: stopping.Stopping
    average: Array


class Progress(NamedTuple):
    """A run between two steps: all that is needed to go on.

    Attributes:
      taken: () int32, steps made; those that were put back count too.
      key: of the whole run.
      state: the method's.
      collected: see `Collected`.
      guard: what the run is put back to where its fit collapses.
      output: of the last step.
      reading: output and average after `Plan.read_at` steps.
      choices: of the plan's rules, by name. They are not put back with the run: a
        rule judges every output that there was.
    """

    taken: Array
    key: Array
    state: State
    collected: Collected
    guard: guard.Guard
    output: Array
    reading: tuple[Array, Array]
    choices: dict[str, Choice]


#: By name, one number a step.
Trace = dict[str, Array]


def begin(
    method: Method,
    parameters: Parameters,
    key: Array,
    output_like: Array | jax.ShapeDtypeStruct,
    rules: Mapping[str, stopping.Rule] | None = None,
) -> Progress:
    """A run before its first step.

    Args:
      method: see `dipgp.inference.method`.
      parameters: where to start; copied, so that the loop may overwrite its buffers.
      key: of all draws.
      output_like: an output, or its `jax.ShapeDtypeStruct`.
      rules: the plan's.

    Returns:
      The run; a pytree of arrays of fixed shapes.
    """
    # As one program: each of many small ones would stay in memory, compiled.
    like = jax.ShapeDtypeStruct(output_like.shape, output_like.dtype)
    blank = functools.partial(_blank, method, like, rules or {})
    return jax.jit(blank)(parameters, key)


def _blank(
    method: Method,
    like: jax.ShapeDtypeStruct,
    rules: Mapping[str, stopping.Rule],
    parameters: Parameters,
    key: Array,
) -> Progress:
    state = method.init(parameters)
    collected = Collected(
        descent.average_init(like), moments.empty(like.shape, like.dtype)
    )
    none = jnp.zeros(like.shape, like.dtype)
    progress = Progress(
        taken=jnp.zeros((), jnp.int32),
        key=key,
        state=state,
        collected=collected,
        guard=guard.start((state, collected), like.dtype),
        output=none,
        reading=(none, none),
        choices={name: Choice(rule.init(like), none) for name, rule in rules.items()},
    )
    # A buffer that occurs twice, or that the caller holds, cannot be overwritten.
    return jax.tree.map(jnp.copy, progress)


def step(method: Method, plan: Plan, progress: Progress) -> tuple[Progress, Trace]:
    """One step, and what it shows.

    Args:
      method: see `dipgp.inference.method`.
      plan: what is collected and watched.
      progress: the run before the step.

    Returns:
      The run after it, and () numbers by name, which are "loss", "fit", "returns" (how
      often the run was put back), the plan's scores and those of its rules.
    """
    key = jax.random.fold_in(progress.key, progress.taken)
    before = (progress.state, progress.collected)
    state, info = method.step(key, progress.state)
    since = progress.taken - plan.burn_in
    counts = (since >= 0) & (since % plan.thinning == 0)
    weight = jnp.where(counts, plan.sample_weight(progress.state.iteration), 0.0)
    collected = Collected(
        descent.average_add(
            progress.collected.average, info.output, plan.average_decay
        ),
        moments.add(progress.collected.samples, info.output, weight),
    )
    fit = plan.fit(info.output)
    (state, collected), watched = guard.watch(
        progress.guard,
        before,
        (state, collected),
        fit,
        refresh=progress.taken % _STEPS_A_SNAPSHOT == 0,
        tolerance_db=plan.tolerance_db,
    )
    trace = {"loss": info.loss, "fit": fit, "returns": watched.returns}
    average, mean = collected.average.value, collected.samples.mean
    for name, score in plan.scores.items():
        trace[name] = score(info.output)
        trace[f"{name}_average"] = score(average)
        trace[f"{name}_mean"] = jnp.where(
            collected.samples.weight > 0, score(mean), jnp.nan
        )
    choices = {}
    for name, rule in plan.rules.items():
        old = progress.choices[name]
        new = rule.update(old.rule, progress.taken, info.output)
        chosen = new.best_iteration != old.rule.best_iteration
        choices[name] = Choice(new, jnp.where(chosen, average, old.average))
        trace[name] = new.score
    taken = progress.taken + 1
    reading = jax.tree.map(
        lambda old, new: jnp.where(taken == plan.read_at, new, old),
        progress.reading,
        (info.output, average),
    )
    advanced = Progress(
        taken,
        progress.key,
        state,
        collected,
        watched,
        info.output,
        reading,
        choices,
    )
    return advanced, trace


def compile_advance(
    method: Method, plan: Plan, length: int
) -> Callable[[Progress], tuple[Progress, Trace]]:
    """Compiles a number of steps into one program.

    Args:
      method: see `dipgp.inference.method`.
      plan: what is collected and watched.
      length: steps, at least 1.

    Returns:
      From a run to the run `length` steps later and (length,) numbers by name. The
      buffers of what it is given are used again: they are gone afterwards.

    Raises:
      ValueError: on a length below 1.
    """
    return jax.jit(scan_steps(method, plan, length), donate_argnums=0)


def scan_steps(
    method: Method, plan: Plan, length: int
) -> Callable[[Progress], tuple[Progress, Trace]]:
    """The same before compilation, for those who run several chains in one program."""
    if length < 1:
        raise ValueError(f"length: expected at least 1, got {length}")

    def scan_body(progress: Progress, _: None) -> tuple[Progress, Trace]:
        return step(method, plan, progress)

    def advance(progress: Progress) -> tuple[Progress, Trace]:
        return jax.lax.scan(scan_body, progress, None, length=length)

    return advance
