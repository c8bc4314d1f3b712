"""The parts of `benchmarks.throughput`: what is timed of one hourglass."""

import dataclasses
import functools
import gc
import math
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, get_args

import jax

from benchmarks import throughput_agreement, throughput_jax, timing
from benchmarks.throughput_agreement import Agreement, PyTorch
from benchmarks.throughput_cases import Case, Data, draw_data
from benchmarks.throughput_turns import Contender, row, take_turns
from dipgp.inference import chains

ALONE = ("nothing", "ours", "pytorch")
_STEPS_ALONE = 3


class Settings(NamedTuple):
    """What is timed of each hourglass.

    Attributes:
      parts: among `PARTS`, in this order.
      steps: in a call.
      repeats: timed calls of each contender.
      chain_counts: chains at once.
      compiled: whether torch.compile, and on GPUs CUDA graphs, are timed too.
    """

    parts: Sequence[str]
    steps: int
    repeats: int
    chain_counts: Sequence[int]
    compiled: bool = False


@dataclass
class Record:
    """What was found so far.

    Attributes:
      rows: of the report.
      agreements: of the networks of both libraries, by hourglass.
      failures: what went wrong.
    """

    rows: list[dict[str, object]] = field(default_factory=list)
    agreements: dict[str, Agreement] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    _begun: float = field(default_factory=time.monotonic)

    def say(self, text: str) -> None:
        """A sign of life."""
        print(f"[{time.monotonic() - self._begun:4.0f} s] {text}", flush=True)

    @contextmanager
    def attempt(self, what: str) -> Iterator[None]:
        """Notes a failure, which must not cost the figures of what comes after it."""
        try:
            yield
        except Exception as error:
            traceback.print_exc()
            first = (str(error).splitlines() or [""])[0]
            self.failures.append(f"{what}: {type(error).__name__}: {first[:200]}")


@dataclass(frozen=True)
class Trial:
    """One hourglass in both libraries, and where to write down what is found."""

    case: Case
    data: Data
    variables: Any
    key: jax.Array
    settings: Settings
    pytorch: PyTorch | None
    record: Record

    def ours(self, run: throughput_jax.Run) -> Contender:
        """One of our programs, compiled."""
        steps = self.settings.steps
        program = throughput_jax.Program(self.case, run, steps, self.data, self.key)
        self.record.say(f"  {run} compiled in {program.compile_seconds:.1f} s")
        return Contender(program, steps, program.compile_seconds, program.mebibytes)

    def theirs(self, kind: str, **settings: Any) -> Contender:
        """One of PyTorch's, warm: a class of `benchmarks.throughput_pytorch`."""
        assert self.pytorch is not None
        module, device = self.pytorch.module, self.pytorch.device
        make = functools.partial(
            getattr(module, kind),
            self.case,
            self.variables,
            self.data,
            device,
            **settings,
        )
        layout = module.faster_layout(make)
        program = make(steps=self.settings.steps, layout=layout)
        program()
        self.record.say(f"  PyTorch's {kind} is warm, {layout}")
        return Contender(
            program, self.settings.steps, None, program.mebibytes(), layout
        )

    def race(
        self,
        contenders: dict[str, Contender],
        pairs: Sequence[tuple[str, str | None]],
    ) -> None:
        """Times all in turn; a row for each pair of those that are there."""
        turns = take_turns(contenders, self.settings.repeats)
        for own, other in pairs:
            found = row(contenders, turns, own, other)
            self.record.rows.append({"hourglass": str(self.case), **found})
            told = "" if other is None else f", {found['ratio']:.2f} times {other}"
            self.record.say(f"  {own}: {found['ours [steps/s]']:.3g} steps/s{told}")
        for name, loss in turns.losses.items():
            if not math.isfinite(loss):
                what = f"{self.case}, {name}: its loss became {loss}"
                self.record.failures.append(what)


def _descent(trial: Trial) -> None:
    contenders = {
        "descent": trial.ours("descent"),
        "bare descent": trial.ours("bare"),
        "bare, bfloat16": trial.ours("bfloat16"),
    }
    kinds: dict[str, dict[str, Any]] = {}
    if trial.pytorch is not None:
        kinds["PyTorch"] = {}
        kinds["PyTorch, bfloat16"] = {"precision": "bfloat16"}
        if trial.settings.compiled:
            kinds["PyTorch, torch.compile"] = {"compiled": True}
            if jax.default_backend() == "gpu":
                kinds["PyTorch, CUDA graph"] = {"graphed": True}
                both = {"compiled": True, "graphed": True}
                kinds["PyTorch, torch.compile and CUDA graph"] = both
    own = list(contenders)
    others: list[str] = []
    for name, settings in kinds.items():
        with trial.record.attempt(f"{trial.case}, {name}"):
            contenders[name] = trial.theirs("Descent", **settings)
            others.append(name)
    beside: list[str | None] = [*others] or [None]
    pairs = [(one, other) for one in own for other in beside]
    trial.race(contenders, [*pairs, ("bare, bfloat16", "bare descent")])


