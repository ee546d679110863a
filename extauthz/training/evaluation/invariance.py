"""Does a window's score depend on its batch-mates? Measured on random batches, and by a search.

What random mates do says little about what the worst one does, and whoever sends a request chooses
what its windows are. So the worst one is searched for: a stranger's tokens are changed a little at a
time, and what moves a score further stays.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from extauthz.training.evaluation.metrics import Scores
from extauthz.training.evaluation.score import Window

#: One model call: the score of each window.
Score = Callable[[Sequence[Window]], Scores]
#: Windows that share a call with a stranger.
MATES: Final = 7
#: The first ids are special tokens and markers in most vocabularies, and have the largest activations.
_FIRST: Final = 10
#: Tokens from all over the vocabulary, and strangers of tokens at random.
_SPREAD, _NOISE = 5, 4


@dataclass(frozen=True, slots=True)
class BatchEffect:
    """The largest change of a score between alone and in company, and decisions that changed."""

    largest: float
    flips: int


@dataclass(frozen=True, slots=True)
class Mate:
    """A stranger in a batch, and the largest change of a score beside it."""

    window: Window
    shift: float


def batch_effect(
    score: Score,
    windows: Sequence[Window],
    *,
    longest: int,
    vocabulary: int,
    thresholds: Sequence[float],
    steps: int,
    seed: int = 0,
) -> BatchEffect:
    """Scores each window alone, among others at random, beside strangers, and beside the worst found.

    Args:
        score: one model call, the score of each window.
        windows: whose scores are watched. At least one.
        longest: tokens of a stranger, so that it also pads its mates as far as can be.
        vocabulary: how many token ids there are. A stranger may have any of them, those too that no
            text has: it is worse than anything that can be sent.
        thresholds: at each of which no decision should change.
        steps: model calls of the search, each of `MATES` windows and a stranger; 0 for none.
        seed: of the batches' composition, and of the search.
    """
    rng = np.random.default_rng(seed)
    alone = np.concatenate([score([window]) for window in windows])
    # A score moves most easily where the model is least certain.
    watched = np.argsort(np.abs(alone - 0.5), kind="stable")[:MATES]
    strangers = _strangers(longest, vocabulary, rng)
    largest, flips = 0.0, 0
    start = Mate(strangers[0], 0.0)
    groups = np.array_split(rng.permutation(len(windows)), math.ceil(len(windows) / MATES))
    for chosen, mates in _companies(groups, watched, strangers):
        found = score([*(windows[i] for i in chosen), *mates])[: chosen.size]
        moved = _moved(found, alone[chosen])
        if mates and moved > start.shift:
            start = Mate(mates[0], moved)
        largest, flips = max(largest, moved), flips + _flips(found, alone[chosen], thresholds)
    worst = worst_mate(
        score,
        [windows[i] for i in watched],
        start.window,
        vocabulary=vocabulary,
        steps=steps,
        seed=seed,
    )
    for chosen in groups if steps else ():
        found = score([*(windows[i] for i in chosen), worst.window])[: chosen.size]
        largest = max(largest, _moved(found, alone[chosen]))
        flips += _flips(found, alone[chosen], thresholds)
    return BatchEffect(max(largest, worst.shift), flips)


def worst_mate(
    score: Score,
    watched: Sequence[Window],
    start: Window,
    *,
    vocabulary: int,
    steps: int,
    seed: int = 0,
) -> Mate:
    """Climbs from `start` to a stranger that moves the score of a watched window as far as can be.

    The same arguments find the same stranger. Finding none proves nothing; it is `steps` attempts.

    Args:
        score: one model call, the score of each window.
        watched: the windows beside the stranger.
        start: tokens of the first stranger; the others are as long.
        vocabulary: how many token ids there are.
        steps: strangers that are tried, one model call each.
        seed: of the changes.
    """
    rng = np.random.default_rng(seed)
    alone = np.concatenate([score([window]) for window in watched])

    def beside(stranger: Window) -> Mate:
        found = score([*watched, stranger])[: len(watched)]
        return Mate(stranger, _moved(found, alone))

    worst = beside(start)
    for _ in range(steps):
        tried = beside(_changed(worst.window, vocabulary, rng))
        # On level ground it goes on: what does nothing yet may be a step towards what does.
        if tried.shift >= worst.shift:
            worst = tried
    return worst


def _changed(window: Window, vocabulary: int, rng: np.random.Generator) -> Window:
    """A window with a run of new tokens, with one of its runs in another place, or with nothing else.

    What moves a score may be one token of hundreds: a run that has it, repeated all over the window,
    moves the score further, and a shorter run further still.
    """
    size = window.size
    length = size >> int(rng.integers(0, size.bit_length()))
    start, place = (int(one) for one in rng.integers(0, size - length + 1, 2))
    changed, run = window.copy(), window[start : start + length]
    kind = rng.integers(4)
    if kind == 0:
        changed[place : place + length] = rng.integers(0, vocabulary, length)
    elif kind == 1:
        changed[place : place + length] = run
    else:
        changed[:] = np.resize(run, size)
    return changed


def _companies(
    groups: Sequence[NDArray[np.intp]], watched: NDArray[np.intp], strangers: Sequence[Window]
) -> Iterator[tuple[NDArray[np.intp], Sequence[Window]]]:
    """Which windows share a call, with which strangers.

    Every window is in company at random and beside some stranger; every stranger is beside the
    windows that are watched.
    """
    for group in groups:
        yield group, ()
    for turn, group in enumerate(groups):
        yield group, [strangers[turn % len(strangers)]]
    for stranger in strangers:
        yield watched, [stranger]


def _strangers(size: int, vocabulary: int, rng: np.random.Generator) -> list[Window]:
    """A stranger of each of some tokens, repeated, and some of tokens at random."""
    first = range(min(_FIRST, vocabulary))
    spread = np.linspace(0, vocabulary - 1, _SPREAD + 1).astype(np.intp)[1:]
    repeated = [np.full(size, token, np.int32) for token in (*first, *spread)]
    noise = [rng.integers(0, vocabulary, size, dtype=np.int32) for _ in range(_NOISE)]
    return [*noise, *repeated]


def _moved(found: Scores, alone: Scores) -> float:
    """The largest change. A score that is no number in company has moved as far as can be."""
    return float(np.nan_to_num(np.abs(found - alone), nan=math.inf).max())


def _flips(found: Scores, alone: Scores, thresholds: Sequence[float]) -> int:
    return sum(int(((found < one) != (alone < one)).sum()) for one in thresholds)
