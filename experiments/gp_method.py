"""Restoration by a Gaussian process whose hyperparameters the evidence chooses."""

import dataclasses
import itertools
import time
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from dipgp import gp, kernels
from dipgp.observations import Identity, LinearMap
from experiments.restoration import Request, Restoration

LENGTHSCALES = (1.0, 1.4, 2.0, 2.8, 4.0, 5.6, 8.0, 11.0, 16.0, 22.0)
SMOOTHNESSES = (0.5, 1.5, 2.5)
# Folded into the seed's key to estimate variances; networks use small numbers.
VARIANCE = 100


@dataclasses.dataclass(frozen=True)
class GPOptions:
    """Options of the Gaussian process; None means chosen by the evidence.

    Attributes:
      kernel: "dip" is the limit of a plain ReLU network of `depth` layers on Gaussian-
        filtered noise of width `sigma`; "rbf" and "matern" have a `lengthscale`.
      sigma: in pixels.
      depth: number of hidden layers.
      amplitude: standard deviation of each decorrelated channel around its level, in
        the image's units.
      lengthscale: in pixels.
      noise_std: in the image's units, where white is 1.
      tolerance: what the solver stops at, as `gp.condition` has it.
      independent_channels: whether the colours of an image behind a mosaic are restored
        without regard to each other.
      prior: "stationary", or "oriented", a mixture that `oriented_prior` makes of it.
      variance_solves: linear systems a channel to estimate the posterior's variance by
        where it is not exact; 0 leaves the variance out.
    """

    kernel: str = "dip"
    sigma: float | None = None
    depth: int | None = None
    amplitude: float | None = None
    lengthscale: float | None = None
    noise_std: float | None = None
    tolerance: float | None = None
    independent_channels: bool = False
    prior: str = "stationary"
    variance_solves: int = 0


def estimate_noise(request: Request) -> float:
    """Standard deviation of the noise under the most probable dip covariance.

    Args:
      request: what was seen; its observation's noise_std is a first guess.

    Returns:
      In the image's units.
    """
    _, candidates = zip(*_candidates(GPOptions()), strict=True)
    return _select(candidates, request, GPOptions()).noise_std


def _through(request: Request) -> LinearMap | None:
    """What the image was seen through, but for the mask."""
    return None if request.forward == Identity() else request.forward


def restore(request: Request, options: GPOptions) -> Restoration:
    """The posterior under the most probable of the covariances asked for.

    Args:
      request: what was seen.
      options: what is given, and what is to be chosen.
    """
    observation, report = request.observation, request.report
    start = time.perf_counter()
    labels, candidates = zip(*_candidates(options), strict=True)
    selection = _select(candidates, request, options)
    covariances, amplitudes = selection.covariances, selection.amplitudes
    if options.amplitude is not None:
        covariances = tuple(
            kernels.scale(k, (options.amplitude / amplitude) ** 2)
            for k, amplitude in zip(covariances, amplitudes, strict=True)
        )
        amplitudes = (options.amplitude,) * len(amplitudes)
    if options.noise_std is None:
        noise_std = jnp.full_like(observation.noise_std, selection.noise_std)
        observation = observation._replace(noise_std=noise_std)
    report("solving for the posterior mean")
    through = _through(request)
    posterior = gp.condition(
        covariances,
        observation=observation,
        through=through,
        image_shape=None if through is None else request.shape,
        channels=selection.channels,
        tolerance=options.tolerance,
    )
    mean = np.asarray(jax.block_until_ready(posterior.mean))
    info, std, facts = posterior.info, None, {}
    if options.variance_solves:
        found = posterior.variance(
            jax.random.fold_in(jax.random.key(request.seed), VARIANCE),
            solves=options.variance_solves,
            report=report,
            mesh=request.mesh_for(options.variance_solves),
        )
        std = np.sqrt(np.asarray(found.value))
        # Of a root half as large; of means, since few solves may find 0 at a pixel.
        relative = jnp.mean(found.standard_error) / (2 * jnp.mean(found.value))
        facts = {"std_relative_error": float(relative)}
        info = found.info if info.converged else info
    channels = [
        {**labels[index], "amplitude": amplitude}
        for index, amplitude in zip(selection.chosen, amplitudes, strict=True)
    ]
    return Restoration(
        mean=mean,
        seconds=time.perf_counter() - start,
        iterations=int(np.max(np.asarray(posterior.info.iterations))),
        residual=float(np.max(np.asarray(posterior.info.residual))),
        hyperparameters={
            "kernel": options.kernel,
            "noise_std": selection.noise_std,
            "channels": channels,
            "colour_directions": np.asarray(selection.channels.rotation).T.tolist(),
        },
        message=info.advice,
        converged=info.converged,
        std=std,
        facts=facts,
    )


def _select(
    candidates: Sequence[kernels.Covariance], request: Request, options: GPOptions
) -> gp.Selection:
    """What the evidence says of an image, also where pixels have one colour each."""
    observation = request.observation
    if request.shape[2] != observation.values.shape[2]:
        return _select_behind_mosaic(candidates, request, options)
    return gp.select(
        candidates,
        observation,
        options.noise_std is None,
        request.report,
        through=_through(request),
    )


def _select_behind_mosaic(
    candidates: Sequence[kernels.Covariance], request: Request, options: GPOptions
) -> gp.Selection:
    """One covariance for all channels, and what they have to do with each other."""
    fit = gp.fit_channels(
        candidates,
        request.observation,
        through=request.forward,
        image_shape=request.shape,
        estimate_noise=options.noise_std is None,
        independent=options.independent_channels,
        report=request.report,
    )
    variances = np.asarray(fit.channels.variances, np.float64)
    return gp.Selection(
        covariances=tuple(kernels.scale(fit.covariance, v) for v in variances),
        channels=fit.channels._replace(variances=jnp.ones_like(fit.channels.variances)),
        noise_std=fit.noise_std,
        chosen=(fit.chosen,) * len(variances),
        amplitudes=tuple(np.sqrt(variances).tolist()),
        evidence=np.repeat(fit.evidence[:, None], len(variances), axis=1),
    )


def _candidates(
    options: GPOptions,
) -> list[tuple[Mapping[str, float], kernels.Covariance]]:
    """Labelled covariances that agree with what the options give."""
    if options.kernel == "dip":
        networks = kernels.plain_networks(options.depth, options.sigma)
        return [
            ({"depth": depth, "sigma": sigma}, covariance)
            for (depth, sigma), covariance in networks.items()
        ]
    given = options.lengthscale
    lengthscales = LENGTHSCALES if given is None else (given,)
    if options.kernel == "rbf":
        return [({"lengthscale": size}, kernels.rbf(size)) for size in lengthscales]
    return [
        ({"smoothness": nu, "lengthscale": size}, kernels.matern(nu, size))
        for nu, size in itertools.product(SMOOTHNESSES, lengthscales)
    ]
