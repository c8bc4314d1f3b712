"""`python -m dipgp.command`, the same as the installed `dipgp`."""

import sys

from dipgp.command.main import run

sys.exit(run())
