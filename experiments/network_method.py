"""Restoration by a network: descents of its weights, and samples of their posterior."""

import dataclasses
import hashlib
import math
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from dipgp import networks
from dipgp.inference import loop, protocols, stopping
from dipgp.observations import Observation, mean_squared_error
from dipgp.summaries import diagnostics, moments
from experiments import gp_method, network_run
from experiments.network_recipe import Data, Recipe
from experiments.network_settings import NetworkSettings, Running
from experiments.restoration import Request, Restoration

# Methods of one run walk the same path and differ in what is read off it.
RUNS = {
    "sgd": "descent",
    "sgd_avg": "descent",
    "sgd_input": "descent_input",
    "sgd_input_avg": "descent_input",
    "sgd_weight_decay": "descent_decay",
    "sgld": "sgld",
    "psgld": "psgld",
    "noisy_adam": "noisy_adam",
}
# Keys are folded from the seed by their use.
INPUT, HELD_OUT = (network_run.LAST_KEY + use for use in (1, 2))
STEP_FACTOR = 40.0
SAMPLERS = ("sgld", "psgld", "noisy_adam")


def restore(
    names: Sequence[str], settings: NetworkSettings, running: Running, request: Request
) -> Iterator[tuple[str, Restoration]]:
    """Runs a network once and reads all methods off it that share the run.

    Args:
      names: of methods with one value in `RUNS`.
      settings: of the run.
      running: what does not change its numbers.
      request: what was seen.

    Yields:
      Name and restoration.
    """
    (run,) = {RUNS[name] for name in names}
    if not request.noise_known and run in ("sgld", "psgld"):
        request = _with_estimated_noise(request, settings.least_noise_std)
    if settings.step_size is None and run in ("sgld", "psgld"):
        settings = dataclasses.replace(
            settings, step_size=_step_size(run, request.observation)
        )
    rules = _rules(settings, request.noise_known) if run.startswith("descent") else ()
    recipe = Recipe(run, settings, request.shape[2], request.forward, rules)
    chains = settings.chains if run in SAMPLERS else 1
    outcome, verdict = network_run.drive(
        recipe,
        _data(recipe, request),
        chains,
        jax.random.key(request.seed),
        running,
        None if request.folder is None else request.folder / "checkpoints" / run,
        _configuration(run, settings, request),
        request.report,
        request.mesh_for(chains),
    )
    for name in names:
        yield name, _restoration(name, outcome, verdict, settings, request)


def _data(recipe: Recipe, request: Request) -> Data:
    """The arrays of a run; all runs of one seed have the same input."""
    seed, observation = jax.random.key(request.seed), request.observation
    key, dtype = jax.random.fold_in(seed, INPUT), observation.values.dtype
    channels = recipe.settings.input_channels
    z = networks.uniform_input(key, request.shape[:2], channels).astype(dtype)
    truth = None if request.truth is None else jnp.asarray(request.truth, dtype)
    held_out = None
    if "held_out" in recipe.rules:
        seen, kept = stopping.hold_out(
            jax.random.fold_in(seed, HELD_OUT),
            observation.mask,
            recipe.settings.held_out_fraction,
        )
        held_out = observation._replace(mask=kept)
        observation = observation._replace(mask=seen)
    return Data(z, observation, truth, held_out)


def _rules(settings: NetworkSettings, noise_known: bool) -> tuple[str, ...]:
    """The stopping rules of a descent."""
    rules = settings.stopping
    if rules is None:
        known = ("discrepancy",) if noise_known else ()
        rules = ("windowed_variance", *known)
    if settings.stop_by not in ("iteration", *rules):
        rules = (*rules, settings.stop_by)
    return rules


def _with_estimated_noise(request: Request, least: float) -> Request:
    """The request with the noise that a Gaussian process's evidence finds, or more."""
    noise_std = max(gp_method.estimate_noise(request), least)
    observation = request.observation
    observation = observation._replace(
        noise_std=jnp.full_like(observation.noise_std, noise_std)
    )
    return dataclasses.replace(request, observation=observation, noise_known=True)


def _step_size(run: str, observation: Observation) -> float:
    """A step of Langevin dynamics that is safe and not small.

    Plain dynamics needs eps H below a bound, where the curvature H of the potential
    grows as n / noise_std^2 with n observed values. The preconditioner G does that
    division by itself: it is frozen while the misfit still dominates the gradients,
    which are then proportional to H, so that G H and the bound on eps stay the same for
    all n and noises. The numbers were found on one image; docs/results.md has what they
    gave on others.
    """
    if run == "psgld":
        return protocols.STEP_SIZE
    count = float(jnp.sum(observation.mask)) * observation.values.shape[2]
    return STEP_FACTOR * _typical_noise(observation) ** 2 / count


