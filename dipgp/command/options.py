"""What can be asked for on the command line, and the help that teaches it.

Nothing here needs JAX, so that `dipgp --help` answers at once.
"""

import argparse
import dataclasses
import importlib.metadata
import math
from collections.abc import Sequence
from typing import Any, Literal

Task = Literal["denoise", "inpaint", "upscale", "deblur"]

GREY_LEVELS = 255.0
DEFAULT_BLUR_STD = 1.6
AUTO = "auto"
SMALL_NOISE = 1.0
# In grey levels: as much as rounding to 16 bits makes.
LEAST_NOISE = 0.001

_DESCRIPTION = """\
Restores photographs by the Gaussian process that a deep network becomes when it is
infinitely wide: nothing is trained, and noise and smoothness are estimated from the
picture itself.
"""

_MAIN_EPILOG = """\
examples:
  dipgp denoise in.png -o out.png
  dipgp inpaint in.png --mask=mask.png -o out.png
  dipgp upscale in.png --factor=4 -o out.png
  dipgp deblur in.png --gaussian=2 -o out.png

  dipgp denoise photos -o restored             a folder of pictures
  dipgp denoise 'photos/*.tif' -o restored     a pattern, in quotes
  dipgp denoise photos -o restored --resume    what is still missing
  dipgp denoise in.png -o out.png --method=both --preset=smoke

A picture comes back with its own size, orientation, bit depth, alpha channel, colour
profile and EXIF: PNG and TIFF of 8 or 16 bits, JPEG, TIFF of floats in [0, 1]. What
cannot be kept is told (a preview inside EXIF shows the picture as it was and is left
out) or refused (palettes, CMYK, animations, several pages). Pixels that are entirely
transparent are not looked at. TIFF and 16-bit colour PNG take
pip install 'dipgp[io]'.

`dipgp denoise --help` and so on explain what each restoration can be told.

exit status: 0 all pictures are done; 1 some failed, or have not converged; 2 the
command line makes no sense, and nothing was done; 130 interrupted.
"""

