"""The frame around the main of a benchmark that takes flags and nothing else."""

from collections.abc import Callable, Sequence

from absl import app


def run(main: Callable[[], int | None]) -> None:
    """Parses the flags, calls a main, and exits with what it returns.

    Args:
      main: reads the flags; None stands for exit status 0.
    """

    def without_arguments(arguments: Sequence[str]) -> int | None:
        if len(arguments) > 1:
            raise app.UsageError(f"{arguments[1]}: expected flags only")
        return main()

    app.run(without_arguments)