def _typical_noise(observation: Observation) -> float:
    """Median standard deviation of the noise in what was observed."""
    observed = np.asarray(observation.mask) != 0
    return float(np.median(np.asarray(observation.noise_std)[observed]))


def _configuration(
    run: str, settings: NetworkSettings, request: Request
) -> dict[str, object]:
    """What a checkpoint must have in common with a run that goes on from it."""
    seen = hashlib.sha256()
    for array in request.observation:
        seen.update(np.ascontiguousarray(array).tobytes())
    return {
        "run": run,
        "seed": request.seed,
        "observation": seen.hexdigest(),
        "forward": repr(request.forward),
        "shape": request.shape,
        **dataclasses.asdict(settings),
    }


def _restoration(
    name: str,
    outcome: network_run.Outcome,
    verdict: network_run.Verdict,
    settings: NetworkSettings,
    request: Request,
) -> Restoration:
    progress, chose = outcome.progress, True
    pooled = network_run.pool(progress.collected.samples)
    std = None
    if RUNS[name] in SAMPLERS and float(pooled.weight) == 0:
        # Ended before burn-in was over.
        mean = progress.collected.average.value[0]
    elif RUNS[name] in SAMPLERS:
        mean = pooled.mean
        std = np.sqrt(np.asarray(moments.variance(pooled)))
        if not np.isfinite(std).all():
            std = None  # of a single sample there is none
    else:
        mean, chose = _reading(name, progress, settings)
    keeps = RUNS[name] in SAMPLERS and outcome.samples.size > 0
    noise_std = _typical_noise(request.observation) if request.noise_known else None
    trace = {key: values.mean(axis=0) for key, values in outcome.trace.items()}
    return Restoration(
        mean=np.asarray(mean),
        seconds=float(outcome.seconds),
        iterations=int(progress.taken[0]),
        residual=math.sqrt(
            float(mean_squared_error(request.observation, request.forward(mean)))
        ),
        hyperparameters={
            **dataclasses.asdict(settings),
            "noise_std": noise_std,
        },
        message=verdict.message
        if chose
        else f"--stop_by={settings.stop_by} chose no iteration; try a smaller --window",
        converged=verdict.converged and chose,
        std=std,
        trace=trace,
        facts=_facts(name, outcome),
        samples=np.asarray(outcome.samples) if keeps else None,
    )


def _reading(
    name: str, progress: loop.Progress, settings: NetworkSettings
) -> tuple[jax.Array, bool]:
    """A descent's image, and whether its rule chose one; otherwise it is the last."""
    averaged = name.endswith("_avg")
    if settings.stop_by == "iteration":
        return progress.reading[averaged][0], True
    choice = progress.choices[settings.stop_by]
    if int(choice.rule.best_iteration[0]) < 0:
        average = progress.collected.average.value
        return (average if averaged else progress.output)[0], False
    return (choice.average if averaged else choice.rule.best_output)[0], True


def _choices(name: str, outcome: network_run.Outcome) -> dict[str, object]:
    """By stopping rule, its choice and what that costs."""
    key = "psnr_average" if name.endswith("_avg") else "psnr"
    psnr = outcome.trace.get(key)
    told: dict[str, object] = {}
    for rule, choice in outcome.progress.choices.items():
        chosen, stopped_at = (
            int(number[0])
            for number in (choice.rule.best_iteration, choice.rule.stopped_at)
        )
        found: dict[str, object] = {
            "iteration": chosen + 1 if chosen >= 0 else None,
            "stopped_at": stopped_at + 1 if stopped_at >= 0 else None,
        }
        if psnr is not None and chosen >= 0:
            found["psnr"] = float(psnr[0, chosen])
            if np.isfinite(psnr[0]).all():
                found["gap_to_best"] = stopping.gap_to_best(psnr[0], chosen)
        told[rule] = found
    return told


def _facts(name: str, outcome: network_run.Outcome) -> dict[str, object]:
    """What a run shows that its final image does not."""
    trace = outcome.trace
    facts: dict[str, object] = {
        "roll_backs": int(np.nanmax(trace["returns"])),
        "iterations_a_second": trace["loss"].shape[1] / float(outcome.seconds),
    }
    for key in ("psnr", "psnr_average", "psnr_mean"):
        values = trace.get(key)
        if values is None or np.isnan(values).all():
            continue
        values = values[0]
        facts |= {
            f"trace_{key}_peak": float(np.nanmax(values)),
            f"trace_{key}_peak_iteration": 1 + int(np.nanargmax(values)),
            f"trace_{key}_end": float(values[-1]),
        }
    if outcome.progress.choices:
        facts["stopping"] = _choices(name, outcome)
    if RUNS[name] in SAMPLERS and outcome.samples.shape[1] >= diagnostics.FEWEST_DRAWS:
        facts |= network_run.diagnose(np.asarray(outcome.samples))
    return facts
