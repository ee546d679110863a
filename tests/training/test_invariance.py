from collections.abc import Sequence

import numpy as np

from extauthz.training.invariance import batch_effect
from extauthz.training.metrics import Scores
from extauthz.training.score import Window

WINDOWS = [np.arange(101, 101 + size, dtype=np.int32) for size in range(3, 40)]


def by_itself(windows: Sequence[Window]) -> Scores:
    return np.array([0.2 + window.size / 100 for window in windows])


def by_its_batch(windows: Sequence[Window]) -> Scores:
    """As a shared quantisation scale would: the widest token of the batch coarsens every score."""
    step = max(int(window.max()) for window in windows) / 30_000
    return np.asarray(by_itself(windows) + 0.1 * step)


def test_scores_that_ignore_the_batch_show_no_effect() -> None:
    effect = batch_effect(by_itself, WINDOWS, 256, [0.3, 0.5])
    assert (effect.largest, effect.flips) == (0.0, 0)


def test_scores_that_heed_a_hostile_mate_are_found_out() -> None:
    effect = batch_effect(by_its_batch, WINDOWS, 256, [0.3, 0.5])
    assert effect.largest > 0.05
    assert effect.flips > 0
