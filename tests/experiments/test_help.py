"""Every binary teaches itself: examples, its own flags, and nobody else's."""

import subprocess
import sys

import pytest

HELP = {
    "inpaint": (["--image=kate.png"], ["--drop_fraction", "--sigma"], []),
    "denoise": (["--noise_std=50"], ["--[no]noisy", "--preset"], ["--drop_fraction"]),
    "super_resolve": (["--image=thumbnail.png"], ["--factor"], ["--mask"]),
    "deblur": (["--blur=motion"], ["--blur_std", "--sigma"], ["--factor"]),
    "demosaic": (["--pattern=GRBG"], ["--channel_covariance", "--sigma"], ["--mask"]),
    "toy_1d": (
        ["--cases=2:1,4:2,15:4"],
        ["--observed_fraction", "--step_size"],
        ["--mask"],
    ),
    "kernels": (["--depths=2"], ["--hidden_channels"], ["--mask"]),
    "priors": (["--prior_cases="], ["--side"], ["--depth"]),
    "border": (["--dimensions=2"], ["--padding"], ["--depth"]),
    "equivalence": (
        ["--grid=24,24"],
        ["--widths", "--inputs", "--sampler", "--[no]resume"],
        ["--mask"],
    ),
    "architectures": (
        ["--halvings=1,2"],
        ["--prior_widening", "--side", "--channels", "--[no]resume"],
        ["--mask", "--depths"],
    ),
    "uncertainty": (
        ["--prior_samples=100"],
        ["--withheld_fraction", "--drop_fraction", "--preset"],
        ["--mask"],
    ),
    "report": (["runs/inpaint"], ["--output", "--title"], ["--image", "--method"]),
    "early_stopping": (["--image_size=32,32"], ["--network_widths"], ["--stop_by"]),
}
# A process costs seconds.
QUICK = ("inpaint",)


@pytest.mark.parametrize(
    "name",
    [
        name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)
        for name in HELP
    ],
)
def test_help_has_examples_and_the_binarys_own_flags(name):
    examples, own, others = HELP[name]
    command = [sys.executable, "-m", f"experiments.{name}", "--help"]
    told = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    lines = [
        line for line in told.splitlines() if f"python -m experiments.{name}" in line
    ]
    assert lines
    for example in examples:
        assert any(example in line for line in lines)
    for flag in own:
        assert f"  {flag}" in told
    for flag in others:
        assert f"  {flag}:" not in told
