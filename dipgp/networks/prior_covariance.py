"""The covariance that real networks have, by random draws of their weights.

    estimate = estimate_covariance(
        key,
        architecture.conv_net(2, channels=64, dimensions=1),
        lags,                                               # (n, D), whole pixels
        input=lambda key: gaussian_input(key, (128,), 32, sigma=2.0),
        draws=20_000,
    )
    estimate.correlation, estimate.correlation_error        # (n,) each

The closed forms of `dipgp.kernels` are the limit of infinite width. A network of n
channels departs from it by a bias of order 1 / n and by its own randomness, which draws
average out.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dipgp import architecture, numerics
from dipgp.architecture.layers import check_architecture
from dipgp.architecture.sizes import sizes
from dipgp.networks import correlogram
from dipgp.networks.build import Network, build
from dipgp.networks.convolution import extend
from dipgp.networks.interior import interior
from dipgp.networks.read_out import split_read_out

Array = jax.Array
Input = Callable[[Array], Array]


class CovarianceEstimate(NamedTuple):
    """What random networks say of their covariance C(r) = E[f(t) f(t + r)].

    Standard errors are those of independent draws, however many pixels each had.

    Attributes:
      covariance: (n,) C at each lag.
      standard_error: (n,) of it.
      correlation: (n,) C(r) / C(0), the paper's cos theta.
      correlation_error: (n,) its standard error, by the delta method.
      draws: how many networks were drawn.
    """

    covariance: Array
    standard_error: Array
    correlation: Array
    correlation_error: Array
    draws: int


def estimate_covariance(
    key: Array,
    net: architecture.Architecture,
    lags: jax.typing.ArrayLike,
    *,
    input: Input,
    draws: int,
    batch: int = 1,
    margin: int | None = None,
    integrate_read_out: bool = True,
) -> CovarianceEstimate:
    """Estimates the covariance of a network's output over its random weights.

    Each draw takes new weights from the prior and a new input, and averages products of
    pixels over the output's interior: over all its pixels at once, the same ones for
    every lag, and as many of each phase of up-sampling. Draws are not kept.

    Where the last layer is a convolution (with k^D taps, stride s, and C channels h to
    read), its weights are not drawn but integrated out, which is exact and leaves less
    noise:

        E[f(t) f(t + r) | h]
            = sigma_w^2 / (C k^D) sum_{c, j} h_c(s t + j) h_c(s t + s r + j) + sigma_b^2

    Behind any other last layer it is drawn.

    Args:
      key: of all draws. Draw i depends on the key and i alone.
      net: the network. Batch norm reads all pixels, those near the border included.
      lags: (n, D) whole pixels of the output, as `dipgp.kernels` reads them.
      input: gives the network's input, (L, C) or (H, W, C), for a key. It should be
        stationary; one that ignores its key is the same for all networks, and where it
        is not stationary itself the average over pixels is estimated. A function that
        was met before is not compiled again.
      draws: of the network, at least 2.
      batch: draws side by side in memory. On CPUs 1 is the fastest.
      margin: pixels at each end of each axis of the output that are left out. By
        default as many as may depend on the padding. 0 is right for networks on a
        circle, whose padding and input are periodic; products never wrap around.
      integrate_read_out: whether a convolution that comes last is integrated out.

    Returns:
      The estimate. With few channels in the input or in hidden layers, its expectation
      differs from the closed form by a term of order 1 / channels.

    Raises:
      ValueError: on lags that are not whole or not (n, D); fewer than 2 draws; a
        margin that is negative, or absent where none is finite; an input of the wrong
        shape, of a size that does not fit the network's resolutions, or too small.
    """
    numerics.check_key("key", key)
    check_architecture(net)
    lags = _checked_lags(lags, net.dimensions)
    numerics.check_whole_number("batch", batch, least=1)
    numerics.check_whole_number("draws", draws, least=2, most=numerics.MOST_PIXELS)
    shape = _checked_shape(key, net, input)
    hidden, read_out = net, None
    if integrate_read_out:
        hidden, read_out = split_read_out(net)
    plan = _Plan(
        build(hidden, initialisation="gaussian_process"),
        read_out,
        input,
        draws,
        min(batch, draws),
        lags=tuple(map(tuple, [(0,) * net.dimensions, *lags.tolist()])),
        windows=_windows(net, shape, lags, margin),
    )
    # The first lag is 0, which the caller may not have asked for.
    covariance, error, correlation, correlation_error = (
        values[1:] for values in _estimate(plan, key)
    )
    return CovarianceEstimate(covariance, error, correlation, correlation_error, draws)


@dataclass(frozen=True)
class _Plan:
    """What is compiled.

    Attributes:
      network: all of the layers, or those before the read-out.
      read_out: the convolution that is integrated out, if any.
      input: as given, like `draws` and `batch`.
      lags: whole pixels, of which the first is 0.
      windows: (start, size) along each axis of the output: where t runs.
    """

    network: Network
    read_out: architecture.Convolution | None
    input: Input
    draws: int
    batch: int
    lags: tuple[tuple[int, ...], ...]
    windows: tuple[tuple[int, int], ...]


@functools.partial(jax.jit, static_argnums=0)
def _estimate(plan: _Plan, key: Array) -> correlogram.Summary:
    one = functools.partial(_draw, plan, key)
    several = jax.vmap(one) if plan.batch > 1 else lambda numbers: one(numbers[0])[None]

    def step(sums: correlogram.Sums, first: Array) -> tuple[correlogram.Sums, None]:
        numbers = first + jnp.arange(plan.batch)
        return correlogram.add(sums, several(numbers), numbers < plan.draws), None

    sums = correlogram.empty(len(plan.lags), jax.eval_shape(one, 0).dtype)
    sums, _ = jax.lax.scan(step, sums, jnp.arange(0, plan.draws, plan.batch))
    return correlogram.summarise(sums)


def _draw(plan: _Plan, key: Array, number: jax.typing.ArrayLike) -> Array:
    """The covariance at each lag that one network shows, (n,)."""
    key_input, key_weights = jax.random.split(jax.random.fold_in(key, number))
    z = plan.input(key_input)
    features = plan.network.apply(plan.network.init(key_weights, z), z)
    read_out = plan.read_out
    if read_out is None:
        return _products(features, plan, offset=(0,) * len(plan.windows), stride=1)
    taps = (read_out.kernel_size,) * len(plan.windows)
    features = extend(features, taps, read_out.padding)
    products = [
        _products(features, plan, offset, read_out.stride)
        for offset in np.ndindex(taps)
    ]
    mean = functools.reduce(jnp.add, products) / len(products)
    return read_out.weight_variance * mean + read_out.bias_variance


def _products(
    features: Array, plan: _Plan, offset: tuple[int, ...], stride: int
) -> Array:
    """Mean of h(s t + j) h(s t + s r + j) over channels and the window, by lag."""

    def window(lag: tuple[int, ...]) -> Array:
        part = features
        for axis, (start, size) in enumerate(plan.windows):
            first = stride * (start + lag[axis]) + offset[axis]
            stop = first + stride * (size - 1) + 1
            part = jax.lax.slice_in_dim(part, first, stop, stride, axis)
        return part

    here = window(plan.lags[0])
    return jnp.stack([jnp.mean(here * window(lag)) for lag in plan.lags])


def _windows(
    net: architecture.Architecture,
    shape: tuple[int, ...],
    lags: np.ndarray,
    margin: int | None,
) -> tuple[tuple[int, int], ...]:
    """(start, size) of the pixels t, of which every t + r is in the interior."""
    inside = interior(net)
    margin = _checked_margin(margin, inside.reach)
    fit = sizes(net)
    found = []
    for axis, size in enumerate(shape):
        if fit.padded(size) != size:
            raise ValueError(
                f"input: expected sizes that are multiples of {fit.multiple}, "
                f"{fit.smallest} at least, got {size} pixels along axis {axis}"
            )
        before = max(0, -int(lags[:, axis].min()))
        lost = 2 * margin + before + max(0, int(lags[:, axis].max()))
        room = (fit.output(size) - lost) // inside.period * inside.period
        if room < 1:
            raise ValueError(
                f"input: expected pixels for an output of {lost + inside.period} at "
                f"least along axis {axis} (two margins of {margin}, the lags and one "
                f"period of {inside.period}), got {fit.output(size)}"
            )
        found.append((margin + before, room))
    return tuple(found)


def _checked_margin(margin: int | None, reach: float) -> int:
    if margin is None:
        if math.isinf(reach):
            raise ValueError(
                "margin: expected a number of pixels for a network with 'ideal' "
                "up-sampling, whose filter reaches every border, got None"
            )
        return int(reach)
    if not isinstance(margin, int) or margin < 0:
        raise ValueError(f"margin: expected an integer of at least 0, got {margin!r}")
    return margin


def _checked_lags(lags: jax.typing.ArrayLike, dimensions: int) -> np.ndarray:
    found = np.asarray(lags)
    if found.ndim != 2 or found.shape[1] != dimensions or found.size == 0:
        raise ValueError(
            f"lags: expected shape (n, {dimensions}) with at least one lag, got "
            f"{found.shape}"
        )
    numerics.check_finite("lags", lags)
    if not np.all(found == np.round(found)):
        raise ValueError(f"lags: expected whole pixels, got {found.tolist()}")
    return np.round(found).astype(int)


def _checked_shape(
    key: Array, net: architecture.Architecture, input: Input
) -> tuple[int, ...]:
    """Sizes of the input's axes."""
    z = jax.eval_shape(input, key)
    axes = ("L",) if net.dimensions == 1 else ("H", "W")
    if z.ndim != len(axes) + 1 or z.shape[-1] != net.input_channels or z.size == 0:
        expected = ", ".join([*axes, str(net.input_channels)])
        raise ValueError(
            f"input: expected a function of a key that gives ({expected}) with at "
            f"least one pixel, got {z.shape}"
        )
    return z.shape[:-1]
