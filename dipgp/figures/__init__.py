"""Arrays in, figures out: the only package that draws with matplotlib."""

from dipgp.figures.canvas import Figure as Figure  # of matplotlib: to annotate with
from dipgp.figures.canvas import save_figure
from dipgp.figures.curves import Curve, Plot, plots
from dipgp.figures.functions import Panel, bands
from dipgp.figures.pictures import overview, panels

__all__ = [
    "Curve",
    "Panel",
    "Plot",
    "bands",
    "overview",
    "panels",
    "plots",
    "save_figure",
]