_HELP = {
    "denoise": (
        "take noise away",
        """\
Takes noise away that is alike in all of the picture, and estimates how strong it is.
""",
        """\
examples:
  dipgp denoise dusk.jpg -o clean.jpg
  dipgp denoise dusk.jpg -o clean.png --noise=12
  dipgp denoise dusk.jpg -o clean.jpg --std=std.png

Too smooth? Tell less noise than the estimate in the last line: fine texture everywhere
counts as noise. Still noisy? Tell more: JPEG of low quality hides some of it from the
estimate.
""",
    ),
    "inpaint": (
        "fill in what is missing or damaged",
        """\
Fills in the pixels that a mask shows in white, and leaves the others exactly as they
are.
""",
        """\
examples:
  dipgp inpaint torn.png --mask=holes.png -o whole.png
  dipgp inpaint torn.png --mask=intact.png --mask-is-known -o whole.png
  dipgp inpaint photos --mask=masks -o restored

The mask is a black and white picture of the same size, looked at the same way up; white
is missing, black is kept, and grey counts as what it is nearer to. With a folder of
pictures it may be a folder, too, with a mask of the same name for each.

The middle of a gap that is wider than what the covariance reaches turns towards the
picture's mean colour; a picture that was enlarged showed grey lines so.
""",
    ),
    "upscale": (
        "enlarge by a whole number",
        """\
Enlarges a picture, as the most probable one that becomes the small picture when it is
made smaller again.
""",
        """\
examples:
  dipgp upscale thumbnail.png --factor=4 -o large.png
  dipgp upscale thumbnail.png --factor=2 --filter=box -o large.png
""",
    ),
    "deblur": (
        "sharpen what is out of focus or was taken in motion",
        """\
Takes a known blur away. How wide it is must be told, or tried: too wide, and edges get
ripples beside them; too narrow, and the picture stays soft.
""",
        """\
examples:
  dipgp deblur soft.jpg -o sharp.jpg --gaussian=2
  dipgp deblur shaken.jpg -o sharp.jpg --motion=9 --angle=30
  dipgp deblur star.png -o sharp.png --kernel=psf.png
""",
    ),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Order:
    """What was asked for.

    Attributes:
      task: the restoration.
      inputs: files, folders and patterns.
      output: a file, or a folder.
      std: a file for standard deviations, or a folder; None for none.
      method: "gp", "sgld", or "both".
      noise_std: where white is 1; None where it is to be estimated.
      quality: of JPEG's coder.
      seed: of random draws.
      overwrite: whether outputs that exist are replaced.
      resume: whether pictures whose outputs exist are left out.
      jobs: pictures at a time.
      mask: a file or a folder, for "inpaint".
      mask_is_known: whether white is known instead of missing.
      factor: for "upscale".
      filter: what made the small picture: "lanczos", "box" or "bilinear".
      gaussian: standard deviation in pixels of a blur, for "deblur", or None.
      motion: length in pixels of a motion, or None.
      angle: its direction in degrees.
      kernel: file of a point-spread function, or None.
      preset: of "sgld": "light", "paper" or "smoke".
      iterations: of "sgld" instead of the preset's, or None.
    """

    task: Task
    inputs: tuple[str, ...]
    output: str
    std: str | None = None
    method: Literal["gp", "sgld", "both"] = "gp"
    noise_std: float | None = None
    quality: int = 95
    seed: int = 0
    overwrite: bool = False
    resume: bool = False
    jobs: int = 1
    mask: str | None = None
    mask_is_known: bool = False
    factor: int = 1
    filter: str = "lanczos"
    gaussian: float | None = None
    motion: float | None = None
    angle: float = 0.0
    kernel: str | None = None
    preset: str = "light"
    iterations: int | None = None


def parse(arguments: Sequence[str] | None = None) -> Order:
    """Reads a command line; ends the process with advice where it makes no sense.

    Args:
      arguments: without the program's name; those of the process by default.
    """
    parser = _parser()
    found = vars(parser.parse_args(arguments))
    given = {name: value for name, value in found.items() if value is not None}
    given["inputs"] = tuple(given["inputs"])
    noise = given.pop("noise", SMALL_NOISE if given["task"] == "upscale" else AUTO)
    if noise != AUTO:
        given["noise_std"] = noise / GREY_LEVELS
    order = Order(**given)
    if order.method == "gp" and {"preset", "iterations"} & given.keys():
        parser.error("--preset, --iterations: expected --method=sgld or both with them")
    if order.resume and order.overwrite:
        parser.error("--resume: expected no --overwrite beside it")
    if order.task == "deblur":
        if order.angle and order.motion is None:
            parser.error("--angle: expected --motion beside it")
        if order.gaussian is order.motion is order.kernel is None:
            order = dataclasses.replace(order, gaussian=DEFAULT_BLUR_STD)
    return order


def _parser() -> argparse.ArgumentParser:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="dipgp",
        description=_DESCRIPTION,
        epilog=_MAIN_EPILOG,
        formatter_class=formatter,
    )
    version = importlib.metadata.version("dipgp")
    parser.add_argument("--version", action="version", version=f"dipgp {version}")
    tasks = parser.add_subparsers(dest="task", required=True, metavar="restoration")
    for name, (summary, description, epilog) in _HELP.items():
        task = tasks.add_parser(
            name,
            help=summary,
            description=description,
            epilog=epilog,
            formatter_class=formatter,
            allow_abbrev=False,
        )
        _FLAGS.get(name, lambda task: None)(task)
        _shared(task)
    return parser


