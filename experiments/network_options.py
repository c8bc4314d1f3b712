"""What a network method is told: presets, and flags that override them.

`paper` is the reference protocol to the letter, `light` a smaller hourglass on a
shorter schedule, chosen by measurement (docs/results.md), `smoke` a few steps to see
that all works: seconds on a small picture, a minute on 512x512 pixels.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from absl import flags

from dipgp.inference.protocols import PROTOCOLS, Protocol
from experiments.common import GREY_LEVELS, require
from experiments.network_settings import STOPPING, NetworkSettings, Running

Settings = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Preset:
    """Settings of a protocol: of all methods, and by method, which wins.

    Attributes:
      shared: of every method.
      methods: by method's name.
    """

    shared: Settings
    methods: Mapping[str, Settings]


# Standard normal weights: one bound on the preconditioner fits them all.
_LANGEVIN: Settings = {"initialisation": "gaussian_process"}


def _protocol(
    stop_plain: int,
    stop_noisy: int,
    noise: float,
    sampled: Protocol,
    **more: float,
) -> Preset:
    """The reference protocol, which reads SGD at fixed iterations.

    Args:
      stop_plain: iteration at which descents without input noise are read.
      stop_noisy: at which those with it are.
      noise: standard deviation of the input's noise.
      sampled: network and schedule, and how psgld moves, which the reference has not.
      **more: settings of every method.
    """
    moves = ("momentum", "frozen_after")
    shared = dataclasses.asdict(sampled)
    preconditioned = {name: shared.pop(name) for name in moves}
    noisy = {"input_noise": noise, "stop_at": stop_noisy}
    return Preset(
        {"stop_at": stop_plain, **shared, **more},
        {
            "sgd_input": noisy,
            "sgd_input_avg": noisy,
            "sgd_weight_decay": {"weight_decay": 5e-8},
            "noisy_adam": {**noisy, "weight_decay": 5e-8},
            "sgld": {**_LANGEVIN, "momentum": 0.99},
            "psgld": {**_LANGEVIN, **preconditioned},
        },
    )


_DENOISE, _INPAINT, _BY_4, _BY_8 = PROTOCOLS.values()
PRESETS: Mapping[str, Mapping[str, Preset]] = {
    "denoise": {
        "paper": _protocol(500, 1_800, 1 / 30, _DENOISE["paper"]),
        "light": _protocol(400, 1_800, 1 / 30, _DENOISE["light"]),
        "smoke": _protocol(10, 20, 1 / 30, _DENOISE["smoke"]),
    },
    # What the reference ran SGLD with is unknown here; the learning rate is that of the
    # deep image prior's own code on the same images.
    "inpaint": {
        "paper": _protocol(5_000, 11_000, 0.03, _INPAINT["paper"], learning_rate=0.001),
        "light": _protocol(1_000, 2_000, 0.03, _INPAINT["light"]),
        "smoke": _protocol(10, 20, 0.03, _INPAINT["smoke"]),
    },
    # Read where it ends. The reference always has noise on the input: sgd_input.
    "super_resolve": {
        "paper": _protocol(2_000, 2_000, 0.03, _BY_4["paper"]),
        "light": _protocol(2_000, 2_000, 0.03, _BY_4["light"]),
        "smoke": _protocol(40, 40, 0.03, _BY_4["smoke"]),
    },
    "super_resolve_x8": {
        "paper": _protocol(4_000, 4_000, 0.05, _BY_8["paper"]),
        "light": _protocol(2_000, 2_000, 0.05, _BY_8["light"]),
        "smoke": _protocol(40, 40, 0.05, _BY_8["smoke"]),
    },
}

PRESET = flags.DEFINE_enum(
    "preset",
    "light",
    ["paper", "light", "smoke"],
    "Sizes and schedules of the network methods: the reference protocol (hours on a "
    "processor), a tenth of its arithmetic, or a few steps to see that all works.",
)
_OVERRIDES = {
    "channels": flags.DEFINE_list(
        "channels", None, "Channels of the hourglass, one number a scale, finest first."
    ),
    "skip_channels": flags.DEFINE_integer(
        "skip_channels", None, "Channels of each skip branch; 0 for none."
    ),
    "input_channels": flags.DEFINE_integer(
        "input_channels", None, "Channels of the fixed random input."
    ),
    "initialisation": flags.DEFINE_enum(
        "initialisation",
        None,
        ["reference", "gaussian_process"],
        "Weights that carry their own scale, or standard normal ones that are scaled "
        "in the forward pass.",
    ),
    "gamma": flags.DEFINE_enum(
        "gamma",
        None,
        ["ones", "uniform"],
        "Batch norm's scales at the start: ones, or U(0, 1) as in PyTorch up to 1.1.",
    ),
    "compute_dtype": flags.DEFINE_enum(
        "compute_dtype",
        None,
        ["float32", "bfloat16"],
        "Precision of the network's layers, by default that of the image. Parameters "
        "keep the latter's. CPUs are slower in bfloat16, and save no memory by it.",
    ),
    "iterations": flags.DEFINE_integer("iterations", None, "Steps of each network."),
    "stop_at": flags.DEFINE_integer(
        "stop_at", None, "Iteration at which the sgd methods are read."
    ),
    "stop_by": flags.DEFINE_enum(
        "stop_by",
        None,
        ["iteration", *STOPPING],
        "What decides where the sgd methods are read: --stop_at, or a rule of "
        "--stopping.",
    ),
    "stopping": flags.DEFINE_list(
        "stopping",
        None,
        "Rules that say in metrics.json where they would have stopped the sgd methods: "
        + "; ".join(f"{name}, {text}" for name, text in STOPPING.items())
        + ". By default the first, and discrepancy where the noise is known.",
    ),
    "window": flags.DEFINE_integer(
        "window", None, "Iterations that windowed_variance looks back."
    ),
    "patience": flags.DEFINE_integer(
        "patience", None, "Iterations without a better score that a rule waits."
    ),
    "held_out_fraction": flags.DEFINE_float(
        "held_out_fraction",
        None,
        "Part of the observed pixels that the rule held_out keeps from the fit.",
    ),
    "learning_rate": flags.DEFINE_float("learning_rate", None, "Of Adam."),
    "weight_decay": flags.DEFINE_float(
        "weight_decay", None, "Of Adam, for every method."
    ),
    "input_noise": flags.DEFINE_float(
        "input_noise",
        None,
        "Standard deviation of the noise on the input, for every method.",
    ),
    "average_decay": flags.DEFINE_float(
        "average_decay", None, "Decay of the exponential average of outputs."
    ),
    "roll_back": flags.DEFINE_float(
        "roll_back",
        None,
        "A fall of the fit to the data by more than so many dB puts the run back.",
    ),
    "step_size": flags.DEFINE_float(
        "step_size",
        None,
        "Step eps of sgld and psgld, whose noise has variance eps; by default 0.0045 "
        "for psgld, and for sgld found from the noise and the number of observed "
        "values.",
    ),
    "momentum": flags.DEFINE_float(
        "momentum",
        None,
        "Part of the velocity that a step of sgld and psgld keeps; 0 for the paper's "
        "update.",
    ),
    "step_power": flags.DEFINE_float(
        "step_power",
        None,
        "eps falls as (1 + t / step_offset)^-step_power; 0 keeps it constant.",
    ),
    "step_offset": flags.DEFINE_float(
        "step_offset", None, "Iterations during which eps hardly falls."
    ),
    "frozen_after": flags.DEFINE_integer(
        "frozen_after",
        None,
        "Iterations after which psgld's preconditioner is kept as it is; 0 for never.",
    ),
    "largest_scale": flags.DEFINE_float(
        "largest_scale", None, "Bound on psgld's preconditioner."
    ),
    "temperature": flags.DEFINE_float(
        "temperature", None, "Of the posterior that is sampled."
    ),
    "least_noise_std": flags.DEFINE_float(
        "least_noise_std",
        None,
        "Noise, in grey levels of 255, that sgld and psgld allow for at least where it "
        "is estimated: a network does not meet pixels without noise exactly.",
    ),
    "burn_in": flags.DEFINE_integer(
        "burn_in", None, "Iterations before samples count."
    ),
    "thinning": flags.DEFINE_integer(
        "thinning", None, "Iterations from one counted sample to the next."
    ),
    "chains": flags.DEFINE_integer("chains", None, "Independent chains of a sampler."),
}
LOG_EVERY = flags.DEFINE_integer(
    "log_every", 50, "Iterations in one compiled program, between two signs of life."
)
CHECKPOINT_MINUTES = flags.DEFINE_float(
    "checkpoint_minutes", 2.0, "Minutes between checkpoints; 0 for none."
)
RESUME = flags.DEFINE_bool(
    "resume", False, "Go on with a run in --output_dir that was interrupted."
)
SAMPLES = flags.DEFINE_integer(
    "samples", 0, "Posterior samples of each chain to keep, in samples.npz."
)
ON_DIVERGENCE = flags.DEFINE_enum(
    "on_divergence",
    "roll_back",
    ["roll_back", "stop"],
    "What follows when a run diverges: back to its last good state, or an end there.",
)

DEVICES = flags.DEFINE_string(
    "devices",
    "all",
    "How many devices chains and a posterior's right-hand sides are spread over, at "
    "most: a number, or all of every process (docs/devices.md). The most that divide "
    "them evenly are taken.",
)


def settings(
    experiment: str, preset: str, method: str, overrides: Mapping[str, Any]
) -> NetworkSettings:
    """A method's settings: the preset's, then what was asked for.

    Args:
      experiment: a key of `PRESETS`.
      preset: "paper", "light" or "smoke".
      method: its name.
      overrides: by attribute of `NetworkSettings`.

    Raises:
      UserError: on a number out of range.
    """
    chosen = PRESETS[experiment][preset]
    given = {**chosen.shared, **chosen.methods.get(method, {})}
    fields = {**given, **overrides}
    iterations = fields["iterations"]
    if "iterations" in overrides:
        # A shorter run is read where the preset's is, or at its end, and keeps half of
        # its samples at least; what is read at its end still is.
        at_end = given["stop_at"] == given["iterations"]
        if "stop_at" not in overrides:
            latest = iterations if at_end else given["stop_at"]
            fields["stop_at"] = min(latest, iterations)
        if "burn_in" not in overrides and "burn_in" in fields:
            fields["burn_in"] = min(fields["burn_in"], iterations // 2)
    if "frozen_after" in fields and "frozen_after" not in overrides:
        # Samples count from a preconditioner that stays as it is.
        fields["frozen_after"] = min(fields["frozen_after"], fields["burn_in"])
    return NetworkSettings(**fields)


def overrides_from_flags() -> dict[str, Any]:
    """What the flags ask for, by attribute of `NetworkSettings`.

    Raises:
      UserError: on channels that are no numbers.
    """
    asked: dict[str, Any] = {
        name: flag.value for name, flag in _OVERRIDES.items() if flag.value is not None
    }
    if "channels" in asked:
        given = ",".join(asked["channels"])
        accepted = all(number.strip().isdigit() for number in asked["channels"])
        require(accepted, "channels", given, "positive numbers, one a scale")
        asked["channels"] = tuple(int(number) for number in asked["channels"])
    if "stopping" in asked:
        asked["stopping"] = tuple(asked["stopping"])
    if "least_noise_std" in asked:
        asked["least_noise_std"] /= GREY_LEVELS
    return asked


def running_from_flags() -> Running:
    """How to run, from the flags."""
    return Running(
        log_every=LOG_EVERY.value,
        checkpoint_minutes=CHECKPOINT_MINUTES.value,
        resume=RESUME.value,
        samples=SAMPLES.value,
        on_divergence=ON_DIVERGENCE.value,
        devices=_most_devices(),
    )


def _most_devices() -> int | None:
    """What --devices says; None for all."""
    asked = DEVICES.value
    accepted = asked == "all" or (asked.isdecimal() and int(asked) > 0)
    require(accepted, DEVICES.name, asked, "all, or a number of at least 1")
    return None if asked == "all" else int(asked)
