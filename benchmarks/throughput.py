"""Optimisation steps per second of the hourglass, beside the same network in PyTorch.

On the device that JAX chooses, a CPU or a GPU, both libraries in one process:

  python -m benchmarks.throughput
  python -m benchmarks.throughput --hourglasses=light:256,paper:256 --timed=descent
  python -m benchmarks.throughput --quick

Before anything is timed, both networks are given the same weights and the same input,
and their outputs and gradients are compared in full single precision. Then their steps
are timed in turn, many at a call:

  descent  Adam, as `experiments.denoise --method=sgd` runs it, beside PyTorch's eager
           loop; also "bare", without what our loop collects and watches, and bare in
           half precision
  psgld    preconditioned Langevin dynamics beside the same update in PyTorch, and
           beside our descent
  chains   several of its chains at once, in turn or as a batch, beside one
  memory   of processes that do nothing but descend, on CPUs

The report is written anew after each of them, so that what is done is kept. Where
PyTorch is missing, or does not see the GPU, ours is timed alone. JAX does not reserve
the GPU's memory beforehand, unless XLA_PYTHON_CLIENT_PREALLOCATE in the environment
says so.

Exit status: 0 done, 1 where a part failed or the networks are not the same function.
"""

import functools
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import jax
from absl import app, flags

from benchmarks import flags_only, throughput_agreement, throughput_parts, timing
from benchmarks.throughput_cases import Case, read_case
from benchmarks.throughput_parts import PARTS, Record, Settings

HOURGLASSES = flags.DEFINE_list(
    "hourglasses",
    ["light:256", "paper:256", "light:512"],
    "Networks and sizes of image to time, NAME:SIZE: paper has 128 channels at five "
    "scales, light 16, 32, 64, 128, 128, tiny 8, 8.",
)
TIMED = flags.DEFINE_list("timed", list(PARTS), "What to time.")
TIMED_STEPS = flags.DEFINE_integer(
    "timed_steps", None, "Steps in a call; by default 10 on CPUs and 50 elsewhere."
)
TIMED_REPEATS = flags.DEFINE_integer("timed_repeats", 5, "Timed calls of each.")
CHAIN_COUNTS = flags.DEFINE_list(
    "chain_counts", None, "Chains; by default 1, 2 on CPUs and 1, 2, 4, 8 elsewhere."
)
COMPILED_PYTORCH = flags.DEFINE_bool(
    "compiled_pytorch",
    False,
    "Time torch.compile too, and on GPUs CUDA graphs of whole steps.",
)
QUICK = flags.DEFINE_bool(
    "quick", False, "A tiny network, to see that all works; printed, not written down."
)
ALONE = flags.DEFINE_enum(
    "alone",
    None,
    list(throughput_parts.ALONE),
    "Run just this for a few steps, without a report: for measuring its memory from "
    "outside.",
)


def run(cases: Sequence[Case], settings: Settings, folder: Path) -> tuple[str, Record]:
    """Times all cases, and writes the report again and again.

    Args:
      cases: networks and sizes.
      settings: what is timed of each.
      folder: of the report.

    Returns:
      The report as Markdown, and what it was made of.
    """
    pytorch = throughput_agreement.load(jax.default_backend())
    beside = None if isinstance(pytorch, str) else pytorch
    told = pytorch if isinstance(pytorch, str) else pytorch.description
    record = Record()
    record.say(f"JAX {jax.__version__} on {jax.devices()[0].device_kind}; {told}")
    report = functools.partial(_report, settings, told, record, folder)
    throughput_parts.time_all(cases, settings, beside, record, done=report)
    return report(), record