def _psgld(trial: Trial) -> None:
    contenders = {"psgld": trial.ours("psgld"), "descent": trial.ours("descent")}
    if trial.pytorch is not None:
        with trial.record.attempt(f"{trial.case}, psgld in PyTorch"):
            contenders["PyTorch"] = trial.theirs("Sampler")
    others = [name for name in ("PyTorch", "descent") if name in contenders]
    trial.race(contenders, [("psgld", other) for other in others])


def _chains(trial: Trial) -> None:
    contenders = {}
    steps = trial.settings.steps
    kinds: list[tuple[int, chains.How]] = [
        (count, how)
        for count in trial.settings.chain_counts
        for how in (get_args(chains.How) if count > 1 else ("map",))
    ]
    for count, how in kinds:
        name = f"psgld, {count} chains by {how}" if count > 1 else "psgld, 1 chain"
        with trial.record.attempt(f"{trial.case}, {name}"):
            program = throughput_jax.Chains(
                trial.case, count, steps, trial.data, trial.key, how
            )
            begun = time.perf_counter()
            program()
            first = time.perf_counter()
            program()
            # The first call compiles, the second does not.
            spent = (first - begun) - (time.perf_counter() - first)
            trial.record.say(f"  {name} compiled in {spent:.1f} s")
            contenders[name] = Contender(program, count * steps, spent)
    if contenders:
        one, *more = contenders
        trial.race(contenders, [(several, one) for several in more] or [(one, None)])


def _memory(trial: Trial) -> None:
    """Peaks of fresh processes, where memory is that of the processor."""
    if jax.default_backend() != "cpu":
        return
    flag = f"--hourglasses={trial.case.name}:{trial.case.size}"

    def peak(kind: str, **environment: str) -> float:
        arguments = [flag, f"--alone={kind}"]
        return timing.peak_memory_mib("benchmarks.throughput", arguments, environment)

    nothing = peak("nothing")
    beside: dict[str, object] = {}
    if trial.pytorch is not None:
        theirs = round(max(peak("pytorch") - nothing, 0))
        beside = {"beside": "PyTorch", "beside [MiB]": theirs}
    with tempfile.TemporaryDirectory() as folder:
        for name in ("descent, process", "descent, process, kept program"):
            # The second finds the program that the first compiled.
            own = peak("ours", JAX_COMPILATION_CACHE_DIR=folder) - nothing
            found = {"ours": name, "ours [MiB]": round(max(own, 0))}
            trial.record.rows.append({"hourglass": str(trial.case), **found, **beside})


PARTS: dict[str, Callable[[Trial], None]] = {
    "descent": _descent,
    "psgld": _psgld,
    "chains": _chains,
    "memory": _memory,
}


def time_all(
    cases: Sequence[Case],
    settings: Settings,
    pytorch: PyTorch | None,
    record: Record,
    done: Callable[[], object],
) -> None:
    """Part by part, and in each case by case.

    Args:
      cases: networks and sizes.
      settings: what to time.
      pytorch: beside which.
      record: is added to.
      done: called after each part of each case.
    """
    trials: dict[Case, Trial] = {}
    for name in settings.parts:
        for case in cases:
            record.say(f"{case}: {name}")
            with record.attempt(f"{case}, {name}"):
                if case not in trials:
                    trials[case] = _prepare(case, settings, pytorch, record)
                PARTS[name](trials[case])
            done()
            # What is next needs the memory.
            gc.collect()


def _prepare(
    case: Case, settings: Settings, pytorch: PyTorch | None, record: Record
) -> Trial:
    key_data, key_weights, key_run = jax.random.split(jax.random.key(0), 3)
    data = draw_data(case, key_data)
    variables = case.network().init(key_weights, data.z)
    if pytorch is not None:
        with record.attempt(f"{case}, comparison"):
            found = throughput_agreement.compare(case, variables, data, pytorch)
            record.agreements[str(case)] = found
            record.say(f"  differences: {found.output:.1e}, {found.gradients:.1e}")
    return Trial(case, data, variables, key_run, settings, pytorch, record)


def run_alone(kind: str, case: Case) -> None:
    """A few steps of one library, with both of them loaded.

    Args:
      kind: one of `ALONE`.
      case: network and size.
    """
    pytorch = throughput_agreement.load(jax.default_backend())
    jax.block_until_ready(jax.numpy.zeros(1))
    if kind == "nothing":
        return
    settings = Settings((), _STEPS_ALONE, 1, ())
    trial = _prepare(case, settings, None, Record())
    if kind == "ours":
        trial.ours("descent").call()
    elif isinstance(pytorch, PyTorch):
        dataclasses.replace(trial, pytorch=pytorch).theirs("Descent").call()
