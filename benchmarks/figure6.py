"""The paper's Figure 6: a 64x64 image of which 2,066 pixels are known.

Compares Gaussian processes on the data that the paper's authors published with it:

  python -m benchmarks.figure6 --data=figure6_64x64.npz

The file holds `img_np` (1, 64, 64) in [0, 1] and `img_mask_np`, 1 where observed. Known
pixels are kept; the PSNR is that of the picture clipped to [0, 1]. "Evidence" chooses
depth, sigma, amplitude and noise from the known pixels alone. The hourglass is the one
whose covariance the paper estimated by drawing 660,000 networks: 2 scales, 1,024
channels, 4 of them skip connections, batch norm and leaky ReLU; here by its formula.
"""

import functools
import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import app, flags

from benchmarks import timing
from dipgp import architecture, gp, kernels
from dipgp.observations import observe
from dipgp.summaries import paste_observed, psnr

DATA = flags.DEFINE_string("data", None, "The .npz file of Figure 6.")

# The paper's own numbers, in dB.
PUBLISHED = {"RBF": 25.78, "Monte-Carlo kernel of 660,000 networks": 26.34}

# Hyperparameters that the paper's authors fitted to these pixels.
RBF_VARIANCE = 0.03068
RBF_LENGTHSCALE = float(np.exp(0.67132))
RBF_NOISE_STD = float(np.exp(-5.402 / 2))


def network(depth: int, sigma: float) -> kernels.Covariance:
    """The limit of a ReLU network on Gaussian-filtered noise, of variance 1."""
    net = architecture.conv_net(depth)
    return kernels.normalize(kernels.covariance(net, kernels.gaussian(sigma)))


def hourglass() -> kernels.Covariance:
    """The limit of the paper's network, on white noise, before its sigmoid."""
    net = architecture.skip_net(
        2,
        channels_down=1024,
        channels_up=1024,
        channels_skip=4,
        output=architecture.Linear(),
        output_channels=1,
    )
    return kernels.normalize(kernels.covariance(net, kernels.white()))


def load(path: str) -> tuple[np.ndarray, np.ndarray]:
    """Image (64, 64) and mask.

    Raises:
      ValueError: where the file is not the one described above.
    """
    try:
        with np.load(path, allow_pickle=False) as data:
            image, mask = data["img_np"][0], data["img_mask_np"].reshape(64, 64)
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(f"--data={path}: expected Figure 6's .npz: {error}") from error
    return image.astype(np.float32), mask != 0


def restorations(image: np.ndarray, mask: np.ndarray) -> list[dict[str, object]]:
    """One row a covariance: PSNR with known pixels kept, iterations, seconds."""
    rbf = kernels.scale(kernels.rbf(RBF_LENGTHSCALE), RBF_VARIANCE)
    grid = list(itertools.product((1, 2, 4, 8, 16, 32), (0.5, 1.0, 1.4, 2.0, 2.8, 4.0)))
    candidates = [network(depth, sigma) for depth, sigma in grid]
    first_guess = observe(image, mask, noise_std=0.01)
    selection = gp.select(candidates, first_guess, estimate_noise=True)
    own = gp.select([hourglass()], first_guess, estimate_noise=True)
    depth, sigma = grid[selection.chosen[0]]
    chosen = f"ReLU network, depth {depth}, sigma {sigma}, by evidence"
    cases = [
        ("RBF", rbf, RBF_NOISE_STD),
        ("ReLU network, depth 4, sigma 2, variance 1", network(4, 2.0), 0.01),
        (chosen, selection.covariances[0], selection.noise_std),
        (
            "hourglass, amplitude and noise by evidence",
            own.covariances[0],
            own.noise_std,
        ),
    ]
    rows: list[dict[str, object]] = [
        {"covariance": f"{name} (the paper)", "PSNR [dB]": f"{value:.2f}"}
        for name, value in PUBLISHED.items()
    ]
    for name, covariance, noise_std in cases:
        condition = functools.partial(gp.condition, covariance, image, mask, noise_std)
        timed, posterior = timing.measure(condition), condition()
        mean = np.asarray(posterior.mean)[:, :, None]
        kept = paste_observed(mean, image[:, :, None], mask)
        score = psnr(np.clip(kept, 0, 1), image[:, :, None])
        rows.append(
            {
                "covariance": name,
                "PSNR [dB]": f"{score:.2f}",
                "iterations": int(posterior.info.iterations[0]),
                "seconds": timed.median,
                "solver": posterior.info.advice,
            }
        )
    return rows


def main(arguments: Sequence[str]) -> None:
    """Reads the data, restores them, writes the report."""
    if len(arguments) > 1 or DATA.value is None:
        raise app.UsageError("expected --data=FILE.npz and nothing else")
    try:
        image, mask = load(DATA.value)
    except ValueError as error:
        raise app.UsageError(str(error)) from error
    rows = restorations(image, mask)
    title = "Figure 6 of the paper: 64x64 pixels, 2,066 known"
    folder = Path(timing.RESULTS_DIR.value)
    print(timing.write_report(folder, "figure6", title, rows, [], {}))


if __name__ == "__main__":
    app.run(main)
