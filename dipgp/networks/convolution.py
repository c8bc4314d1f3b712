"""Convolutions of one signal with a small kernel, arranged for speed in compiled loops.

    y[i, o] = sum_{t, c} x[stride * i + t - (k - 1) // 2, c] kernel[t, c, o]

along every axis at once, with what `padding` says beyond the border. It is the
cross-correlation that deep-learning libraries call a convolution.

XLA's own gradient of a convolution is 15 to 38 times slower on CPUs inside a compiled
loop than outside (github.com/jax-ml/jax/issues/12868), because its transposed layouts
miss the fast path there. `convolve` therefore carries its own gradient, in which both
convolutions are written in the layout of the fast path. On other devices the value and
the gradient are XLA's own.
"""

import functools
from typing import get_args

import jax
import jax.numpy as jnp
from jax import lax

from dipgp.architecture.layers import Padding

Array = jax.Array
Strides = tuple[int, int]

_LAYOUT = ("NHWC", "HWIO", "NHWC")


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
        x[None], kernel, strides, "VALID", dimension_numbers=_LAYOUT
    )[0]


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _correlate(x: Array, kernel: Array, strides: Strides) -> Array:
    """The same, with its own gradient on CPUs."""
    return lax.platform_dependent(
        x,
        kernel,
        cpu=functools.partial(_correlate_on_cpu, strides=strides),
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
        cpu=functools.partial(_gradient_on_cpu, strides=strides),
        default=functools.partial(_gradient_by_xla, strides=strides),
    )


_correlate.defvjp(_forward, _backward)


def _gradient_by_xla(
    x: Array, kernel: Array, slope: Array, strides: Strides
) -> tuple[Array, Array]:
    function = functools.partial(_correlate_by_xla, strides=strides)
    of_x, of_kernel = jax.vjp(function, x, kernel)[1](slope)
    return of_x, of_kernel


def _correlate_on_cpu(x: Array, kernel: Array, strides: Strides) -> Array:
    x, kernel = _remove_strides(x, kernel, strides)
    if kernel.shape[:2] == (1, 1):
        return (x.reshape(-1, x.shape[-1]) @ kernel[0, 0]).reshape(*x.shape[:2], -1)
    # With a border XLA takes its fast path; what the border adds is cut off.
    border = [(0, int(taps > 1)) for taps in kernel.shape[:2]]
    y = lax.conv_general_dilated(
        x[None], kernel, (1, 1), border, dimension_numbers=_LAYOUT
    )[0]
    height, width = _output_size(x, kernel, (1, 1))
    return y[:height, :width]


def _gradient_on_cpu(
    x: Array, kernel: Array, slope: Array, strides: Strides
) -> tuple[Array, Array]:
    (x, kernel), pull_back = jax.vjp(
        functools.partial(_remove_strides, strides=strides), x, kernel
    )
    return pull_back(_gradient_without_strides(x, kernel, slope))


def _gradient_without_strides(
    x: Array, kernel: Array, slope: Array
) -> tuple[Array, Array]:
    """Both gradients as convolutions in the layout of the fast path."""
    rows, columns, channels, filters = kernel.shape
    if (rows, columns) == (1, 1):
        pixels, slopes = x.reshape(-1, channels), slope.reshape(-1, filters)
        of_x = (slopes @ kernel[0, 0].T).reshape(x.shape)
        return of_x, (pixels.T @ slopes).reshape(kernel.shape)
    of_x = lax.conv_general_dilated(
        slope[None],
        jnp.transpose(kernel[::-1, ::-1], (0, 1, 3, 2)),
        (1, 1),
        [(rows - 1, rows - 1), (columns - 1, columns - 1)],
        dimension_numbers=_LAYOUT,
    )[0]
    # Each channel of x is an image of its own here, and the cotangent is the filter.
    of_kernel = lax.conv_general_dilated(
        jnp.transpose(x, (2, 0, 1))[..., None],
        slope[:, :, None, :],
        (1, 1),
        "VALID",
        dimension_numbers=_LAYOUT,
    )
    return of_x, jnp.transpose(of_kernel, (1, 2, 0, 3))


def _remove_strides(x: Array, kernel: Array, strides: Strides) -> tuple[Array, Array]:
    """Image and kernel whose convolution of stride 1 is the strided one of those given.

    Pixels that are met by the same taps, one in stride along each axis, become channels
    of one pixel, and so do the taps. This takes some products with zeros, but few and
    large operations.
    """
    size = _output_size(x, kernel, strides)
    for axis, stride in enumerate(strides):
        if stride == 1:
            continue
        taps = kernel.shape[axis]
        groups = -(-taps // stride)
        x = _split(x, axis, size[axis] + groups - 1, stride)
        kernel = _split(kernel, axis, groups, stride)
        # Where the stride passes over pixels, no tap meets them.
        x = lax.slice_in_dim(x, 0, min(taps, stride), axis=axis + 1)
        kernel = lax.slice_in_dim(kernel, 0, min(taps, stride), axis=axis + 1)
        x, kernel = jnp.moveaxis(x, axis + 1, 2), jnp.moveaxis(kernel, axis + 1, 2)
        x = x.reshape(*x.shape[:2], -1)
        kernel = kernel.reshape(*kernel.shape[:2], -1, kernel.shape[-1])
    return x, kernel


def _split(x: Array, axis: int, groups: int, width: int) -> Array:
    """An axis as two, (groups, width), cut off or continued by zeros at its end."""
    length = groups * width
    x = lax.slice_in_dim(x, 0, min(length, x.shape[axis]), axis=axis)
    missing = [(0, 0, 0)] * x.ndim
    missing[axis] = (0, length - x.shape[axis], 0)
    x = lax.pad(x, jnp.zeros((), x.dtype), missing)
    return x.reshape(*x.shape[:axis], groups, width, *x.shape[axis + 1 :])


def _output_size(x: Array, kernel: Array, strides: Strides) -> tuple[int, int]:
    height, width = (
        (size - taps) // stride + 1
        for size, taps, stride in zip(x.shape, kernel.shape, strides, strict=False)
    )
    return height, width
