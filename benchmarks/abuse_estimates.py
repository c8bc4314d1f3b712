"""A valid, small call of each public function, to be broken: what reads images."""

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.abuse_calls import Call, key
from dipgp import figures, gp, images, kernels, observations, summaries
from dipgp.inference import descent, langevin, loop, noisy_adam, schedules, stopping
from dipgp.observations import Observation, observe
from dipgp.summaries import calibration, moments

_GRID = (8, 7)
_RANDOM = np.random.default_rng(0)
_IMAGE = _RANDOM.uniform(size=(*_GRID, 1)).astype(np.float32)
_COLOUR = _RANDOM.uniform(size=(*_GRID, 3)).astype(np.float32)
_MASK = _RANDOM.uniform(size=_GRID) < 0.7


def calls() -> list[Call]:
    """Of `dipgp.gp`, `observations`, `summaries`, `images`, `figures`, `inference`."""
    return [
        *_seen(),
        *_maps(),
        *_posteriors(),
        *_hyperparameters(),
        *_summaries(),
        *_calibration(),
        *_pictures(),
        *_inference(),
        *_rules(),
    ]


def _call(function: Callable[..., Any], *passes_on: str, **arguments: Any) -> Call:
    room = function.__module__.removeprefix("dipgp.")
    return Call(f"{room}.{function.__name__}", function, arguments, passes_on)


def _observation() -> Observation:
    return observe(_IMAGE, _MASK, noise_std=0.1)


def _seen() -> list[Call]:
    seen = _observation()
    return [
        _call(observe, values=_IMAGE, mask=_MASK, noise_std=0.1),
        _call(observations.log_likelihood, "image", observation=seen, image=_IMAGE),
        _call(observations.mean_squared_error, "image", observation=seen, image=_IMAGE),
        _call(observations.seen_evenly, observation=seen),
        _call(observations.widest_gap, mask=_MASK),
    ]


