"""Gradient descent of an infinitely wide network on a torus of pixels.

A wide network f that is trained on a signal y follows linear dynamics with its neural
tangent kernel Theta. On a torus Theta and the covariance K of the networks' outputs at
the start are diagonal in Fourier space. Let lambda(k) and kappa(k) be their
eigenvalues at frequency k. With the loss

    L(f) = 1/2 sum_pixels (f - y)^2

and the learning rate eta, what is left of the residual f - y after t iterations is the
factor

    omega(k) = (1 - eta lambda(k))^t     for descent by steps,
    omega(k) = exp(-eta lambda(k) t)     in continuous time,

so that over networks f_t has the mean (1 - omega(k)) y(k) and the variance
omega(k)^2 kappa(k) at each frequency. Each output channel is trained by itself; the
channels of y do not mix. Losses that take a mean: see `rate_for_mean`.

Covariances are read at the lags of the shorter way around the torus; eigenvalues below
0, which that may leave of a covariance that reaches across, count as 0.

References:
  Lee et al., Wide neural networks of any depth evolve as linear models under gradient
  descent, NeurIPS 2019.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np

from dipgp import numerics
from dipgp.kernels.stationary import CovarianceLike
from dipgp.kernels.torus import torus_eigenvalues

Array = jax.Array
Time = Literal["steps", "continuous"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class GradientFlow:
    """How a wide network learns, frequency by frequency.

    Learning rates are those of the loss 1/2 sum (f - y)^2. Iterations are a number or
    an array of them, whose axes come first in each result; in continuous time they need
    not be whole. All methods may be called inside `jax.jit` and `jax.grad`.

    Attributes:
      rates: (H, W) or (L,), lambda: eigenvalues of Theta in the order of the fast
        Fourier transform.
      prior: likewise, kappa: eigenvalues of the covariance before training.
      time: "steps" of gradient descent, or "continuous".
    """

    rates: Array
    prior: Array
    time: Time = field(default="steps", metadata={"static": True})

    @property
    def largest_learning_rate(self) -> Array:
        """2 / max lambda, from which on descent by steps diverges."""
        return 2 / jnp.max(self.rates)

    def remaining(
        self, iterations: jax.typing.ArrayLike, learning_rate: jax.typing.ArrayLike
    ) -> Array:
        """omega, the share of the residual that is left at each frequency.

        Args:
          iterations: (...) numbers of iterations.
          learning_rate: scalar.

        Returns:
          (..., H, W) or (..., L).

        Raises:
          ValueError: on a learning rate that is not positive, on negative iterations,
            and for descent by steps, on iterations that are not whole.
        """
        self._check(iterations, learning_rate)
        count = jnp.asarray(iterations, self.rates.dtype)
        progress = self.rates * learning_rate
        progress = progress.reshape((1,) * count.ndim + progress.shape)
        count = count.reshape(count.shape + (1,) * self.rates.ndim)
        return _remaining(progress, count, self.time)

    def mean(
        self,
        values: jax.typing.ArrayLike,
        iterations: jax.typing.ArrayLike,
        learning_rate: jax.typing.ArrayLike,
    ) -> Array:
        """The networks' mean output.

        Args:
          values: (H, W, C) or (L, C), the y that they are trained on.
          iterations: (...).
          learning_rate: scalar.

        Returns:
          (..., H, W, C) or (..., L, C).

        Raises:
          ValueError: on values of another size, or as `remaining` does.
        """
        learnt = 1 - self.remaining(iterations, learning_rate)
        transform = self._transform("values", values)
        axes = tuple(range(-1 - self.rates.ndim, -1))
        batch = (1,) * (learnt.ndim - self.rates.ndim)
        spectrum = learnt[..., None] * transform.reshape(batch + transform.shape)
        return jnp.fft.ifftn(spectrum, axes=axes).real

    def variance(
        self, iterations: jax.typing.ArrayLike, learning_rate: jax.typing.ArrayLike
    ) -> Array:
        """The variance of each pixel over networks, the same for all pixels.

        Returns:
          (...), one number for each number of iterations.

        Raises:
          ValueError: as `remaining` does.
        """
        return self._over_iterations(
            lambda left: jnp.mean(jnp.square(left) * self.prior),
            iterations,
            learning_rate,
        )

    def squared_error(
        self,
        truth: jax.typing.ArrayLike,
        values: jax.typing.ArrayLike,
        iterations: jax.typing.ArrayLike,
        learning_rate: jax.typing.ArrayLike,
    ) -> Array:
        """The mean squared error against the truth, expected over networks.

        Args:
          truth: (H, W, C) or (L, C), to compare with.
          values: likewise, what the networks are trained on.
          iterations: (...).
          learning_rate: scalar.

        Returns:
          (...), means over pixels and channels.

        Raises:
          ValueError: on arrays of another size, or as `remaining` does.
        """
        target = self._transform("truth", truth)
        seen = self._transform("values", values)
        if target.shape != seen.shape:
            raise ValueError(
                f"values: expected the truth's shape {target.shape}, got {seen.shape}"
            )
        pixels = self.rates.size

        def error(left: Array) -> Array:
            miss = (1 - left[..., None]) * seen - target
            power = jnp.mean(jnp.square(jnp.abs(miss)), axis=-1) / pixels
            return jnp.mean(power + jnp.square(left) * self.prior)

        return self._over_iterations(error, iterations, learning_rate)

    def expected_squared_error(
        self,
        truth: jax.typing.ArrayLike,
        noise_std: jax.typing.ArrayLike,
        iterations: jax.typing.ArrayLike,
        learning_rate: jax.typing.ArrayLike,
    ) -> Array:
        """The mean squared error after training on truth plus white noise.

        Expected over networks and over the noise: at each frequency
        omega^2 |truth|^2 + (1 - omega)^2 noise_std^2 + omega^2 kappa.

        Args:
          truth: (H, W, C) or (L, C).
          noise_std: standard deviation of the noise, independent in all pixels.
          iterations: (...).
          learning_rate: scalar.

        Returns:
          (...), means over pixels and channels.

        Raises:
          ValueError: on a truth of another size, a negative noise_std, or as
            `remaining` does.
        """
        power, noise = self._power("truth", truth, noise_std)
        return self._expected(power, noise, iterations, learning_rate)

    def unbiased_squared_error(
        self,
        values: jax.typing.ArrayLike,
        noise_std: jax.typing.ArrayLike,
        iterations: jax.typing.ArrayLike,
        learning_rate: jax.typing.ArrayLike,
    ) -> Array:
        """An estimate of `squared_error` that needs no truth, only the noise.

        Stein's unbiased risk estimate of the mean output (1 - omega) y, plus the
        variance over networks:

            mean(omega^2 |y|^2) - noise_std^2 + 2 noise_std^2 mean(1 - omega)
            + mean(omega^2 kappa)

        Its mean over the noise is `expected_squared_error`. Where it is least is a time
        to stop.

        Args:
          values: (H, W, C) or (L, C), the truth plus white noise.
          noise_std: standard deviation of the noise, independent in all pixels.
          iterations: (...).
          learning_rate: scalar.

        Returns:
          (...), means over pixels and channels; may be negative.

        Raises:
          ValueError: on values of another size, a negative noise_std, or as
            `remaining` does.

        References:
          Stein, Estimation of the mean of a multivariate normal distribution, Annals of
          Statistics 1981.
        """
        power, noise = self._power("values", values, noise_std)

        def error(left: Array) -> Array:
            kept = jnp.square(left) * (power + self.prior)
            return jnp.mean(kept + noise * (1 - 2 * left))

        return self._over_iterations(error, iterations, learning_rate)

    def squared_error_of_prior(
        self,
        signal: jax.typing.ArrayLike,
        noise_std: jax.typing.ArrayLike,
        iterations: jax.typing.ArrayLike,
        learning_rate: jax.typing.ArrayLike,
    ) -> Array:
        """`expected_squared_error` over truths that are drawn from a process too.

        It depends on nothing that was seen: a time to stop that is known beforehand.

        Args:
          signal: (H, W) or (L,), eigenvalues of the truths' covariance on the torus, as
            `torus_eigenvalues` gives them.
          noise_std: standard deviation of the noise, independent in all pixels.
          iterations: (...).
          learning_rate: scalar.

        Returns:
          (...), means over pixels.

        Raises:
          ValueError: on eigenvalues of another size, a negative noise_std, or as
            `remaining` does.
        """
        numerics.check_not_negative("noise_std", noise_std)
        signal = jnp.asarray(signal, self.rates.dtype)
        if signal.shape != self.rates.shape:
            raise ValueError(
                f"signal: expected shape {self.rates.shape}, got {signal.shape}"
            )
        noise = jnp.square(jnp.asarray(noise_std, signal.dtype))
        return self._expected(signal, noise, iterations, learning_rate)

    def _power(
        self, name: str, values: jax.typing.ArrayLike, noise_std: jax.typing.ArrayLike
    ) -> tuple[Array, Array]:
        """Mean power over channels at each frequency, and the noise's variance."""
        numerics.check_not_negative("noise_std", noise_std)
        transform = self._transform(name, values)
        power = jnp.mean(jnp.square(jnp.abs(transform)), axis=-1) / self.rates.size
        return power, jnp.square(jnp.asarray(noise_std, power.dtype))

    def _expected(
        self,
        power: Array,
        noise: Array,
        iterations: jax.typing.ArrayLike,
        learning_rate: jax.typing.ArrayLike,
    ) -> Array:
        def error(left: Array) -> Array:
            kept = jnp.square(left) * (power + self.prior)
            return jnp.mean(kept + jnp.square(1 - left) * noise)

        return self._over_iterations(error, iterations, learning_rate)

    def _over_iterations(
        self,
        function: Callable[[Array], Array],
        iterations: jax.typing.ArrayLike,
        learning_rate: jax.typing.ArrayLike,
    ) -> Array:
        """A number from what is left, one count after another, to save memory."""
        self._check(iterations, learning_rate)
        count = jnp.asarray(iterations)
        flat = jax.lax.map(
            lambda t: function(self.remaining(t, learning_rate)), count.reshape(-1)
        )
        return flat.reshape(count.shape)

    def _check(
        self, iterations: jax.typing.ArrayLike, learning_rate: jax.typing.ArrayLike
    ) -> None:
        numerics.check_positive("learning_rate", learning_rate)
        numerics.check_not_negative("iterations", iterations)
        if self.time == "steps" and not numerics.is_traced(iterations):
            given = np.asarray(iterations)
            if np.any(given != np.floor(given)):
                raise ValueError(
                    f"iterations: expected whole numbers of steps, got {iterations}; "
                    'try time="continuous"'
                )

    def _transform(self, name: str, values: jax.typing.ArrayLike) -> Array:
        values = jnp.asarray(values)
        shape = self.rates.shape
        if values.ndim != len(shape) + 1 or values.shape[:-1] != shape:
            expected = ", ".join([*map(str, shape), "C"])
            raise ValueError(f"{name}: expected shape ({expected}), got {values.shape}")
        return jnp.fft.fftn(values, axes=range(len(shape)))