def _shared(task: argparse.ArgumentParser) -> None:
    """What all restorations read."""
    add = task.add_argument
    add(
        "inputs",
        nargs="+",
        metavar="picture",
        help="a file, a folder, or a pattern in quotes such as 'photos/*.png'",
    )
    add(
        "-o",
        "--output",
        required=True,
        help="file to write, in the format that its ending names; or a folder, for "
        "files of the same names",
    )
    add(
        "--std",
        metavar="FILE",
        help="also write the standard deviation of each pixel, how far the restoration "
        "may be off: a .png shows it in grey, and a .npz of the same name beside it "
        "has exact numbers, where white is 1; a folder where -o is one. It takes no "
        "time in denoise; in upscale and deblur, and where pixels are missing, some 15 "
        "times what solving for the picture takes",
    )
    add(
        "--noise",
        type=_noise,
        metavar="LEVELS",
        help="standard deviation of the noise in grey levels of 255, whatever the bit "
        "depth, or auto to estimate it; by default auto, but "
        f"{SMALL_NOISE:g} in upscale, since small pictures are so detailed that detail "
        "counts as noise",
    )
    add(
        "--quality",
        type=_whole(1, 100),
        default=95,
        help="of JPEG, 1 to 100, by default %(default)s; colours are kept at full size",
    )
    add(
        "--seed",
        type=_whole(0, 2**32 - 1),
        default=0,
        help="of random draws, by default %(default)s",
    )
    add(
        "--method",
        choices=["gp", "sgld", "both"],
        default="gp",
        help="gp, the Gaussian process: seconds; sgld, the network itself, its weights "
        "sampled by Langevin dynamics: often better and much slower; both, to compare, "
        "in out-gp.png and out-sgld.png; by default %(default)s",
    )
    add(
        "--preset",
        choices=["light", "paper", "smoke"],
        help="of sgld: light (the default; 2,000 steps, some 5 hours of processor time "
        "a megapixel), paper (the reference's larger network and 20,000 steps, but "
        "2,000 to 4,000 in upscale and deblur), smoke (40 steps, to see that all "
        "works); how long it takes is told after the first steps",
    )
    add("--iterations", type=_whole(2, 10**7), help="steps of sgld")
    add(
        "--jobs",
        type=_whole(1, 256),
        default=1,
        help="pictures at a time, each in a process and with memory of its own, by "
        "default %(default)s",
    )
    add("--overwrite", action="store_true", help="replace outputs that exist")
    add(
        "--resume",
        action="store_true",
        help="leave out pictures whose outputs exist, whatever made them; go on with "
        "chains of sgld that were interrupted",
    )


def _mask(task: argparse.ArgumentParser) -> None:
    task.add_argument(
        "--mask",
        required=True,
        help="black and white picture, white where the picture is missing; or a folder",
    )
    task.add_argument(
        "--mask-is-known",
        action="store_true",
        help="white is what is known, black what is missing",
    )


def _factor(task: argparse.ArgumentParser) -> None:
    task.add_argument(
        "--factor",
        type=_whole(2, 16),
        default=4,
        help="how many times higher and wider, by default %(default)s",
    )
    task.add_argument(
        "--filter",
        choices=["lanczos", "box", "bilinear"],
        default="lanczos",
        help="what made the small picture: lanczos (the default) as most programs do, "
        "box as a camera with larger pixels does, bilinear, which is softer. One "
        "softer than the true one sharpens too much",
    )


def _blur(task: argparse.ArgumentParser) -> None:
    kinds = task.add_mutually_exclusive_group()
    kinds.add_argument(
        "--gaussian",
        type=_number(0, 50),
        metavar="PIXELS",
        help="out of focus, by so many pixels (standard deviation); the default, by "
        f"{DEFAULT_BLUR_STD}",
    )
    kinds.add_argument(
        "--motion",
        type=_number(0, 200),
        metavar="PIXELS",
        help="in motion along a straight line of so many pixels",
    )
    kinds.add_argument(
        "--kernel",
        metavar="FILE",
        help="grey picture of a single point of light, with odd sides; divided by its "
        "sum",
    )
    task.add_argument(
        "--angle",
        type=_number(-360, 360),
        default=0.0,
        metavar="DEGREES",
        help="of the motion: 0, the default, from left to right, 90 upwards",
    )


_FLAGS: dict[str, Any] = {"inpaint": _mask, "upscale": _factor, "deblur": _blur}


def _noise(text: str) -> float | str:
    """Reads grey levels, or AUTO."""
    return AUTO if text == AUTO else _number(LEAST_NOISE, GREY_LEVELS)(text)


_noise.__name__ = "number"  # in argparse's own message


def _number(above: float, up_to: float) -> Any:
    """Reads a number inside (above, up_to]."""

    def read(text: str) -> float:
        number = float(text)
        if not (above < number <= up_to and math.isfinite(number)):
            raise argparse.ArgumentTypeError(
                f"expected a number above {above:g} and up to {up_to:g}, got {text}"
            )
        return number

    read.__name__ = "number"  # in argparse's own message
    return read


def _whole(least: int, most: int) -> Any:
    """Reads a whole number inside [least, most]."""

    def read(text: str) -> int:
        number = int(text)
        if not least <= number <= most:
            raise argparse.ArgumentTypeError(
                f"expected a whole number from {least} to {most}, got {text}"
            )
        return number

    read.__name__ = "whole number"
    return read