def _report(settings: Settings, pytorch: str, record: Record, folder: Path) -> str:
    notes = [
        f"JAX beside {pytorch}. Medians of {settings.repeats} calls of "
        f"{settings.steps} steps each, in turn with the others, after a call to warm "
        "up. Ratio: our steps per second over those of what stands beside, of "
        "neighbouring calls, with its range. Chains: steps of all chains together, so "
        "that a ratio of K means K chains for the price of one.",
        "descent, psgld: the loop of `dipgp.inference` with its guard and what "
        "experiments collect (average and moments of outputs, PSNR, in descents two "
        "stopping rules), which PyTorch's loop has not; bare descent: a scan of the "
        "same steps, without. bfloat16: of our layers (`compute_dtype`), and PyTorch's "
        "autocast; parameters have 32 bits in both. psgld is timed with its "
        "preconditioner frozen.",
        "MiB of ours: what the compiled program holds, by the compiler's account; of "
        "PyTorch on GPUs: its allocator's peak in a call. Process: largest resident "
        "memory of a process that only descends, above one that only starts both "
        "libraries; compiling is part of it, but with a kept program, which it finds "
        "compiled. PyTorch has the faster of its two memory layouts.",
    ]
    if jax.default_backend() == "gpu":
        notes.append("Single precision, TF32 allowed to both, cudnn.benchmark on.")
    if record.agreements:
        notes.append(_agreement(record))
    notes += [f"FAILED: {failure}" for failure in record.failures]
    agreements = {name: found._asdict() for name, found in record.agreements.items()}
    summary = {
        "pytorch": pytorch,
        "settings": settings._asdict(),
        "differences": agreements,
        "failures": record.failures,
        "jax_memory": jax.local_devices()[0].memory_stats(),
    }
    title = "Steps per second of the deep image prior's hourglass"
    return timing.write_report(folder, "throughput", title, record.rows, notes, summary)


def _agreement(record: Record) -> str:
    told = [
        f"{name}: {found.output:.1e} of the output, {found.gradients:.1e} of the "
        f"gradients{'' if found.good else ' (TOO LARGE: not the same function)'}"
        for name, found in record.agreements.items()
    ]
    return (
        "Relative differences of both networks on the same weights and input, without "
        f"TF32: {'; '.join(told)}. Rounding accounts for "
        f"{throughput_agreement.OUTPUT_TOLERANCE:g} and "
        f"{throughput_agreement.GRADIENT_TOLERANCE:g}."
    )


def settings_from_flags() -> tuple[list[Case], Settings]:
    """Reads the flags.

    Raises:
      ValueError: on bad input.
    """
    slow = jax.default_backend() == "cpu"
    steps, counts = TIMED_STEPS.value, CHAIN_COUNTS.value
    if QUICK.value:
        settings = Settings(tuple(PARTS), 3, 2, (1, 2), COMPILED_PYTORCH.value)
        return [read_case("tiny:16")], settings
    for part in TIMED.value:
        if part not in PARTS:
            known = ", ".join(PARTS)
            raise ValueError(f"--timed={part}: expected some of {known}")
    counts = counts if counts is not None else ["1", "2"] + ["4", "8"] * (not slow)
    if not counts or not all(text.isdigit() and int(text) for text in counts):
        raise ValueError(
            f"--chain_counts={','.join(counts)}: expected positive whole numbers"
        )
    steps = steps if steps is not None else (10 if slow else 50)
    repeats = TIMED_REPEATS.value
    for name, value in (("timed_steps", steps), ("timed_repeats", repeats)):
        if value < 1:
            raise ValueError(f"--{name}={value}: expected a number of at least 1")
    settings = Settings(
        tuple(TIMED.value),
        steps,
        repeats,
        tuple(int(text) for text in counts),
        COMPILED_PYTORCH.value,
    )
    return [read_case(text) for text in HOURGLASSES.value], settings


def main() -> int:
    """Reads the flags and writes the report."""
    # Read when JAX first looks for devices, which is below; PyTorch needs room too.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    try:
        cases, settings = settings_from_flags()
    except ValueError as error:
        raise app.UsageError(str(error)) from error
    if ALONE.value is not None:
        for case in cases:
            throughput_parts.run_alone(ALONE.value, case)
        return 0
    if QUICK.value:
        with tempfile.TemporaryDirectory() as folder:
            text, record = run(cases, settings, Path(folder))
    else:
        text, record = run(cases, settings, Path(timing.RESULTS_DIR.value))
    print(text)
    good = all(found.good for found in record.agreements.values())
    return 0 if good and not record.failures else 1


if __name__ == "__main__":
    flags_only.run(main)
