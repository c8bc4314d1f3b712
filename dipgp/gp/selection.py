"""Choosing among covariances by their evidence, never by the truth.

Fully observed images are judged by Whittle's likelihood (`dipgp.gp.whittle`), images
with missing pixels by the exact likelihood of small blocks (`dipgp.gp.blocks`). Each
decorrelated colour channel chooses for itself: brightness and colour differ in
smoothness and in strength.
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dipgp.gp import arguments, blocks, whittle
from dipgp.gp.colour import ChannelModel, decorrelate, estimate_channels
from dipgp.kernels.filtering import filtered
from dipgp.kernels.layers import batch_norm, scale
from dipgp.kernels.stationary import Covariance, CovarianceLike, as_covariance
from dipgp.observations import LinearMap, Observation, stationary_filter

Array = jax.Array
Report = Callable[[str], None]

# The search for the ratio of noise variance to sill, for images with missing pixels:
# 10 to the power of step / STEPS_PER_DECADE. Smaller ratios than 1e-4 change
# restorations by less than 0.02 dB and slow the solver down.
STEPS_PER_DECADE = 3
SMALLEST_STEP, LARGEST_STEP = -12, 3
STARTS = (-9, -3)
CONTENDERS = 6


class Selection(NamedTuple):
    """What the evidence says of an image.

    Attributes:
      covariances: one for each decorrelated channel, ready for `condition`.
      channels: the colour model to go with them.
      noise_std: standard deviation of the noise, given or estimated.
      chosen: for each channel the index of its candidate.
      amplitudes: for each channel the standard deviation around its level.
      evidence: (candidates, channels) approximate log-likelihood a pixel.
    """

    covariances: tuple[Covariance, ...]
    channels: ChannelModel
    noise_std: float
    chosen: tuple[int, ...]
    amplitudes: tuple[float, ...]
    evidence: np.ndarray


class _Verdict(NamedTuple):
    """For each channel the winner, its sill variance and its noise variance.

    `evidence` (candidates, channels) holds the best of each candidate.
    """

    chosen: np.ndarray
    variance: np.ndarray
    noise: np.ndarray
    evidence: np.ndarray


def select(
    candidates: Sequence[CovarianceLike],
    observation: Observation,
    estimate_noise: bool = False,
    report: Report = lambda message: None,
    *,
    through: LinearMap | None = None,
) -> Selection:
    """Picks each channel's covariance and amplitude by evidence.

    Only the shape of the candidates counts: each is taken as (K - K(inf)) / sill times
    an amplitude of its own.

    Args:
      candidates: covariances to choose among.
      observation: what was seen. With estimated noise, its noise_std is ignored where
        pixels are missing and a first guess otherwise.
      estimate_noise: whether the noise is to be estimated too, as white noise of the
        same strength at all pixels and channels.
      report: is told how far the search is.
      through: blur, decimation or the like that the image was seen through: what it
        makes of each candidate is weighed, and the candidates of the image returned.
        Borders count as if the filter saw beyond them. Mosaics are for
        `gp.fit_channels`.

    Raises:
      ValueError: where there is no candidate, or too few pixels to tell, on a map that
        is no stationary filter, or where JAX traces the observation.
    """
    arguments.check_known(observation)
    arguments.check_candidates(candidates)
    shapes = [batch_norm(as_covariance(candidate)) for candidate in candidates]
    seen: Sequence[Covariance] = shapes
    if through is not None:
        taps, stride = stationary_filter(through)
        seen = [filtered(shape, taps, stride) for shape in shapes]
    channels = estimate_channels(observation)
    data = decorrelate(observation.values, channels)
    mask = np.asarray(observation.mask)
    spread = np.asarray(observation.noise_std, np.float64)[mask != 0]
    noise = float(np.mean(spread**2))
    judge: _Judge
    if mask.all():
        judge = functools.partial(_judge_by_whittle, seen, data, report)
    else:
        judge = functools.partial(
            _judge_by_blocks, _BlockEvidence(seen, data, mask, report)
        )
    verdict = judge(noise, estimate_noise)
    if estimate_noise:
        # The channels' noise is one; their estimates of it are not.
        noise = float(np.median(verdict.noise))
        verdict = judge(noise, False)
    return Selection(
        covariances=tuple(
            scale(shapes[index], float(variance))
            for index, variance in zip(verdict.chosen, verdict.variance, strict=True)
        ),
        channels=channels._replace(variances=jnp.ones_like(channels.variances)),
        noise_std=noise**0.5,
        chosen=tuple(int(index) for index in verdict.chosen),
        amplitudes=tuple(float(variance) ** 0.5 for variance in verdict.variance),
        evidence=verdict.evidence,
    )


_Judge = Callable[[float, bool], _Verdict]


def _judge_by_whittle(
    shapes: Sequence[Covariance],
    data: Array,
    report: Report,
    noise: float,
    estimate_noise: bool,
) -> _Verdict:
    """By Whittle's likelihood of the whole image."""
    periodogram = whittle.periodogram(data)
    noise_std = jnp.asarray(noise**0.5, data.dtype)
    fits = []
    for index, shape in enumerate(shapes):
        report(f"evidence of covariance {index + 1} of {len(shapes)}")
        power = whittle.expected_power(shape, periodogram)
        fits.append(whittle.fit(power, periodogram, noise_std, estimate_noise))
    evidence, amplitude, std = (
        np.stack([np.asarray(part, np.float64) for part in parts])
        for parts in zip(*fits, strict=True)
    )
    chosen = np.argmax(evidence, axis=0)
    channel = np.arange(chosen.size)
    winner = (chosen, channel)
    return _Verdict(chosen, amplitude[winner] ** 2, std[winner] ** 2, evidence)


