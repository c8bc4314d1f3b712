"""What every experiment shares: its flags, its images, and the frame around its main.

The flags are defined here once, since absl refuses a second definition in one process.
"""

import contextlib
import functools
import glob
import math
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import jax
import numpy as np
from absl import app, flags, logging

from dipgp import compilation_cache
from dipgp.images import load_image, sample_image
from experiments.automatic import AUTO, NumberOrAuto
from experiments.gp_method import GPOptions
from experiments.restoration import Interrupted

METHODS = {
    "gp": "the Gaussian process that the network is in the limit of many channels",
    "sgd": "descent of the weights (Adam), read at a fixed iteration",
    "sgd_avg": "the exponential average of its outputs",
    "sgd_input": "descent with noise on the input",
    "sgd_input_avg": "the exponential average of its outputs",
    "sgd_weight_decay": "descent with weight decay",
    "sgld": "posterior mean by stochastic gradient Langevin dynamics",
    "psgld": "posterior mean by preconditioned Langevin dynamics",
    "noisy_adam": "mean of the samples that the paper's code draws",
}

GREY_LEVELS = 255.0
# More covariances than Python can nest lie beyond.
MOST_LAYERS = 200
DEFAULT_IMAGE = "astronaut"

IMAGE = flags.DEFINE_multi_string(
    "image",
    [],
    "A picture file, or a quoted pattern such as 'photos/*.png'; may be repeated. By "
    f"default the bundled {DEFAULT_IMAGE} photograph.",
)
METHOD = flags.DEFINE_list(
    "method",
    ["gp"],
    "Methods to restore with, side by side: "
    + "; ".join(f"{name}, {text}" for name, text in METHODS.items())
    + ". The default of super_resolve is psgld.",
)
SEED = flags.DEFINE_integer("seed", 0, "Seed of all random draws.")
OUTPUT_DIR = flags.DEFINE_string(
    "output_dir", None, "Folder of the results; by default runs/ and the binary's name."
)
NOISY = flags.DEFINE_bool(
    "noisy",
    False,
    "The images are damaged already: no damage is added, and no truth is known.",
)
NOISE_STD = flags.DEFINE(
    NumberOrAuto(),
    "noise_std",
    None,
    "What methods are told of the noise: its standard deviation in grey levels of 255, "
    f"or {AUTO}, to estimate it by the evidence of a Gaussian process (descents do not "
    "read it). By default what is added; where nothing is, auto, but 2.55 in deblur "
    "and demosaic, and 1 in super_resolve.",
)
ADDED_NOISE_STD = flags.DEFINE_float(
    "added_noise_std",
    None,
    "Standard deviation of the noise that is added to what is observed, which is then "
    "clipped; in grey levels of 255. By default denoise adds what --noise_std says, or "
    "25, deblur and demosaic the same, or 2.55, inpaint and super_resolve nothing.",
)
KERNEL = flags.DEFINE_enum(
    "kernel",
    "dip",
    ["dip", "rbf", "matern"],
    "Covariance of the Gaussian process: dip is the deep image prior's limit.",
)
SIGMA = flags.DEFINE_float(
    "sigma",
    None,
    "Width of the dip kernel's input, in pixels; by default automatic.",
)
DEPTH = flags.DEFINE_integer(
    "depth", None, "Layers of the dip kernel's network; by default automatic."
)
LENGTHSCALE = flags.DEFINE_float(
    "lengthscale",
    None,
    "Length scale of the rbf and matern kernels, in pixels; by default automatic.",
)
AMPLITUDE = flags.DEFINE_float(
    "amplitude",
    None,
    "Standard deviation of the Gaussian process, where white is 1; by default "
    "automatic.",
)
TOLERANCE = flags.DEFINE_float(
    "tolerance",
    None,
    "What the linear solver stops at, as gp.condition has it: a residual relative to "
    "the values, or a bound on the error in standard deviations; by default automatic.",
)
COMPILATION_CACHE = flags.DEFINE_bool(
    "compilation_cache",
    True,
    "Keep compiled programs for the next run, in the folder that the environment's "
    "JAX_COMPILATION_CACHE_DIR names, or in dipgp of the user's cache folder.",
)
FLOAT64 = flags.DEFINE_bool("float64", False, "Compute in 64 bits instead of 32.")


class UserError(ValueError):
    """Something that whoever started the binary can put right."""