def _maps() -> list[Call]:
    def seen_by(make: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(make)
        def see(**arguments: Any) -> Any:
            return make(**arguments)(_COLOUR)

        return see

    blur = observations.gaussian_blur(0.5)
    maps = (blur, observations.Decimation(2))

    def adjoint(values: Any, shape: Any) -> Any:
        return blur.adjoint(values, shape)

    return [
        _call(seen_by(observations.Blur), kernel=np.ones((3, 3)), boundary="valid"),
        _call(seen_by(observations.gaussian_blur), std=0.5, boundary="valid", radius=2),
        _call(
            seen_by(observations.motion_blur), length=3.0, angle=10.0, boundary="valid"
        ),
        _call(
            seen_by(observations.Decimation), factor=2, filter=observations.Lanczos()
        ),
        _call(seen_by(observations.Composition), maps=maps),
        _call(seen_by(observations.BayerMosaic), pattern="RGGB"),
        _call(observations.Lanczos, lobes=2),
        _call(observations.is_stationary, linear_map=blur),
        _call(observations.stationary_filter, linear_map=blur),
        Call(
            "observations.Blur.__call__", blur.__call__, {"image": _COLOUR}, ("image",)
        ),
        Call(
            "observations.Blur.adjoint",
            adjoint,
            {"values": _COLOUR, "shape": (*_GRID, 3)},
            ("values",),
        ),
    ]


def _posteriors() -> list[Call]:
    k, blur = kernels.gaussian(2.0), observations.gaussian_blur(0.5)
    posterior = gp.condition(k, _IMAGE, _MASK, 0.1)
    evenly = gp.condition(k, _IMAGE, None, 0.1)
    matrix = np.exp(-0.1 * np.square(np.arange(6)[:, None] - np.arange(6.0)))
    seen: dict[str, Any] = {
        "values": _RANDOM.uniform(size=3).astype(np.float32),
        "observed": np.array([0, 2, 5]),
        "noise_std": 0.1,
    }

    def mixed(covariances: Any, weights: Any, **arguments: Any) -> Any:
        mixture = gp.Mixture(covariances=covariances, weights=weights)
        return gp.condition_mixture(mixture, **arguments)

    return [
        _call(
            gp.condition,
            covariance=k,
            values=_IMAGE,
            mask=_MASK,
            noise_std=0.1,
            method="automatic",
            tolerance=1e-3,
            max_iterations=100,
            reach=10,
        ),
        Call(
            "gp.condition, through a map",
            gp.condition,
            {
                "covariance": (k, k, k),
                "values": _COLOUR,
                "noise_std": 0.1,
                "through": blur,
                "image_shape": (*_GRID, 3),
            },
        ),
        Call(
            "gp.condition, by an observation",
            gp.condition,
            {"covariance": k, "observation": _observation(), "channels": None},
        ),
        Call(
            "gp.Posterior.sample",
            posterior.sample,
            {"key": key(), "count": 2, "batch": 1},
        ),
        Call(
            "gp.Posterior.variance",
            posterior.variance,
            {"key": key(), "method": "automatic", "solves": 4, "batch": 2},
        ),
        Call(
            "gp.Posterior.log_evidence",
            evenly.log_evidence,
            {"key": key(), "method": "automatic", "probes": 2, "steps": 4},
        ),
        _call(gp.condition_matrix, covariance=matrix, **seen),
        _call(gp.condition_features, features=matrix, **seen),
        Call(
            "gp.condition_mixture",
            mixed,
            {
                "covariances": (k, k),
                "weights": np.ones((2, *_GRID), np.float32),
                "values": _IMAGE[:, :, 0],
                "mask": _MASK,
                "noise_std": 0.1,
                "tolerance": 1e-3,
                "max_iterations": 100,
            },
        ),
        _call(gp.draw_prior, key=key(), covariance=k, grid=_GRID, count=2, reach=10),
        _call(gp.find_reach, covariance=k, grid=_GRID),
    ]


def _hyperparameters() -> list[Call]:
    k, seen = kernels.gaussian(2.0), _observation()
    large = _RANDOM.uniform(size=(18, 18)).astype(np.float32)

    def family(parameters: Any) -> kernels.Covariance:
        return kernels.gaussian(parameters["sigma"])

    return [
        _call(gp.estimate_channels, observation=seen),
        _call(
            gp.select,
            candidates=(k, kernels.white()),
            observation=seen,
            estimate_noise=True,
        ),
        _call(
            gp.fit,
            family=family,
            start={"sigma": 2.0},
            observation=seen,
            fit_noise=False,
            key=key(),
            probes=2,
            steps=4,
            max_evaluations=3,
        ),
        _call(
            gp.localise,
            candidates=(k, kernels.rbf(1.0)),
            values=large,
            mask=np.ones(large.shape, bool),
            noise_std=0.1,
        ),
    ]


def _summaries() -> list[Call]:
    two = moments.empty(_GRID)
    for weight in (1.0, 2.0):
        two = moments.add(two, weight * _IMAGE[:, :, 0], weight)
    samples = _RANDOM.standard_normal((4, 8, 2, 2))
    large = _RANDOM.uniform(size=(12, 13, 3))
    return [
        _call(
            summaries.psnr,
            "image",
            "truth",
            image=_IMAGE,
            truth=_IMAGE + 0.1,
            mask=_MASK,
        ),
        _call(summaries.ssim, "image", "truth", image=large, truth=large + 0.1),
        _call(
            summaries.paste_observed,
            "image",
            "values",
            image=_IMAGE,
            values=_IMAGE,
            mask=_MASK,
        ),
        _call(summaries.diagnose, "samples", samples=samples),
        _call(
            summaries.recalibrate,
            standardised=_RANDOM.standard_normal(50),
            form="student",
        ),
        _call(moments.empty, shape=_GRID),
        _call(moments.add, "value", moments=two, value=_IMAGE[:, :, 0], weight=1.0),
        _call(moments.merge, first=two, second=two),
        _call(moments.variance, moments=two),
    ]


def _calibration() -> list[Call]:
    maps = {"values": _IMAGE, "mean": _IMAGE + 0.1, "std": np.full_like(_IMAGE, 0.1)}
    found = calibration.residuals(**maps, mask=_MASK, block_size=4)
    return [
        _call(calibration.residuals, **maps, mask=_MASK, block_size=4),
        _call(calibration.coverage, found=found, levels=(0.5, 0.9)),
        _call(calibration.negative_log_density, found=found),
        _call(calibration.error_by_std, found=found, bins=2),
        _call(calibration.rank_correlation, "std", error=_IMAGE - 0.5, std=_IMAGE),
    ]


def _pictures() -> list[Call]:
    def write(image: Any) -> Any:
        with tempfile.TemporaryDirectory() as folder:
            images.save_image(Path(folder) / "image.png", image)
            return images.load_image(Path(folder) / "image.png")

    titled = [("one", _IMAGE), ("two", _COLOUR)]
    x = np.arange(5.0)
    return [
        Call("images.save_image", write, {"image": _COLOUR}),
        _call(images.load_image, path="absent.png"),
        _call(images.load_mask, path="absent.png"),
        _call(
            images.add_noise, "image", key=key(), image=_IMAGE, noise_std=0.1, clip=True
        ),
        _call(images.drop_pixels, key=key(), shape=_GRID, drop_fraction=0.5),
        _call(images.sample_image, name="camera"),
        _call(figures.panels, images=titled, errors=titled, height=1.0),
        _call(figures.overview, images=titled, deviations=titled, height=1.0),
        Call(
            "figures.plots",
            lambda **curve: figures.plots(
                [[figures.Plot("title", [figures.Curve(**curve)], ("x", "y"))]]
            ),
            {"label": "one", "x": x, "y": x, "dashed": False, "error": x},
        ),
        Call(
            "figures.bands",
            lambda x, **panel: figures.bands([("row", [figures.Panel(**panel)])], x),
            {"x": x, "title": "one", "samples": np.ones((2, 5)), "mean": x, "std": x},
        ),
    ]


def _inference() -> list[Call]:
    start = np.ones(3, np.float32)

    def log_density(parameters: Any, key: Any) -> Any:
        return -0.5 * (parameters**2).sum(), parameters

    def stepped(make: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(make)
        def step(**arguments: Any) -> Any:
            method = make(log_density, **arguments)
            return method.step(key(), method.init(start))

        return step

    def descended(make: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(make)
        def step(**arguments: Any) -> Any:
            method = descent.descend(log_density, make(**arguments))
            return method.step(key(), method.init(start))

        return step

    def preconditioned(**arguments: Any) -> Any:
        square = langevin.RootMeanSquare(**arguments)
        return stepped(langevin.sgld)(step_size=0.1, preconditioner=square)

    def planned(**arguments: Any) -> Any:
        method = langevin.sgld(log_density, 0.1)
        plan = loop.Plan(fit=lambda output: output.sum(), **arguments)
        begun = loop.begin(method, start, key(), jax.ShapeDtypeStruct((3,), np.float32))
        return loop.step(method, plan, begun)[1]

    return [
        _call(stepped(langevin.sgld), step_size=0.1, temperature=1.0, momentum=0.5),
        Call(
            "inference.langevin.RootMeanSquare",
            preconditioned,
            {
                "frozen_after": 2,
                "decay": 0.9,
                "epsilon": 1e-5,
                "maximum": 1.0,
                "floored": True,
            },
        ),
        _call(descended(descent.adam), learning_rate=0.1, weight_decay=0.1),
        _call(descended(descent.gradient_descent), learning_rate=0.1, momentum=0.5),
        _call(stepped(noisy_adam.noisy_adam), learning_rate=0.1, weight_decay=0.1),
        Call(
            "inference.loop.Plan",
            planned,
            {
                "tolerance_db": 5.0,
                "burn_in": 0,
                "thinning": 1,
                "average_decay": 0.9,
                "read_at": 1,
            },
        ),
    ]


def _rules() -> list[Call]:
    seen = _observation()

    def watched(make: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(make)
        def watch(**arguments: Any) -> Any:
            rule = make(**arguments)
            return rule.update(rule.init(_IMAGE), 0, _IMAGE).stopped_at

        return watch

    def at(make: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(make)
        def evaluate(**arguments: Any) -> Any:
            return make(**arguments)(3)

        return evaluate

    return [
        _call(at(schedules.constant), step_size=0.1),
        _call(at(schedules.polynomial), initial=0.1, offset=10.0, power=0.6),
        _call(at(schedules.cyclical), initial=0.1, period=10),
        _call(watched(stopping.discrepancy), observation=seen, tau=1.0),
        _call(watched(stopping.held_out_error), held_out=seen, patience=3),
        _call(watched(stopping.windowed_variance), window=4, patience=3, stride=2),
        _call(
            watched(stopping.exponential_variance), weight=0.1, patience=3, warm_up=2
        ),
        _call(stopping.hold_out, key=key(), mask=_MASK, fraction=0.2),
        _call(stopping.gap_to_best, psnr_trace=np.arange(5.0), iteration=2),
    ]
