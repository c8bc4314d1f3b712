"""The paper's example in one dimension: priors and posteriors of two networks.

  python -m experiments.toy_1d

The signal 0.3 sin(8 pi x) + 0.1 sin(32 pi x) has 128 points, a tenth of which is seen,
without noise. For each pair of the input's width sigma and the number of ReLU layers
there are samples of the prior, of the Gaussian process that the network is in the limit
of many channels and of networks as they are; and through the points seen

  GP     the exact posterior of that Gaussian process,
  SGD    networks descended by Adam on the sum of squares; descent has no posterior, its
         bands are the spread of restarts,
  SGLD   the posterior of the network's weights by Langevin dynamics at temperature 1.

GP and SGLD have the same prior, scaled to one amplitude, and allow for the same small
noise. They still differ: the process has infinitely many channels, also in its input.

  python -m experiments.toy_1d --cases=2:1,4:2,15:4 --width=128 --seed=1
  python -m experiments.toy_1d --cases=15:4 --step_size=2e-5 --iterations=100000

Numbers that have no flag above: 20,000 iterations of 4 chains, of which the first
quarter is burn-in; 8,000 iterations of descent at learning rate 0.01; 128 input
channels. By default the amplitude of each case is the one under which the observed
values are most likely for the Gaussian process, and the step of Langevin dynamics is
half of the largest stable one.

Results in --output_dir:

  figure.png    a row a case: means, bands of 1 and 2 standard deviations, truth dashed
  curves.npz    all curves
  metrics.json  root mean square difference of each mean from the Gaussian process's,
                ratio of the root mean square standard deviations, R-hat of the chains

Exit status: 0 done, 1 a network left all bounds, 2 bad input.
"""

import dataclasses
import io
import math
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import flags

from dipgp.figures import Panel, bands, save_figure
from dipgp.files import write_atomically
from experiments import common, network_options, reporting, toy_1d_network
from experiments import toy_1d_model as toy
from experiments.common import UserError, require
from experiments.restoration import Report
from experiments.toy_1d_model import Curve, Model

CASES = flags.DEFINE_list(
    "cases", ["2:1", "15:4"], "Pairs sigma:depth, as in --cases=2:1,15:4."
)
POINTS = flags.DEFINE_integer("points", 128, "Points of the signal.")
OBSERVED_FRACTION = flags.DEFINE_float(
    "observed_fraction", 0.1, "Share of the points that is seen."
)
WIDTH = flags.DEFINE_integer("width", 32, "Channels of the networks' hidden layers.")
OBSERVATION_STD = flags.DEFINE_float(
    "observation_std",
    0.05,
    "Standard deviation of the noise that posteriors allow for; the points have none.",
)
RESTARTS = flags.DEFINE_integer("restarts", 8, "Runs of descent, at least 2.")

# Of flags that are shared with other binaries, those that this one reads.
_SHARED = ("seed", "output_dir", "float64", "amplitude")
_NETWORKS = (
    "input_channels",
    "iterations",
    "burn_in",
    "chains",
    "step_size",
    "stop_at",
    "learning_rate",
)
_OWN = ("cases", "points", "observed_fraction", "width", "observation_std", "restarts")
for _name in (*_SHARED, *_NETWORKS):
    flags.declare_key_flag(_name)

# What keys are for; each is folded from the seed's by its number. All cases have the
# same keys, so that a case's result does not depend on which others are in the run.
_POINTS, _PROCESS, _NETWORK_DRAWS, _INPUT, _DESCENT, _LANGEVIN = range(6)
_PRIOR_SAMPLES = 5

