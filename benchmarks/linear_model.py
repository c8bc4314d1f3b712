"""A linear model with Gaussian prior and noise: data and posterior are known exactly.

    theta ~ N(0, I),    y = A theta + noise_std N(0, I)

The posterior has the precision H = I + A^T A / noise_std^2 and the mean
H^-1 A^T y / noise_std^2. Many parameters, each with data of its own, are rows of one
array: the log density sums over them, and a sampler moves each by itself.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array


@dataclass(frozen=True, eq=False)
class LinearModel:
    """The model above.

    Attributes:
      design: A, (n, d).
      noise_std: positive.
    """

    design: np.ndarray
    noise_std: float

    @property
    def precision(self) -> np.ndarray:
        """H, (d, d)."""
        gain = self.design.T @ self.design / self.noise_std**2
        return np.eye(self.design.shape[1]) + gain

    def draw_parameters(self, key: Array, shape: tuple[int, ...]) -> Array:
        """(*shape, d) draws of the prior."""
        return jax.random.normal(key, (*shape, self.design.shape[1]))

    def draw_data(self, key: Array, parameters: Array) -> Array:
        """(..., n) data of parameters (..., d)."""
        exact = self.predict(parameters)
        return exact + self.noise_std * jax.random.normal(key, exact.shape)

    def predict(self, parameters: Array) -> Array:
        """A theta, (..., n)."""
        return parameters @ jnp.asarray(self.design.T, parameters.dtype)

    def misfit(self, parameters: Array, data: Array) -> Array:
        """|y - A theta|^2 / noise_std^2, (...)."""
        away = (data - self.predict(parameters)) / self.noise_std
        return jnp.sum(jnp.square(away), axis=-1)

    def log_density(self, parameters: Array, data: Array) -> Array:
        """Of the posterior up to a constant, summed over all rows."""
        square = jnp.sum(jnp.square(parameters), axis=-1)
        return -jnp.sum(square + self.misfit(parameters, data)) / 2


def example() -> LinearModel:
    """Three parameters seen by four numbers; eigenvalues of H from 1.4 to 4.6."""
    design = np.array(
        [[1.0, 0.5, 0.0], [0.0, 1.0, -0.5], [0.5, 0.0, 0.5], [1.0, -0.5, 0.0]]
    )
    return LinearModel(design, noise_std=0.8)
