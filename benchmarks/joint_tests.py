"""Joint tests of the samplers: do they get parameters and data right together?

For each sampler of `dipgp.inference` the moments of two simulators are compared
(`benchmarks.joint_simulation`). What a constant step changes is known and told beside
them; noisy Adam, which is no sampler, and faults put in on purpose must fail:

  python -m benchmarks.joint_tests
  python -m benchmarks.joint_tests --joint_chains=10000
"""

from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from absl import app, flags

from benchmarks import joint_simulation, linear_model, sampler_cases, timing

CHAINS = flags.DEFINE_integer(
    "joint_chains", 4000, "Independent chains of the successive-conditional simulator."
)

CYCLES, TRANSITIONS = 40, 10
# Of some fifteen normal scores one is above this once in ten thousand times.
LIMIT = 4.5


def constant_steps() -> dict[str, joint_simulation.ConstantStep]:
    """Those of the right samplers, by name."""
    model = linear_model.example()
    ones = np.ones(model.design.shape[1])
    # G at rest, by the root of the gradient's mean square.
    scale = np.minimum(1 / np.sqrt(np.diag(model.precision)), 1)
    settings = ((0.0, ones), (0.8, ones), (0.0, scale), (0.8, scale))
    return {
        sampler.name: joint_simulation.ConstantStep(
            sampler_cases.STEP_SIZE, momentum, each
        )
        for sampler, (momentum, each) in zip(
            sampler_cases.right_samplers(), settings, strict=True
        )
    }


def row(sampler: sampler_cases.Sampler, chains: int) -> dict[str, object]:
    """The largest score of a sampler's moments, and the largest bias of its step."""
    model = linear_model.example()
    found = joint_simulation.compare(
        model,
        sampler,
        jax.random.key(0),
        chains=chains,
        cycles=CYCLES,
        transitions=TRANSITIONS,
    )
    farthest = max(found, key=lambda name: abs(found[name].score))
    told: dict[str, object] = {
        "sampler": sampler.name,
        "right": sampler.right,
        "largest score": abs(found[farthest].score),
        "of": farthest,
    }
    known = constant_steps().get(sampler.name)
    if known is None:
        return told
    expected = joint_simulation.stationary_moments(model, known, TRANSITIONS)
    scored = [
        abs(expected[name] - part.successive) / part.error
        for name, part in found.items()
    ]
    shifts = {
        name: abs(expected[name] - part.exact)
        for name, part in found.items()
        if part.exact
    }
    return told | {
        "largest score beside the step's own law": max(scored),
        "the step's largest bias, relative": max(
            shift / found[name].exact for name, shift in shifts.items()
        ),
        "in standard errors": max(
            shift / found[name].error for name, shift in shifts.items()
        ),
    }


def run(chains: int, folder: Path) -> str:
    """Compares the simulators and writes the report.

    Args:
      chains: independent ones of each sampler.
      folder: of the report.

    Returns:
      The report as Markdown.
    """
    samplers = (*sampler_cases.right_samplers(), *sampler_cases.wrong_samplers())
    rows = [row(sampler, chains) for sampler in samplers]
    moments = len(joint_simulation.names(linear_model.example()))
    notes = [
        f"{chains} chains of {2 * CYCLES} turns, the second half of which counts, with "
        f"{TRANSITIONS} steps of {sampler_cases.STEP_SIZE} each (wrong samplers as "
        "they are named). Scores are differences of the two simulators' moments in "
        f"standard errors, the largest of {moments} moments; above {LIMIT} once in ten "
        "thousand times where a sampler is right.",
        "The step's own law is the joint law that Langevin dynamics of this constant "
        "step has in closed form. Its bias must be less than the limit, in standard "
        "errors; then what the check finds is no discretisation.",
    ]
    title = "Joint tests of the samplers"
    return timing.write_report(folder, "joint_tests", title, rows, notes, {})


def main(arguments: Sequence[str]) -> None:
    """Reads the flags and writes the report."""
    if len(arguments) > 1:
        raise app.UsageError(f"{arguments[1]}: expected flags only")
    print(run(CHAINS.value, Path(timing.RESULTS_DIR.value)))


if __name__ == "__main__":
    app.run(main)