class _BlockEvidence:
    """Factorisations of the blocks for covariances and noise ratios, each done once."""

    def __init__(
        self,
        shapes: Sequence[Covariance],
        data: Array,
        mask: np.ndarray,
        report: Report,
    ) -> None:
        self.count = len(shapes)
        self.channels = data.shape[0]
        self.cut = blocks.cut(data, mask)
        self._shapes = shapes
        self._report = report
        self._known: dict[tuple[int, int], blocks.Statistics] = {}

    def statistics(self, index: int, step: int) -> blocks.Statistics:
        """Of one covariance at the ratio of one step."""
        if (index, step) not in self._known:
            self._report(f"evidence: {len(self._known) + 1} covariances weighed")
            ratio = 10 ** (step / STEPS_PER_DECADE)
            self._known[index, step] = blocks.statistics(
                self._shapes[index], self.cut, ratio
            )
        return self._known[index, step]


def _judge_by_blocks(
    source: _BlockEvidence, noise: float, estimate_noise: bool
) -> _Verdict:
    """By exact likelihoods of blocks.

    The likelihood depends on covariance and noise-to-signal ratio. All covariances are
    weighed at a small and a large ratio, and the best few then climb to their own.
    """
    count = source.channels
    evidence = np.full((source.count, count), -np.inf)

    def judge(index: int, step: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Evidence, sill variance and noise variance of each channel."""
        ratio = 10 ** (step / STEPS_PER_DECADE)
        stats = source.statistics(index, step)
        if estimate_noise:
            variance = stats.quadratic / stats.pixels
        else:
            variance = np.full_like(stats.quadratic, noise / ratio)
        height = blocks.evidence(stats, variance)
        evidence[index] = np.maximum(evidence[index], height)
        return height, variance, ratio * variance

    def height(index: int, channel: int, step: int) -> float:
        return float(judge(index, step)[0][channel])

    if estimate_noise:
        starts = [STARTS] * count
    else:
        pixels = np.concatenate([block.values for block in source.cut.blocks])
        ratio = noise / np.maximum(np.var(pixels, axis=0), np.finfo(np.float64).tiny)
        nearest = np.rint(STEPS_PER_DECADE * np.log10(ratio))
        # A smooth field varies by more than one image of it shows.
        both = np.stack([nearest - STEPS_PER_DECADE, nearest], axis=1)
        starts = np.clip(both, SMALLEST_STEP, LARGEST_STEP).astype(int).tolist()
    chosen, steps = np.zeros(count, int), [0] * count
    for channel in range(count):
        heights = np.array(
            [
                [height(index, channel, step) for step in starts[channel]]
                for index in range(source.count)
            ]
        )
        contenders = np.argsort(-heights.max(axis=1), kind="stable")[:CONTENDERS]
        tops = {}
        for index in contenders.tolist():
            start = starts[channel][int(np.argmax(heights[index]))]
            tops[index] = _climb(functools.partial(height, index, channel), start)
        chosen[channel] = max(tops, key=lambda i: height(i, channel, tops[i]))
        steps[channel] = tops[int(chosen[channel])]
    finals = [judge(int(chosen[c]), steps[c]) for c in range(count)]
    variances = np.array([final[1][c] for c, final in enumerate(finals)])
    noises = np.array([final[2][c] for c, final in enumerate(finals)])
    return _Verdict(chosen, variances, noises, evidence)


def _climb(height: Callable[[int], float], step: int) -> int:
    """The top of a hill over the steps of the ratio, from where one stands."""
    for direction in (1, -1):
        while SMALLEST_STEP <= step + direction <= LARGEST_STEP:
            if height(step + direction) <= height(step):
                break
            step += direction
    return step
