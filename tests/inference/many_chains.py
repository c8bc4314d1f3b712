"""What samplers are held against: exact laws, and how far many chains are from them.

Independent chains run as one with a longer parameter array: a log density that is a sum
over rows moves each row by itself.
"""

import jax
import jax.numpy as jnp
import numpy as np

from dipgp.inference.method import Info, Method, State

# Of some fourteen normal scores, one above this comes up once in ten thousand times.
LIMIT = 4.5

# Correlated, with eigenvalues from 0.9 to 5.7.
PRECISION = np.array(
    [
        [3.0, 1.0, 0.5, 0.0],
        [1.0, 4.0, -1.0, 0.5],
        [0.5, -1.0, 2.0, 0.3],
        [0.0, 0.5, 0.3, 5.0],
    ]
)
COVARIANCE = np.linalg.inv(PRECISION)
MEAN = np.array([1.0, -2.0, 0.5, 0.0])
START = np.zeros((10_000, 4), np.float32)


def gaussian(mean, precision):
    """Of parameters (n, d), the log density of n draws of N(mean, precision^-1)."""
    mean, precision = jnp.asarray(mean), jnp.asarray(precision)

    def log_density(parameters, key):
        del key
        away = parameters - mean.astype(parameters.dtype)[None]
        pull = away @ precision.astype(parameters.dtype)
        return -0.5 * jnp.sum(pull * away), parameters

    return log_density


TARGET = gaussian(MEAN, PRECISION)


def stationary_covariance(precision, step_size, temperature=1.0, scale=1.0):
    """The covariance C of w <- (1 - eps/2 G H) w + N(0, eps temperature G).

    It solves C = (1 - eps/2 G H) C (1 - eps/2 G H)^T + eps temperature G, and is
    diagonal with entries (temperature / lambda) / (1 - eps G lambda / 4) if H and G
    are.
    """
    scale = np.diag(np.broadcast_to(scale, len(precision)))
    shrunk = precision - step_size / 4 * precision @ scale @ precision
    return temperature * np.linalg.inv(shrunk)


def run(method, state, steps, key):
    """The state of a chain some steps later."""

    def body(state, key):
        state, _ = method.step(key, state)
        return state, None

    keys = jax.random.split(key, steps)
    return jax.jit(lambda state: jax.lax.scan(body, state, keys)[0])(state)


def sample(method, start, steps, seed):
    """The parameters at which a chain has arrived."""
    return run(method, method.init(start), steps, jax.random.key(seed)).parameters


def normal_scores(samples, mean, covariance):
    """Departures of means and covariances from exact ones, in standard errors.

    Samples (n, d) are taken as independent draws of N(mean, covariance), for which
    the standard error of a mean is sqrt(C_ii / n), and that of a covariance about the
    known mean sqrt((C_ii C_jj + C_ij^2) / n).
    """
    away = np.asarray(samples, np.float64) - mean
    count, variances = len(away), np.diag(covariance)
    means = away.mean(0) / np.sqrt(variances / count)
    spread = np.outer(variances, variances) + covariance**2
    covariances = (away.T @ away / count - covariance) / np.sqrt(spread / count)
    upper = np.triu_indices(len(covariance))
    return np.concatenate([means, covariances[upper]])


def farthest(samples, mean, covariance):
    """The largest of `normal_scores`, without signs."""
    return np.abs(normal_scores(samples, mean, covariance)).max()


def mean_and_error(values):
    """The mean of independent values and its standard error."""
    values = np.asarray(values, np.float64)
    return values.mean(), values.std(ddof=1) / np.sqrt(len(values))


def wrong_langevin(log_density, step_size, *, drift=1.0, noise=1.0):
    """Langevin dynamics with its drift and its noise's std off by factors."""

    def init(parameters):
        return State(parameters, (), jnp.zeros((), jnp.int32))

    def step(key, state):
        (value, output), slope = jax.value_and_grad(log_density, has_aux=True)(
            state.parameters, key
        )
        normal = jax.random.normal(key, slope.shape, slope.dtype)
        change = drift * step_size / 2 * slope + noise * step_size**0.5 * normal
        moved = State(state.parameters + change, (), state.iteration + 1)
        return moved, Info(-value, output)

    return Method(init, step)
