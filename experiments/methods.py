"""All restoration methods by name, and which of them share a run of the network."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from experiments import gp_method, network_method, oriented_prior
from experiments.gp_method import GPOptions
from experiments.network_settings import NetworkSettings, Running
from experiments.restoration import Request, Restoration

# What restores by the Gaussian process, by `GPOptions.prior`.
PRIORS = {"stationary": gp_method, "oriented": oriented_prior}


def restore(
    names: Sequence[str],
    request: Request,
    gp_options: GPOptions,
    settings: Mapping[str, NetworkSettings],
    running: Running,
) -> Iterator[tuple[str, Restoration]]:
    """Restores an image by several methods.

    Args:
      names: among `common.METHODS`.
      request: what was seen.
      gp_options: of the Gaussian process.
      settings: of the network methods, by name.
      running: what does not change the networks' numbers.

    Yields:
      Name and restoration, as soon as each is there.
    """
    for group in group_by_run(names, settings):
        if group == ["gp"]:
            yield "gp", PRIORS[gp_options.prior].restore(request, gp_options)
        else:
            yield from network_method.restore(
                group, settings[group[0]], running, request
            )


def group_by_run(names: Sequence[str], settings: Mapping[str, Any]) -> list[list[str]]:
    """Names that are read off one run stand together, in the order of the first."""
    groups: dict[object, list[str]] = {}
    for name in names:
        run = (network_method.RUNS[name], settings[name]) if name != "gp" else "gp"
        groups.setdefault(run, []).append(name)
    return list(groups.values())
