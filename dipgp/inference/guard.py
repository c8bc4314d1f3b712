"""Putting a run back to where it last stood well, when its fit to the data collapses.

Descent with a large learning rate, and more so with noise on the weights, now and then
falls out of the valley that it was in. The reference program for the deep image prior
(Ulyanov, Vedaldi and Lempitsky, 2018) watches the peak signal-to-noise ratio of the
output against what was observed, and where it is 5 dB lower than before takes the
parameters of the iteration before. Here all that a snapshot holds is put back: moments
of gradients and averages of outputs too, which would otherwise carry the collapse on.

A snapshot must not hold the random key, nor a counter from which keys are made: with
the same noise the same steps would fail again.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dipgp.observations import Observation, mean_squared_error

Array = jax.Array
# A pytree of arrays: all that is put back together.
Snapshot = Any

GUARDING, GAVE_UP = range(2)

_ADVICE = {
    GUARDING: "the fit to the data holds, or was put back whenever it fell",
    GAVE_UP: (
        "the fit to the data fell again and again from the same place, where the run "
        "now stands still; try a smaller learning rate or step size, or float64"
    ),
}


class Guard(NamedTuple):
    """A snapshot to go back to, and what is needed to know when.

    Attributes:
      saved: the snapshot.
      saved_fit: () decibels that were seen at the snapshot.
      fit: () decibels where the run last stood well.
      returned: () bool, whether the last thing that happened was a return.
      returns: () int32, all returns so far.
      repeats: () int32, returns to the present snapshot.
      code: () int32, GUARDING or GAVE_UP.
    """

    saved: Snapshot
    saved_fit: Array
    fit: Array
    returned: Array
    returns: Array
    repeats: Array
    code: Array

    @property
    def advice(self) -> str:
        """What happened, and what to do about it."""
        return _ADVICE[int(self.code)]


def fit_in_decibels(observation: Observation, output: Array) -> Array:
    """Peak signal-to-noise ratio of an output against what was observed, for a peak 1.

    -10 log10(mean of (values - output)^2 over the observed pixels and all channels).

    Args:
      observation: what was seen.
      output: (H, W, C) intensities.

    Returns:
      () decibels; NaN where the output is not finite, and at most about 380, so that an
      exact fit is a number.
    """
    error = mean_squared_error(observation, output)
    # jnp.maximum passes NaN on.
    return -10 * jnp.log10(jnp.maximum(error, jnp.finfo(error.dtype).tiny))


def start(snapshot: Snapshot, dtype: jax.typing.DTypeLike = jnp.float32) -> Guard:
    """A guard that goes back to the beginning until it has seen something better.

    Args:
      snapshot: before the first step. Its buffers are copied, so that a compiled loop
        may be given the guard and the run to overwrite.
      dtype: of the fits.
    """
    # Each scalar has a buffer of its own: one that occurs twice cannot be overwritten.
    return Guard(
        saved=jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), snapshot),
        saved_fit=jnp.full((), -jnp.inf, dtype),
        fit=jnp.full((), -jnp.inf, dtype),
        returned=jnp.zeros((), bool),
        returns=jnp.zeros((), jnp.int32),
        repeats=jnp.zeros((), jnp.int32),
        code=jnp.full((), GUARDING, jnp.int32),
    )


def watch(
    guard: Guard,
    before: Snapshot,
    after: Snapshot,
    fit: Array,
    refresh: jax.typing.ArrayLike = True,
    *,
    tolerance_db: jax.typing.ArrayLike = 5.0,
    limit: int = 10,
) -> tuple[Snapshot, Guard]:
    """Decides whether a step counts.

    A step tells how well the data fit *before* it moved, so it comes with two
    snapshots. Where the fit is not finite, or more than `tolerance_db` below the last
    good one, the run goes on from the saved snapshot and the step is forgotten.
    Otherwise the run goes on from `after`, and `before`, which has just proved itself,
    is saved where `refresh` says so.

    Saving rarely costs little: a step then reads what is put back and writes it, and
    copies nothing. What is lost in a fall is the way since the last saving. After
    `limit` returns to one and the same snapshot the guard gives up: it says so in its
    code, and from then on every step is forgotten, so that the run keeps the last state
    that was good.

    Args:
      guard: so far.
      before: the snapshot that `fit` was measured at.
      after: the snapshot after the step from there, of the same structure.
      fit: () decibels, see `fit_in_decibels`.
      refresh: () bool, whether `before` is worth saving: true every so many iterations.
      tolerance_db: a fall up to this is fluctuation; 5 in the reference program.
      limit: returns to one snapshot, at least 1.

    Returns:
      The snapshot to go on from, and the guard.

    Raises:
      ValueError: on a limit below 1.
    """
    if limit < 1:
        raise ValueError(f"limit: expected at least 1, got {limit}")
    fit = jnp.asarray(fit, guard.fit.dtype)
    good = jnp.isfinite(fit) & ~(guard.fit - fit > tolerance_db)
    stands = guard.code == GAVE_UP
    back = stands | ~good
    # Right after a return, what is measured is the saved snapshot itself.
    save = jnp.asarray(refresh, bool) & ~back & ~guard.returned
    fell = ~good & ~stands
    saved = _replace_where(save, guard.saved, before)
    saved_fit = jnp.where(save, fit, guard.saved_fit)
    repeats = jnp.where(save, 0, guard.repeats + fell)
    watched = Guard(
        saved=saved,
        saved_fit=saved_fit,
        # The way back up from an old snapshot is no fall.
        fit=jnp.where(back, saved_fit, fit),
        returned=back,
        returns=guard.returns + fell,
        repeats=repeats,
        code=jnp.where(repeats >= limit, GAVE_UP, guard.code),
    )
    go_on = jax.tree.map(lambda old, new: jnp.where(back, old, new), saved, after)
    return go_on, watched


def _replace_where(condition: Array, old: Snapshot, new: Snapshot) -> Snapshot:
    """Like jnp.where on pytrees, free of cost where the condition is false.

    A loop of no turns leaves its buffers where they are, which neither a select nor a
    conditional does inside a scan.
    """

    def replace(carry: tuple[Array, Snapshot]) -> tuple[Array, Snapshot]:
        return jnp.zeros_like(carry[0]), new

    return jax.lax.while_loop(lambda carry: carry[0], replace, (condition, old))[1]
