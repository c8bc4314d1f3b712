"""Continuous hyperparameters at the maximum of the evidence, with their errors.

Discrete ones (depth, architecture) are compared by `gp.select`, or by the evidence that
each fit ends with.
"""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy  # loads scipy.optimize, which is slow, where it is first read

from dipgp import devices, numerics
from dipgp.devices import Mesh
from dipgp.gp import arguments, evidence, forms, toeplitz
from dipgp.gp.colour import ChannelModel
from dipgp.gp.evidence import Evidence
from dipgp.gp.forms import Form
from dipgp.gp.system import System
from dipgp.kernels.stationary import Covariance, CovarianceLike, as_covariance
from dipgp.observations import LinearMap, Observation

Array = jax.Array
Family = Callable[[Mapping[str, Any]], CovarianceLike]
Report = Callable[[str], None]

# A torus is wide enough for processes that reach this much further than the one it was
# made for. Where the search goes beyond, it goes on from there on a wider one.
MARGIN = 2
WIDENINGS = 3
# Of what a posterior's mean is solved to: slopes of the evidence are to be smooth.
TIGHTER = 0.1
MAX_ITERATIONS = 1000
NOISE = "noise_std"


class Fit(NamedTuple):
    """Hyperparameters at the maximum of the evidence.

    Attributes:
      parameters: by name, "noise_std" among them where it was fitted.
      relative_errors: by name, the standard deviation of the parameter's logarithm
        under the curvature of the evidence at its maximum (Laplace's approximation,
        flat prior on logarithms); infinite where the evidence does not tell.
      covariance: of these parameters.
      observation: with the noise that was fitted.
      evidence: at the maximum.
      converged: whether the search arrived.
      evaluations: of the evidence and its gradient.
    """

    parameters: dict[str, float]
    relative_errors: dict[str, float]
    covariance: Covariance
    observation: Observation
    evidence: Evidence
    converged: bool
    evaluations: int


