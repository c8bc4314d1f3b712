"""PSNR against seconds: the Gaussian process, networks, and the reference protocol.

One picture is damaged and restored by the methods of `experiments`, and by the deep
image prior's own loop in PyTorch (Adam, noise on the input, an exponential average of
the outputs), which starts from the weights of our `sgd_input`:

  python -m benchmarks.time_to_quality
  python -m benchmarks.time_to_quality --task=inpaint --quality_size=256
  python -m benchmarks.time_to_quality --quality_image=photo.png --quality_network=paper

Runs take turns, some iterations each, so that all meet the same other load of the
machine, and each has a clock that stands while it waits. Compilation, and what else
goes before the first steps, is told apart; the Gaussian process is run again and again,
and its time is the median of all but the first. On a machine that is busy with other
things, --quality_clock=processor counts the seconds that processors spent; pinned to
one core, those are what a clock on the wall would show if the core were idle:

  taskset -c 0 python -m benchmarks.time_to_quality --quality_clock=processor

Networks, their lengths and rates are those of `experiments --preset`. Besides the
report it draws the curves, time_to_quality.png. Exit status: 0 done, 2 bad input.
"""

import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
from absl import flags

from benchmarks import quality_courses, quality_report, throughput_agreement, timing
from benchmarks.baton import Turns, run_in_turn
from benchmarks.quality_courses import TASKS, Course, Settings
from benchmarks.throughput_cases import CHANNELS, Case
from dipgp import figures
from dipgp.images import load_image, sample_image
from experiments import common
from experiments.common import require

CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}

IMAGE = flags.DEFINE_string(
    "quality_image", None, "A picture file in colour; by default the bundled astronaut."
)
SIZE = flags.DEFINE_integer(
    "quality_size", 128, "Side of the crop from the picture's middle."
)
NETWORK = flags.DEFINE_enum(
    "quality_network", "light", list(CHANNELS), "Whose channels the hourglass has."
)
TASK = flags.DEFINE_enum(
    "task",
    "denoise",
    list(TASKS),
    "What is done to the picture: noise of 25 grey levels, or half of its pixels gone.",
)
METHODS = flags.DEFINE_list(
    "quality_methods",
    ["gp", "sgd", "sgd_avg", "sgd_input_avg", "psgld"],
    "Methods of dipgp, as --method of the experiments names them.",
)
ITERATIONS = flags.DEFINE_integer(
    "quality_iterations", None, "Of each network; by default the preset's."
)
CLOCK = flags.DEFINE_enum(
    "quality_clock",
    "wall",
    list(CLOCKS),
    "Seconds that went by, or that processors spent on this process.",
)
for _shared in (common.SEED.name, timing.RESULTS_DIR.name):
    flags.declare_key_flag(_shared)


def run(settings: Settings, truth: np.ndarray, clock: str, folder: Path) -> str:
    """Runs all in turn, and writes table and picture.

    Args:
      settings: what is run.
      truth: (H, W, 3) the undamaged crop.
      clock: a key of `CLOCKS`.
      folder: of the report.

    Returns:
      The report as Markdown.
    """
    problem = quality_courses.pose(settings.task, truth, settings.seed)
    works: dict[str, Callable[[Turns], list[Course]]]
    works = quality_courses.works(settings, problem)
    pytorch = throughput_agreement.load(jax.default_backend())
    if isinstance(pytorch, str):
        beside = pytorch
    else:
        from benchmarks import quality_pytorch

        beside = f"Beside {pytorch.description}."
        works["PyTorch"] = quality_pytorch.work(settings, problem, pytorch.device)
    found = run_in_turn(works, CLOCKS[clock])
    courses = [course for several in found.values() for course in several]
    title = f"{settings.task}, {settings.case}"
    drawn = quality_report.picture(courses, title, clock)
    folder.mkdir(parents=True, exist_ok=True)
    figures.save_figure(folder / "time_to_quality.png", drawn)
    summary = {
        "settings": {
            "task": settings.task,
            "network": str(settings.case),
            "piece": settings.piece,
            "seed": settings.seed,
        },
        "clock": clock,
        "courses": [_plain(course) for course in courses],
    }
    return timing.write_report(
        folder,
        "time_to_quality",
        f"PSNR against seconds: {title}",
        quality_report.rows(courses),
        _notes(settings, clock, beside),
        summary,
    )


def _notes(settings: Settings, clock: str, beside: str) -> list[str]:
    told = {
        "denoise": "Gaussian noise of 25 grey levels, which all are told",
        "inpaint": "half of the pixels gone, each by its own coin; samplers allow for "
        "noise of 4 grey levels, the Gaussian process estimates it; PSNR of the "
        "method's values everywhere",
    }[settings.task]
    seconds = {
        "wall": "that went by while a method ran",
        "processor": "that processors spent on the process while a method ran",
    }[clock]
    return [
        "![PSNR by seconds](time_to_quality.png)",
        f"Told: `--task={settings.task} --quality_network={settings.case.name} "
        f"--quality_size={settings.case.size} --quality_clock={clock}`, and iterations "
        f"and methods as they stand in the table. {beside}",
        f"A crop of {settings.case.size}x{settings.case.size} pixels: {told}.",
        f"Seconds: {seconds}; all runs took turns, {settings.piece} iterations each. "
        "Start: what the first of them took beyond the median of the others, which is "
        "compilation mostly; no other column has it. A Gaussian process is there all "
        f"at once (median of {settings.gp_repeats} runs, its hyperparameters chosen "
        "anew in each). Best: the highest PSNR on the way, which only who knows the "
        "truth can stop at; handed back: where the protocol stops. PyTorch: the "
        "reference protocol, in the faster of its memory layouts, without scoring.",
    ]


def _plain(course: Course) -> dict[str, object]:
    """What the picture shows of a course, for a file."""
    kept = quality_report.thinned(len(course.psnr))
    return {
        "method": course.name,
        "start": round(course.start, 3),
        "seconds": [float(f"{value:.4g}") for value in course.seconds[kept]],
        "psnr": [
            None if np.isnan(value) else round(float(value), 3)
            for value in course.psnr[kept]
        ],
    }


def _truth(size: int) -> np.ndarray:
    """The picture's middle, (size, size, 3)."""
    name = IMAGE.value
    image = sample_image(common.DEFAULT_IMAGE) if name is None else load_image(name)
    height, width, channels = image.shape
    require(channels == 3, IMAGE.name, name, "a picture in colour, got a grey one")
    expected = f"at most the picture's {width}x{height} pixels"
    require(size <= min(height, width), SIZE.name, size, expected)
    top, left = (height - size) // 2, (width - size) // 2
    return image[top : top + size, left : left + size]


def settings_from_flags() -> Settings:
    """Reads the flags.

    Raises:
      UserError: on bad input.
    """
    common.refuse_unread_flags(__name__)
    return Settings(
        case=Case(NETWORK.value, SIZE.value),
        task=TASK.value,
        methods=tuple(METHODS.value),
        iterations=ITERATIONS.value,
        seed=common.SEED.value,
    )


def main() -> int:
    """Runs under the flags."""
    settings = settings_from_flags()
    # Compilation is to be timed, and not what an earlier run kept of it.
    jax.config.update("jax_enable_compilation_cache", False)
    truth = _truth(settings.case.size)
    folder = Path(timing.RESULTS_DIR.value)
    print(run(settings, truth, CLOCK.value, folder))
    return 0


if __name__ == "__main__":
    common.main(main)
