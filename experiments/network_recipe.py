"""How a run of a network goes, apart from the arrays that it goes on.

A recipe is static and hashable, so that one compiled program serves all images of a
size.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dipgp import architecture, networks
from dipgp.inference import (
    descent,
    guard,
    langevin,
    loop,
    noisy_adam,
    schedules,
    stopping,
)
from dipgp.inference.method import Method, Objective, Parameters
from dipgp.observations import (
    LinearMap,
    Observation,
    log_likelihood,
    mean_squared_error,
)
from experiments.network_settings import NetworkSettings

Array = jax.Array


class Data(NamedTuple):
    """The arrays of an image's runs.

    Attributes:
      z: (H, W, input channels) the network's fixed input.
      observation: what was seen.
      truth: (H, W, C) intensities, or None.
      held_out: what the rule held_out judges by, which is not in the observation; or
        None.
    """

    z: Array
    observation: Observation
    truth: Array | None
    held_out: Observation | None = None


def hourglass(
    settings: NetworkSettings,
    image_channels: int,
    output: architecture.Activation,
) -> architecture.Architecture:
    """The network of the settings.

    Args:
      settings: of a run.
      image_channels: 1 for grey images, 3 for colour.
      output: its last non-linearity; `Linear()` where it is to be read as a kernel.
    """
    return architecture.skip_net(
        len(settings.channels),
        channels_down=settings.channels,
        channels_up=settings.channels,
        channels_skip=settings.skip_channels,
        output=output,
        input_channels=settings.input_channels,
        output_channels=image_channels,
    )


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What a run does.

    Attributes:
      run: "descent", "descent_input", "descent_decay", "sgld", "psgld" or
        "noisy_adam".
      settings: all numbers.
      channels: of the image.
      forward: from an image to what the observation sees of it, before the mask.
      rules: that choose among a descent's outputs.
    """

    run: str
    settings: NetworkSettings
    channels: int
    forward: LinearMap
    rules: tuple[str, ...] = ()

    @property
    def network(self) -> networks.Network:
        """The hourglass of the settings."""
        settings = self.settings
        net = hourglass(settings, self.channels, architecture.Sigmoid())
        return networks.build(
            net,
            initialisation=settings.initialisation,
            gamma=settings.gamma,
            compute_dtype=settings.compute_dtype,
        )

    def method(self, data: Data) -> Method:
        """The run's method on an image."""
        settings = self.settings
        if self.run.startswith("descent"):
            optimiser = descent.adam(settings.learning_rate, settings.weight_decay)
            return descent.descend(self._loss(data), optimiser)
        if self.run == "noisy_adam":
            return noisy_adam.noisy_adam(
                self._loss(data), settings.learning_rate, settings.weight_decay
            )
        preconditioner = None
        if self.run == "psgld":
            preconditioner = langevin.RootMeanSquare(
                frozen_after=settings.frozen_after or None,
                maximum=settings.largest_scale,
                floored=True,
            )
        return langevin.sgld(
            self._log_density(data),
            self._schedule(),
            temperature=settings.temperature,
            preconditioner=preconditioner,
            momentum=settings.momentum,
        )

    def plan(self, data: Data) -> loop.Plan:
        """What is collected on the way."""
        settings, truth = self.settings, data.truth
        descends, scores = self.run.startswith("descent"), {}
        if truth is not None:
            scores["psnr"] = lambda image: (
                -10 * jnp.log10(jnp.mean(jnp.square(image - truth)))
            )
        weight: schedules.Schedule = loop.equal_weights
        if self.run in ("sgld", "psgld") and settings.step_power > 0:
            # Each state counts for the time that the chain spends there.
            weight = self._schedule()
        return loop.Plan(
            fit=lambda image: guard.fit_in_decibels(
                data.observation, self.forward(image)
            ),
            tolerance_db=settings.roll_back,
            # A descent has no samples, whose mean would mislead.
            burn_in=settings.iterations if descends else settings.burn_in,
            thinning=settings.thinning,
            sample_weight=weight,
            average_decay=settings.average_decay,
            read_at=settings.stop_at,
            scores=scores,
            rules={name: self._rule(name, data) for name in self.rules},
        )

    def _rule(self, name: str, data: Data) -> stopping.Rule:
        """A stopping rule by its name."""
        settings = self.settings
        window, patience = settings.window, settings.patience
        if name == "discrepancy":
            return stopping.discrepancy(data.observation, forward=self.forward)
        if name == "held_out":
            assert data.held_out is not None
            return stopping.held_out_error(data.held_out, patience, self.forward)
        if name == "exponential_variance":
            weight = 2 / (window + 1)  # of the same mean age
            return stopping.exponential_variance(weight, patience, warm_up=window)
        # Some twenty outputs of the window tell its variance and fit into memory.
        strides = [size for size in range(1, window) if window % size == 0]
        stride = max((size for size in strides if window // size >= 20), default=1)
        return stopping.windowed_variance(window, patience, stride)

    def _output(self, data: Data, parameters: Parameters, key: Array) -> Array:
        """The network's image, the input's noise drawn from the key."""
        z, std = data.z, self.settings.input_noise
        if std:
            z = z + std * jax.random.normal(key, z.shape, z.dtype)
        return self.network.apply(parameters, z)

    def _loss(self, data: Data) -> Objective:
        """Mean squared misfit to what was seen."""

        def loss(parameters: Parameters, key: Array) -> tuple[Array, Array]:
            image = self._output(data, parameters, key)
            return mean_squared_error(data.observation, self.forward(image)), image

        return loss

    def _log_density(self, data: Data) -> Objective:
        """Log of likelihood times prior."""

        def log_density(parameters: Parameters, key: Array) -> tuple[Array, Array]:
            image = self._output(data, parameters, key)
            likelihood = log_likelihood(data.observation, self.forward(image))
            return likelihood + self.network.log_prior(parameters), image

        return log_density

    def _schedule(self) -> schedules.Schedule:
        settings = self.settings
        assert settings.step_size is not None
        if settings.step_power == 0:
            return schedules.constant(settings.step_size)
        return schedules.polynomial(
            settings.step_size, settings.step_offset, settings.step_power
        )
