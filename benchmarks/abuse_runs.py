"""Runs under test: small command lines, their processes, and what they leave behind."""

import contextlib
import dataclasses
import importlib.metadata
import itertools
import json
import os
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.abuse_processes import Forked
from dipgp.images import save_image

# Names that say when and where, and nothing of the results.
_IDLE = (
    "checksum",
    "effective_samples_a_second",
    "fingerprint",
    "iterations_a_second",
    "output_dir",
    "resume",
    "running",
)
_RESULTS = (".png", ".npz", ".csv", ".json")


# How the installed command is told where to write; the slash says that it is a folder.
IN_A_FOLDER = ("--output={}/", "--std={}/std/")


@dataclasses.dataclass(frozen=True)
class Case:
    """A run that can be interrupted.

    Attributes:
      module: the binary.
      methods: those that it runs, for the report.
      arguments: its flags, but for the output's folder.
      told_output: the flags that say where that is, with {} in its place.
    """

    module: str
    methods: str
    arguments: tuple[str, ...]
    told_output: tuple[str, ...] = ("--output_dir={}",)

    def __str__(self) -> str:
        name = self.module.removeprefix("experiments.").removesuffix(".command")
        return f"{name}: {self.methods}"


def draw_pictures(folder: Path) -> tuple[str, str]:
    """Saves a grey and a colour picture that no method takes long for."""
    random = np.random.default_rng(0)
    down, right = np.meshgrid(*[np.linspace(0, 3, 32)] * 2, indexing="ij")
    waves = [np.sin(down + phase + 2 * right) for phase in range(3)]
    image = 0.5 + 0.3 * np.stack(waves, axis=2)
    image += 0.02 * random.standard_normal(image.shape)
    paths = str(folder / "grey.png"), str(folder / "colour.png")
    save_image(paths[0], image[:, :, 0])
    save_image(paths[1], image[:24, :24])
    return paths


def cases(grey: str, colour: str) -> list[Case]:
    """All methods, all restorations, and long runs that keep their parts.

    Args:
      grey: path of a picture.
      colour: of another.
    """
    network = (
        "--preset=smoke",
        "--channels=4",
        "--iterations=100",
        "--log_every=5",
        "--checkpoint_minutes=1e-6",  # after each period
    )
    process = ("--depth=2", "--sigma=2")

    def restoration(binary: str, methods: str, *more: str) -> Case:
        names = methods.split(",")
        flags = [f"--method={methods}", *more]
        flags += network if set(names) != {"gp"} else ()
        flags += process if "gp" in names else ()
        return Case(f"experiments.{binary}", methods, tuple(flags))

    one = f"--image={grey}"
    return [
        restoration("denoise", "gp", one),
        restoration("denoise", "sgd,sgd_avg", one),
        restoration("denoise", "sgd_input,sgd_input_avg", one),
        restoration("denoise", "sgd_weight_decay", one),
        # Its own step, made for larger networks, is too long for this one.
        restoration("denoise", "sgld", one, "--step_size=1e-5"),
        restoration("denoise", "psgld", one, "--samples=4"),
        restoration("denoise", "noisy_adam", one, "--chains=2"),
        restoration("denoise", "gp,psgld", one, f"--image={colour}"),
        restoration("inpaint", "gp", one),
        restoration("inpaint", "sgd,psgld", one),
        restoration("super_resolve", "gp", one, "--factor=2"),
        restoration("super_resolve", "psgld", one, "--factor=2"),
        restoration("deblur", "gp", one),
        restoration("deblur", "sgd_input_avg", one),
        restoration("demosaic", "gp", f"--image={colour}"),
        restoration("demosaic", "noisy_adam", f"--image={colour}"),
        Case(
            "experiments.equivalence",
            "slice sampler, Langevin dynamics",
            (
                "--grid=12",
                "--widths=4,8",
                "--inputs=3",
                "--relu_layers=1",
                "--input_channels=8",
                "--posterior_draws=8",
                "--draws_before=4",
                "--posterior_chains=2",
                "--sampler=slice",
                "--langevin_widths=4",
                "--langevin_iterations=40",
            ),
        ),
        Case(
            "experiments.architectures",
            "hourglass",
            (
                "--side=16",
                "--halvings=1,2",
                "--channels=4,4",
                "--iterations=6",
                "--stop_at=3",
            ),
        ),
        Case(
            "dipgp.command",
            "gp, sgld",
            ("denoise", grey, "--method=both", "--preset=smoke", "--noise=25"),
            IN_A_FOLDER,
        ),
    ]


@contextlib.contextmanager
def shared_programs(scratch: Path) -> Iterator[None]:
    """Lets the runs under test share compiled programs, while the block lasts.

    Args:
      scratch: folder of the programs. Kills then come while a run computes and writes,
        and not while it compiles.
    """
    told = {
        "JAX_COMPILATION_CACHE_DIR": str(scratch / "programs"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        # What compiles fast, and threads that do not wait for each other.
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "OMP_NUM_THREADS": "1",
    }
    if importlib.metadata.version("jaxlib").startswith("0.10."):  # newer ones die of it
        told["XLA_FLAGS"] = "--xla_cpu_use_fusion_emitters=false"
    before = {name: os.environ.get(name) for name in told}
    os.environ.update(told)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


class Run(Forked):
    """A process under test.

    Attributes:
      log: the file of what it says.
    """

    _started = itertools.count()

    def __init__(
        self, case: Case, output_dir: Path, *more: str, log: Path | None = None
    ) -> None:
        """Starts it.

        Args:
          case: what to run.
          output_dir: the run's folder.
          more: further flags.
          log: the file of what it says; by default one beside the folder.
        """
        number = next(self._started)
        self.log = log or output_dir.parent / f"{output_dir.name}-{number}.log"
        told = [flag.format(output_dir) for flag in case.told_output]
        arguments = [*case.arguments, *told, *more]
        super().__init__(_enter, case.module, arguments, str(self.log))

    def said(self) -> str:
        """What it has said so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""


def _enter(module: str, arguments: list[str], log: str) -> None:
    """What a forked process does: it becomes `python -m module`."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def results(folder: Path) -> dict[str, object]:
    """What a run has found, by file: bytes, or JSON less times and places."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix not in _RESULTS:
            continue
        name = str(path.relative_to(folder))
        content = path.read_bytes()
        found[name] = _timeless(json.loads(content)) if ".json" in name else content
    return found


def differences(one: Path, other: Path) -> list[str]:
    """Names of the result files in which two folders differ."""
    first, second = results(one), results(other)
    return sorted(
        name
        for name in {*first, *second}
        if name not in first or name not in second or first[name] != second[name]
    )


def left_behind(folder: Path) -> list[str]:
    """Hidden files that a run which has ended should have removed."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob(".*"))


def _timeless(record: object) -> object:
    if isinstance(record, dict):
        return {
            key: _timeless(value)
            for key, value in record.items()
            if key not in _IDLE and not key.endswith("seconds")
        }
    if isinstance(record, list):
        return [_timeless(value) for value in record]
    return record