Record = dict[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ToyConfig:
    """What a run is told.

    Attributes:
      output_dir: folder of the results.
      cases: (sigma, depth) of each.
      points: of the signal.
      observed_fraction: share of them that is seen.
      width: channels of the hidden layers.
      input_channels: of the networks' random input.
      amplitude: standard deviation of the prior; None chooses it by the evidence.
      observation_std: standard deviation of the noise that is allowed for.
      restarts: of descent.
      stop_at: iterations of descent.
      learning_rate: of descent.
      chains: of Langevin dynamics.
      iterations: of each chain.
      burn_in: iterations of each chain that do not count; None for a quarter.
      step_size: eps of Langevin dynamics; None chooses it by the prior's stiffness.
      seed: of all draws.
      float64: whether the networks compute in 64 bits; the Gaussian process does.
    """

    output_dir: str
    cases: tuple[tuple[float, int], ...] = ((2.0, 1), (15.0, 4))
    points: int = 128
    observed_fraction: float = 0.1
    width: int = 32
    input_channels: int = 128
    amplitude: float | None = None
    observation_std: float = 0.05
    restarts: int = 8
    stop_at: int = 8_000
    learning_rate: float = 0.01
    chains: int = 4
    iterations: int = 20_000
    burn_in: int | None = None
    step_size: float | None = None
    seed: int = 0
    float64: bool = False

    def __post_init__(self) -> None:
        """Raises UserError, naming the flag, on a number out of range."""
        require(self.points >= 2, "points", self.points, "a number of at least 2")
        shown = ",".join(f"{sigma:g}:{depth}" for sigma, depth in self.cases)
        for sigma, depth in self.cases:
            accepted = 0 <= sigma <= self.points
            expected = f"sigma from 0 to the {self.points} points"
            require(accepted, "cases", shown, expected)
            require(1 <= depth <= 100, "cases", shown, "depth from 1 to 100")
        unique = len(set(self.cases)) == len(self.cases) > 0
        require(unique, "cases", shown, "one case at least, and each once")
        fraction = self.observed_fraction
        accepted = 0 < fraction <= 1
        require(accepted, "observed_fraction", fraction, "above 0, and up to 1")
        for name in ("width", "input_channels", "chains", "iterations", "stop_at"):
            value = getattr(self, name)
            require(value >= 1, name, value, "a number of at least 1")
        expected = "at least 2, whose spread makes the bands"
        require(self.restarts >= 2, "restarts", self.restarts, expected)
        for name in ("amplitude", "observation_std", "learning_rate", "step_size"):
            value = getattr(self, name)
            accepted = value is None or 0 < value < math.inf
            require(accepted, name, value, "a positive number")
        accepted = self.burn_in is None or 0 <= self.burn_in < self.iterations
        expected = f"from 0 to below the {self.iterations} iterations"
        require(accepted, "burn_in", self.burn_in, expected)
        accepted = 0 <= self.seed < 2**32
        require(accepted, "seed", self.seed, "a number from 0 to 4294967295")


@dataclasses.dataclass(frozen=True)
class Result:
    """What came of a case.

    Attributes:
      title: sigma and depth.
      prior: (samples, points) of the Gaussian process and of networks, by name.
      posterior: by name; the Gaussian process's comes first.
      record: what metrics.json holds.
    """

    title: str
    prior: dict[str, np.ndarray]
    posterior: dict[str, Curve]
    record: Record


def config_from_flags() -> ToyConfig:
    """Reads the flags.

    Raises:
      UserError: on bad input, or on a flag that only other binaries read.
    """
    common.refuse_unread_flags({*_SHARED, *_NETWORKS, *_OWN})
    return ToyConfig(
        output_dir=common.OUTPUT_DIR.value or "runs/toy_1d",
        cases=tuple(map(_case, CASES.value)),
        points=POINTS.value,
        observed_fraction=OBSERVED_FRACTION.value,
        width=WIDTH.value,
        amplitude=common.AMPLITUDE.value,
        observation_std=OBSERVATION_STD.value,
        restarts=RESTARTS.value,
        seed=common.SEED.value,
        float64=common.FLOAT64.value,
        **network_options.overrides_from_flags(),
    )


def _case(text: str) -> tuple[float, int]:
    sigma, _, depth = text.partition(":")
    try:
        return float(sigma), int(depth)
    except ValueError:
        expected = "pairs sigma:depth with a whole depth, such as 2:1,15:4"
        raise UserError(f"--cases={text}: expected {expected}") from None


def run(config: ToyConfig) -> Record:
    """Computes all curves and writes the results.

    Args:
      config: what to do.

    Returns:
      What metrics.json holds.

    Raises:
      UserError: on a folder that cannot be written to, before anything is computed.
    """
    folder = reporting.create_run_folders(config.output_dir, ["toy_1d"])["toy_1d"]
    truth = toy.signal(config.points)
    key = jax.random.fold_in(jax.random.key(config.seed), _POINTS)
    mask = toy.choose_points(key, config.points, config.observed_fraction)
    done = []
    with jax.enable_x64(config.float64):
        for number, (sigma, depth) in enumerate(config.cases, start=1):
            begun = time.monotonic()
            with reporting.progress(f"{number}/{len(config.cases)}") as report:
                result = _examine(config, sigma, depth, truth, mask, report)
            _print_lines(result, time.monotonic() - begun)
            done.append(result)
    record = {
        "experiment": "toy_1d",
        "observed": int(mask.sum()),
        "cases": [result.record for result in done],
        "converged": all(result.record["converged"] for result in done),
        "seed": config.seed,
        "configuration": dataclasses.asdict(config),
        "versions": reporting.versions(),
    }
    x = np.arange(config.points) / config.points
    _save_curves(folder / "curves.npz", x, truth, mask, done)
    rows = [(result.title, _panels(result)) for result in done]
    save_figure(folder / "figure.png", bands(rows, x, truth, mask))
    reporting.write_json(folder / "metrics.json", record)
    return record


def _examine(
    config: ToyConfig,
    sigma: float,
    depth: int,
    truth: np.ndarray,
    mask: np.ndarray,
    report: Report,
) -> Result:
    """One case in all its readings."""
    keys = [jax.random.fold_in(jax.random.key(config.seed), use) for use in range(6)]
    noise_std = config.observation_std
    model = Model(
        sigma=sigma,
        depth=depth,
        points=config.points,
        width=config.width,
        input_channels=config.input_channels,
    )
    amplitude = config.amplitude or toy.choose_amplitude(
        model.covariance(), truth, mask, noise_std
    )
    model = dataclasses.replace(model, amplitude=amplitude)
    covariance = model.covariance()
    prior = {
        "GP": toy.draw_process(keys[_PROCESS], covariance, _PRIOR_SAMPLES),
        "network": model.draw_networks(keys[_NETWORK_DRAWS], _PRIOR_SAMPLES),
    }
    seen = toy_1d_network.observation(truth, mask, noise_std)
    z = model.draw_input(keys[_INPUT])
    sgd, sgd_facts = toy_1d_network.descend(
        model,
        seen,
        z,
        keys[_DESCENT],
        learning_rate=config.learning_rate,
        iterations=config.stop_at,
        restarts=config.restarts,
        report=_part(report, "descent"),
    )
    step_size = config.step_size or toy.choose_step_size(
        covariance, mask, depth, noise_std
    )
    burn_in = config.iterations // 4 if config.burn_in is None else config.burn_in
    sgld, sgld_facts = toy_1d_network.sample(
        model,
        seen,
        z,
        keys[_LANGEVIN],
        step_size=step_size,
        iterations=config.iterations,
        burn_in=burn_in,
        chain_count=config.chains,
        report=_part(report, "Langevin dynamics"),
    )
    exact = toy.condition(covariance, truth, mask, noise_std)
    posterior = {"GP": exact, "SGD": sgd, "SGLD": sgld}
    facts: dict[str, Record] = {
        name: _compare(curve, exact, truth) for name, curve in posterior.items()
    }
    facts["SGD"] |= sgd_facts
    facts["SGLD"] |= sgld_facts | {"step_size": step_size}
    finite = all(np.isfinite(curve).all() for curve in posterior.values())
    bounded = not (sgd_facts["roll_backs"] or sgld_facts["roll_backs"])
    record = {
        "sigma": sigma,
        "depth": depth,
        "amplitude": amplitude,
        "converged": finite and bounded,
        **facts,
    }
    return Result(f"sigma {sigma:g}, depth {depth}", prior, posterior, record)


def _part(report: Report, stage: str) -> Report:
    """A report that says which stage it is of."""
    return lambda news, fraction=None: report(f"{stage}: {news}", fraction)


def _compare(curve: Curve, exact: Curve, truth: np.ndarray) -> Record:
    return {
        "rms_difference": _rms(curve.mean - exact.mean),
        "std_ratio": _rms(curve.std) / _rms(exact.std),
        "rms_error": _rms(curve.mean - truth),
    }


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


def _panels(result: Result) -> list[Panel]:
    samples = [
        Panel(f"prior, {name}", samples=drawn) for name, drawn in result.prior.items()
    ]
    curves = [
        Panel("SGD, restarts" if name == "SGD" else f"posterior, {name}", None, *curve)
        for name, curve in result.posterior.items()
    ]
    return samples + curves


def _save_curves(
    path: Path,
    x: np.ndarray,
    truth: np.ndarray,
    mask: np.ndarray,
    done: list[Result],
) -> None:
    """Everything that is drawn; names end in the case, such as GP_mean_2_1."""
    arrays = {"x": x, "truth": truth, "observed": mask}
    for result in done:
        case = f"{result.record['sigma']:g}_{result.record['depth']}"
        for name, drawn in result.prior.items():
            arrays[f"{name}_prior_{case}"] = drawn
        for name, curve in result.posterior.items():
            arrays[f"{name}_mean_{case}"] = curve.mean
            arrays[f"{name}_std_{case}"] = curve.std
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **arrays)
    write_atomically(path, content.getvalue())


def _print_lines(result: Result, seconds: float) -> None:
    record = result.record
    print(f"{result.title}: amplitude {record['amplitude']:.3g}, {seconds:.0f} s")
    for name in ("SGD", "SGLD"):
        facts = record[name]
        line = (
            f"  {name}: mean {facts['rms_difference']:.3f} (RMS) from the GP's, "
            f"std {facts['std_ratio']:.2f} times the GP's"
        )
        if "rhat_median" in facts:
            line += (
                f", R-hat {facts['rhat_median']:.3f} (median)"
                f" to {facts['rhat_largest']:.3f}"
            )
        if facts["roll_backs"]:
            line += ", LEFT ALL BOUNDS: try a smaller step"
        # Flushed, so that a log shows how far a run has come.
        print(line, flush=True)


if __name__ == "__main__":
    common.main(lambda: 0 if run(config_from_flags())["converged"] else 1)
