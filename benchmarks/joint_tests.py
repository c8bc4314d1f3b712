"""Joint tests of the samplers: do they get parameters and data right together?

For each sampler of `dipgp.inference` the moments of two simulators are compared
(`benchmarks.joint_simulation`). What a constant step changes is known, and is allowed
for; noisy Adam, which is no sampler, and faults put in on purpose must fail:

  python -m benchmarks.joint_tests
  python -m benchmarks.joint_tests --joint_chains=10000 --joint_keys=5
"""

from pathlib import Path

import jax
import numpy as np
import scipy.stats
from absl import flags

from benchmarks import flags_only, joint_simulation, linear_model, sampler_cases, timing

CHAINS = flags.DEFINE_integer(
    "joint_chains", 4000, "Independent chains of the successive-conditional simulator."
)
KEYS = flags.DEFINE_integer("joint_keys", 30, "Random keys, each a test of its own.")

CYCLES, TRANSITIONS = 40, 10
# Of all moments of all right samplers together, the chance that one fails.
LEVEL = 1e-3


def limit(count: int) -> float:
    """What the largest of `count` normal scores is above with a chance of `LEVEL`.

    Exact where scores are independent, and more than enough where they depend on each
    other, however they do.

    References:
      Sidak, Rectangular confidence regions for the means of multivariate normal
      distributions, Journal of the American Statistical Association, 1967.
    """
    each = 1 - (1 - LEVEL) ** (1 / count)
    return float(scipy.stats.norm.isf(each / 2))


# For scores from which the known bias of the step is taken away. Without that they are
# no test: with 4,000 chains the bias is 4 standard errors (momentum 0.8), so that 15 of
# 30 keys lie above, though the sampler is as right as its step lets it be.
LIMIT = limit(
    len(joint_simulation.names(linear_model.example()))
    * len(sampler_cases.right_samplers())
)


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


def row(sampler: sampler_cases.Sampler, chains: int, keys: int) -> dict[str, object]:
    """The largest score of a sampler's moments, and the largest bias of its step."""
    model = linear_model.example()
    found = [
        joint_simulation.compare(
            model,
            sampler,
            jax.random.key(number),
            chains=chains,
            cycles=CYCLES,
            transitions=TRANSITIONS,
        )
        for number in range(keys)
    ]
    names = joint_simulation.names(model)
    known = constant_steps().get(sampler.name)
    biases = dict.fromkeys(names, 0.0)
    if known is not None:
        biases = joint_simulation.biases(model, known, TRANSITIONS)
    scores = np.array(
        [[one[name].score(biases[name]) for name in names] for one in found]
    )
    sizes = np.abs(scores)
    # Standard normal again, of a run as long as all together.
    together = np.abs(scores.sum(0)) / keys**0.5
    told = {
        "sampler": sampler.name,
        "right": sampler.right,
        "largest score": float(sizes[0].max()),
        "of": names[int(sizes[0].argmax())],
        "keys above the limit": f"{_above(sizes)} of {keys}",
        "all keys together": float(together.max()),
    }
    if known is None:
        return told
    with_bias = np.array([[abs(one[name].score()) for name in names] for one in found])
    first = found[0]
    return told | {
        "bias of the step, relative": max(
            abs(biases[name] / part.exact) for name, part in first.items() if part.exact
        ),
        "in standard errors": max(
            abs(biases[name]) / part.error for name, part in first.items()
        ),
        "keys above, bias not taken away": f"{_above(with_bias)} of {keys}",
    }


def _above(sizes: np.ndarray) -> int:
    """How many keys, of scores by key and moment, have one above the limit."""
    return int(np.sum(sizes.max(axis=1) > LIMIT))


def run(chains: int, keys: int, folder: Path) -> str:
    """Compares the simulators and writes the report.

    Args:
      chains: independent ones of each sampler.
      keys: how many comparisons of each.
      folder: of the report.

    Returns:
      The report as Markdown.
    """
    right = sampler_cases.right_samplers()
    samplers = (*right, *sampler_cases.wrong_samplers())
    rows = [row(sampler, chains, keys) for sampler in samplers]
    moments = len(joint_simulation.names(linear_model.example()))
    notes = [
        f"{chains} chains of {2 * CYCLES} turns, the second half of which counts, with "
        f"{TRANSITIONS} steps of {sampler_cases.STEP_SIZE} each (wrong samplers as "
        "they are named). Scores are differences of the two simulators' moments in "
        f"standard errors, the largest of {moments} moments; the first key's where no "
        "more is said.",
        "A constant step has a bias, known in closed form, which is taken away from "
        "the scores of right samplers. What is left is standard normal, and one of the "
        f"{len(right) * moments} scores of the right samplers is above {LIMIT:.2f} at "
        f"most {LEVEL:g} of all times (Sidak's bound, however the scores depend on "
        "each other). Scores of all keys together are those of one run as long as all "
        "of them.",
        "The last column says how many keys would be above the limit had the bias not "
        "been taken away: it counts in standard errors, more of them the longer the "
        "run, while the relative bias stays as it is.",
    ]
    title = "Joint tests of the samplers"
    return timing.write_report(folder, "joint_tests", title, rows, notes, {})


def main() -> None:
    """Reads the flags and writes the report."""
    print(run(CHAINS.value, KEYS.value, Path(timing.RESULTS_DIR.value)))


if __name__ == "__main__":
    flags_only.run(main)
