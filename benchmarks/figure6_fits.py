"""Figure 6 by processes whose hyperparameters `gp.fit` finds, compared by evidence."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.figure6_evidence import Restored
from benchmarks.figure6_problem import Problem
from benchmarks.figure6_processes import (
    RBF_LENGTHSCALE,
    RBF_NOISE_STD,
    RBF_VARIANCE,
    Row,
    row,
)
from dipgp import architecture, gp, kernels
from dipgp.gp.fitting import Family
from dipgp.observations import observe
from dipgp.progress import Report

DEEPEST = 16
# Where all climbs start: noise in the image's units.
NOISE_STD = 0.05


def rbf(parameters: Mapping[str, Any]) -> kernels.Covariance:
    """The squared exponential covariance."""
    shape = kernels.rbf(parameters["lengthscale"])
    return kernels.scale(shape, parameters["variance"])


def relu_family(depth: int) -> Family:
    """Limits of ReLU networks of so many layers, by sigma and variance."""
    net = architecture.conv_net(depth)

    def family(parameters: Mapping[str, Any]) -> kernels.Covariance:
        limit = kernels.covariance(net, kernels.gaussian(parameters["sigma"]))
        return kernels.scale(kernels.normalize(limit), parameters["variance"])

    return family


def fitted_rows(problem: Problem, depths: Sequence[int], report: Report) -> list[Row]:
    """Fits of all families, after the paper's own hyperparameters for the RBF.

    Args:
      problem: the data.
      depths: of the ReLU networks, of which those above `DEEPEST` are left out.
      report: is told how far it is.
    """
    given = {"lengthscale": RBF_LENGTHSCALE, "variance": RBF_VARIANCE}
    rows = [_judge(problem, rbf(given), RBF_NOISE_STD, "RBF", "the paper's")]
    families: dict[str, tuple[Family, dict[str, float]]] = {"RBF": (rbf, given)}
    for depth in (depth for depth in depths if depth <= DEEPEST):
        start = {"sigma": 2.0, "variance": 0.1}
        families[f"ReLU network, depth {depth}"] = relu_family(depth), start
    for done, (name, (family, start)) in enumerate(families.items()):
        report(name, done / len(families))
        begun = time.monotonic()
        found = gp.fit(
            family,
            start,
            observe(problem.image, problem.mask, noise_std=NOISE_STD),
            fit_noise=True,
        )
        shown = ", ".join(
            f"{key} {value:.3g}"
            for key, value in found.parameters.items()
            if key != "noise_std"
        )
        rows.append(
            _judge(
                problem,
                found.covariance,
                found.parameters["noise_std"],
                f"{name}: {shown}",
                "by gp.fit" if found.converged else "by gp.fit, NOT converged",
            )
            | {"seconds": time.monotonic() - begun}
        )
    return rows


def _judge(
    problem: Problem,
    covariance: kernels.Covariance,
    noise_std: float,
    name: str,
    noise: str,
) -> Row:
    """PSNR, and the evidence of all known pixels, in nats."""
    posterior = gp.condition(
        covariance, problem.image, problem.mask, noise_std, method="dense"
    )
    told = posterior.log_evidence(method="dense")
    score = problem.score(np.asarray(posterior.mean))
    line = row(name, noise, Restored(score, noise_std), None)
    return line | {"evidence [nats]": f"{float(told.value):.1f}"}
