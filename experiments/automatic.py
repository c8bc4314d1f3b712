"""Flags that are a number, or left to be found out."""

from absl import flags

AUTO = "auto"


class NumberOrAuto(flags.ArgumentParser[float | str]):
    """Reads a number, or AUTO."""

    syntactic_help = f"a number, or {AUTO}"

    def parse(self, argument: str | float) -> float | str:
        """The number, or AUTO.

        Raises:
          ValueError: on other words.
        """
        try:
            return AUTO if argument == AUTO else float(argument)
        except ValueError:
            raise ValueError(f"expected {self.syntactic_help}") from None

    def flag_type(self) -> str:
        """For --help."""
        return self.syntactic_help
