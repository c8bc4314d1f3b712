"""Flags that are lists, read as what they list."""

from typing import TypeVar

from absl import flags

from experiments.common import UserError

Number = TypeVar("Number", int, float)


def numbers(
    flag: flags.FlagHolder[list[str]], kind: type[Number]
) -> tuple[Number, ...]:
    """The numbers of a flag such as --widths=16,32.

    Args:
      flag: a list.
      kind: int or float.

    Raises:
      UserError: where something else is among them.
    """
    try:
        return tuple(kind(text) for text in flag.value)
    except ValueError:
        shown = ",".join(flag.value)
        expected = f"{'whole ' if kind is int else ''}numbers between commas"
        raise UserError(f"--{flag.name}={shown}: expected {expected}") from None


def sigmas_and_depths(
    flag: flags.FlagHolder[list[str]],
) -> tuple[tuple[float, int], ...]:
    """The pairs of a flag such as --cases=2:1,15:4.

    Raises:
      UserError: where something else is among them.
    """
    return tuple(_pair(flag.name, text) for text in flag.value)


def _pair(name: str, text: str) -> tuple[float, int]:
    sigma, _, depth = text.partition(":")
    try:
        return float(sigma), int(depth)
    except ValueError:
        expected = "pairs sigma:depth with a whole depth, such as 2:1,15:4"
        raise UserError(f"--{name}={text}: expected {expected}") from None
