"""What was seen of an image: y = M (A f) + noise.

A is a linear map with an adjoint, what blur, a coarser or a colour sensor do to every
image; M keeps the pixels of a mask, and is the business of an `Observation`, not of A:

    see = Composition((gaussian_blur(1.5), Decimation(2), BayerMosaic()))
    values = see(image)                                  # (H, W, 3) -> (h, w, 1)
    observation = observe(values + noise, mask, noise_std=0.01)
    log_likelihood(observation, see(image))              # of any other image
    see.adjoint(residual, image.shape)                   # (h, w, 1) -> (H, W, 3)

A map is frozen and hashable: it can be a static argument of a compiled function.
"""

from dipgp.observations.blur import Blur, gaussian_blur, motion_blur
from dipgp.observations.decimation import Decimation
from dipgp.observations.filters import Bilinear, Box, Filter, Lanczos
from dipgp.observations.linear_map import Composition, Identity, LinearMap
from dipgp.observations.mosaic import BayerMosaic
from dipgp.observations.observation import (
    Observation,
    log_likelihood,
    mean_squared_error,
    observe,
    seen_evenly,
    widest_gap,
)
from dipgp.observations.stationary_filter import (
    StationaryFilter,
    is_stationary,
    stationary_filter,
)

__all__ = [
    "BayerMosaic",
    "Bilinear",
    "Blur",
    "Box",
    "Composition",
    "Decimation",
    "Filter",
    "Identity",
    "Lanczos",
    "LinearMap",
    "Observation",
    "StationaryFilter",
    "gaussian_blur",
    "is_stationary",
    "log_likelihood",
    "mean_squared_error",
    "motion_blur",
    "observe",
    "seen_evenly",
    "stationary_filter",
    "widest_gap",
]
