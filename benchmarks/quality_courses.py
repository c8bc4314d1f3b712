"""How good a picture is after so many seconds, by each of dipgp's methods.

The methods are those of `experiments`: their runs tell the PSNR at each iteration, and
the clock is read once in `Settings.piece` iterations, between which seconds are taken
for even.
"""

import dataclasses
import functools
import statistics
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np

from benchmarks.baton import Turns
from benchmarks.throughput_cases import Case
from dipgp import progress
from dipgp.images import drop_pixels
from dipgp.observations import Observation, observe
from dipgp.progress import Report
from dipgp.summaries import psnr
from experiments import common, methods, network_method, network_options, noise
from experiments.common import require
from experiments.gp_method import GPOptions
from experiments.network_settings import NetworkSettings, Running
from experiments.restoration import Request

NOISE_STD = 25 / 255
DROP_FRACTION = 0.5
# What samplers allow for where pixels are known exactly, as the presets say.
INPAINTED_NOISE_STD = 4 / 255
TASKS = ("denoise", "inpaint")
# What the trace of a run calls the PSNR of a method's picture.
_SCORES = {"avg": "psnr_average", "sgld": "psnr_mean", "psgld": "psnr_mean"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """What is run.

    Attributes:
      case: network and size of the picture.
      task: one of `TASKS`.
      methods: keys of `experiments.common.METHODS`.
      iterations: of each network; None for those of the preset.
      piece: iterations from one reading of the clock to the next.
      gp_repeats: runs of the Gaussian process, after one that compiles.
      seed: of all draws.
    """

    case: Case
    task: str
    methods: tuple[str, ...]
    iterations: int | None = None
    piece: int = 10
    gp_repeats: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises UserError, naming the flag, on what cannot be run."""
        common.require_seed(self.seed)
        multiple, size = 2 ** len(self.case.channels), self.case.size
        accepted = size >= 2 * multiple and size % multiple == 0
        expected = f"a multiple of {multiple} from {2 * multiple} on, for its scales"
        require(accepted, "quality_size", size, expected)
        names, known = self.methods, common.METHODS
        unique = bool(names) and len(set(names)) == len(names)
        accepted = unique and set(names) <= set(known)
        expected = f"a list, each once, among: {', '.join(known)}"
        require(accepted, "quality_methods", ",".join(names), expected)
        accepted = self.iterations is None or self.iterations >= 1
        expected = "a number of at least 1"
        require(accepted, "quality_iterations", self.iterations, expected)

    def piece_of(self, iterations: int) -> int:
        """The longest piece, up to `piece`, of which a run is a multiple."""
        return next(n for n in range(self.piece, 0, -1) if iterations % n == 0)

    def network(self, method: str) -> NetworkSettings:
        """Those of `experiments`, under the preset that has the case's network."""
        overrides: dict[str, object] = {"channels": self.case.channels}
        if self.iterations is not None:
            overrides["iterations"] = self.iterations
        preset = {"tiny": "smoke"}.get(self.case.name, self.case.name)
        return network_options.settings(self.task, preset, method, overrides)


class Problem(NamedTuple):
    """A picture to restore.

    Attributes:
      observation: what was seen; its noise is what methods are told.
      truth: (H, W, 3) intensities.
    """

    observation: Observation
    truth: np.ndarray


class Course(NamedTuple):
    """A method's picture by time.

    Attributes:
      name: of the method.
      seconds: (N,) of work after which the picture was there, without `start`.
      psnr: (N,) of it in dB, clipped to [0, 1]; NaN where there is none yet.
      start: seconds that went before: compilation, mostly.
      iterations: of the whole run.
      read_at: place in `psnr` of the picture that the method hands back.
    """

    name: str
    seconds: np.ndarray
    psnr: np.ndarray
    start: float
    iterations: int
    read_at: int


def pose(task: str, truth: np.ndarray, seed: int) -> Problem:
    """Damages a picture as the experiments do by default."""
    key = jax.random.key(seed)
    if task == "denoise":
        seen = noise.add(key, truth, NOISE_STD)
        return Problem(observe(seen, noise_std=NOISE_STD), truth)
    mask = drop_pixels(key, truth.shape[:2], DROP_FRACTION)
    return Problem(observe(truth, mask, noise_std=INPAINTED_NOISE_STD), truth)


def works(
    settings: Settings, problem: Problem
) -> dict[str, Callable[[Turns], list[Course]]]:
    """By name, what `run_in_turn` runs: the Gaussian process, and runs of networks."""
    networks = {
        name: settings.network(name) for name in settings.methods if name != "gp"
    }
    return {
        ",".join(group): functools.partial(
            _gp if group == ["gp"] else _network, settings, networks, problem, group
        )
        for group in methods.group_by_run(settings.methods, networks)
    }


def _request(settings: Settings, problem: Problem, report: Report) -> Request:
    height, width, channels = problem.truth.shape
    return Request(
        observation=problem.observation,
        shape=(height, width, channels),
        noise_known=True,
        truth=problem.truth,
        seed=settings.seed,
        folder=None,
        report=report,
    )


def _gp(
    settings: Settings,
    networks: dict[str, NetworkSettings],
    problem: Problem,
    group: list[str],
    turns: Turns,
) -> list[Course]:
    """Hyperparameters by the evidence, then the posterior mean; again and again."""
    told = NOISE_STD if settings.task == "denoise" else None
    request = _request(settings, problem, progress.say_nothing)
    seconds = []
    for _ in range(settings.gp_repeats + 1):
        begun = turns.seconds
        ((_, found),) = methods.restore(
            group, request, GPOptions(noise_std=told), networks, Running()
        )
        seconds.append(turns.seconds - begun)
        turns.pass_on()
    first, typical = seconds[0], statistics.median(seconds[1:])
    score = psnr(np.clip(found.mean, 0, 1), problem.truth)
    return [
        Course(
            name="gp",
            seconds=np.array([typical]),
            psnr=np.array([score]),
            start=max(first - typical, 0.0),
            iterations=found.iterations,
            read_at=0,
        )
    ]


def _network(
    settings: Settings,
    networks: dict[str, NetworkSettings],
    problem: Problem,
    group: list[str],
    turns: Turns,
) -> list[Course]:
    """One run, and all that is read off it."""
    marks: list[float] = []

    def report(news: str, fraction: float | None = None) -> None:
        marks.append(turns.seconds)
        turns.pass_on()

    iterations = networks[group[0]].iterations
    piece = settings.piece_of(iterations)
    request = _request(settings, problem, report)
    running = Running(log_every=piece, checkpoint_minutes=0.0)
    courses = []
    for name, found in methods.restore(group, request, GPOptions(), networks, running):
        start, seconds = spread(marks, piece)
        values = found.trace[_SCORES.get(name.split("_")[-1], "psnr")]
        sampled = network_method.RUNS[name] in network_method.SAMPLERS
        read_at = iterations if sampled else networks[name].stop_at
        courses.append(
            Course(name, seconds, np.asarray(values), start, iterations, read_at - 1)
        )
    return courses


def spread(marks: Sequence[float], piece: int) -> tuple[float, np.ndarray]:
    """Seconds of each iteration from readings of a clock.

    Args:
      marks: after each piece, from when all began.
      piece: iterations in each.

    Returns:
      What the first piece took beyond the median of the others (0 where there is
      none), and the seconds after each iteration without it.
    """
    later = np.diff(marks)
    start = max(marks[0] - float(np.median(later)), 0.0) if len(later) else 0.0
    ends = np.concatenate([[0.0], np.asarray(marks) - start])
    steps = np.arange(1, piece * len(marks) + 1)
    return start, np.interp(steps, piece * np.arange(len(ends)), ends)


def log_grid(iterations: int, count: int = 60) -> list[int]:
    """Iterations after which a picture is scored: even steps of their logarithm."""
    found = np.geomspace(1, iterations, count).round().astype(int)
    return sorted({*found.tolist()})
