"""From a description to a function of parameters."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp

from dipgp import architecture, numerics
from dipgp.architecture.sizes import Sizes, sizes
from dipgp.networks import normalisation, parameters
from dipgp.networks.blocks import Form, module
from dipgp.networks.parameters import Gamma, Initialisation

Array = jax.Array
# {"params": {...}}, arrays nested by the names of layers.
Variables = dict[str, Any]
ComputeDtype = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class Network:
    """A network of finite width: pure functions, compiled once for each shape.

    Networks that are built alike are equal and share their compiled programs.

    Attributes:
      architecture: the description.
      initialisation: as given to `build`, like those that follow.
      gamma: of batch norm.
      forward_differentiable: whether `jax.jvp` may be taken of `apply`.
      compute_dtype: of the layers; None for z's.
    """

    architecture: architecture.Architecture
    initialisation: Initialisation
    gamma: Gamma
    forward_differentiable: bool
    compute_dtype: ComputeDtype | None

    def init(self, key: Array, z: jax.typing.ArrayLike) -> Variables:
        """Draws the parameters.

        Args:
          key: of all draws.
          z: (H, W, C) or (L, C), an input, of which only shape and dtype matter.

        Returns:
          The parameters in z's dtype, layer by layer under the name "params". Leaves
          are called weights, biases, gamma and beta.

        Raises:
          ValueError: on a z of the wrong rank, channels or dtype, or without pixels.
        """
        numerics.check_key("key", key)
        return self._init(key, self._checked(z))

    @functools.partial(jax.jit, static_argnums=0)
    def _init(self, key: Array, z: Array) -> Variables:
        dtype = z.dtype
        found = parameters.parameters(self.architecture, self.initialisation)
        values = parameters.draw(key, found, self.initialisation, self.gamma, dtype)
        return {"params": values}

    def apply(self, variables: Variables, z: jax.typing.ArrayLike) -> Array:
        """The image that the parameters make of an input.

        An input whose size does not fit the network is continued behind its last pixels
        by its mirror image, and the output is cut to the pixels that belong to the
        input. No pixel of the input is left out.

        Args:
          variables: as `init` returns them.
          z: (H, W, C) or (L, C), of any size.

        Returns:
          (H, W, output channels) or (L, output channels) in z's dtype. Where the
          network's output has another resolution than its input, the sizes are
          multiplied by the ratio of the two and rounded up.

        Raises:
          ValueError: on a z of the wrong rank, channels or dtype, or without pixels.
        """
        _check_variables(variables)
        return self._apply(variables, self._checked(z))

    @functools.partial(jax.jit, static_argnums=0)
    def _apply(self, variables: Variables, z: Array) -> Array:
        sizes = self._sizes
        body = module(
            self.architecture.body,
            Form(
                scaled=self.initialisation == "gaussian_process",
                forward_differentiable=self.forward_differentiable,
            ),
        )
        x = _pad(z, sizes).astype(self.compute_dtype or z.dtype)
        signal: Any = body.apply(variables, x)
        output = normalisation.value(signal)
        seen = tuple(slice(sizes.output(size)) for size in z.shape[:-1])
        return output[seen].astype(z.dtype)

    def log_prior(self, variables: Variables) -> Array:
        """Log density of the Gaussian prior, normalised.

        Weights are N(0, weight_variance / fan_in) and biases N(0, bias_variance), or
        both N(0, 1) with the initialisation "gaussian_process"; batch norm's gamma are
        N(1, 1) and its beta N(0, 1).

        Args:
          variables: as `init` returns them.

        Returns:
          Scalar.

        Raises:
          ValueError: where the variables are those of another network.
        """
        _check_variables(variables)
        return self._log_prior(variables)

    @functools.partial(jax.jit, static_argnums=0)
    def _log_prior(self, variables: Variables) -> Array:
        found = parameters.parameters(self.architecture, self.initialisation)
        return parameters.log_density(variables["params"], found)

    @functools.cached_property
    def _sizes(self) -> Sizes:
        return sizes(self.architecture)

    def _checked(self, z: jax.typing.ArrayLike) -> Array:
        numerics.check_real("z", z)
        z = jnp.asarray(z)
        channels = self.architecture.input_channels
        axes = ("L",) if self.architecture.dimensions == 1 else ("H", "W")
        if z.ndim != len(axes) + 1 or z.shape[-1] != channels or z.size == 0:
            expected = ", ".join([*axes, str(channels)])
            raise ValueError(
                f"z: expected shape ({expected}) with at least one pixel, got {z.shape}"
            )
        if not jnp.issubdtype(z.dtype, jnp.floating):
            raise ValueError(f"z: expected floating-point numbers, got {z.dtype}")
        return z


def build(
    net: architecture.Architecture,
    *,
    initialisation: Initialisation = "reference",
    gamma: Gamma = "ones",
    forward_differentiable: bool = False,
    compute_dtype: ComputeDtype | None = None,
) -> Network:
    """The network of finite width that a description stands for.

    Args:
      net: the description.
      initialisation: "reference" draws weights from U(+-sqrt(3 weight_variance /
        fan_in)) and biases from U(+-sqrt(3 bias_variance)), which for `skip_net` as it
        stands are PyTorch's U(+-1/sqrt(fan_in)). "gaussian_process" draws both from
        N(0, 1) and multiplies them by the description's standard deviations in the
        forward pass. Variances, and with them the limit of great width, are the same.
      gamma: first values of batch norm's scale: "ones", or "uniform" for U(0, 1),
        which PyTorch drew up to its version 1.1.
      forward_differentiable: whether `jax.jvp`, `jax.jacfwd` and Hessians by forward
        over reverse are wanted. Gradients then take many times longer on CPUs inside
        compiled loops.
      compute_dtype: of what passes between layers and of what convolutions multiply;
        by default z's. "bfloat16" has 8 bits of precision, for devices with products
        of it: XLA's CPU backend is slower in it and saves no memory. Parameters, their
        gradients, batch norm's statistics and the image keep their dtypes.

    Raises:
      ValueError: on an unknown option; on branches that come out at different
        resolutions; on weights of variance 0 in "reference", where their prior has no
        density.
    """
    for name, value, options in (
        ("initialisation", initialisation, Initialisation),
        ("gamma", gamma, Gamma),
    ):
        numerics.check_choice(name, value, get_args(options))
    if compute_dtype is not None:
        numerics.check_choice("compute_dtype", compute_dtype, get_args(ComputeDtype))
    if not isinstance(forward_differentiable, bool):
        raise TypeError(
            "forward_differentiable: expected true or false, got "
            f"{numerics.brief(forward_differentiable)}"
        )
    sizes(net)
    for parameter in parameters.parameters(net, initialisation):
        if parameter.std == 0:
            raise ValueError(
                f"net: expected a weight_variance above 0, got 0 for "
                f"{'/'.join(parameter.path)}; try "
                "initialisation='gaussian_process', which allows it"
            )
    return Network(net, initialisation, gamma, forward_differentiable, compute_dtype)


def _check_variables(variables: object) -> None:
    if not isinstance(variables, Mapping) or "params" not in variables:
        raise TypeError(
            'variables: expected {"params": ...}, as `init` returns them, got '
            f"{numerics.brief(variables)}"
        )


def _pad(x: Array, sizes: Sizes) -> Array:
    """Continues a signal (H, W, C) or (L, C) to sizes that fit the network."""
    for axis, size in enumerate(x.shape[:-1]):
        if sizes.padded(size) > size:
            x = jnp.take(x, sizes.sources(size), axis)
    return x
