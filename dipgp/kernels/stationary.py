"""What a stationary covariance is: a function of lag that also knows its own ends.

For a random field x on a grid of pixels, K(r) = E[x(t) x(t + r)] is the second moment
at lag r. Rules for layers need three things at once: K(0), K(r), and for batch norm the
value far away, K(inf). They travel together as `Moments`, so that a chain of layers is
evaluated once from the input to the output, however deep it is.

Instead of K(r) itself the moments hold the variogram K(0) - K(r). Nearby pixels of deep
networks are almost perfectly correlated; their difference, which is all that a Gaussian
process with an unknown mean reads, would drown in the rounding of K(r) ~ K(0).
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dipgp import numerics

Array = jax.Array
Lags = jax.Array | np.ndarray

# A distance in pixels at which every covariance with a limit has reached it.
FAR_AWAY = 1e6


class Moments(NamedTuple):
    """A stationary covariance at zero lag, far away, and at the lags asked for.

    Attributes:
      variance: scalar K(0).
      sill: scalar K(0) - K(inf), the level that the variogram reaches.
      variogram: K(0) - K(r), one value a lag; at least 0, at most 2 K(0).
    """

    variance: Array
    sill: Array
    variogram: Array


class Covariance:
    """A stationary covariance: call it on lags (..., D) in pixels, get values (...).

    Instances are immutable pytrees whose leaves are hyperparameters, so they go through
    `jax.jit`, `jax.grad` and `jax.vmap` as arguments like any array.
    """

    def evaluate(self, lags: Lags, at: "Evaluation") -> Moments:
        """Variance, sill and variogram; what a new covariance has to define.

        Args:
          lags: (..., D) as `as_lags` returns them.
          at: evaluates the covariances that this one is made of: `at(inner, lags)`.
        """
        raise NotImplementedError(f"{type(self).__name__} has no moments")

    def moments(self, lags: Lags) -> Moments:
        """Variance, sill and variogram; `lags` as `as_lags` returns them.

        Raises:
          ValueError: of more layers than Python can nest, some hundreds.
        """
        try:
            return Evaluation()(self, lags)
        except RecursionError as error:
            raise ValueError(
                "covariance: expected at most some 300 layers, one within the other, "
                "got more than Python can nest"
            ) from error

    def __call__(self, lags: jax.typing.ArrayLike) -> Array:
        """K at each lag.

        Args:
          lags: (..., D) real numbers in pixels, D = 1 or 2. NumPy arrays (as from
            `lag_grid`) are best: resampling rules then see which lags coincide.

        Returns:
          (...) covariances, in the wider dtype of lags and hyperparameters.

        Raises:
          ValueError: where the last axis of the lags does not have length 1 or 2.
        """
        moments = self.moments(as_lags(lags))
        return moments.variance - moments.variogram


class Evaluation:
    """One evaluation of a covariance and of all that it is made of.

    Branches that start from the same layer share its moments: without that, each
    residual block of a network would double the work.
    """

    def __init__(self) -> None:
        self._moments: dict[tuple[int, object], tuple[Covariance, Moments]] = {}
        self._lags: dict[int, tuple[Lags, object]] = {}

    def __call__(self, covariance: Covariance, lags: Lags) -> Moments:
        """The moments of a covariance, computed once for equal lags."""
        # Objects are held beside their identities, lest others take these over.
        if id(lags) not in self._lags:
            self._lags[id(lags)] = (lags, _fingerprint(lags))
        key = (id(covariance), self._lags[id(lags)][1])
        if key not in self._moments:
            self._moments[key] = (covariance, covariance.evaluate(lags, self))
        return self._moments[key][1]


def _fingerprint(lags: Lags) -> object:
    """Equal for equal NumPy arrays; for others only where they are the same object."""
    if isinstance(lags, np.ndarray):
        return lags.shape, lags.dtype.str, hashlib.sha256(lags.tobytes()).digest()
    return id(lags)


#: A covariance, or a plain function of lags (..., D) that is one.
CovarianceLike = Covariance | Callable[[Array], Array]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Function(Covariance):
    """A covariance that is given as a plain function of lags (..., D)."""

    function: Callable[[Array], Array] = field(metadata={"static": True})

    def evaluate(self, lags: Lags, at: Evaluation) -> Moments:
        """Evaluates the function at the lags, at zero, and a million pixels away."""
        lags = jnp.asarray(lags)
        ends = jnp.stack([jnp.zeros_like(lags, shape=lags.shape[-1:]), _far(lags)])
        variance, limit = self.function(ends)
        variogram = variance - self.function(lags)
        return Moments(variance, variance - limit, variogram)


def _far(lags: Array) -> Array:
    return jnp.full_like(lags, FAR_AWAY, shape=lags.shape[-1:])


def as_covariance(covariance: CovarianceLike) -> Covariance:
    """Wraps a plain function of lags; leaves covariances as they are.

    A plain function must be even, positive semi-definite and level off far away.

    Raises:
      TypeError: where the argument cannot be called.
    """
    if isinstance(covariance, Covariance):
        return covariance
    if not callable(covariance) or isinstance(covariance, type):
        raise TypeError(
            "covariance: expected a function of lags, got "
            f"{numerics.brief(covariance)}; try kernels.gaussian(sigma=2.0)"
        )
    return Function(covariance)


def as_lags(lags: jax.typing.ArrayLike) -> Lags:
    """Floating-point lags (..., D); keeps NumPy arrays, whose values rules may read.

    Raises:
      ValueError: where the last axis does not have length 1 or 2.
    """
    if not numerics.is_traced(lags):
        lags = np.asarray(lags)
    shape = np.shape(lags)
    if not shape or shape[-1] not in (1, 2):
        raise ValueError(
            f"lags: expected shape (..., 1) or (..., 2), got {shape}; "
            "try lags[..., None] for a signal's lags"
        )
    if isinstance(lags, np.ndarray):
        default = jnp.zeros(()).dtype
        floating = np.issubdtype(lags.dtype, np.floating)
        return lags if floating else lags.astype(default)
    lags = jnp.asarray(lags)
    return lags if jnp.issubdtype(lags.dtype, jnp.floating) else lags.astype(float)


def lag_grid(
    shape: tuple[int, ...], dtype: np.typing.DTypeLike | None = None
) -> np.ndarray:
    """All lags of a torus in the order of the fast Fourier transform.

    Args:
      shape: of the torus in pixels, (L,) or (H, W).
      dtype: floating type; JAX's default by default.

    Returns:
      (*shape, D) array with zero lag first, then the positive lags up to half the size,
      then the negative ones.

    Raises:
      ValueError: where the shape is not one or two positive integers.
    """
    numerics.check_grid("shape", shape)
    dtype = jnp.zeros(()).dtype if dtype is None else _floating(dtype)
    axes = [np.fft.fftfreq(size, 1 / size).round().astype(dtype) for size in shape]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)


def _floating(dtype: np.typing.DTypeLike) -> np.dtype:
    try:
        found = np.dtype(dtype)
    except TypeError as error:
        raise ValueError(f"dtype: expected a floating type, got {dtype!r}") from error
    if not jnp.issubdtype(found, jnp.floating):
        raise ValueError(f"dtype: expected a floating type, got {dtype!r}")
    return found


def variance(covariance: CovarianceLike, dimensions: int = 2) -> Array:
    """K(0), the variance of a pixel.

    Args:
      covariance: any stationary covariance.
      dimensions: 1 for signals, 2 for images. Only averaging and interpolating rules
        depend on it.
    """
    if not isinstance(dimensions, int) or dimensions not in (1, 2):
        raise ValueError(f"dimensions: expected 1 or 2, got {dimensions!r}")
    origin = np.zeros((dimensions,), jnp.zeros(()).dtype)
    return as_covariance(covariance).moments(origin).variance
