"""The posterior mean as the solution of its own equation on the whole torus.

With W the inverse noise variances, 0 where nothing is observed, and S the spectrum of
K, the mean f solves (W + K^-1) f = W y on the torus. In Fourier space K is diagonal,
and so is the preconditioner 1 / (w + 1 / S), w being the largest of W. In the
coordinates u = f sqrt(w + 1 / S) the system reads

    [ 1 / (1 + w S)  +  G W G ] u = G W y,      G = sqrt(S / (1 + w S)),

all of whose coefficients are bounded however small S is: eigenvalues that vanish cause
no division. A step takes two FFTs. The unknown constant level is a prior of infinite
variance at frequency zero, 1 / S = 0 there; it is the mean of f over the torus.

How far off a solution is, its residual r tells by sqrt(r^T (1 + w S) r). With A the
matrix above, no less than 1 / (1 + w S), that bounds the error e in the norm of the
posterior, e^T A e = r^T A^-1 r: no pixel is further off than so many times its own
posterior standard deviation. The plain length of r is small far from the solution where
the noise is weak.
"""

import jax
import jax.numpy as jnp
import numpy as np

from dipgp.gp import conjugate_gradients, open_pixels
from dipgp.gp.conjugate_gradients import Limits, MeanSolution, Operator
from dipgp.gp.coordinates import Coordinates, coordinates
from dipgp.gp.seen import Seen
from dipgp.gp.toeplitz import Torus, half_spectrum_counts
from dipgp.observations import Observation

Array = jax.Array

# A residual's own rounding was 2 to 5 times that of a single product.
ROUNDINGS = 5
# Weights arrive where the process stands out from the noise at so many frequencies.
ROUGH = 0.75
# Errors that are fewer than this share of the observed pixels are not told apart.
LEAST_SHARE = 1 / 16


def noise_is_weak(observation: Observation, tori: Torus, tolerance: float) -> bool:
    """Whether rounding hides how far a solution is off, and weights fare better.

    Residuals are rounded like b, whose size is that of the values over the noise, and
    their roundings count by 1 + w S, on average 1 + w K(0). So the bound on the error
    cannot fall below some roundings times the ratio of variances, K(0) over the noise.

    Weights have roundings of their own where the noise is above the spectrum at many
    frequencies, as it always is for Gaussian covariances: in 32 bits and noise of 1e-6
    they were 7.6 dB off, the field 0.1 dB.

    Args:
      observation: mask and noise.
      tori: of the covariances. Nothing that JAX traces.
      tolerance: that the bound is to fall below.
    """
    seen = observation.mask != 0
    weakest = jnp.min(jnp.where(seen, observation.noise_std, jnp.inf)) ** 2
    counts = half_spectrum_counts(tori.size) / np.prod(tori.size)
    share = jnp.asarray(counts, tori.spectrum.dtype)[None]
    variance = jnp.max(jnp.sum(share * tori.spectrum, axis=(1, 2)))
    above = tori.spectrum / (tori.spectrum + weakest)
    rough = jnp.min(jnp.sum(share * above, axis=(1, 2))) > ROUGH
    rounding = ROUNDINGS * jnp.finfo(tori.spectrum.dtype).eps / 2
    pixels = jnp.sum(observation.mask)
    least = rounding * (variance / weakest) * jnp.sqrt(pixels)
    hidden = least > tolerance * error_unit(pixels, seen.size)
    return bool(hidden & rough)


def error_unit(seen: Array, unknowns: int) -> Array:
    """Root of the number of values that errors spread over.

    Those are the missing ones, as far as there are some: what is seen leaves little
    open. Nowhere are they more than what is seen.
    """
    return jnp.sqrt(jnp.clip(unknowns - seen, LEAST_SHARE * seen, seen))


@jax.jit
def solve(seen: Seen, data: Array, limits: Limits) -> MeanSolution:
    """Posterior means of independent channels with an unknown level each.

    Args:
      seen: the channels, mask and noise.
      data: (C, H, W), zero where nothing is observed.
      limits: the tolerance is of the error, in the norm of the posterior over the
        `error_unit`.
    """
    mask, precision = seen.observation.mask, inverse_noise(seen.observation)
    pixels = jnp.sum(mask)
    start = jnp.sum(mask[None] * data, (1, 2), keepdims=True) / pixels
    if seen.level_known:
        start = jnp.zeros_like(start)
    centred = mask[None] * (data - start)
    weight = jnp.max(precision)
    around = coordinates(seen, weight, (data.shape[1], data.shape[2]))
    found = _invert(
        around,
        precision[None] * centred,
        precision,
        limits,
        error_unit(pixels, mask.size),
        around.fill(centred, mask),
    )
    return found._replace(mean=found.mean + start, level=found.level + start[:, 0, 0])


@jax.jit
def apply_posterior_covariance(
    seen: Seen, images: Array, limits: Limits
) -> MeanSolution:
    """The posterior's covariance matrix (W + K^-1)^-1 times images.

    Args:
      seen: one channel an image, with the mask and noise of the posterior.
      images: (N, H, W).
      limits: the tolerance is of the error relative to the product, both in the norm
        of the posterior.

    Returns:
      The products as `mean`, and how the solves went.
    """
    precision = inverse_noise(seen.observation)
    around = coordinates(seen, jnp.max(precision), (images.shape[1], images.shape[2]))
    return _invert(around, images, precision, limits)


def inverse_noise(observation: Observation) -> Array:
    """W, the inverse noise variances; 0 where nothing is observed."""
    return observation.mask / jnp.square(observation.noise_std)


def _invert(
    around: Coordinates,
    images: Array,
    precision: Array,
    limits: Limits,
    unit: jax.typing.ArrayLike = np.inf,
    guess: Array | None = None,
) -> MeanSolution:
    """Solves (W + K^-1) f = images on the torus around the images.

    Args:
      around: the coordinates, with the largest of W as their w.
      images: (N, H, W).
      precision: (H, W), W.
      limits: as in `solve`.
      unit: of the tolerance; the right-hand sides' own length where that is less.
      guess: (N, P1, P2) of f on the torus.
    """
    wanted = around.to_coefficients(images)
    guessed = jax.lax.stop_gradient(wanted)

    def operator(coefficients: Array) -> Array:
        seen = precision[None] * around.to_images(coefficients)
        return around.prior[:, None] * coefficients + around.to_coefficients(seen)

    def one_solve(_: Operator, b: Array, target: Array) -> tuple[Array, Array]:
        start = None
        if guess is not None:
            # Derivatives have right-hand sides of their own, and no guess.
            same = jnp.all(b == guessed, axis=(1, 2, 3))
            start = jnp.where(same[:, None, None], guess, 0)
        return open_pixels.solve(
            around, precision, b, target, limits.max_iterations, start
        )

    def length(residuals: Array) -> Array:
        squares = around.largest[:, None] * jnp.square(residuals)
        return jnp.sqrt(jnp.sum(squares, axis=(1, 2, 3)))

    solution = conjugate_gradients.accounted(
        operator, wanted, one_solve, limits.tolerance, length, unit
    )
    return MeanSolution(
        around.to_images(solution.value),
        around.levels(solution.value),
        solution.iterations,
        solution.residual,
    )
