"""The field's equations, solved for what noise and mask leave open.

(W + K^-1) f = b, where w is the largest of W. With T = (w + K^-1)^-1, which is diagonal
in Fourier space, and v = 1 - W / w, which is 1 where nothing is seen and 0 where the
noise is least, they read

    f = T (b + w y),    y = v f.

So only y is left to be found, where v > 0: with P = 1 - w T = 1 / (1 + w S) there,

    [ P + 1 / v - 1 ] y = T b.

Its eigenvalues are those of the equations of all coefficients, but for ones, and no
coefficient is a difference of numbers that are nearly equal. Conjugate gradients,
preconditioned by v, have vectors of real numbers, one a pixel, and products that are
two FFTs and one multiplication between them. Each y has a better field than itself in
T (b + w y), so that a third of the steps is saved as well.

The residual r of y is w v r of that field, whose error is bounded as in
`dipgp.gp.field`; that takes an FFT, and is looked at now and then.
"""

import jax
import jax.numpy as jnp

from dipgp.gp import conjugate_gradients
from dipgp.gp.coordinates import Coordinates

Array = jax.Array

# Steps between two looks at the error: half of that many too many, against an FFT.
EVERY = 4


def solve(
    around: Coordinates,
    precision: Array,
    right_hand_sides: Array,
    target: Array,
    max_iterations: int,
    guess: Array | None = None,
) -> tuple[Array, Array]:
    """Coefficients of f, and the steps that they took.

    Args:
      around: the coordinates, of the largest precision.
      precision: (H, W), W.
      right_hand_sides: coefficients of b.
      target: (N,) bounds on the error, in the norm of the posterior, to stop at.
      max_iterations: at most so many steps.
      guess: (N, P1, P2) of f; 0 by default.
    """
    margins = [
        (0, whole - side)
        for whole, side in zip(around.size, precision.shape, strict=True)
    ]
    opened = 1 - jnp.pad(precision / around.weight, margins)[None]
    inverse = jnp.where(opened > 0, 1 / jnp.where(opened > 0, opened, 1), 1)
    # What residuals w v r of the field count for, as coefficients.
    power = around.largest * jnp.square(around.weight * around.analysis)

    def operator(images: Array) -> Array:
        transform = jnp.fft.rfft2(images)
        # Real by complex numbers would be multiplied as if both were complex.
        left = jax.lax.complex(
            around.prior * transform.real, around.prior * transform.imag
        )
        return jnp.fft.irfft2(left, s=around.size) + (inverse - 1) * images

    def length(residuals: Array) -> Array:
        transform = jnp.fft.rfft2(opened * residuals)
        squares = jnp.square(transform.real) + jnp.square(transform.imag)
        return jnp.sqrt(jnp.sum(power * squares, axis=(1, 2)))

    start = jnp.zeros_like(opened) if guess is None else opened * guess
    wanted = around.to_torus(right_hand_sides)
    start = jnp.broadcast_to(start, wanted.shape)
    found, iterations = conjugate_gradients.iterate(
        operator,
        start,
        wanted - operator(start),
        lambda residuals: opened * residuals,
        target,
        max_iterations,
        length,
        EVERY,
    )
    return (
        right_hand_sides + around.weight * around.to_coefficients(found),
        iterations,
    )
