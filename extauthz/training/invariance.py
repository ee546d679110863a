"""Does a window's score depend on its batch-mates? Measured, on random and on hostile batches."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from extauthz.training.metrics import Scores
from extauthz.training.score import Window

# Tokens a hostile mate repeats: rare ones, punctuation and special tokens have the largest
# activations, which is what a shared quantisation scale would suffer from.
HOSTILE_TOKENS = (0, 1, 100, 101, 102, 103, 999, 1012, 1029, 2023, 23_285, 29_000, 30_000, 30_521)
MATES = 7
VOCABULARY = 30_522


@dataclass(frozen=True, slots=True)
class BatchEffect:
    """The largest change of a score between alone and in company, and decisions that changed."""

    largest: float
    flips: int


def batch_effect(
    score: Callable[[Sequence[Window]], Scores],
    windows: Sequence[Window],
    longest: int,
    thresholds: Sequence[float],
    seed: int = 0,
) -> BatchEffect:
    """Scores each window alone, among other windows at random, and beside a hostile one.

    Args:
        score: one model call, the score of each window.
        windows: whose scores are watched.
        longest: tokens of a hostile window, so that it also pads its mates as far as can be.
        thresholds: at each of which no decision should change.
        seed: of the batches' composition.
    """
    rng = np.random.default_rng(seed)
    alone = np.concatenate([score([window]) for window in windows])
    largest, flips = 0.0, 0
    for chosen, mates in _companies(len(windows), _hostile(longest, rng), rng):
        found = score([*(windows[i] for i in chosen), *mates])[: chosen.size]
        largest = max(largest, float(np.abs(found - alone[chosen]).max()))
        flips += sum(int(((found < t) != (alone[chosen] < t)).sum()) for t in thresholds)
    return BatchEffect(largest, flips)


def _companies(
    count: int, hostile: Sequence[Window], rng: np.random.Generator
) -> Iterator[tuple[NDArray[np.intp], Sequence[Window]]]:
    """Which windows share a call, with which strangers: every window at random, every stranger."""
    order = rng.permutation(count)
    for chosen in np.array_split(order, math.ceil(count / MATES)):
        yield chosen, ()
    for turn in range(max(len(hostile), math.ceil(count / MATES))):
        chosen = order[(np.arange(min(MATES, count)) + turn * MATES) % count]
        yield chosen, [hostile[turn % len(hostile)]]


def _hostile(size: int, rng: np.random.Generator) -> list[Window]:
    repeated = [np.full(size, token, np.int32) for token in HOSTILE_TOKENS]
    noise = [rng.integers(1, VOCABULARY, size, dtype=np.int32) for _ in range(4)]
    return [*repeated, *noise]
