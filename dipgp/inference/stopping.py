"""Rules that choose an iteration of a run without knowing the truth.

A deep image prior fits the image first and the noise later, so its quality rises and
falls. A rule sees the output of each iteration and remembers the best by its own score.
It does not end the run: it says when it would have, so that one run serves all rules.

    rule = windowed_variance(window=100, patience=1000)
    state = rule.init(output)
    state = rule.update(state, iteration, output)    # at each iteration, compiled

A choice stands from the moment the rule stops; until then it is the best so far.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dipgp import numerics
from dipgp.observations import Observation, mean_squared_error
from dipgp.observations.observation import check_observation

Array = jax.Array
OutputLike = Array | jax.ShapeDtypeStruct
# From a rule's memory and an output to a score, the smaller the better, and the memory.
Measure = Callable[[Any, Array], tuple[Array, Any]]


class Stopping(NamedTuple):
    """What a rule has seen.

    Attributes:
      best_iteration: () int32, the choice; -1 before any output was judged.
      best_score: () its score; infinity before.
      best_output: the output of the choice; zero before.
      score: () of the last output; infinity where it was not judged.
      stopped: () bool, whether the rule would have ended the run.
      stopped_at: () int32, the iteration at which; -1 before.
      memory: what the rule itself remembers.
    """

    best_iteration: Array
    best_score: Array
    best_output: Array
    score: Array
    stopped: Array
    stopped_at: Array
    memory: Any


class Rule(NamedTuple):
    """A stopping rule: a pair of pure functions.

    Attributes:
      init: from something of the outputs' shape and dtype to the state before them.
      update: (state, iteration, output) -> state. Iterations are any numbers that
        increase; patience is counted in them.
    """

    init: Callable[[OutputLike], Stopping]
    update: Callable[[Stopping, jax.typing.ArrayLike, Array], Stopping]


def least_score(score: Callable[[Array], Array], patience: int) -> Rule:
    """Chooses the output of least score; stops when none was lower for a while.

    Prechelt, "Early stopping - but when?", 1998.

    Args:
      score: from an output to a scalar, the smaller the better.
      patience: iterations without a lower score after which the rule stops.

    Raises:
      ValueError: on a patience below 1.
    """
    numerics.check_whole_number("patience", patience, least=1)

    def measure(memory: Any, output: Array) -> tuple[Array, Any]:
        return score(output), memory

    return _rule(lambda like: (), measure, patience=patience)


def _identity(output: Array) -> Array:
    return output


def held_out_error(
    held_out: Observation,
    patience: int = 1000,
    forward: Callable[[Array], Array] = _identity,
) -> Rule:
    """Chooses the least mean squared error at pixels that the fit does not see.

    With independent noise this error is, in expectation, the error against the truth
    plus the variance of the noise; the latter is the same for all outputs.

    Args:
      held_out: the pixels kept from the fit: an observation with the second mask of
        `hold_out` in the place of its own.
      patience: iterations without a lower error after which the rule stops.
      forward: from an output to what the observation sees of it, before the mask.

    Raises:
      ValueError: on a patience below 1.
    """
    return least_score(
        lambda output: mean_squared_error(held_out, forward(output)), patience
    )


def hold_out(key: Array, mask: Array, fraction: float) -> tuple[Array, Array]:
    """Splits the observed pixels at random into those to fit and those to judge by.

    Args:
      key: decides which.
      mask: (H, W), true or non-zero where a pixel is observed; at least two are.
      fraction: share of the observed pixels to hold out, in (0, 1), to the nearest
        number of pixels that leaves at least one on each side.

    Returns:
      The masks of the fit and of what is held out, in the mask's shape and dtype. They
      are disjoint, and together the mask.

    Raises:
      ValueError: on a fraction out of range, a mask that is not (H, W), or, outside of
        a trace, fewer than two observed pixels.
    """
    numerics.check_key("key", key)
    numerics.check_between("fraction", fraction, 0, 1)
    numerics.check_finite("mask", mask)
    mask = jnp.asarray(mask)
    if mask.ndim != 2:
        raise ValueError(f"mask: expected shape (H, W), got {mask.shape}")
    seen = mask != 0
    count = jnp.sum(seen)
    if not numerics.is_traced(count) and count < 2:
        raise ValueError(f"mask: expected at least two observed pixels, got {count}")
    held = jnp.clip(jnp.round(fraction * count), 1, count - 1)
    lots = jnp.where(seen, jax.random.uniform(key, mask.shape), jnp.inf)
    rank = jnp.argsort(jnp.argsort(lots.ravel())).reshape(mask.shape)
    out = seen & (rank < held)
    nothing = jnp.zeros_like(mask)
    return jnp.where(out, nothing, mask), jnp.where(out, mask, nothing)


def discrepancy(
    observation: Observation,
    tau: float = 1.0,
    forward: Callable[[Array], Array] = _identity,
) -> Rule:
    """Stops at the first output that is as close to the data as the truth is.

    The score is the mean over the observed pixels and channels of
    ((values - output) / noise_std)^2, and the rule stops where it is at most tau
    (Morozov, "On the solution of functional equations by the method of regularization",
    1966; for iterations: Engl, Hanke and Neubauer, "Regularization of Inverse
    Problems", 1996, section 6.1). At the truth the score is 1 with a standard deviation
    of sqrt(2 / n) for n values, 0.4 % in a grey image of 256x256: for images the
    default of 1 needs no margin. Noise that was clipped has less than its variance;
    give what is left of it.

    Args:
      observation: what was seen, with the noise that is in it.
      tau: positive; larger stops earlier.
      forward: from an output to what the observation sees of it, before the mask.

    Raises:
      ValueError: on a tau that is not positive.
    """
    check_observation(observation)
    numerics.check_positive("tau", tau)
    noise = observation.noise_std[:, :, None]
    scaled = observation._replace(values=observation.values / noise)

    def measure(memory: Any, output: Array) -> tuple[Array, Any]:
        return mean_squared_error(scaled, forward(output) / noise), memory

    return _rule(lambda like: (), measure, target=tau)


class _Window(NamedTuple):
    outputs: Array
    oldest: Array  # the content of the slot that is written next
    mean: Array
    variance: Array
    seen: Array
    kept: Array


def windowed_variance(window: int = 100, patience: int = 1000, stride: int = 1) -> Rule:
    """Chooses where the outputs of a moving window vary least (ES-WMV).

    Var(t) = 1/W sum_{w<W} |x_{t-w} - mean(t)|^2 / n, with mean(t) the window's mean and
    n the pixels times channels: outputs settle when the image has been fitted and move
    again with the noise (Wang et al., "Early stopping for deep image prior", 2021).
    As in their program, the choice is the window's newest output, and the
    first is judged when the window is full.

    The window lies on the device: window / stride times the size of an output, 315 MB
    for 100 colour images of 512x512 in float32. An output x that takes the place of x'
    moves mean and variance by

        mean <- mean + d / W,   Var <- Var + <d, x - mean + x' - mean'> / (W n)

    with d = x - x' and mean' the mean before (Welford's recurrence, 1962, for a value
    replaced). Unlike running sums of squares this does not subtract large numbers, and
    once in each window both are computed afresh.

    Args:
      window: W, in outputs seen.
      patience: iterations without a lower variance after which the rule stops.
      stride: only every so many outputs count, and are judged; divides the window.

    Raises:
      ValueError: on numbers below 1, a stride that does not divide the window, or fewer
        than two outputs in it.
    """
    for name, value in (("patience", patience), ("stride", stride)):
        numerics.check_whole_number(name, value, least=1)
    numerics.check_whole_number("window", window, least=2)
    if window % stride or window < 2 * stride:
        raise ValueError(
            f"window: expected a multiple of the stride, {stride}, of at least "
            f"{2 * stride}, got {window}"
        )
    slots = window // stride

    def init(like: OutputLike) -> _Window:
        return _Window(
            outputs=jnp.zeros((slots, *like.shape), like.dtype),
            oldest=jnp.zeros(like.shape, like.dtype),
            mean=jnp.zeros(like.shape, like.dtype),
            variance=jnp.zeros((), like.dtype),
            seen=jnp.zeros((), jnp.int32),
            kept=jnp.zeros((), jnp.int32),
        )

    def afresh(outputs: Array, mean: Array, variance: Array) -> tuple[Array, Array]:
        mean = jnp.mean(outputs, axis=0)
        return mean, jnp.mean(jnp.square(outputs - mean[None]))

    def measure(memory: _Window, output: Array) -> tuple[Array, _Window]:
        due = memory.seen % stride == 0
        # Where nothing is due, an output takes its own place and all stays as it is.
        new = jnp.where(due, output, memory.oldest)
        # Written first and read after: compiled, the window stays where it is.
        outputs = memory.outputs.at[memory.kept % slots].set(new)
        kept = memory.kept + due
        change = new - memory.oldest
        mean = memory.mean + change / slots
        shift = change * ((new - mean) + (memory.oldest - memory.mean))
        variance = memory.variance + jnp.mean(shift) / slots
        mean, variance = jax.lax.cond(
            due & (kept % slots == 0),
            afresh,
            lambda outputs, mean, variance: (mean, variance),
            outputs,
            mean,
            variance,
        )
        score = jnp.where(due & (kept >= slots), variance, jnp.inf)
        oldest = outputs[kept % slots]
        return score, _Window(outputs, oldest, mean, variance, memory.seen + 1, kept)

    return _rule(init, measure, patience=patience)


class _Moving(NamedTuple):
    mean: Array
    variance: Array
    seen: Array


def exponential_variance(
    weight: float = 0.1, patience: int = 1000, warm_up: int = 100
) -> Rule:
    """Chooses where the exponential moving variance is least (ES-EMV).

    With the difference d = x - m from the moving average,

        v <- (1 - weight) (v + weight |d|^2 / n),   m <- m + weight d

    which is the variance around m of all outputs so far, the newest weighted by
    `weight` and older ones geometrically less, the first by the rest (Wang et al.,
    "Early stopping for deep image prior", 2021, with weight 0.1; Finch,
    "Incremental calculation of weighted mean and variance", 2009). It takes one image
    of memory where `windowed_variance` takes a window.

    Args:
      weight: in (0, 1); 2 / (W + 1) has the mean age of a window of W.
      patience: iterations without a lower variance after which the rule stops.
      warm_up: outputs that are not judged, since the variance starts at 0 and the first
        weigh too much; their program skips 100.

    Raises:
      ValueError: on numbers out of range.
    """
    numerics.check_between("weight", weight, 0, 1)
    numerics.check_whole_number("patience", patience, least=1)
    numerics.check_whole_number("warm_up", warm_up, least=1)

    def init(like: OutputLike) -> _Moving:
        return _Moving(
            jnp.zeros(like.shape, like.dtype),
            jnp.zeros((), like.dtype),
            jnp.zeros((), jnp.int32),
        )

    def measure(memory: _Moving, output: Array) -> tuple[Array, _Moving]:
        difference = jnp.where(memory.seen == 0, 0, output - memory.mean)
        spread = jnp.mean(jnp.square(difference))
        variance = (1 - weight) * (memory.variance + weight * spread)
        mean = jnp.where(memory.seen == 0, output, memory.mean + weight * difference)
        score = jnp.where(memory.seen < warm_up, jnp.inf, variance)
        return score, _Moving(mean, variance, memory.seen + 1)

    return _rule(init, measure, patience=patience)


def gap_to_best(psnr_trace: np.typing.ArrayLike, iteration: int) -> float:
    """What a choice costs against the best output of the run, where the truth is known.

    Args:
      psnr_trace: (T,) decibels of each iteration's output against the truth, from
        iteration 0.
      iteration: the choice, `int(state.best_iteration)`.

    Returns:
      Decibels, at least 0.

    Raises:
      ValueError: where the trace is not one row of numbers, or nothing was chosen in
        it.
    """
    numerics.check_finite("psnr_trace", psnr_trace)
    trace = np.asarray(psnr_trace, np.float64)
    if trace.ndim != 1:
        raise ValueError(
            f"psnr_trace: expected finite numbers of shape (T,), got {trace}"
        )
    numerics.check_whole_number("iteration", iteration, least=0)
    if not 0 <= iteration < trace.size:
        raise ValueError(
            f"iteration: expected one of psnr_trace's {trace.size}, got {iteration}"
        )
    return float(np.max(trace) - trace[iteration])


def _rule(
    remember: Callable[[OutputLike], Any],
    measure: Measure,
    *,
    patience: int | None = None,
    target: float | None = None,
) -> Rule:
    """Keeps the least score; stops by patience or at a target."""

    def init(like: OutputLike) -> Stopping:
        return Stopping(
            best_iteration=jnp.full((), -1, jnp.int32),
            best_score=jnp.full((), jnp.inf, like.dtype),
            best_output=jnp.zeros(like.shape, like.dtype),
            score=jnp.full((), jnp.inf, like.dtype),
            stopped=jnp.zeros((), bool),
            stopped_at=jnp.full((), -1, jnp.int32),
            memory=remember(like),
        )

    def update(
        state: Stopping, iteration: jax.typing.ArrayLike, output: Array
    ) -> Stopping:
        iteration = jnp.asarray(iteration, jnp.int32)
        score, memory = measure(state.memory, output)
        score = score.astype(state.score.dtype)
        # A score that is not a number is never lower.
        better = ~state.stopped & (score < state.best_score)
        best = jnp.where(better, iteration, state.best_iteration)
        ends = jnp.zeros((), bool)
        if patience is not None:
            ends |= (best >= 0) & (iteration - best >= patience)
        if target is not None:
            ends |= score <= target
        return Stopping(
            best_iteration=best,
            best_score=jnp.where(better, score, state.best_score),
            best_output=jnp.where(better, output, state.best_output),
            score=score,
            stopped=state.stopped | ends,
            stopped_at=jnp.where(ends & ~state.stopped, iteration, state.stopped_at),
            memory=memory,
        )

    return Rule(init, update)
