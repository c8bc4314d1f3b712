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

By default there are 20,000 iterations of 4 Langevin chains, of which the first quarter
is burn-in, and 2,000 iterations of 16 descents at a learning rate of 0.001, after which
they go through the points to 1e-6. The amplitude of each case is the one under which
the Gaussian process finds the observed values most likely, and the step of Langevin
dynamics is half of the largest that is surely stable; --amplitude and --step_size set
them for all cases.

Results in --output_dir:

  figure.png    a row a case: means, bands of 1 and 2 standard deviations, truth dashed
  curves.npz    all curves
  metrics.json  root mean square difference of each mean from the Gaussian process's,
                ratio of the root mean square standard deviations, R-hat of the chains

Exit status: 0 done, 1 a network left all bounds, 2 bad input.
"""

import dataclasses
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import flags

from dipgp import progress
from dipgp.figures import Panel, bands, save_figure
from dipgp.progress import Report
from experiments import (
    common,
    plain_process,
    plain_runs,
    reporting,
    small_examples,
    toy_1d_options,
)
from experiments.plain_model import Model
from experiments.plain_process import Curve
from experiments.plain_runs import Runs
from experiments.run_folders import open_run_folder
from experiments.toy_1d_options import ToyConfig, config_from_flags

flags.adopt_module_key_flags(toy_1d_options)

# What keys are for; each is folded from the seed's by its number. All cases have the
# same keys, so that a case's result does not depend on which others are in the run.
_POINTS, _PROCESS, _NETWORK_DRAWS, _INPUT, _DESCENT, _LANGEVIN = range(6)
_PRIOR_SAMPLES = 5

Record = dict[str, Any]


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


def run(config: ToyConfig) -> Record:
    """Computes all curves and writes the results.

    Args:
      config: what to do.

    Returns:
      What metrics.json holds.

    Raises:
      UserError: on a folder that cannot be written to, before anything is computed.
    """
    with open_run_folder(config.output_dir) as folder:
        return _run(config, folder)


def _run(config: ToyConfig, folder: Path) -> Record:
    truth = small_examples.signal(config.points)
    key = jax.random.fold_in(jax.random.key(config.seed), _POINTS)
    mask = small_examples.choose_points(key, config.points, config.observed_fraction)
    done = []
    with jax.enable_x64(config.float64):
        for number, (sigma, depth) in enumerate(config.cases, start=1):
            begun = time.monotonic()
            with progress.show(f"{number}/{len(config.cases)}") as report:
                result = _examine(config, sigma, depth, truth, mask, report)
            _print_lines(result, time.monotonic() - begun)
            done.append(result)
    record = {
        "experiment": "toy_1d",
        "observed": int(mask.sum()),
        "cases": [result.record for result in done],
        "converged": all(result.record["converged"] for result in done),
        "seed": config.seed,
        **reporting.provenance(config),
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
    model = _model(config, sigma, depth, truth, mask)
    covariance = model.covariance()
    prior = {
        "GP": plain_process.draw_process(keys[_PROCESS], covariance, _PRIOR_SAMPLES),
        "network": model.draw_networks(keys[_NETWORK_DRAWS], _PRIOR_SAMPLES),
    }
    seen = plain_runs.observation(model, truth, mask, noise_std)
    z = model.draw_input(keys[_INPUT])
    sgd = plain_runs.descend(
        model,
        seen,
        z,
        keys[_DESCENT],
        learning_rate=config.learning_rate,
        iterations=config.stop_at,
        restarts=config.restarts,
        report=_part(report, "descent"),
    )
    step_size = config.step_size or plain_process.choose_step_size(
        covariance, mask, depth, noise_std
    )
    burn_in = config.iterations // 4 if config.burn_in is None else config.burn_in
    sgld = plain_runs.sample(
        model,
        seen,
        z,
        keys[_LANGEVIN],
        step_size=step_size,
        momentum=config.momentum,
        iterations=config.iterations,
        burn_in=burn_in,
        chain_count=config.chains,
        report=_part(report, "Langevin dynamics"),
    )
    sgld.facts.update(step_size=step_size, burn_in=burn_in)
    exact = plain_process.condition(covariance, truth, mask, noise_std)
    record = _record(model, truth, exact, sgd, sgld)
    posterior = {"GP": exact, "SGD": sgd.curve, "SGLD": sgld.curve}
    return Result(f"sigma {sigma:g}, depth {depth}", prior, posterior, record)


def _model(
    config: ToyConfig, sigma: float, depth: int, truth: np.ndarray, mask: np.ndarray
) -> Model:
    """The prior of a case, of the amplitude that is given or the values make likely."""
    model = Model(
        sigma=sigma,
        depth=depth,
        shape=(config.points,),
        width=config.width,
        input_channels=config.input_channels,
    )
    amplitude = config.amplitude or plain_process.choose_amplitude(
        model.covariance(), truth, mask, config.observation_std
    )
    return dataclasses.replace(model, amplitude=amplitude)


def _record(
    model: Model, truth: np.ndarray, exact: Curve, sgd: Runs, sgld: Runs
) -> Record:
    """What metrics.json holds of a case."""
    curves = (exact, sgd.curve, sgld.curve)
    finite = all(np.isfinite(curve).all() for curve in curves)
    bounded = not (sgd.facts["roll_backs"] or sgld.facts["roll_backs"])
    return {
        "sigma": model.sigma,
        "depth": model.depth,
        "amplitude": model.amplitude,
        "converged": finite and bounded,
        "GP": {"rms_error": _rms(exact.mean - truth)},
        "SGD": _compare(sgd.curve, exact, truth) | sgd.facts,
        "SGLD": _compare(sgld.curve, exact, truth) | sgld.facts,
    }


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
    reporting.write_arrays(path, arrays)


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


def main() -> int:
    """Runs under the flags."""
    return 0 if run(config_from_flags())["converged"] else 1


if __name__ == "__main__":
    common.main(main)
