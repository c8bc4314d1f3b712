"""How long and how fast the weights of an hourglass are sampled, task by task.

Numbers of preconditioned Langevin dynamics that starts from standard normal weights,
found by measurement (docs/results.md). `paper` has the networks and iterations of the
deep image prior's reference, `light` a smaller network on a shorter schedule, `smoke` a
few steps to see that all works.
"""

import dataclasses
from collections.abc import Mapping

# The hourglass of the reference, and the narrower list of its repository.
_FULL = (128, 128, 128, 128, 128)
_NARROW = (16, 32, 64, 128, 128)
# The step of a frozen preconditioner: it has divided by the curvature already.
STEP_SIZE = 0.0045


@dataclasses.dataclass(frozen=True)
class Protocol:
    """A chain of an hourglass's weights.

    Attributes:
      channels: of the hourglass at each scale, finest first.
      iterations: steps.
      burn_in: steps before samples count.
      momentum: the part of the velocity that a step keeps.
      frozen_after: steps after which the preconditioner stays as it is.
      thinning: steps from one counted sample to the next.
      least_noise_std: that is allowed for where the noise is estimated, where white is
        1: a network of this size does not meet pixels without noise exactly.
    """

    channels: tuple[int, ...]
    iterations: int
    burn_in: int
    momentum: float
    frozen_after: int
    thinning: int = 1
    least_noise_std: float = 0.0


# Small noise makes for small steps, and more momentum makes up for them.
_NOISY = Protocol(_FULL, 20_000, 7_000, 0.95, 150, thinning=50)
_CLEAN = dataclasses.replace(_NOISY, momentum=0.97, frozen_after=200)
# Pixels that are known exactly.
_EXACT = dataclasses.replace(_CLEAN, least_noise_std=4 / 255)
_BY_4 = dataclasses.replace(_CLEAN, iterations=2_000, burn_in=700, thinning=10)
_BY_8 = dataclasses.replace(_BY_4, iterations=4_000, burn_in=1_400)


def _light(paper: Protocol, burn_in: int = 700, thinning: int = 1) -> Protocol:
    return dataclasses.replace(
        paper, channels=_NARROW, iterations=2_000, burn_in=burn_in, thinning=thinning
    )


def _smoke(paper: Protocol) -> Protocol:
    return dataclasses.replace(
        paper, channels=(8, 8), iterations=40, burn_in=20, thinning=1
    )


# By task and preset.
PROTOCOLS: Mapping[str, Mapping[str, Protocol]] = {
    "denoise": {"paper": _NOISY, "light": _light(_NOISY), "smoke": _smoke(_NOISY)},
    "inpaint": {
        "paper": _EXACT,
        "light": _light(_EXACT, burn_in=1_000),
        "smoke": _smoke(_EXACT),
    },
    "super_resolve": {
        "paper": _BY_4,
        "light": _light(_BY_4, thinning=10),
        "smoke": _smoke(_BY_4),
    },
    "super_resolve_x8": {
        "paper": _BY_8,
        "light": _light(_BY_8, thinning=10),
        "smoke": _smoke(_BY_8),
    },
}
