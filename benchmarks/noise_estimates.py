"""How far the noise that the installed command estimates is off, by two rules.

Noise is added to photographs of scikit-image, clipped and rounded as files are, and
estimated by second differences, as `dipgp denoise` does, and by the evidence of
covariances of networks, as `experiments --noise_std=auto` does:

  python -m benchmarks.noise_estimates
  python -m benchmarks.noise_estimates --noise_pictures=coffee,moon --noise_levels=5,15

Without added noise, what is found is a picture's own grain, and fine texture that no
rule can tell from it. Pictures that scikit-image would have to download first are left
out, and named.
"""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import jax
import numpy as np
import skimage.data
from absl import flags

from benchmarks import timing
from dipgp import gp, images, kernels
from dipgp.command import noise
from dipgp.observations import observe
from experiments import common
from experiments.common import require

PICTURES = flags.DEFINE_list(
    "noise_pictures",
    [
        *("astronaut", "camera", "cat", "coffee", "coins", "hubble_deep_field"),
        *("immunohistochemistry", "moon", "retina", "rocket"),
    ],
    "Functions of skimage.data.",
)
LEVELS = flags.DEFINE_list("noise_levels", ["0", "5", "15", "25"], "In grey levels.")
LARGEST = flags.DEFINE_integer(
    "noise_largest", 512, "Sides of the crops from the pictures' middles, at most."
)
flags.declare_key_flag(timing.RESULTS_DIR.name)

GREY_LEVELS = 255


def estimates(picture: np.ndarray, level: float, seed: int = 0) -> dict[str, float]:
    """What both rules say, in grey levels.

    Args:
      picture: (H, W, C) intensities.
      level: standard deviation of the noise that is added, in grey levels.
      seed: of the noise.
    """
    noisy = images.add_noise(jax.random.key(seed), picture, level / GREY_LEVELS)
    rounded = np.round(np.asarray(noisy) * GREY_LEVELS) / GREY_LEVELS
    seen = observe(rounded.astype(np.float32), noise_std=1 / GREY_LEVELS)
    bright = noise.brightness(seen)
    values = np.asarray(bright.values)[:, :, 0]
    inside = np.all((rounded > 0) & (rounded < 1), axis=2)
    found = noise.by_differences(values, np.asarray(inside))
    pairs = itertools.product(noise.DEPTHS, noise.SIGMAS)
    candidates = [kernels.plain_network(*pair) for pair in pairs]
    selection = gp.select(candidates, bright, True)
    return {
        "differences": np.nan if found is None else GREY_LEVELS * found,
        "evidence": GREY_LEVELS * float(selection.noise_std),
    }


def crop(name: str, largest: int) -> np.ndarray | None:
    """(H, W, C) the middle of a picture; None where it would have to be downloaded."""
    try:
        picture = getattr(skimage.data, name)()
    except (OSError, ModuleNotFoundError):
        return None
    picture = picture.reshape(*picture.shape[:2], -1)[:, :, :3] / GREY_LEVELS
    places = []
    for size in picture.shape[:2]:
        first = max((size - largest) // 2, 0)
        places.append(slice(first, first + min(size, largest)))
    return picture[tuple(places)].astype(np.float32)


def run(
    names: Sequence[str], levels: Sequence[float], largest: int, folder: Path
) -> str:
    """Estimates, and writes the report anew after each picture.

    Args:
      names: of functions of skimage.data.
      levels: of the noise, in grey levels.
      largest: side of the crops.
      folder: of the report.

    Returns:
      The report as Markdown.
    """
    rows: list[dict[str, object]] = []
    off: dict[float, list[dict[str, float]]] = {level: [] for level in levels}
    absent: list[str] = []
    told = _report(rows, "", absent, folder)
    for name in names:
        picture = crop(name, largest)
        if picture is None:
            absent.append(name)
            continue
        row: dict[str, object] = {"picture": name}
        for level in levels:
            found = estimates(picture, level)
            for rule, value in found.items():
                row[f"{level:g}: {rule}"] = round(value, 2)
            off[level].append({rule: abs(v - level) for rule, v in found.items()})
        rows.append(row)
        told = _report(rows, _means(off), absent, folder)
    return told


def _means(off: Mapping[float, Sequence[Mapping[str, float]]]) -> str:
    """How far each rule is off on average, level by level."""
    told = [
        f"{np.mean([one[rule] for one in each]):.2f} of {level:g} by {rule}"
        for level, each in off.items()
        for rule in each[0]
    ]
    return f"On average estimates are off by {', '.join(told)}."


def _report(
    rows: Sequence[dict[str, object]], means: str, absent: list[str], folder: Path
) -> str:
    notes = [
        *([means] if means else []),
        "Columns: grey levels of noise that were added before clipping and rounding, "
        "and the rule. Both look at brightness, the direction in which colours vary "
        "most; differences leave out clipped pixels. The command takes differences, "
        "and the evidence where there are next to none.",
    ]
    if absent:
        notes.append(f"Not there without a download: {', '.join(absent)}.")
    title = "Noise of photographs, estimated by two rules"
    return timing.write_report(folder, "noise_estimates", title, rows, notes, {})


def main() -> int:
    """Runs under the flags."""
    names = PICTURES.value
    unknown = [name for name in names if name not in skimage.data.__all__]
    require(not unknown, PICTURES.name, ",".join(unknown), "functions of skimage.data")
    try:
        levels = [float(level) for level in LEVELS.value]
    except ValueError:
        levels = []
    accepted = bool(levels) and all(0 <= level <= GREY_LEVELS for level in levels)
    expected = f"numbers from 0 to {GREY_LEVELS}"
    require(accepted, LEVELS.name, ",".join(LEVELS.value), expected)
    require(LARGEST.value >= 16, LARGEST.name, LARGEST.value, "at least 16")
    print(run(names, levels, LARGEST.value, Path(timing.RESULTS_DIR.value)))
    return 0


if __name__ == "__main__":
    common.main(main)