def require(accepted: bool, flag: str, value: object, expected: str) -> None:
    """Raises a `UserError` that names flag, value and what was expected."""
    if not accepted:
        raise UserError(f"--{flag}={value}: expected {expected}")


def require_seed(seed: int) -> None:
    """Raises a `UserError` on a seed that JAX's keys do not take."""
    require(0 <= seed < 2**32, "seed", seed, "a number from 0 to 4294967295")


def refuse_unread_flags(reader: str) -> None:
    """Refuses flags on the command line that other experiments read.

    Args:
      reader: name of the module whose key flags the binary reads.

    Raises:
      UserError: where there is one.
    """
    read = {flag.name for flag in flags.FLAGS.get_key_flags_for_module(reader)}
    read.add(COMPILATION_CACHE.name)  # which `main` reads
    for module, found in flags.FLAGS.flags_by_module_dict().items():
        for flag in found if module.startswith("experiments.") else ():
            accepted = not flag.present or flag.name in read
            expected = "no such flag, which this binary does not read"
            require(accepted, flag.name, flag.value, expected)


def refuse_gp_flags(methods: Sequence[str]) -> None:
    """Refuses the Gaussian process's flags where it is not among the methods.

    Raises:
      UserError: where there is one.
    """
    for flag in (KERNEL, SIGMA, DEPTH, LENGTHSCALE, AMPLITUDE, TOLERANCE):
        accepted = "gp" in methods or not flag.present
        expected = "no such flag without --method=gp, which alone reads it"
        require(accepted, flag.name, flag.value, expected)


def told_noise_std(default: float | None = None) -> float | None:
    """What --noise_std tells, where white is 1; None where it is to be estimated.

    Args:
      default: where the flag is absent, likewise.

    Raises:
      UserError: on a number out of range.
    """
    told = NOISE_STD.value
    return default if told is None else _intensity(NOISE_STD.name, told)


def added_noise_std() -> float | None:
    """What --added_noise_std tells, where white is 1; None where it is absent.

    Raises:
      UserError: on a number out of range.
    """
    levels = ADDED_NOISE_STD.value
    return None if levels is None else _intensity(ADDED_NOISE_STD.name, levels)


def _intensity(flag: str, levels: float | str) -> float | None:
    """Grey levels of 255 in units where white is 1; None for AUTO."""
    if isinstance(levels, str):
        return None
    expected = "grey levels above 0 and up to 255"
    require(0 < levels <= GREY_LEVELS, flag, levels, expected)
    return levels / GREY_LEVELS


def gp_options(default_noise_std: float | None = None) -> GPOptions:
    """Reads the Gaussian process's options from the flags.

    Args:
      default_noise_std: grey levels of 255 where neither --noise_std nor
        --added_noise_std is given; None estimates.

    Returns:
      The options, with the noise in units where white is 1.

    Raises:
      UserError: on a number out of range, or on a flag that the kernel has no use for.
    """
    for flag in (SIGMA, LENGTHSCALE, AMPLITUDE):
        accepted = flag.value is None or 0 < flag.value < math.inf
        require(accepted, flag.name, flag.value, "a positive number")
    depth, tolerance = DEPTH.value, TOLERANCE.value
    accepted = depth is None or 0 < depth <= MOST_LAYERS
    require(accepted, "depth", depth, f"from 1 to {MOST_LAYERS} layers")
    accepted = tolerance is None or 0 < tolerance < 1
    require(accepted, "tolerance", tolerance, "a number between 0 and 1")
    default = added_noise_std()
    if default is None and default_noise_std is not None:
        default = default_noise_std / GREY_LEVELS
    useless = (LENGTHSCALE,) if KERNEL.value == "dip" else (SIGMA, DEPTH)
    for flag in useless:
        expected = f"no such flag with --kernel={KERNEL.value}, which does not read it"
        require(flag.value is None, flag.name, flag.value, expected)
    return GPOptions(
        kernel=KERNEL.value,
        sigma=SIGMA.value,
        depth=depth,
        amplitude=AMPLITUDE.value,
        lengthscale=LENGTHSCALE.value,
        noise_std=told_noise_std(default),
        tolerance=tolerance,
    )


