"""How far the noise that the installed command estimates in JPEG files is off.

Noise is added to photographs of scikit-image, which are coded, and estimated by the
finest second differences alone and as `dipgp denoise` does, which takes coarser ones
where a coder of low quality has rounded the finest away:

  python -m benchmarks.noise_of_jpegs
  python -m benchmarks.noise_of_jpegs --jpeg_qualities=75 --noise_pictures=coffee,moon
"""

import dataclasses
import io
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from absl import flags
from PIL import Image

from benchmarks import noise_estimates, timing
from benchmarks.noise_estimates import GREY_LEVELS, LARGEST, LEVELS, PICTURES, crop
from dipgp import images
from dipgp.command import noise, problems
from dipgp.command.options import Order
from dipgp.photographs import jpeg_file
from experiments import common
from experiments.common import require

flags.adopt_module_key_flags(noise_estimates)

QUALITIES = flags.DEFINE_list(
    "jpeg_qualities", ["60", "70", "75", "80", "85", "90", "95"], "Of the coder."
)


def estimates(
    picture: np.ndarray, level: float, quality: int, seed: int = 0
) -> dict[str, float]:
    """What both rules say, in grey levels.

    Args:
      picture: (H, W, C) intensities.
      level: standard deviation of the noise that is added, in grey levels.
      quality: of the coder.
      seed: of the noise.
    """
    noisy = images.add_noise(jax.random.key(seed), picture, level / GREY_LEVELS)
    samples = np.round(np.asarray(noisy) * GREY_LEVELS).astype(np.uint8)
    planes = samples[:, :, 0] if samples.shape[2] == 1 else samples
    buffer = io.BytesIO()
    Image.fromarray(planes).save(buffer, "JPEG", quality=quality)
    photograph = jpeg_file.decode(buffer.getvalue())
    order = Order(task="denoise", inputs=("in.jpg",), output="out.jpg")
    problem = problems.pose(order, photograph, None)
    exact = dataclasses.replace(problem, coder_step=0.0)
    return {
        rule: GREY_LEVELS * noise.estimate(each, lambda news, fraction=None: None)
        for rule, each in (("finest", exact), ("command", problem))
    }


def run(
    names: Sequence[str],
    levels: Sequence[float],
    qualities: Sequence[int],
    largest: int,
    folder: Path,
) -> str:
    """Estimates and writes the report.

    Args:
      names: of functions of skimage.data.
      levels: of the noise, in grey levels.
      qualities: of the coder.
      largest: side of the crops.
      folder: of the report.

    Returns:
      The report as Markdown.
    """
    crops = {name: crop(name, largest) for name in names}
    pictures = {name: each for name, each in crops.items() if each is not None}
    rows: list[dict[str, object]] = []
    for quality in qualities:
        row: dict[str, object] = {"quality": quality}
        for level in levels:
            found = [estimates(each, level, quality) for each in pictures.values()]
            for rule in found[0]:
                off = np.mean([abs(one[rule] - level) for one in found])
                row[f"{level:g}: {rule}"] = round(float(off), 2)
        rows.append(row)
    notes = [
        "Columns: grey levels of noise that were added before clipping, rounding and "
        "coding, and the rule: the finest differences, or the command's. Cells: how "
        "far estimates are off in grey levels, on average over "
        f"{', '.join(pictures)}."
    ]
    title = "Noise of JPEG files, estimated by two rules"
    return timing.write_report(folder, "noise_of_jpegs", title, rows, notes, {})


def main() -> int:
    """Runs under the flags."""
    accepted = all(text.isdigit() and 0 < int(text) <= 100 for text in QUALITIES.value)
    given, expected = ",".join(QUALITIES.value), "whole numbers from 1 to 100"
    require(accepted and bool(given), QUALITIES.name, given, expected)
    qualities = [int(text) for text in QUALITIES.value]
    levels = [float(level) for level in LEVELS.value]
    folder = Path(timing.RESULTS_DIR.value)
    print(run(PICTURES.value, levels, qualities, LARGEST.value, folder))
    return 0


if __name__ == "__main__":
    common.main(main)
