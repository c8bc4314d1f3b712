"""Command lines within the tests' process, and methods that take no time."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver

from dipgp.images import save_image
from experiments import common, gp_method, network_method
from experiments.gp_method import GPOptions
from experiments.restoration import Request, Restoration


@pytest.fixture(autouse=True, scope="module")
def coarse_figures() -> Iterator[None]:
    """Few dots per inch: at the usual number a figure takes a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dipgp.figures.canvas.DOTS_PER_INCH", 20)
        yield


@pytest.fixture
def binary(compilation_cache_kept) -> Iterator[Callable[..., object]]:
    """Runs functions under a command line and gives the exit status."""

    def call(
        function: Callable[..., int], *arguments: str, takes_arguments: bool = False
    ) -> object:
        main = common.main_with_arguments if takes_arguments else common.main
        with pytest.raises(SystemExit) as stop, flagsaver.flagsaver():
            main(function, ["binary", *arguments])
        return stop.value.code

    yield call
    flags.FLAGS.unparse_flags()


class Averaging:
    """A method that puts the observed mean everywhere and remembers what it was asked.

    Attributes:
      calls: the (observation, options) of each call.
      outcome: fields of the restoration to hand back instead.
    """

    def __init__(self):
        self.calls = []
        self.outcome = {}

    def __call__(self, request, options):
        request.report("averaging")
        observation = request.observation
        self.calls.append((observation, options))
        values, mask = np.asarray(observation.values), np.asarray(observation.mask)
        mean = values[mask != 0].mean(axis=0)
        fields = {
            "mean": np.broadcast_to(mean, values.shape),
            "seconds": 0.5,
            "iterations": 3,
            "residual": 1e-5,
            "hyperparameters": {"level": mean},
            "message": "averaged",
            "converged": True,
        }
        return Restoration(**(fields | self.outcome))


@pytest.fixture
def averaging(monkeypatch) -> Averaging:
    """Stands in for the Gaussian process."""
    method = Averaging()
    monkeypatch.setattr(gp_method, "restore", method)
    return method


@pytest.fixture
def asked(monkeypatch) -> list[tuple[Request, GPOptions]]:
    """What a Gaussian process is asked that hands back grey at once."""
    calls = []

    def restore(request, options):
        calls.append((request, options))
        mean = np.full(request.shape, 0.5)
        return Restoration(mean, 0.5, 3, 1e-5, {}, "restored", True)

    monkeypatch.setattr(gp_method, "restore", restore)
    return calls


@pytest.fixture
def averaging_networks(averaging, monkeypatch) -> Averaging:
    """Stands in for all networks too."""

    def restore(names, settings, running, request):
        return ((name, averaging(request, settings)) for name in names)

    monkeypatch.setattr(network_method, "restore", restore)
    return averaging


class Enlarging:
    """Networks that take no time and remember what they were asked.

    Attributes:
      requests: of all calls.
      restore: from a request to the mean to hand back.
    """

    def __init__(self):
        self.requests = []
        self.restore = lambda request: np.full(request.shape, 0.5)

    def __call__(self, names, settings, running, request):
        self.requests.append(request)
        for name in names:
            yield (
                name,
                Restoration(
                    mean=self.restore(request),
                    seconds=0.5,
                    iterations=3,
                    residual=1e-5,
                    hyperparameters={},
                    message="enlarged",
                    converged=True,
                ),
            )


@pytest.fixture
def enlarging(monkeypatch) -> Enlarging:
    """Stands in for all networks."""
    method = Enlarging()
    monkeypatch.setattr(network_method, "restore", method)
    return method


@pytest.fixture
def photographs(tmp_path) -> list[str]:
    """Paths of a grey and a colour picture, 16 pixels wide and 12 high."""
    random = np.random.default_rng(0)
    folder = tmp_path / "photographs"
    folder.mkdir()
    paths = [folder / "grey.png", folder / "colour.png"]
    save_image(paths[0], random.uniform(size=(12, 16)))
    save_image(paths[1], random.uniform(size=(12, 16, 3)))
    return [str(path) for path in paths]