def expand_images(
    patterns: Sequence[str], reserved: Sequence[str] = ()
) -> dict[str, Path | None]:
    """Finds the files that --image asks for and gives each a name of its own.

    Args:
      patterns: paths and globs; a path that exists is never read as a glob.
      reserved: names that no image may have.

    Returns:
      Name to file, each file once, in the patterns' order and alphabetical within one.
      Without patterns, the default photograph's name to None.

    Raises:
      UserError: where a pattern matches no file.
    """
    if not patterns:
        return {DEFAULT_IMAGE: None}
    paths: dict[Path, Path] = {}
    for pattern in patterns:
        found = [Path(pattern)]
        if not found[0].exists() and any(sign in pattern for sign in "*?["):
            matches = sorted(glob.glob(pattern, recursive=True))
            found = [Path(match) for match in matches if Path(match).is_file()]
            require(bool(found), "image", pattern, "a pattern that matches a file")
        for path in found:
            paths.setdefault(path.resolve(), path)
    named: dict[str, Path | None] = {}
    # Some file systems take names that differ in case only for the same.
    taken = {name.casefold() for name in reserved}
    for path in paths.values():
        name, copies = path.stem, 1
        while name.casefold() in taken:
            copies += 1
            name = f"{path.stem}_{copies}"
        taken.add(name.casefold())
        named[name] = path
    return named


def open_image(path: Path | None) -> np.ndarray:
    """Reads one of `expand_images`' files, or the default photograph for None.

    Returns:
      (H, W, C) float32 in [0, 1], C being 1 or 3.

    Raises:
      UserError: where the file is not a picture that can be read without loss.
    """
    if path is None:
        return sample_image(DEFAULT_IMAGE)
    try:
        return load_image(path)
    except ValueError as error:
        raise UserError(f"--image={error}") from error


def main(run: Callable[[], int], argv: Sequence[str] | None = None) -> None:
    """Parses the flags, runs, and exits with what `run` returns.

    Bad input ends in one sentence on stderr and exit status 2; --verbosity=1 shows
    where it arose.

    Args:
      run: the experiment; reads the flags and returns the exit status.
      argv: the command line, program first; that of the process by default.
    """

    def run_without_arguments(arguments: Sequence[str]) -> int:
        if arguments:
            raise UserError(
                f"{arguments[0]}: expected flags only, got an argument that belongs to "
                "none; quote patterns, as in --image='photos/*.png'"
            )
        return run()

    main_with_arguments(run_without_arguments, argv)


def main_with_arguments(
    run: Callable[[Sequence[str]], int], argv: Sequence[str] | None = None
) -> None:
    """As `main`, for binaries that take arguments beside flags.

    Args:
      run: is given the arguments that belong to no flag.
      argv: the command line, program first; that of the process by default.
    """
    arguments = None if argv is None else list(argv)
    app.run(functools.partial(_run, run), argv=arguments, flags_parser=_parse_flags)


def _parse_flags(argv: Sequence[str]) -> list[str]:
    try:
        arguments = flags.FLAGS(argv)
    except flags.Error as error:
        _complain(error)
        sys.exit(2)
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)  # else JAX tells of absent devices
    return arguments


def _run(run: Callable[[Sequence[str]], int], arguments: Sequence[str]) -> int:
    try:
        if COMPILATION_CACHE.value:
            compilation_cache.choose_folder()
        else:
            jax.config.update("jax_enable_compilation_cache", False)
        with _termination_as_from_the_keyboard():
            return run(arguments[1:])
    except Interrupted as interrupted:
        _complain(interrupted)
        return 130
    except KeyboardInterrupt:
        _complain(f"stopped; {_what_is_left()}")
        return 130
    except OSError as error:
        logging.debug("where the error arose", exc_info=True)
        told = f"{error.filename}: {error.strerror}; {_what_is_left()}"
        _complain(told if error.filename else error)
        return 2
    except ValueError as error:
        logging.debug("where the error arose", exc_info=True)
        _complain(error)
        return 2


@contextlib.contextmanager
def _termination_as_from_the_keyboard() -> Iterator[None]:
    """SIGTERM raises KeyboardInterrupt, so that files are whole and a word is said."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _what_is_left() -> str:
    """What became of a run that ended early, and how to go on with it."""
    read = flags.FLAGS.get_key_flags_for_module(sys.argv[0])
    if any(flag.name == "resume" for flag in read):
        return "what was written is whole, and --resume goes on from it"
    return "what was not yet written is lost"


def _complain(error: object) -> None:
    print(f"Error: {' '.join(str(error).split())}", file=sys.stderr)
