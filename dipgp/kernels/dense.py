"""Second moments between all pairs of pixels, with borders, as networks grow wide.

The reference of the stationary closed forms: nothing is assumed to repeat itself, so
that padding, stride, resampling and a given input are what they are in a network. For
second moments C(s, t) between pixels s and t of one channel,

    convolution       C -> sigma_w^2 / k^d sum_j S_j C S_j^T + sigma_b^2
    resampling        C -> U C U^T
    non-linearity     C(s, t) -> E[h(u) h(v)], u and v normal with the second moments
                      C(s, s), C(s, t), C(t, t)

where S_j selects what tap j reads. Memory grows with the square of the pixels.

References:
  Novak et al., Bayesian deep convolutional networks with many channels are Gaussian
    processes, ICLR 2019.
  Garriga-Alonso, Rasmussen and Aitchison, Deep convolutional networks as shallow
    Gaussian processes, ICLR 2019.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from dipgp import architecture, numerics
from dipgp.architecture.layers import check_architecture, check_positive_integer
from dipgp.architecture.sizes import sizes
from dipgp.kernels import pixel_operators, reading
from dipgp.kernels.dense_rules import DenseRules, check_pixels
from dipgp.kernels.inputs import white
from dipgp.kernels.stationary import Covariance, CovarianceLike, as_covariance

Array = jax.Array
Shape = tuple[int, ...]

# A second moment of 64x64 pixels takes 0.125 GiB in float64, and a few are alive.
LARGEST = 64 * 64


def dense(
    net: architecture.Architecture,
    input: CovarianceLike | jax.typing.ArrayLike | None = None,
    shape: Shape | None = None,
    *,
    second_moment: jax.typing.ArrayLike | None = None,
    largest: int = LARGEST,
) -> Array:
    """Second moments between all pairs of output pixels as the layers grow wide.

    Exact for any padding, stride and size: an input that does not fit the network is
    continued and the output is cut as `networks.build` does it. Batch norm's division
    is a limit of its own, that of many pixels: by the mean over pixels of the centred
    variance, where a network divides each channel by that of its own sample (an error
    of order 1 / pixels at its resolution). Its centring is exact.

    The variance of each of 16x16 pixels, which is another beside the border:

        c = kernels.dense(architecture.conv_net(2), kernels.white(), (16, 16))
        variance = c.reshape(256, 256).diagonal().reshape(16, 16)

    Args:
      net: the network.
      input: what the network reads, either an array z (L, C) or (H, W, C) of the given
        network input, of which the first convolution sees z z^T / C; or the covariance
        of a random input with endlessly many channels, on the grid of `shape`, which
        ends at the border (it is not wrapped around). White noise by default.
      shape: (L,) or (H, W) of a random input.
      second_moment: in the place of input and shape, (L, L) or (H, W, H, W): those of
        a random input with endlessly many channels, E[z(s) z(t)].
      largest: number of pixels, anywhere in the network, up to which it is computed. N
        pixels take 8 N^2 bytes in float64, and a few times that on the way.

    Returns:
      (*output shape, *output shape) in the dtype of the input, for one output channel.
      Different output channels are independent if a convolution comes last.

    Raises:
      ValueError: on an input that is not one of these or does not fit the network; on
        more pixels than `largest`; on a layer without a closed form (it is named), or
        where layers follow each other in an order that has none. A given array has
        none for a non-linearity or batch norm before the first convolution.
    """
    check_architecture(net)
    check_positive_integer("largest", largest)
    given = False
    if second_moment is not None:
        if input is not None or shape is not None:
            raise ValueError(
                "second_moment: expected alone, got it beside an input or a shape"
            )
        moments = _checked_moments(net, second_moment, largest)
    elif input is None or callable(input):
        start = as_covariance(white() if input is None else input)
        shape = _checked_shape(net, shape, largest)
        moments = toeplitz(start, shape)
    else:
        given = True
        if shape is not None:
            raise ValueError(f"shape: expected none beside an array z, got {shape}")
        z = _checked_signal(net, input, largest)
        moments = jnp.tensordot(z, z, (-1, -1), precision="highest") / z.shape[-1]
    return _propagate(net, moments, given, largest)


def toeplitz(covariance: Covariance, shape: Shape) -> Array:
    """A stationary covariance between all pairs of pixels of a grid with an end.

    Args:
      covariance: K.
      shape: (L,) or (H, W).

    Returns:
      (*shape, *shape) array of K(t - s) in JAX's default dtype.
    """
    dtype = jnp.zeros(()).dtype
    axes = [np.arange(1 - size, size, dtype=dtype) for size in shape]
    table = covariance(np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1))
    for axis, size in enumerate(shape):
        lags = np.arange(size)[None, :] - np.arange(size)[:, None]
        # The axis becomes two, first pixel and second pixel, side by side.
        table = jnp.take(table, lags + size - 1, 2 * axis)
    order = [*range(0, table.ndim, 2), *range(1, table.ndim, 2)]
    return jnp.transpose(table, order)


@functools.partial(jax.jit, static_argnums=(0, 2, 3))
def _propagate(
    net: architecture.Architecture, moments: Array, given: bool, largest: int
) -> Array:
    fitting = sizes(net)
    shape = moments.shape[: net.dimensions]
    for axis, size in enumerate(shape):
        if fitting.padded(size) > size:
            moments = pixel_operators.gather(moments, axis, fitting.sources(size))
    after = reading.read(net, moments, DenseRules(largest), given=given)
    kept = tuple(slice(fitting.output(size)) for size in shape)
    return after[kept + kept]


def _checked_shape(
    net: architecture.Architecture, shape: Shape | None, largest: int
) -> Shape:
    expected = "(L,)" if net.dimensions == 1 else "(H, W)"
    if (
        not isinstance(shape, tuple | list)
        or len(shape) != net.dimensions
        or not all(isinstance(size, int) and size > 0 for size in shape)
    ):
        raise ValueError(
            f"shape: expected {expected} in pixels for a random input, got {shape}"
        )
    fitting = sizes(net)
    check_pixels(tuple(map(fitting.padded, shape)), largest)
    return tuple(shape)


def _checked_signal(
    net: architecture.Architecture, input: jax.typing.ArrayLike, largest: int
) -> Array:
    numerics.check_real("input", input)
    z = jnp.asarray(input)
    axes = ("L",) if net.dimensions == 1 else ("H", "W")
    if z.ndim != len(axes) + 1 or z.shape[-1] != net.input_channels or z.size == 0:
        expected = ", ".join([*axes, str(net.input_channels)])
        raise ValueError(
            f"input: expected a covariance, or an array z of shape ({expected}) with "
            f"at least one pixel, got shape {z.shape}"
        )
    _check_floating("input", z)
    _checked_shape(net, z.shape[:-1], largest)
    if not numerics.is_traced(z):
        largest_mean = np.mean(np.square(z, dtype=np.float64), axis=-1).max()
        if not largest_mean <= numerics.LARGEST:
            raise ValueError(
                "input: expected finite numbers of a mean square up to "
                f"{numerics.LARGEST:g}, got {largest_mean:.3g}"
            )
    return z


def _checked_moments(
    net: architecture.Architecture, second_moment: jax.typing.ArrayLike, largest: int
) -> Array:
    numerics.check_real("second_moment", second_moment)
    moments = jnp.asarray(second_moment)
    shape = moments.shape[: net.dimensions]
    if moments.ndim != 2 * net.dimensions or moments.shape != 2 * shape:
        expected = "(L, L)" if net.dimensions == 1 else "(H, W, H, W)"
        raise ValueError(
            f"second_moment: expected shape {expected}, got {moments.shape}"
        )
    _check_floating("second_moment", moments)
    _checked_shape(net, shape, largest)
    if not numerics.is_traced(moments):
        matrix = np.asarray(moments).reshape(math.prod(shape), -1)
        scale = np.abs(matrix.diagonal()).max()
        tolerance = 1e3 * np.finfo(matrix.dtype).eps * scale
        gap = np.abs(matrix - matrix.T).max()
        smallest = matrix.diagonal().min()
        if not gap <= tolerance or not 0 <= smallest <= scale <= numerics.LARGEST:
            raise ValueError(
                "second_moment: expected finite numbers, symmetric in the two pixels, "
                f"with variances from 0 to {numerics.LARGEST:g}; got values that "
                f"differ by {gap:.3g} and variances from {smallest:.3g} to {scale:.3g}"
            )
    return moments


def _check_floating(name: str, value: Array) -> None:
    if not jnp.issubdtype(value.dtype, jnp.floating):
        raise ValueError(f"{name}: expected floating-point numbers, got {value.dtype}")
