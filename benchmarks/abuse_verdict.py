"""What may become of a bad input."""

import dataclasses

REFUSED, RESULT = "refused by name", "a finite result"
LONGER = "longer work, as asked for"


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What became of a call.

    Attributes:
      kind: `REFUSED`, `RESULT` and `LONGER` (a valid number, but of more work than is
        waited for) are as they should be; what else there is, is not.
      told: the last line of the traceback, and where it arose.
    """

    kind: str
    told: str = ""

    @property
    def accepted(self) -> bool:
        """Whether that is kind to who made the mistake."""
        return self.kind in (REFUSED, RESULT, LONGER)