def gradient_flow(
    covariance: CovarianceLike,
    tangent: CovarianceLike,
    shape: tuple[int, ...],
    *,
    time: Time = "steps",
    dtype: np.typing.DTypeLike | None = None,
) -> GradientFlow:
    """How a wide network learns a periodic signal.

    Args:
      covariance: of a pixel of the network's output before training, as from
        `kernels.covariance`.
      tangent: the neural tangent kernel, as from `kernels.ntk`.
      shape: (L,) or (H, W), of the signal.
      time: "steps" of gradient descent, or "continuous".
      dtype: of the lags; JAX's default by default.

    Raises:
      ValueError: on an unknown time, or a shape that is not one or two positive
        integers.
    """
    numerics.check_choice("time", time, get_args(Time))
    prior = torus_eigenvalues(covariance, shape, dtype)
    rates = torus_eigenvalues(tangent, shape, dtype)
    return GradientFlow(rates, prior, time)


def rate_for_mean(learning_rate: jax.typing.ArrayLike, size: int) -> jax.Array:
    """The learning rate here that is that one of a mean of squares.

    Descent on mean((f - y)^2) over `size` numbers, as PyTorch's MSELoss takes it, moves
    2 / size times as far as descent on 1/2 sum (f - y)^2.

    Args:
      learning_rate: of the descent on the mean.
      size: how many numbers the mean is over: pixels times channels.

    Raises:
      ValueError: on a size below 1.
    """
    numerics.check_finite("learning_rate", learning_rate)
    numerics.check_positive("size", size, scalar=True)
    return 2 * jnp.asarray(learning_rate) / size


@functools.partial(jax.jit, static_argnames="time")
def _remaining(progress: Array, count: Array, time: Time) -> Array:
    """(1 - progress)^count, or exp(-progress count)."""
    if time == "continuous":
        return jnp.exp(-progress * count)
    # By logarithms: 1 - progress has no digits left of a slow rate in single precision.
    overshoots = progress > 1
    done = progress == 1
    slow = jnp.log1p(-jnp.where(overshoots | done, 0, progress))
    fast = jnp.log(jnp.where(overshoots, progress, 2) - 1)
    size = jnp.exp(count * jnp.where(overshoots, fast, slow))
    size = jnp.where(done, jnp.where(count == 0, 1, 0), size)
    return jnp.where(overshoots & (count % 2 == 1), -size, size)
