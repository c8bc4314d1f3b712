"""Convolutions of one signal with a small kernel, arranged for speed in compiled loops.

    y[i, o] = sum_{t, c} x[stride * i + t - (k - 1) // 2, c] kernel[t, c, o]

along every axis at once, with what `padding` says beyond the border. It is the
cross-correlation that deep-learning libraries call a convolution.

On CPUs `convolve` carries its own gradient, in the forms of `convolution_on_cpu`. On
other devices the value and the gradient are XLA's own.
"""

import functools
from typing import get_args

import jax
import jax.numpy as jnp
from jax import lax

from dipgp.architecture.layers import Padding
from dipgp.networks import convolution_on_cpu
from dipgp.networks.convolution_on_cpu import LAYOUT, Strides

Array = jax.Array


def convolve(
    x: Array,
    kernel: Array,
    stride: int = 1,
    padding: Padding = "reflect",
    *,
    forward_differentiable: bool = False,
) -> Array:
    """Convolves a signal with a kernel.

    Args:
      x: (H, W, C) or (L, C).
      kernel: (k, k, C, O) or (k, C, O), of any size and of x's dtype. Of the k - 1
        pixels that are missing at the border, (k - 1) // 2 are put before the first
        and k // 2 behind the last.
      stride: keeps every stride-th pixel along each axis, the first one included.
      padding: "reflect" mirrors the pixels at the centre of the outermost one (to and
        fro where there are fewer than are needed), "zeros" puts zeros there, "circular"
        goes on at the other end.
      forward_differentiable: leaves all derivatives to XLA. `jax.jvp`, `jax.jacfwd` and
        Hessians by forward over reverse are only available with it.

    Returns:
      (ceil(H / stride), ceil(W / stride), O) or (ceil(L / stride), O).

    Raises:
      ValueError: on shapes that do not fit together or an unknown padding.
    """
    if padding not in get_args(Padding):
        known = ", ".join(get_args(Padding))
        raise ValueError(f"padding: expected one of {known}, got {padding!r}")
    if x.ndim not in (2, 3) or kernel.ndim != x.ndim + 1:
        raise ValueError(
            "x, kernel: expected shapes (H, W, C) and (k, k, C, O), or (L, C) and "
            f"(k, C, O), got {x.shape} and {kernel.shape}"
        )
    correlate = _correlate_by_xla if forward_differentiable else _correlate
    if x.ndim == 3:
        return correlate(extend(x, kernel.shape[:2], padding), kernel, (stride, stride))
    image, kernel = x[None], kernel[None]
    return correlate(extend(image, kernel.shape[:2], padding), kernel, (1, stride))[0]


def extend(x: Array, kernel_size: tuple[int, ...], padding: Padding) -> Array:
    """A signal with the border that a kernel needs, as wide as `convolve` says.

    Put together from slices, whose gradient is several times faster than that of
    `jnp.pad`.

    Args:
      x: its first axes are those of the kernel.
      kernel_size: taps along each of them.
      padding: what stands in the border.
    """
    for axis, taps in enumerate(kernel_size):
        size = x.shape[axis]
        before = range(-((taps - 1) // 2), 0)
        after = range(size, size + taps // 2)
        pieces = [_pixel(x, axis, index, padding) for index in before]
        pieces.append(x)
        pieces.extend(_pixel(x, axis, index, padding) for index in after)
        x = jnp.concatenate(pieces, axis)
    return x


def _pixel(x: Array, axis: int, index: int, padding: Padding) -> Array:
    """What stands at an index beyond the border, as a slice one pixel wide."""
    size = x.shape[axis]
    match padding:
        case "zeros":
            return jnp.zeros_like(lax.slice_in_dim(x, 0, 1, axis=axis))
        case "circular":
            source = index % size
        case "reflect":
            period = max(2 * (size - 1), 1)
            source = min(index % period, -index % period)
    return lax.slice_in_dim(x, source, source + 1, axis=axis)


def _correlate_by_xla(x: Array, kernel: Array, strides: Strides) -> Array:
    """The convolution of an extended image: (h, w, C) to (H, W, O)."""
    return lax.conv_general_dilated(
        x[None], kernel, strides, "VALID", dimension_numbers=LAYOUT
    )[0]


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _correlate(x: Array, kernel: Array, strides: Strides) -> Array:
    """The same, with its own gradient on CPUs."""
    return lax.platform_dependent(
        x,
        kernel,
        cpu=functools.partial(convolution_on_cpu.correlate, strides=strides),
        default=functools.partial(_correlate_by_xla, strides=strides),
    )


def _forward(
    x: Array, kernel: Array, strides: Strides
) -> tuple[Array, tuple[Array, Array]]:
    return _correlate(x, kernel, strides), (x, kernel)


def _backward(
    strides: Strides, saved: tuple[Array, Array], slope: Array
) -> tuple[Array, Array]:
    return lax.platform_dependent(
        *saved,
        slope,
        cpu=functools.partial(convolution_on_cpu.gradient, strides=strides),
        default=functools.partial(_gradient_by_xla, strides=strides),
    )


_correlate.defvjp(_forward, _backward)


def _gradient_by_xla(
    x: Array, kernel: Array, slope: Array, strides: Strides
) -> tuple[Array, Array]:
    function = functools.partial(_correlate_by_xla, strides=strides)
    of_x, of_kernel = jax.vjp(function, x, kernel)[1](slope)
    return of_x, of_kernel