def fit(
    family: Family,
    start: Mapping[str, float],
    observation: Observation,
    *,
    fit_noise: bool = False,
    through: LinearMap | None = None,
    image_shape: tuple[int, ...] | None = None,
    channels: ChannelModel | None = None,
    key: Array | None = None,
    probes: int = evidence.PROBES,
    steps: int = evidence.STEPS,
    max_evaluations: int = 200,
    report: Report = lambda message: None,
    mesh: Mesh | None = None,
) -> Fit:
    """Climbs the evidence by its gradient, in the logarithms of the parameters.

    Of few observed pixels the evidence is exact; of more it comes from random signs
    that stay the same throughout, so that the search sees a smooth function.

    Args:
      family: from positive parameters by name to a covariance; traced by JAX.
      start: a first guess of each; the climb ends on the nearest hill.
      observation: what was seen; its noise_std is known, or where `fit_noise` is true
        right up to a factor.
      fit_noise: whether that factor is fitted too, as the parameter "noise_std", the
        root mean square of the noise's standard deviations over the observed pixels.
      through: a map from the image to what is seen of it, as in `condition`.
      image_shape: (H, W, C) of the image, with a map.
      channels: directions and variances of independent channels; estimated by default,
        needed where a map makes another number of channels of them.
      key: of the random signs; needed for more than `FEW_PIXELS` observed pixels, or
        with a map unknown numbers.
      probes: random signs.
      steps: of Lanczos' iteration.
      max_evaluations: of the evidence at most.
      report: is told how far the search is.
      mesh: devices of `dipgp.devices.make_mesh` that share the random signs, which they
        divide evenly. Processes that share them call this together.

    Returns:
      The fit; look at `converged`.

    Raises:
      ValueError: on a start that is not positive, on a name used twice, without a key
        where one is needed, on signs that the devices do not divide, on a map that does
        not fit what was seen, or on a covariance that is not finite at the start; where
        JAX traces the observation.
    """
    arguments.check_known(observation)
    if not callable(family):
        raise TypeError(
            "family: expected a function from parameters to a covariance, got "
            f"{numerics.brief(family)}"
        )
    if not isinstance(start, Mapping):
        raise TypeError(f"start: expected numbers by name, got {numerics.brief(start)}")
    for name, value in start.items():
        numerics.check_positive(f"start[{name!r}]", value, scalar=True)
    if key is not None:
        numerics.check_key("key", key)
    for name, count in (
        ("probes", probes),
        ("steps", steps),
        ("max_evaluations", max_evaluations),
    ):
        numerics.check_whole_number(name, count, least=1)
    observed = np.asarray(observation.mask) != 0
    spread = np.asarray(observation.noise_std, np.float64)[observed]
    guess = {name: float(value) for name, value in start.items()}
    if fit_noise:
        if NOISE in guess:
            raise ValueError(f"start: expected no {NOISE!r} where fit_noise is true")
        guess[NOISE] = float(np.sqrt(np.mean(spread**2)))
    if not guess:
        raise ValueError("start: expected at least one parameter, got none")
    shape = arguments.shape_of_image(observation, through, image_shape, "automatic")
    model = arguments.channel_model(channels, observation, shape[2])
    names = tuple(guess)
    first = np.log([guess[name] for name in names])
    unit = observation.noise_std / (guess[NOISE] if fit_noise else 1.0)
    small = evidence.few_unknowns(observation, through, shape)
    if not small and key is None:
        raise ValueError(
            "key: expected a key for the random signs, got None; try jax.random.key(0)"
        )

    def covariance_of(values: Any) -> Covariance:
        # The noise, where it is fitted, comes last and is none of the family's.
        try:
            return as_covariance(family(dict(zip(start, values, strict=False))))
        except TypeError as error:
            raise TypeError(
                "family: expected a function from parameters to a covariance, got "
                f"{numerics.brief(family)}, where {error}"
            ) from error

    def observation_of(values: Any) -> Observation:
        noise_std = unit * values[-1] if fit_noise else unit
        return observation._replace(noise_std=noise_std)

    def reach_of(logs: np.ndarray) -> tuple[int, int]:
        return toeplitz.find_reach(covariance_of(np.exp(logs)), shape[:2])

    def judge(logs: Array, reach: tuple[int, int] | None) -> Evidence:
        values = jnp.exp(logs)
        each = arguments.channel_covariances(covariance_of(values), model, shape[2])
        tori: toeplitz.Torus | None = None
        form: Form = "dense"
        if reach is not None:
            tori = toeplitz.embed(each, shape[:2], reach, observation.values.dtype)
            form = "weights" if through is None else "field"
        system = System(
            tuple(each),
            model,
            observation_of(values),
            tori,
            form,
            TIGHTER * forms.TOLERANCES[form],
            MAX_ITERATIONS,
            through,
            None if through is None else shape,
        )
        method: evidence.Method = "dense" if small else "lanczos"
        return evidence.estimate(system, key, method, probes, steps, mesh)

    @functools.partial(jax.jit, static_argnums=1)
    def climb(logs: Array, reach: tuple[int, int] | None) -> tuple[Array, Array]:
        return jax.value_and_grad(lambda logs: -judge(logs, reach).value)(logs)

    count = 0

    def height(
        logs: np.ndarray, reach: tuple[int, int] | None
    ) -> tuple[float, np.ndarray]:
        nonlocal count
        count += 1
        value, slope = climb(np.asarray(logs, observation.values.dtype), reach)
        if mesh is not None:
            # All processes climb by the first one's numbers, to the last bit.
            value, *slope = devices.exchange(np.append(value, slope), mesh)[0]
        if count == 1 and not np.isfinite(value):
            raise ValueError(
                f"start: expected parameters with a finite evidence, got {guess}"
            )
        pairs = zip(names, np.exp(logs), strict=True)
        told = ", ".join(f"{name} {parameter:.4g}" for name, parameter in pairs)
        report(f"evidence {-float(value):.2f} at {told}")
        return float(value), np.asarray(slope, np.float64)

    def scaled(
        logs: np.ndarray, reach: tuple[int, int] | None, unit: float
    ) -> tuple[float, np.ndarray]:
        value, slope = height(logs, reach)
        return value / unit, slope / unit

    at, reach, steepest = first, None, None
    for _ in range(WIDENINGS):
        if not small:
            down, right = reach_of(at)
            reach = (MARGIN * down, MARGIN * right)
        if steepest is None:
            # The first step is as long as the slope. In units of the steepest no
            # parameter changes by more than a factor of e, and the climb stays on the
            # hill that the start is on.
            steepest = max(float(np.max(np.abs(height(at, reach)[1]))), 1.0)
        result = scipy.optimize.minimize(
            scaled,
            at,
            (reach, steepest),
            jac=True,
            method="L-BFGS-B",
            # A factor of a million each way is not a guess any more.
            bounds=[(log - 14, log + 14) for log in first],
            options={"maxfun": max_evaluations},
        )
        at = result.x
        if reach is None or all(np.less_equal(reach_of(at), reach)):
            break
    errors = _errors(lambda logs: height(logs, reach)[1], at)
    values = np.exp(at).tolist()
    return Fit(
        parameters=dict(zip(names, values, strict=True)),
        relative_errors=dict(zip(names, errors, strict=True)),
        covariance=covariance_of(values),
        observation=observation_of(values),
        evidence=judge(jnp.asarray(at, observation.values.dtype), reach),
        converged=bool(result.success),
        evaluations=count,
    )


def _errors(
    slope: Callable[[np.ndarray], np.ndarray], at: np.ndarray, step: float = 0.02
) -> list[float]:
    """Standard deviations under the curvature of a potential at its minimum."""
    rows = [
        (slope(at + shift) - slope(at - shift)) / (2 * step)
        for shift in step * np.eye(at.size)
    ]
    curvature = (np.stack(rows) + np.stack(rows).T) / 2
    if not np.all(np.isfinite(curvature)):  # at the edge of what rounding lets be
        return [math.inf] * at.size
    sizes, axes = np.linalg.eigh(curvature)
    inverse = np.where(sizes > 0, 1 / np.where(sizes > 0, sizes, 1), np.inf)
    with np.errstate(invalid="ignore"):
        variances = np.nansum(np.square(axes) * inverse[None], axis=1)
    return np.sqrt(variances).tolist()
