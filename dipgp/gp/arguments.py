"""What `gp.condition` is told, checked and put into one form."""

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np

from dipgp import numerics
from dipgp.gp.colour import ChannelModel, estimate_channels
from dipgp.gp.forms import Form
from dipgp.gp.through import check as check_seen_through
from dipgp.kernels.layers import scale
from dipgp.kernels.stationary import Covariance, CovarianceLike, as_covariance
from dipgp.observations import LinearMap, Observation, observe
from dipgp.observations.observation import check_observation
from dipgp.observations.stationary_filter import is_stationary

Array = jax.Array
Method = Literal["automatic", Form]
# One for whichever form it is, or one for each; None for the usual.
Tolerance = float | Mapping[Form, float] | None


def read_observation(
    observation: Observation | None,
    values: jax.typing.ArrayLike | None,
    mask: jax.typing.ArrayLike | None,
    noise_std: jax.typing.ArrayLike | None,
) -> tuple[Observation, bool]:
    """The checked observation, and whether values came without a channel axis."""
    if observation is not None:
        if values is not None or mask is not None or noise_std is not None:
            raise ValueError(
                "observation: expected it alone, got values, mask or noise_std as well"
            )
        check_observation(observation)
        values, mask, noise_std = observation
        return observe(values, mask, noise_std=noise_std), False
    if values is None or noise_std is None:
        raise ValueError(
            "values, noise_std: expected both where there is no observation, got None"
        )
    return observe(values, mask, noise_std=noise_std), np.ndim(values) == 2


def check_controls(method: Method, tolerance: Tolerance, max_iterations: int) -> None:
    """Raises ValueError on an unknown method or a number out of range."""
    numerics.check_choice("method", method, get_args(Method))
    each = tolerance if isinstance(tolerance, Mapping) else {"": tolerance}
    for form, value in each.items():
        if form:
            numerics.check_choice("tolerance", form, get_args(Form))
        if value is not None:
            numerics.check_between("tolerance", value, 0, 1)
    numerics.check_whole_number("max_iterations", max_iterations, least=1)


def check_known(observation: Observation) -> None:
    """Raises an error, naming the argument, on what JAX traces or is no observation."""
    check_observation(observation)
    if numerics.is_traced(observation):
        raise ValueError(
            "observation: expected known values, got some that JAX traces; try outside "
            "of jax.jit, jax.grad and jax.vmap"
        )


def check_candidates(candidates: object) -> None:
    """Raises an error, naming the argument, unless there are some to choose from."""
    if not isinstance(candidates, Sequence) or isinstance(candidates, str | bytes):
        raise TypeError(
            "candidates: expected a sequence of covariances, got "
            f"{numerics.brief(candidates)}"
        )
    if not candidates:
        raise ValueError("candidates: expected at least one covariance, got none")


def channel_covariances(
    covariance: CovarianceLike | Sequence[CovarianceLike],
    channels: ChannelModel,
    count: int,
) -> list[Covariance]:
    """One covariance for each decorrelated channel, its variance included."""
    if np.shape(channels.rotation) != (count, count):
        raise ValueError(
            f"channels: expected a rotation of shape {(count, count)}, got "
            f"{np.shape(channels.rotation)}"
        )
    given = list(covariance) if isinstance(covariance, Sequence) else [covariance]
    if len(given) not in (1, count):
        raise ValueError(
            f"covariance: expected one, or one for each of {count} channels, got "
            f"{len(given)}"
        )
    each = [as_covariance(k) for k in (given * count if len(given) == 1 else given)]
    return [scale(k, v) for k, v in zip(each, channels.variances, strict=True)]


def channel_model(
    channels: ChannelModel | None, observation: Observation, count: int
) -> ChannelModel:
    """The model given, or one estimated from what is seen of an image's channels.

    Raises:
      ValueError: where none is given and the values have other channels than the image.
    """
    if channels is not None:
        numerics.check_instance("channels", channels, ChannelModel)
        return channels
    seen = observation.values.shape[-1]
    if seen != count:
        raise ValueError(
            f"channels: expected a ChannelModel of the image's {count} channels, which "
            f"{seen} seen cannot tell, got None; try gp.fit_channels behind a mosaic, "
            "or gp.estimate_channels on a similar image"
        )
    return estimate_channels(observation)


def read_level(
    level: jax.typing.ArrayLike,
    count: int,
    method: str,
    dtype: np.dtype,
) -> Array:
    """A known level (C,) of an image's colours.

    Raises:
      ValueError: on another shape, on what is not finite, or for dense matrices, which
        estimate it.
    """
    numerics.check_real("level", level)
    if np.shape(level) not in ((), (1,), (count,)):
        raise ValueError(
            f"level: expected one number, or one for each of {count} colours, got "
            f"shape {np.shape(level)}"
        )
    if not numerics.is_traced(level) and not np.isfinite(np.asarray(level)).all():
        raise ValueError(f"level: expected finite numbers, got {level}")
    if method == "dense":
        raise ValueError(
            'method: expected "weights" or "field" where the level is known, got '
            '"dense"'
        )
    return jnp.broadcast_to(jnp.asarray(level, dtype), (count,))


def shape_of_image(
    observation: Observation,
    through: LinearMap | None,
    image_shape: tuple[int, ...] | None,
    method: Method,
) -> tuple[int, int, int]:
    """(H, W, C) of the image, checked against what is seen of it.

    Raises:
      ValueError: where shape, map, mask and method do not fit together.
    """
    if through is None:
        if image_shape is not None:
            raise ValueError(
                "image_shape: expected None where the image is seen as it is, got "
                f"{image_shape}; try through=a linear map"
            )
        height, width, count = observation.values.shape
        return height, width, count
    if isinstance(through, type) or not isinstance(through, LinearMap):
        raise ValueError(f"through: expected a linear map, got {through!r}")
    if image_shape is None:
        raise ValueError(
            "image_shape: expected (H, W, C) of the image that the map takes, got None"
        )
    filters = is_stationary(through)
    if method == "dense" or (method == "weights" and not filters):
        known = (
            '"automatic", "weights" or "field"' if filters else '"automatic" or "field"'
        )
        raise ValueError(
            f"method: expected {known} where an image is seen through "
            f"{type(through).__name__}, got {method!r}"
        )
    numerics.check_grid("image_shape", image_shape, axes=(3,))
    height, width, count = map(int, image_shape)
    check_seen_through(observation, through, (height, width, count))
    return height, width, count
