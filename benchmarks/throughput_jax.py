"""Our side of `benchmarks.throughput`: compiled programs of many steps.

The runs are put together as `experiments.network_recipe` does it, from the library
alone: the experiments' flags belong to them.
"""

import functools
import time
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.throughput_cases import LEARNING_RATE, SAMPLER, Case, Data, Langevin
from dipgp.inference import chains, descent, guard, langevin, loop, stopping
from dipgp.inference.method import Method, Objective, Parameters
from dipgp.networks import Network
from dipgp.observations import log_likelihood, mean_squared_error

Array = jax.Array
# "bare" is a descent of which nothing is collected and that nothing watches, and
# "bfloat16" the same in half precision.
Run = Literal["descent", "bare", "bfloat16", "psgld"]
_BARE = ("bare", "bfloat16")
# What a program is given and gives back, and the data.
Carry = tuple[Any, Data]


def method(case: Case, run: Run, data: Data, sampler: Langevin = SAMPLER) -> Method:
    """How a run steps."""
    network = _network(case, run)
    if run != "psgld":
        loss = _loss(network, data)
        return descent.descend(loss, descent.adam(LEARNING_RATE))
    preconditioner = langevin.RootMeanSquare(
        frozen_after=sampler.frozen_after,
        decay=sampler.decay,
        epsilon=sampler.epsilon,
        maximum=sampler.maximum,
        floored=True,
    )
    return langevin.sgld(
        _log_density(network, data),
        sampler.step_size,
        temperature=sampler.temperature,
        preconditioner=preconditioner,
        momentum=sampler.momentum,
    )


def _network(case: Case, run: Run) -> Network:
    if run == "bfloat16":
        return case.network(compute_dtype="bfloat16")
    return case.network("gaussian_process" if run == "psgld" else "reference")


def _loss(network: Network, data: Data) -> Objective:
    def loss(parameters: Parameters, key: Array) -> tuple[Array, Array]:
        del key
        image = network.apply(parameters, data.z)
        return mean_squared_error(data.observation, image), image

    return loss


def _log_density(network: Network, data: Data) -> Objective:
    def log_density(parameters: Parameters, key: Array) -> tuple[Array, Array]:
        del key
        image = network.apply(parameters, data.z)
        likelihood = log_likelihood(data.observation, image)
        return likelihood + network.log_prior(parameters), image

    return log_density


def plan(run: Run, data: Data) -> loop.Plan:
    """What experiments collect by default; only descents have rules to stop by."""
    rules = {}
    if run == "descent":
        rules["windowed_variance"] = stopping.windowed_variance(100, 1000, stride=5)
        rules["discrepancy"] = stopping.discrepancy(data.observation)
    return loop.Plan(
        fit=lambda image: guard.fit_in_decibels(data.observation, image),
        burn_in=0 if run == "psgld" else 2_000,
        scores={
            "psnr": lambda image: (
                -10 * jnp.log10(jnp.mean(jnp.square(image - data.truth)))
            )
        },
        rules=rules,
    )


@functools.lru_cache
def advance(case: Case, run: Run, length: int) -> chains.Advance:
    """So many steps, one after the other, as one function of arrays alone."""

    def collected(carry: Carry) -> tuple[Carry, loop.Trace]:
        progress, data = carry
        steps = loop.scan_steps(method(case, run, data), plan(run, data), length)
        progress, trace = steps(progress)
        return (progress, data), trace

    def bare(carry: Carry) -> tuple[Carry, loop.Trace]:
        (key, state), data = carry
        step = method(case, run, data).step

        def body(state: Any, _: None) -> tuple[Any, Array]:
            state, info = step(jax.random.fold_in(key, state.iteration), state)
            return state, info.loss

        state, losses = jax.lax.scan(body, state, length=length)
        return ((key, state), data), {"loss": losses}

    return bare if run in _BARE else collected


def begin(case: Case, run: Run, data: Data, key: Array) -> Carry:
    """A run before its first step, in buffers of its own."""
    key_weights, key_run = jax.random.split(key)
    start = _network(case, run).init(key_weights, data.z)
    found = method(case, run, data)
    if run in _BARE:
        return _copy((key_run, found.init(start))), _copy(data)
    rules = plan(run, data).rules
    return loop.begin(found, start, key_run, data.truth, rules), _copy(data)


@jax.jit
def _copy(arrays: Any) -> Any:
    return jax.tree.map(jnp.copy, arrays)


class Program:
    """A compiled run, which each call takes so many steps further.

    Attributes:
      compile_seconds: that tracing and compiling took.
      mebibytes: that the program needs on its device: what it is given, what it gives
        and what it computes on the way; None where the compiler does not say.
    """

    def __init__(
        self, case: Case, run: Run, length: int, data: Data, key: Array
    ) -> None:
        self._carry = begin(case, run, data, key)
        begun = time.perf_counter()
        program = jax.jit(advance(case, run, length), donate_argnums=0)
        self._compiled = program.lower(self._carry).compile()
        self.compile_seconds = time.perf_counter() - begun
        self.mebibytes = _mebibytes(self._compiled)

    def __call__(self) -> float:
        """Waits until the device is done; returns the last step's loss."""
        self._carry, trace = self._compiled(self._carry)
        return float(np.asarray(trace["loss"])[-1])


class Chains:
    """Chains of the sampler at once, as `dipgp.inference.chains` runs them."""

    def __init__(
        self,
        case: Case,
        count: int,
        length: int,
        data: Data,
        key: Array,
        how: chains.How,
    ) -> None:
        self._how = how
        self._advance = advance(case, "psgld", length)
        each = [begin(case, "psgld", data, one) for one in jax.random.split(key, count)]
        self._carries = jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)

    def __call__(self) -> float:
        """Waits until the device is done; returns the largest of the last losses."""
        self._carries, trace = chains.run_chains(
            self._advance, self._carries, how=self._how
        )
        return float(np.asarray(trace["loss"])[:, -1].max())


def loss_and_gradients(case: Case, variables: Parameters, data: Data) -> Any:
    """((loss, image), gradients) in full single precision."""
    loss = _loss(case.network(), data)
    program = jax.jit(jax.value_and_grad(loss, has_aux=True))
    with jax.default_matmul_precision("highest"):
        return program(variables, jax.random.key(0))


def _mebibytes(compiled: jax.stages.Compiled) -> float | None:
    found = compiled.memory_analysis()
    if found is None:
        return None
    total = found.argument_size_in_bytes + found.output_size_in_bytes
    total += found.temp_size_in_bytes - found.alias_size_in_bytes
    return total / 2**20
