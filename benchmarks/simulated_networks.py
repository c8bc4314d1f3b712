"""Simulated truths among the posterior draws of networks; see `rank_statistics`.

`experiments.equivalence` samples the hidden weights of a network whose read-out is
integrated out, by elliptical slices or without U-turns. Here the truth is a network
drawn from the prior. Given hidden weights an output is Gaussian with the mean and the
variance that the sampler tells, from which one draw is made.
"""

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import rank_statistics
from experiments import hidden_weights
from experiments.plain_model import Model

Array = jax.Array

NOISE_STD = 0.3
OBSERVED = np.array([0, 2, 3])
BURN_IN = 60
# Narrow, so that the hidden weights matter.
MODEL = Model(shape=(5,), sigma=1.0, depth=1, width=4, input_channels=6)


def network_ranks(
    sampler: hidden_weights.Sampler, key: Array, simulations: int, draws: int
) -> dict[str, np.ndarray]:
    """Ranks of an observed and of a hidden output.

    Args:
      sampler: "slice" or "nuts".
      key: of everything.
      simulations: N, number of truths.
      draws: L, the ends of independent chains.

    Returns:
      (N,) ranks by name.
    """
    truths, samples = zip(
        *(
            _simulate(sampler, each, draws)
            for each in jax.random.split(key, simulations)
        ),
        strict=True,
    )
    truth, sampled = np.stack(truths), np.stack(samples)
    points = {"observed": OBSERVED[0], "hidden": 1}
    return {
        name: rank_statistics.ranks(truth[:, point], sampled[:, :, point])
        for name, point in points.items()
    }


def _simulate(
    sampler: hidden_weights.Sampler, key: Array, draws: int
) -> tuple[np.ndarray, np.ndarray]:
    """Outputs of a network (points,), and draws (L, points) given some of them."""
    keys = jax.random.split(key, 5)
    z = MODEL.draw_input(keys[0])
    truth = MODEL.output(MODEL.network.init(keys[1], z), z)
    noise = NOISE_STD * jax.random.normal(keys[2], OBSERVED.shape)
    found = hidden_weights.sample(
        MODEL,
        hidden_weights.Data(
            z, truth[OBSERVED] + noise, jnp.asarray(OBSERVED), jnp.asarray(NOISE_STD)
        ),
        keys[3],
        sampler=sampler,
        chains=draws,
        burn_in=BURN_IN,
        draws=1,
        report=lambda *_: None,
    )
    means, variances = found.means[:, 0], found.variances[:, 0]
    normal = np.asarray(jax.random.normal(keys[4], means.shape))
    return np.asarray(truth), means + np.sqrt(variances) * normal
