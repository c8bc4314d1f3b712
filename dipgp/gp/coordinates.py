"""Coordinates in which the field's equations have bounded coefficients.

u = f sqrt(w + 1 / S), S being the spectrum of K on the torus and w some precision; why,
is told in `dipgp.gp.field`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dipgp.gp.seen import Seen
from dipgp.gp.toeplitz import half_spectrum_counts

Array = jax.Array

# The start fills gaps from this far away, in pixels, and where so much is seen there.
FILLING = 1.0
LEAST_SEEN = 1e-3


class Coordinates(NamedTuple):
    """The coordinates u = f sqrt(w + 1 / S) of images f on their torus.

    Half a spectrum stands for a real image: coefficients are (N, 2, P1, P2 // 2 + 1),
    real and imaginary parts.

    Attributes:
      weight: w.
      prior: (N, P1, P2 // 2 + 1), what K^-1 becomes: 1 / (1 + w S), and 0 at
        frequency zero where the level is unknown.
      largest: (N, P1, P2 // 2 + 1), 1 + w S, which bounds the system's inverse; at
        frequency zero, where only what is seen does, it has the process' own S.
      analysis: multiplies the transform of W f, w f or the like.
      synthesis: multiplies u before it is transformed back into f.
      size: (P1, P2).
      grid: (H, W), the part of the torus that is the image.
      level_known: whether there is none but 0.
    """

    weight: Array
    prior: Array
    largest: Array
    analysis: Array
    synthesis: Array
    size: tuple[int, int]
    grid: tuple[int, int]
    level_known: bool

    def to_images(self, coefficients: Array) -> Array:
        """Images (N, H, W) of coefficients, the torus around them cut off."""
        height, width = self.grid
        return self.to_torus(coefficients)[:, :height, :width]

    def to_torus(self, coefficients: Array) -> Array:
        """Images (N, P1, P2) of coefficients."""
        # Real numbers are multiplied before they are put together: half the products.
        scaled = self.synthesis[:, None] * coefficients
        transform = jax.lax.complex(scaled[:, 0], scaled[:, 1])
        return jnp.fft.irfft2(transform, s=self.size)

    def to_coefficients(self, images: Array) -> Array:
        """The transpose of `to_images`, of `to_torus` for images as large as that."""
        transform = jnp.fft.rfft2(images, s=self.size)
        parts = jnp.stack([transform.real, transform.imag], axis=1)
        return self.analysis[:, None] * parts

    def fill(self, data: Array, mask: Array) -> Array:
        """What is near the mean of data (N, H, W), 0 where not seen: (N, P1, P2).

        Gaps are filled by what is seen around them, a blur of the data over that of
        the mask. Seen everywhere, in noise of 1 / w, that has the mean
        w G^2 = S / (S + 1 / w) times itself; so has the blur, besides being narrow.
        """
        down = np.fft.fftfreq(self.size[0])[:, None]
        right = np.fft.rfftfreq(self.size[1])[None]
        narrow = np.exp(-2 * np.square(np.pi * FILLING) * (down**2 + right**2))
        response = jnp.asarray(narrow, data.dtype)[None] * (1 - self.prior)

        def blur(images: Array) -> Array:
            transform = jnp.fft.rfft2(images, s=self.size)
            return jnp.fft.irfft2(response * transform, s=self.size)

        return blur(data) / (jnp.abs(blur(mask[None])) + LEAST_SEEN)

    def levels(self, coefficients: Array) -> Array:
        """(N,) means of f over the torus, which are the unknown levels."""
        first = self.synthesis[:, 0, 0] * coefficients[:, 0, 0, 0]
        if self.level_known:
            return jnp.zeros_like(first)
        return first / (self.size[0] * self.size[1])


def coordinates(seen: Seen, weight: Array, grid: tuple[int, int]) -> Coordinates:
    """The coordinates for a scalar w, `weight`, and one image (H, W) a torus."""
    spectrum, size = seen.tori.spectrum, seen.tori.size
    largest = 1 + weight * spectrum
    gain = jnp.sqrt(spectrum / largest)
    prior = 1 / largest
    if not seen.level_known:
        gain = gain.at[:, 0, 0].set(1 / jnp.sqrt(weight))
        prior = prior.at[:, 0, 0].set(0)

    # Each entry counts for the frequencies that it stands for, so that the dot products
    # of the iteration are those of images.
    counts = half_spectrum_counts(size)
    unit = np.sqrt(counts / (size[0] * size[1]))
    analysis = gain * jnp.asarray(unit, gain.dtype)[None]
    synthesis = gain / jnp.asarray(unit, gain.dtype)[None]
    return Coordinates(
        weight, prior, largest, analysis, synthesis, size, grid, seen.level_known
    )
